"""Which browser may change who the sidecar is: the one that has shown a code of `sidecar open`.

Whoever may call the sidecar is not its owner: another account of the machine can send any field
that it likes, but cannot read a 0600 file.  No cookie is set: browsers send those to every port of
a host.  The browser is given a grant instead, which its own page keeps and sends with each form.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from hmac import compare_digest
from pathlib import Path

from sidecar.credentials import Secret
from sidecar.errors import StoreError, in_brackets
from sidecar.signin.one_time_code import CodeFile, CodeRefused

log = logging.getLogger(__name__)

GRANT_LIFE = 3600.0
"""Seconds: somebody has to fill in Jira's form, or to find an administrator who does."""
_REMEMBERED = 16
"""Used codes that are known again."""


class ShownTwice(CodeRefused):
    """A code came again: two have seen it, and one of them is not the owner."""


class Ownership:
    """What makes a browser the owner's, for as long as this process lives."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.process_token = secrets.token_urlsafe(24)
        """In every form of the page: who sends it has read the page."""
        self._clock = clock
        self._codes: CodeFile | None = None
        self._urls: Sequence[str] = ()
        self._used: deque[str] = deque(maxlen=_REMEMBERED)
        self._grant: Secret | None = None
        self._granted_at = 0.0

    def listens(self, token_path: Path, urls: Sequence[str]) -> None:
        """Let `sidecar open` find us: write where we listen, and what codes are made of."""
        self.close()
        self._urls = urls
        codes = CodeFile.of(token_path, urls)
        try:
            codes.write(urls)
        except StoreError as error:
            log.info(
                "`sidecar open` will not find this sidecar: %s%s",
                error.message,
                in_brackets(error.hint),
            )
        else:
            self._codes = codes

    def moves(self, token_path: Path) -> None:
        """The token is kept elsewhere now, and so is the file beside it."""
        if self._codes is None or self._codes.path.parent != token_path.parent:
            self.listens(token_path, self._urls)

    def claim(self, code: str) -> Secret:
        """Give the browser that shows a code a grant; CodeRefused, or StoreError.

        ShownTwice ends what the first who showed the code was granted.
        """
        if any(compare_digest(code.encode(), used.encode()) for used in self._used):
            self._grant = None
            log.warning(
                "a one-time code of sidecar open was shown twice: what it allowed has ended"
            )
            raise ShownTwice(
                "This one-time code was used before; what it allowed has ended.",
                "run `sidecar open` again; if the first one was not you, see who signed in",
            )
        if self._codes is None:
            raise CodeRefused(
                "This sidecar takes no one-time codes: its state folder cannot be written.",
                "run `sidecar auth` where its token is kept",
            )
        self._codes.take(code, self._clock())
        self._used.append(code)
        self._grant = Secret(secrets.token_urlsafe(24))
        self._granted_at = self._clock()
        return self._grant

    def holds(self, grant: str) -> bool:
        """Whether this is the grant that was given last, and not long ago."""
        if self._grant is None or not 0 <= self._clock() - self._granted_at < GRANT_LIFE:
            return False
        return compare_digest(grant.encode(), self._grant.reveal().encode())

    def close(self) -> None:
        """Be found no more."""
        if self._codes is not None:
            self._codes.remove()
            self._codes = None

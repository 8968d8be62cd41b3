"""The one-time code that makes a browser the owner's: given by `sidecar open`, taken by `run`.

The running sidecar writes a secret into a 0600 file beside `token.path`, and where it listens.
`sidecar open` reads both, and makes a code of the secret and the time: so a code ends soon after
it was given, though nobody tells the sidecar that it was.  A used code ends its secret, too.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecar.credentials import Secret
from sidecar.errors import ConfigError, NotAuthorized
from sidecar.files.document import VERSION, Reader, encode, read
from sidecar.files.private import Signature, signature_of, write_private

LIFE = 300.0
"""Seconds that a code is good for: a browser starts, and a person may have to copy the address."""
AHEAD = 60.0
"""Seconds by which a code may be younger than now: two machines may share the state folder."""

_CODE = re.compile(r"([0-9a-f]{1,12})-([0-9a-f]{32})")
_BETWEEN = re.compile(r" (?=https?://|unix:)")
"""Between two URLs; a unix socket's path may hold a space."""
_AGAIN = "run `sidecar open` again"
_WHAT = "one-time code"


class CodeRefused(NotAuthorized):
    """This code lets nobody do anything."""

    status = 403


@dataclass(frozen=True, slots=True)
class Running:
    """What a running sidecar's file says."""

    urls: tuple[str, ...]
    """Its listeners, as `run` announces them."""
    secret: Secret


class CodeFile:
    """`open_8088.json`, where the token is `token.json` and 8088 the first port listened on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: Signature | None = None

    @classmethod
    def of(cls, token_path: Path, urls: Sequence[str]) -> CodeFile:
        """The file of the sidecar that listens at these URLs; several may share a folder."""
        ports = [port for url in urls if (port := url.rpartition(":")[2]).isdecimal()]
        return cls(token_path.with_name(f"open_{ports[0] if ports else 'unix'}.json"))

    @classmethod
    def all_beside(cls, token_path: Path) -> list[CodeFile]:
        """Those of all sidecars that have this token, whether they run still or not."""
        return [cls(path) for path in sorted(token_path.parent.glob("open_*.json"))]

    def write(self, urls: Sequence[str]) -> None:
        """Write a new secret: no code of the old one counts any more; StoreError."""
        document = {"version": VERSION, "urls": " ".join(urls), "secret": secrets.token_hex(32)}
        self._written = write_private(self.path, encode(document, self.path))

    def read(self) -> Running | None:
        """What the file says; None where there is none, ConfigError where it can't be believed."""
        document = read(self.path, _WHAT)
        if document is None:
            return None
        reader = Reader(document, self.path, _WHAT)
        return Running(tuple(_BETWEEN.split(reader.text("urls"))), Secret(reader.text("secret")))

    def remove(self) -> None:
        """Remove what was written, unless a sidecar that took over has written since."""
        if self._written is not None and signature_of(self.path) == self._written:
            self.path.unlink(missing_ok=True)

    def take(self, code: str, now: float) -> None:
        """Take a code, which is good no second time; CodeRefused, and StoreError.

        The file is read each time: another sidecar with the same state folder may have written it.
        """
        match = _CODE.fullmatch(code)
        try:
            running = self.read()
        except ConfigError as error:
            raise CodeRefused(error.message, error.hint) from None
        if match is None or running is None or not _is_made_of(running.secret, match):
            raise CodeRefused("This is no one-time code of this sidecar, or it was used.", _AGAIN)
        if not -AHEAD <= now - int(match[1], 16) < LIFE:
            raise CodeRefused("This one-time code has expired: it is good for 5 minutes.", _AGAIN)
        self.write(running.urls)


def make_code(secret: Secret, now: float) -> str:
    """A code that is good for LIFE seconds from now, once."""
    moment = f"{int(now):x}"
    return f"{moment}-{_mac(secret, moment)}"


def _is_made_of(secret: Secret, match: re.Match[str]) -> bool:
    return hmac.compare_digest(_mac(secret, match[1]), match[2])


def _mac(secret: Secret, moment: str) -> str:
    """128 bits that only who can read the file can make."""
    return hmac.digest(secret.reveal().encode(), moment.encode(), "sha256")[:16].hex()

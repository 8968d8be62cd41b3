"""The access token that requests are signed with: the one on disk, as it is now.

Only while a renewed token cannot be stored is it the one in memory.  With two-legged OAuth the
application link itself signs, in place of a token.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sidecar.credentials import TWO_LEGGED, WARNING_SECONDS, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError, in_brackets, with_hint
from sidecar.files.tokens import TokenFile

log = logging.getLogger(__name__)


class NoToken(NotAuthorized):
    """Nobody has signed in yet."""

    def __init__(self, path: Path) -> None:
        """`path` is where the token belongs."""
        super().__init__(
            f"There is no access token for Jira yet: {path} does not exist.", "run `sidecar auth`"
        )


class TokenInUse:
    """What an Identity signs with besides the key.

    Nobody else asks where it comes from: an empty token that never ends, with nothing to renew it
    with, would be signed and left alone like any other.
    """

    def __init__(self, file: TokenFile, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._error: SidecarError | None = None
        self._taken_at = 0.0
        self._outlived: TokenCredentials | None = None
        self._was_missed = False  # somebody wanted a token while there was none
        self.on_change: Callable[[], None] = _nobody_listens
        """Called when the token is another than before."""
        self.last_read: TokenCredentials | None = None
        """The token without another look at the disk; None where there was none."""

    def current(self) -> TokenCredentials:
        """The token as it is on disk now; NotAuthorized or ConfigError where none is usable."""
        if self._file.changed():
            self.reload()
        if self.last_read is None:
            self._was_missed = True
            raise self._error or NoToken(self._file.path)
        return self.last_read

    def unsaved(self) -> TokenCredentials | None:
        """The token, if it is in memory only, and none that counts more is on disk."""
        token = self.current()
        return None if self._outlived is None else token

    def use(self, token: TokenCredentials, *, instead_of: TokenCredentials | None = None) -> None:
        """Go on with a token that was just stored.

        One that could not be stored is used `instead_of` the one on disk, which is dead.
        """
        self._outlived = instead_of
        self._take(token)

    def lifetime(self) -> tuple[float, float] | None:
        """What is left of the token's life, and what was left when we got it, in seconds."""
        token = self.last_read
        if token is None or token.expires_at is None:
            return None
        return token.expires_at - self._clock(), token.expires_at - self._taken_at

    def look_again(self) -> None:
        """Read the token whatever the file's times say: Jira has refused the one from before.

        NFS shows times that are up to a minute old (acregmax in nfs(5)), and the file as it is to
        whoever opens it.
        """
        self._file.open_folder()
        self.reload()

    def reload(self) -> None:
        """Read the token again, changed or not; a broken one is reported and refused."""
        try:
            found = self._file.load()
        except SidecarError as error:
            known, self._error = self._error, error
            is_news = known is None or known.message != error.message
            if self.last_read is not None and is_news:
                log.error(
                    "%s; going on with the token from before%s",
                    error.message,
                    in_brackets(error.hint),
                )
            return
        outlived = self._outlived
        if outlived is not None and (found is None or found.token == outlived.token):
            return  # its successor could not be stored yet
        if self.last_read is not None and found is None:
            log.error(
                "%s is gone: every request is answered with 503 until you run `sidecar auth`",
                self._file.path,
            )
        elif self.last_read is not None and found != self.last_read:
            log.info("another access token was found in %s and is used now", self._file.path)
        elif found is not None and self._was_missed:
            log.info("an access token was found in %s: requests are signed now", self._file.path)
        self._outlived = None
        self._take(found)

    def warnings(self) -> list[str]:
        """What `run` should say of a token at its start."""
        token, found = self.last_read, []
        if token is not None and self._file.renewal_mark.is_about(token):
            found.append(
                "The renewal of the access token was cut short when the sidecar last ran. Jira may"
                " have dropped the one that is stored: if it answers token_rejected, run"
                " `sidecar auth`."
            )
        if token is not None and (host := self._file.other_machine()):
            found.append(
                f"The access token was stored on {host}, which is another machine. If a sidecar"
                " there has it, too, each renewal ends the other's: run `sidecar auth` here, or"
                " let both use one file (see docs/fleets.md)."
            )
        if token is not None and token.session_handle is not None:
            reason = self._why_not_renewed()
            if reason:
                found.append(f"The access token cannot be renewed: {reason}")
        return found

    def expiry_warning(self) -> str | None:
        """What to say of a token that ends within 30 days."""
        token, lifetime = self.last_read, self.lifetime()
        if token is None or lifetime is None or lifetime[0] > WARNING_SECONDS:
            return None
        assert token.expires_at is not None
        verb, when = ("ends", "before that") if lifetime[0] > 0 else ("ended", "now")
        end = f"{verb} on {datetime.fromtimestamp(token.expires_at):%Y-%m-%d at %H:%M}"
        if not token.is_renewable(token.expires_at):
            return (
                f"The access token {end}, and Jira gave nothing to renew it with: run"
                f" `sidecar auth` {when}."
            )
        if reason := self._why_not_renewed():
            return f"The access token {end}, and cannot be renewed: {reason}"
        return f"The access token {end}; it is renewed {when}."

    def _why_not_renewed(self) -> str:
        """Why no new token could be stored, and what to do; "" if one can."""
        error = self._file.store_error()
        if error is None:
            return ""
        return f"no new one could be stored. {with_hint(error.message, error.hint)}"

    def _take(self, token: TokenCredentials | None) -> None:
        is_another = token != self.last_read
        if is_another:
            self._taken_at = self._clock()
        self.last_read = token
        self._error = None
        self._was_missed = False
        if is_another:
            self.on_change()


def _nobody_listens() -> None:
    """Whoever wants to hear of another token says so in TokenInUse.on_change."""


class LinkItself(TokenInUse):
    """Credentials with an empty token, which never change, end or need to be stored.

    A token file that is there stays as it is: it is neither read nor replaced.
    """

    def __init__(self, file: TokenFile, clock: Callable[[], float]) -> None:
        super().__init__(file, clock)
        self._credentials = TWO_LEGGED
        self.last_read = self._credentials

    def current(self) -> TokenCredentials:
        """The credentials, and what Jira has said of them."""
        return self._credentials

    def reload(self) -> None:
        """Do nothing: there is nothing on disk."""

    def introduce(self, user: str, display_name: str | None, server_url: str | None) -> None:
        """Note whom Jira takes us for, and what it calls itself."""
        self._credentials = replace(
            self._credentials, user=user, display_name=display_name, server_url=server_url
        )
        self.last_read = self._credentials

    def warnings(self) -> list[str]:
        """What to say of a token file that nobody needs."""
        return unused_token(self._file)


def unused_token(file: TokenFile) -> list[str]:
    """Warn of a token file that is there and not used, as jira.two_legged is set."""
    if not os.path.lexists(file.path):
        return []
    warning = (
        f"{file.path} is not used, and left alone: jira.two_legged is set, which needs no access"
        " token. Remove the file if nobody else uses it, or set jira.two_legged = false"
    )
    return [warning]

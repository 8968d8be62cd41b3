"""What `sidecar logout` does: the token goes here, and its user is told where to revoke it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sidecar.config.load import Config
from sidecar.errors import ConfigError, NotAuthorized, StoreError
from sidecar.files.document import read
from sidecar.files.private import remove_file
from sidecar.files.request_token import RequestTokenFile
from sidecar.files.tokens import TokenFile
from sidecar.http.shown import full_name, printable

ACCESS_TOKENS = "/plugins/servlet/oauth/users/access-tokens"
"""The page of Jira on which users see and revoke what they have approved."""


class Kept(NamedTuple):
    """A token on disk, and who has approved it."""

    path: Path
    base_url: str
    who: str

    @property
    def advice(self) -> str:
        """Where its user revokes it."""
        return (
            f"The token in {self.path} stays good in Jira until it is revoked there: log in as"
            f" {self.who}, and open {self.base_url}{ACCESS_TOKENS}"
        )


class Logout:
    """The files that a sign-in with this configuration has left."""

    def __init__(self, config: Config) -> None:
        jira = config.jira
        self._file = TokenFile(config.token.path, jira.base_url, jira.consumer_key)
        self._request_token = RequestTokenFile(config.token.path, jira.base_url, jira.consumer_key)

    def kept(self) -> list[Kept]:
        """The tokens that are there; StoreError where the one in place is another Jira's."""
        self._refuse_foreign()
        return list(self._kept())

    async def remove(self) -> list[Path]:
        """Remove the tokens, and what is left of sign-ins and renewals; StoreError.

        Waits for a renewal that is under way: what it stores goes, too.
        """
        removed = []
        if self._file.left():
            async with self._file.locked():
                self._refuse_foreign()
                removed = self._file.remove()
        if remove_file(self._request_token.path):
            removed.append(self._request_token.path)
        return removed

    def _refuse_foreign(self) -> None:
        try:
            self._file.load()
        except NotAuthorized as error:
            hint = (
                "run `sidecar logout` with the configuration of that Jira; or remove the file"
                f" yourself: {self._file.path}"
            )
            raise StoreError(f"{error.message}; it is not removed", hint) from None
        except ConfigError as error:
            if not _may_be_token(self._file.path):
                hint = f"set token.path right; or remove the file yourself: {self._file.path}"
                raise StoreError(f"{error.message}; it is not removed", hint) from None

    def _kept(self) -> Iterator[Kept]:
        for path in (self._file.path, self._file.former):
            try:
                document = read(path, "token") or {}
            except ConfigError:
                continue
            texts = [document.get(name) for name in ("base_url", "user", "display_name")]
            base_url, user, name = (one if isinstance(one, str) else None for one in texts)
            if base_url:
                who = full_name(user, name) if user else "the user who has approved it"
                yield Kept(path, printable(base_url), who)


def _may_be_token(path: Path) -> bool:
    """Whether it is a plain file that is empty or begins as a token does: a damaged one of ours."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(1) in (b"", b"{")
    except OSError:
        return False

"""Two-legged OAuth: the application link itself signs, in place of an access token."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from sidecar.account.token_in_use import TokenInUse
from sidecar.credentials import TWO_LEGGED, TokenCredentials
from sidecar.files.tokens import TokenFile


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

"""What a sign-in stores, and when: the new token is tried before the old one goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sidecar.account.authorize import Authorizer
from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.errors import ConfigError, SidecarError, StoreError
from sidecar.files.request_token import RequestTokenFile
from sidecar.files.tokens import KeptBeside, TokenFile
from sidecar.http.shown import full_name, printable

Confirm = Callable[[str], Awaitable[bool]]
"""Asks the user a question that is answered by yes or no."""


class AnotherUsers(StoreError):
    """The token that is stored is another user's, and stays."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where tokens are kept."""

    token: TokenFile
    request_token: RequestTokenFile

    @classmethod
    def of(cls, config: Config) -> Files:
        """Those that a configuration names."""
        path, owner = config.token.path, (config.jira.base_url, config.jira.consumer_key)
        return cls(TokenFile(path, *owner), RequestTokenFile(path, *owner))

    async def prove_storable(self, *, begins: bool = True, replace: bool = False) -> None:
        """Prove that tokens can be stored, before Jira is asked for one; StoreError.

        A sign-in that only ends here stores no request token.  With `replace`, whatever token is
        there is to be replaced.
        """
        self.token.make_folder()
        async with self.token.locked():
            self.token.prove_storable(replace=replace)
        if begins:
            self.request_token.prove_storable()

    async def store(self, token: TokenCredentials, *, replace: bool = False) -> None:
        """Store the token that a sign-in has yielded, in place of the old one; StoreError.

        With `replace` the old one may be anybody's, and is kept; without, it must not be another
        user's, which another sign-in may have stored a moment ago.
        """
        # A renewal of the old token may be under way: it must not put that one's heir over the new.
        try:
            async with self.token.locked():
                if replace:
                    self.token.replace(token)
                else:
                    if (other := _other_user(self.token, token)) is not None:
                        raise _not_replaced(self.token, other, token)
                    self.token.save(token)
        except (KeptBeside, AnotherUsers):
            raise
        except (StoreError, ConfigError) as error:
            hint = f"{error.hint}; then begin again with `sidecar auth`: the new token is lost"
            raise type(error)(error.message, hint) from None


async def try_and_store(
    authorizer: Authorizer,
    files: Files,
    token: TokenCredentials,
    *,
    replace: bool = False,
    confirm: Confirm | None = None,
) -> TokenCredentials:
    """Try a new token, store it, and only then forget the request token.

    Until it is stored the old one stays: a new token that Jira does not take replaces nothing.
    Another user's token is replaced only with `replace`, or if `confirm` says so; StoreError.
    """
    token = await authorizer.introduce(token)
    if not replace and (other := _other_user(files.token, token)) is not None:
        replace = confirm is not None and await confirm(_question(other, token))
        if not replace:
            files.request_token.remove()
            raise _not_replaced(files.token, other, token)
    try:
        await files.store(token, replace=replace)
    except (KeptBeside, AnotherUsers):
        files.request_token.remove()
        raise
    files.request_token.remove()
    return token


def signed_in_line(token: TokenCredentials) -> str:
    """`Signed in as Alana Example (alana) until 2031-11-22`, by the calendar of this machine."""
    who = full_name(token.user, token.display_name)
    if token.is_two_legged:
        return f"Two-legged: acts as {who}"
    if token.expires_at is None:
        return f"Signed in as {who}"
    return f"Signed in as {who} until {datetime.fromtimestamp(token.expires_at):%Y-%m-%d}"


def _other_user(file: TokenFile, new: TokenCredentials) -> TokenCredentials | None:
    """The token that is stored, if it is known to be another user's."""
    try:
        old = file.load()
    except SidecarError:
        return None  # save() says what is wrong
    return old if old is not None and old.user not in (None, new.user) else None


def _question(old: TokenCredentials, new: TokenCredentials) -> str:
    return (
        f"Jira has signed in {full_name(new.user, new.display_name)}, and the token that is stored"
        f" is that of {full_name(old.user, old.display_name)}. Replace it?"
    )


def _not_replaced(file: TokenFile, old: TokenCredentials, new: TokenCredentials) -> AnotherUsers:
    theirs, ours = printable(old.user or ""), printable(new.user or "")
    return AnotherUsers(
        f"{file.path}: the token is that of {theirs}, and Jira has signed in {ours}; it is not"
        " replaced",
        f"log in to Jira as {theirs} and run `sidecar auth` again; or run `sidecar auth --replace`,"
        f" to act as {ours} from now on",
    )

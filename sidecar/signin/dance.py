"""The dance with a user in it: URL out, approval or typed code in, token stored.

In one go (`dance`), or as two commands that need no terminal (`begin`, `finish_with`).  The caller
passes the browser, the typed lines, the clock and the output; nothing here prints.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sidecar.account.authorize import OUT_OF_BAND, REQUEST_TOKEN_LIFE, Authorizer, parse_verifier
from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError, StoreError
from sidecar.jira.refusals import VerifierRefused, interrupted, request_token_expired
from sidecar.signin import callback_pages
from sidecar.signin.callback import Callback
from sidecar.signin.storing import Files, signed_in_line, try_and_store

__all__ = [
    "Files",
    "Lines",
    "User",
    "begin",
    "dance",
    "finish_with",
    "interrupted",
    "signed_in_line",
]

ATTEMPTS = 10
"""Wrong codes after which a dance ends: no user types so many, but a program may."""
_REMINDERS = (300.0, 120.0, 60.0, 30.0, 0.0)
"""The user is reminded when the request token has so many seconds left."""

_AGAIN = "`sidecar auth --verifier CODE`, or begin anew with `sidecar auth --begin`"

_Source = asyncio.Future[Secret] | asyncio.Future[str | None]


class Lines(Protocol):
    """What the user types; see prompt.TypedLines."""

    async def line(self) -> str | None:
        """The next line; None once the input has ended."""


@dataclass(frozen=True, slots=True)
class User:
    """The user's side of a dance."""

    tell: Callable[[str], None]
    """Shows a line of text."""
    typed: Lines
    open_browser: Callable[[str], bool] | None
    """Opens a URL and says whether it could; None leaves that to the user."""


async def dance(
    authorizer: Authorizer,
    files: Files,
    user: User,
    *,
    replace: bool = False,
    clock: Callable[[], float] = time.time,
) -> TokenCredentials:
    """Sign in: wait for the browser and for typed codes at once; store and return the new token.

    With `replace`, another Jira's or user's token is replaced, and kept.  Raises NotAuthorized if
    it was denied or took too long, else what a step or the store raises.
    """
    await files.prove_storable(replace=replace)
    async with _callback(user) as callback:
        try:
            token = await _approved(authorizer, user, callback, clock)
            token = await try_and_store(
                authorizer, files, token, replace=replace, confirm=partial(_confirm, user, callback)
            )
        except SidecarError as error:
            callback.show(callback_pages.failed(error))
            raise
        callback.show(callback_pages.signed_in(token))
        return token


async def begin(authorizer: Authorizer, files: Files, *, replace: bool = False) -> str:
    """Begin a dance that finish_with() ends: keep a request token, return the URL to approve at."""
    await files.prove_storable(replace=replace)
    temporary = await authorizer.request_token(OUT_OF_BAND)
    files.request_token.save(temporary)
    return authorizer.authorize_url(temporary)


async def finish_with(
    authorizer: Authorizer,
    files: Files,
    text: str,
    *,
    replace: bool = False,
    clock: Callable[[], float] = time.time,
) -> TokenCredentials:
    """End a begun dance with a code or a URL; store and return the new token.

    NotAuthorized where none has begun, or too long ago, or Jira doesn't take the code: then
    another may be given while the request token lives.
    """
    await files.prove_storable(begins=False, replace=replace)
    temporary = files.request_token.load()
    if clock() >= temporary.issued_at + REQUEST_TOKEN_LIFE:
        raise request_token_expired()
    try:
        token = await authorizer.exchange(temporary, parse_verifier(text, temporary))
    except VerifierRefused as refusal:
        raise VerifierRefused(refusal.message, f"{refusal.hint}: {_AGAIN}") from None
    try:
        return await try_and_store(authorizer, files, token, replace=replace)
    except BaseException:
        with suppress(StoreError):  # it is used up: the next try is to hear that, not of its code
            files.request_token.remove()
        raise


def lifetime(seconds: float) -> str:
    """A span of time in words: `9 min 58 s`, `2 min`, `45 s`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    parts = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0 or minutes == 0)
    return " ".join(parts)


async def _approved(
    authorizer: Authorizer, user: User, callback: Callback, clock: Callable[[], float]
) -> TokenCredentials:
    """Have the user approve; the access token that Jira gives for it."""
    temporary = await authorizer.request_token(callback.url or OUT_OF_BAND)
    url = authorizer.authorize_url(temporary)
    callback.expect(temporary.token)
    user.tell(_invitation(url, user, has_callback=bool(callback.url)))
    if user.open_browser is not None:
        _open_browser(user.open_browser, url, user.tell)
    approval = _Approval(temporary, user, callback, clock)
    try:
        token = await _exchange(authorizer, approval, user)
    finally:
        await approval.close()
    user.tell("Jira has approved the access; trying the new access token.")
    return token


async def _exchange(authorizer: Authorizer, approval: _Approval, user: User) -> TokenCredentials:
    """Exchange the request token; a code that was mistyped may be typed again."""
    attempts = 0
    while True:
        try:
            verifier = await approval.verifier()
            return await authorizer.exchange(approval.temporary, verifier)
        except VerifierRefused as refusal:
            attempts += 1
            if approval.by_browser or attempts == ATTEMPTS:
                raise
            user.tell(f"{refusal.message}\n({refusal.hint})\n{approval.countdown()}")


class _Approval:
    """Waits for the verifier, from the browser or typed, while the request token lives."""

    def __init__(
        self,
        temporary: TemporaryCredentials,
        user: User,
        callback: Callback,
        clock: Callable[[], float],
    ) -> None:
        self.temporary = temporary
        self.by_browser = False
        """Whether the verifier came from the browser."""
        self._user = user
        self._clock = clock
        self._browser = asyncio.ensure_future(callback.verifier()) if callback.url else None
        self._typing: asyncio.Future[str | None] | None = asyncio.ensure_future(user.typed.line())

    async def verifier(self) -> Secret:
        """The next verifier; VerifierRefused for a line that holds none."""
        while True:
            sources: set[_Source] = {
                task for task in (self._browser, self._typing) if task is not None
            }
            if not sources:
                raise NotAuthorized(
                    "There is no input to read the verification code from.",
                    "use `sidecar auth --begin`, then `sidecar auth --verifier CODE`",
                )
            await self._wait(sources)
            if self._browser is not None and self._browser.done():
                self.by_browser = True
                return self._browser.result()
            if self._typing is not None and self._typing.done():
                text = self._take_line(self._typing)
                if text:
                    return parse_verifier(text, self.temporary)

    async def close(self) -> None:
        """Stop waiting."""
        tasks = [task for task in (self._browser, self._typing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def countdown(self) -> str:
        """How long the request token still lives."""
        return f"The request token lives for another {lifetime(self._remaining())}."

    def _remaining(self) -> float:
        return self.temporary.issued_at + REQUEST_TOKEN_LIFE - self._clock()

    async def _wait(
        self, sources: set[asyncio.Future[Secret] | asyncio.Future[str | None]]
    ) -> None:
        """Wait for one of them and remind the user; NotAuthorized when the token has expired."""
        while (remaining := self._remaining()) > 0:
            reminder = next(at for at in _REMINDERS if at < remaining)
            done, _ = await asyncio.wait(
                sources, timeout=remaining - reminder, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return
            if 0 < self._remaining() <= reminder:
                self._user.tell(self.countdown())
        raise request_token_expired()

    def _take_line(self, typing: asyncio.Future[str | None]) -> str:
        """The line that was typed, stripped; for an empty one, tell the user the time left."""
        text = typing.result()
        if text is None:  # the input has ended, but the browser may still come
            self._typing = None
            return ""
        self._typing = asyncio.ensure_future(self._user.typed.line())
        if not text.strip():
            self._user.tell(self.countdown())
        return text.strip()


@asynccontextmanager
async def _callback(user: User) -> AsyncIterator[Callback]:
    """A callback that listens, unless this machine forbids it: codes can still be typed."""
    callback = Callback()
    try:
        await callback.open()
    except OSError as error:
        user.tell(f"Cannot wait for the browser here ({error.strerror}).")
    try:
        yield callback
    finally:
        await callback.close()


def _invitation(url: str, user: User, *, has_callback: bool) -> str:
    life = f"The request token lives for another {lifetime(REQUEST_TOKEN_LIFE)}."
    begin = "Open this page" if user.open_browser is None else "Your browser should open this page"
    if has_callback:
        then = (
            "Then come back here.  If the browser ends on a page that it cannot show, paste that\n"
            "page's address here; if Jira shows a verification code, type it."
        )
    else:
        then = "Then type the verification code that Jira shows, or paste the browser's address."
    return f"{begin}, log in to Jira and press Allow:\n\n    {url}\n\n{then}\n{life}"


def _open_browser(
    open_browser: Callable[[str], bool], url: str, tell: Callable[[str], None]
) -> None:
    """Open the URL in a thread that nobody waits for: some browsers return only when closed."""
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            opened = open_browser(url)
        except OSError:
            opened = False
        if not opened:
            try:
                loop.call_soon_threadsafe(
                    tell, "No browser could be opened: open the page yourself."
                )
            except RuntimeError:  # the dance is over and the loop closed
                return

    threading.Thread(target=work, daemon=True).start()


async def _confirm(user: User, callback: Callback, question: str) -> bool:
    """Ask the user at the prompt; no answer is a no."""
    callback.show(callback_pages.ASKED)
    user.tell(f"{question} [y/N]")
    answer = await user.typed.line()
    return answer is not None and answer.strip().lower() in ("y", "yes")

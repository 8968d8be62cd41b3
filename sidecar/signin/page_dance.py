"""The dance that is begun on the sidecar's own page: one at a time, and only while it waits.

    begin ──► waiting ──callback, or typed──► asking Jira ──► stored
                 ▲                              │    └─another user─► to be confirmed ──► stored
                 └───── a code that is wrong ───┘

Any state ends by a denial, by another that begins, when the request token has, and with stop().
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hmac import compare_digest

from sidecar.account.authorize import REQUEST_TOKEN_LIFE, Authorizer, parse_verifier
from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import NotAuthorized, SidecarError
from sidecar.http.shown import full_name
from sidecar.jira.refusals import VerifierRefused
from sidecar.signin.dance import ATTEMPTS
from sidecar.signin.storing import Files
from sidecar.signing.signature import decode_query
from sidecar.telemetry.record import CALLBACK

log = logging.getLogger(__name__)

CONFIRMATION_SECONDS = 300.0
"""How long another user waits to be confirmed, whatever is left of the request token's life."""
STOP_SECONDS = 3.0
"""What Jira is given to answer, and a token to be stored, when the sidecar stops or reloads."""

_AGAIN = "begin again with *Sign in* on the sidecar's page"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The token is stored."""

    token: TokenCredentials


@dataclass(frozen=True, slots=True)
class AnotherUser:
    """The token is another user's than the stored one: somebody has to confirm that."""

    token: TokenCredentials
    before: str
    """Who the sidecar is so far; "" where nobody knows."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody else is to be signed in: the stored token stays."""


Outcome = SignedIn | AnotherUser | Cancelled


class NotThisDance(NotAuthorized):
    """What came is not what the dance waits for; it goes on waiting."""


@dataclass(eq=False, slots=True)
class _Dance:
    """One sign-in, from *Sign in* to the stored token."""

    authorizer: Authorizer
    files: Files
    path: str = field(repr=False)
    """Where Jira was told to send the browser: 128 random bits of it are known to these two."""
    temporary: TemporaryCredentials | None = None
    was_called_back: bool = False
    attempts: int = 0
    verifier: Secret | None = None
    """The one that Jira could not be asked about: it may be tried again."""
    unconfirmed: AnotherUser | None = None
    work: asyncio.Future[Outcome] | None = None
    ends_at: float = 0.0
    """By the loop's clock."""
    timer: asyncio.TimerHandle | None = None


class PageDance:
    """Signs in by a browser's requests."""

    def __init__(self, parts: Callable[[], tuple[Authorizer, Files]]) -> None:
        """`parts` are asked for at each beginning: a reload may change them."""
        self._parts = parts
        self._dance: _Dance | None = None

    @property
    def seconds_left(self) -> float:
        """How long Jira's answer is waited for; 0.0 where none is."""
        ends_at = 0.0 if self._dance is None else self._dance.ends_at
        return max(0.0, ends_at - asyncio.get_running_loop().time())

    def waits_at(self, path: str) -> bool:
        """Whether Jira was told to send the browser to this path, and the dance still waits."""
        dance = self._dance
        return dance is not None and _same(path, dance.path)

    async def begin(self, origin: str) -> str:
        """Begin a dance whose callback is on `origin`; the URL of Jira's approval page."""
        self._end()
        authorizer, files = self._parts()
        dance = self._dance = _Dance(authorizer, files, CALLBACK + secrets.token_hex(16))
        try:
            await files.prove_storable(begins=False)
            temporary = await authorizer.request_token(origin + dance.path)
        except BaseException:
            self._end(dance)
            raise
        self._check(dance)
        dance.temporary = temporary
        self._wait(dance, REQUEST_TOKEN_LIFE)
        log.info("a browser has begun to sign in by the page")
        return authorizer.authorize_url(temporary)

    async def called_back(self, query: str) -> Outcome:
        """Go on with what Jira's redirect says, once; NotThisDance for another sign-in's."""
        dance, temporary = self._waiting()
        verifier = _verifier_of(query, temporary)
        if dance.was_called_back:
            raise NotThisDance("Jira's answer to this sign-in has come already.", _AGAIN)
        dance.was_called_back = True
        return await self._go_on(dance, verifier)

    async def typed(self, text: str) -> Outcome:
        """Go on with a code or a URL; nothing typed: with the one that could not be tried."""
        dance, temporary = self._waiting()
        try:
            if not text.strip() and dance.verifier is not None:
                verifier = dance.verifier
            else:
                verifier = parse_verifier(text, temporary)
        except VerifierRefused:
            raise
        except NotAuthorized:
            self._end(dance)  # the URL says that it was denied
            raise
        return await self._go_on(dance, verifier)

    async def confirm(self) -> Outcome:
        """Store the token of another user than before, as the owner has confirmed."""
        dance, _ = self._waiting()
        if dance.unconfirmed is None:
            raise NotThisDance("There is nothing to confirm.", _AGAIN)
        agreed = dance.unconfirmed
        return await self._work(dance, self._store(dance, agreed.token, agreed.before))

    def cancel(self) -> Cancelled:
        """End the dance that waits, if one does."""
        self._end()
        return Cancelled()

    async def stop(self) -> None:
        """End the dance; what is being stored is stored first."""
        work = None if self._dance is None else self._dance.work
        if work is not None:
            await asyncio.wait([work], timeout=STOP_SECONDS)
            work.cancel()
        self._end()

    def _waiting(self) -> tuple[_Dance, TemporaryCredentials]:
        dance = self._dance
        if dance is None or dance.temporary is None:
            raise NotThisDance("No sign-in waits for an answer any more.", _AGAIN)
        if dance.work is not None:
            raise NotThisDance("This sign-in is being finished already.", "wait for its page")
        return dance, dance.temporary

    async def _go_on(self, dance: _Dance, verifier: Secret) -> Outcome:
        dance.verifier = verifier
        return await self._work(dance, self._exchange(dance, verifier))

    async def _work(self, dance: _Dance, work: Awaitable[Outcome]) -> Outcome:
        """Do it to its end, whether or not the browser waits for that, or time is up meanwhile."""
        if dance.timer is not None:
            dance.timer.cancel()
        dance.work = asyncio.ensure_future(work)
        dance.work.add_done_callback(lambda done: self._worked(dance, done))
        return await asyncio.shield(dance.work)

    def _worked(self, dance: _Dance, done: asyncio.Future[Outcome]) -> None:
        """Go on waiting, unless this was the end."""
        dance.work = None
        error = None if done.cancelled() else done.exception()
        if isinstance(error, SidecarError):
            log.warning("the sign-in by the page: %s", error.message)
        if self._dance is dance:
            self._wait(dance, CONFIRMATION_SECONDS if dance.unconfirmed else self.seconds_left)

    def _wait(self, dance: _Dance, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        dance.ends_at = loop.time() + seconds
        dance.timer = loop.call_at(dance.ends_at, self._end, dance)

    async def _exchange(self, dance: _Dance, verifier: Secret) -> Outcome:
        assert dance.temporary is not None
        try:
            token = await dance.authorizer.exchange(dance.temporary, verifier)
        except VerifierRefused:
            dance.verifier = None
            dance.attempts += 1
            if dance.attempts >= ATTEMPTS:
                self._end(dance)
            raise
        except NotAuthorized:
            self._end(dance)
            raise
        try:
            token = await dance.authorizer.introduce(token)
            return await self._store(dance, token, None)
        except BaseException:
            self._end(dance)  # the request token is used up
            raise

    async def _store(self, dance: _Dance, token: TokenCredentials, over: str | None) -> Outcome:
        """Store the token, unless it would replace a user whom nobody agreed to replace."""
        self._check(dance)
        before = _stored_user(dance.files)
        if before not in (None, token.user, over):
            dance.unconfirmed = AnotherUser(token, before or "")
            return dance.unconfirmed
        try:
            await dance.files.store(token, replace=over is not None)
        finally:
            self._end(dance)
        log.info("signed in as %s by the page", full_name(token.user, token.display_name))
        return SignedIn(token)

    def _check(self, dance: _Dance) -> None:
        if self._dance is not dance:
            raise NotThisDance("Another sign-in has begun, or this one was ended.", _AGAIN)

    def _end(self, dance: _Dance | None = None) -> None:
        """Forget the dance that waits, or this one if it is that."""
        if self._dance is None or dance not in (None, self._dance):
            return
        if self._dance.timer is not None:
            self._dance.timer.cancel()
        self._dance = None


def _verifier_of(query: str, temporary: TemporaryCredentials) -> Secret:
    """The verifier of a redirect that has our request token; each must be there exactly once."""
    parameters = decode_query(query)
    tokens = [value for name, value in parameters if name == "oauth_token"]
    verifiers = [value for name, value in parameters if name == "oauth_verifier"]
    is_ours = len(tokens) == 1 and _same(tokens[0], temporary.token.reveal())
    if not is_ours or len(verifiers) != 1 or not verifiers[0]:
        raise NotThisDance(
            "This answer of Jira's belongs to another sign-in than the one that waits.",
            "approve at the address that the sidecar's page shows",
        )
    return Secret(verifiers[0])


def _stored_user(files: Files) -> str | None:
    """Whose token is stored: None where none is, "" where the file does not say."""
    token = files.token.load()
    return None if token is None else token.user or ""


def _same(text: str, expected: str) -> bool:
    return compare_digest(text.encode("utf-8", "replace"), expected.encode())

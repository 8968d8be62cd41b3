"""The steps of the OAuth dance with Jira (RFC 5849 §2): request token, exchange, renewal, who am I.

Requests and answers only; signin/dance.py shows the URL and takes the code.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from sidecar.account.identity import Identity
from sidecar.account.own_requests import (
    TOKEN_ENDPOINTS,
    Asked,
    OwnRequests,
    Question,
    is_accepted,
)
from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import NotJira, SidecarError, in_brackets
from sidecar.http.shown import printable
from sidecar.http.target import BaseURL
from sidecar.jira.problems import Problem, json_object
from sidecar.jira.refusals import (
    DENIED,
    Consumer,
    DanceStep,
    VerifierRefused,
    denied,
    refused,
    unexpected_answer,
)
from sidecar.rotation.next_key import KEY_PROBLEMS
from sidecar.signing.signature import decode_form, decode_query, percent_encode
from sidecar.upstream.pool import Answer, Upstream

OUT_OF_BAND = "oob"
"""RFC 5849 §2.1: there is no callback, Jira shows the verifier.  Unless the application link has
a Consumer Callback URL: Jira then goes there all the same."""
REQUEST_TOKEN_LIFE = 600.0
"""Seconds that Jira keeps a request token."""

_MYSELF = "/rest/api/2/myself"
_REQUEST_TOKEN = TOKEN_ENDPOINTS + "request-token"
_ACCESS_TOKEN = TOKEN_ENDPOINTS + "access-token"
_LONGEST_LIFE = 10**10  # seconds, 317 years: past that a number means "never"
_LONGEST = 1024
"""Characters of a token, a handle or Jira's own URL.  Jira's tokens have 32, and Tomcat refuses a
head of more than 8 KiB."""
_CODE = re.compile(r"[A-Za-z0-9._~+-]{1,256}")
_AROUND = " \t\r\n\v\f\"'`´‘’“”«»<>,.;"


log = logging.getLogger(__name__)


class Authorizer:
    """Takes one step of the dance at a time; a step that fails raises a SidecarError."""

    def __init__(
        self,
        identity: Identity,
        upstream: Upstream,
        seconds: float,
        *,
        clock: Callable[[], float] = time.time,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        """`seconds` is what a step may take from its beginning to its end: timeouts.response.

        `tell` hears what becomes of a private key that is to follow.
        """
        self._base = identity.base_url
        self._identity = identity
        self._clock = clock
        self._requests = OwnRequests(upstream, seconds, clock=clock)
        self._tell = tell

    async def request_token(self, callback: str = OUT_OF_BAND) -> TemporaryCredentials:
        """Get a request token (RFC 5849 §2.1); `callback` is a URL or OUT_OF_BAND."""
        issued_at = self._clock()  # before asking: it never lives longer than we say
        question = Question("POST", _REQUEST_TOKEN, extra=[("oauth_callback", callback)])
        answer = await self._ask(DanceStep.REQUEST_TOKEN, question, None)
        token, secret, _ = self._credentials(DanceStep.REQUEST_TOKEN, answer)
        return TemporaryCredentials(token, secret, issued_at)

    def authorize_url(self, temporary: TemporaryCredentials) -> str:
        """The URL of the page on which the user allows or denies the access (RFC 5849 §2.2)."""
        token = percent_encode(temporary.token.reveal())
        return f"{self._base}{TOKEN_ENDPOINTS}authorize?oauth_token={token}"

    async def exchange(self, temporary: TemporaryCredentials, verifier: Secret) -> TokenCredentials:
        """Exchange an approved request token for an access token (RFC 5849 §2.3).

        It is used up only on success: after VerifierRefused another verifier may be tried.
        """
        if verifier.reveal() == DENIED:
            raise denied()
        token = TokenCredentials(temporary.token, temporary.token_secret)
        return await self._access_token(
            DanceStep.EXCHANGE, token, ("oauth_verifier", verifier.reveal())
        )

    async def renew(self, old: TokenCredentials) -> TokenCredentials:
        """Get a new access token for an old one, expired or not, while its session lives.

        The old one is dead at once: store the new one before anything else.
        """
        if old.session_handle is None:
            raise self._refused(DanceStep.RENEWAL, Problem("permission_denied"), "")
        extra = ("oauth_session_handle", old.session_handle.reveal())
        new = await self._access_token(DanceStep.RENEWAL, old, extra)
        return replace(new, user=old.user, display_name=old.display_name, server_url=old.server_url)

    async def whoami(
        self, token: TokenCredentials, *, heals_url: bool = False
    ) -> tuple[str, str | None]:
        """Try a token: the name of the user that it acts as, and the name to show.

        `heals_url` says whether to sign for the URL that Jira believes in from now on.
        """
        return self._names(await self._get(DanceStep.MYSELF, _MYSELF, token, heals_url))

    async def ask_myself(self, token: TokenCredentials) -> Asked:
        """Ask by a short request who we are, and heal what Jira finds wrong with that."""
        question = Question("GET", _MYSELF, acting_as=self._identity.act_as)
        signer, believe = self._identity.request_signer, self._identity.signing_url.believe
        return await self._requests.ask(signer, question, token, tries=3, believe=believe)

    def names(self, asked: Asked) -> tuple[str, str | None]:
        """Read who we are from the answer to ask_myself(), see whoami(); it names no problem."""
        return self._names(self._document(DanceStep.MYSELF, asked.answer))

    async def probe(self, token: TokenCredentials) -> Problem | None:
        """Find out by a short request whether Jira finds our signatures wrong, and heal that."""
        asked = await self.ask_myself(token)
        problems = [one.problem.name for one in (*asked.refused, asked) if one.problem is not None]
        return Problem("signature_invalid") if "signature_invalid" in problems else None

    async def take_next_key(self) -> bool:
        """Ask Jira about the private key that is to follow, and sign by it once it is accepted.

        True where another key is in use than a moment ago.  Jira looks at a dead access token
        before the signature, so a request token is asked for, which lapses unused.
        """
        if self._identity.looks_at_key():
            return True
        try:
            key = self._identity.next_key.load()
        except SidecarError as error:
            self._tell(f"{error.message}; the new key is not tried{in_brackets(error.hint)}")
            return False
        if key is None:
            return self._identity.has_another_key
        signer, two_legged = self._identity.signer_of(key), self._identity.two_legged
        if not await is_accepted(self._requests, signer, two_legged=two_legged):
            return False
        self._tell(self._identity.adopt(key))
        return True

    async def server_url(self, token: TokenCredentials) -> str | None:
        """What Jira calls itself; None if it does not say, for only links depend on it."""
        try:
            info = await self._get(DanceStep.SERVER_INFO, "/rest/api/2/serverInfo", token)
            url = str(info.get("baseUrl"))
            return str(BaseURL.parse(url)) if len(url) <= _LONGEST else None
        except (SidecarError, ValueError):
            return None

    async def introduce(
        self, token: TokenCredentials, *, heals_url: bool = False
    ) -> TokenCredentials:
        """Try a new token; add to it whose it is and what Jira calls itself."""
        user, display_name = await self.whoami(token, heals_url=heals_url)
        server_url = await self.server_url(token)
        return replace(token, user=user, display_name=display_name, server_url=server_url)

    async def _access_token(
        self, step: DanceStep, token: TokenCredentials, extra: tuple[str, str]
    ) -> TokenCredentials:
        question = Question("POST", _ACCESS_TOKEN, extra=[extra], is_safe=False)
        answer = await self._ask(step, question, token)
        new, secret, reply = self._credentials(step, answer)
        now = self._clock()
        handle = reply.get("oauth_session_handle")
        return TokenCredentials(
            new,
            secret,
            session_handle=Secret(handle) if handle else None,
            expires_at=_end(now, reply.get("oauth_expires_in")),
            session_expires_at=_end(now, reply.get("oauth_authorization_expires_in")),
        )

    def _credentials(
        self, step: DanceStep, answer: Answer
    ) -> tuple[Secret, Secret, dict[str, str]]:
        """Read a token endpoint's form (RFC 5849 §2.1, §2.3); the secret may be empty."""
        reply = dict(decode_form(answer.body))
        token, secret = reply.get("oauth_token"), reply.get("oauth_token_secret")
        if not token or secret is None or max(map(len, reply.values())) > _LONGEST:
            raise self._unexpected_answer(step, answer)
        return Secret(token), Secret(secret), reply

    async def _get(
        self, step: DanceStep, path: str, token: TokenCredentials, heals_url: bool = False
    ) -> dict[str, Any]:
        question = Question("GET", path, acting_as=self._identity.act_as)
        return self._document(step, await self._ask(step, question, token, heals_url))

    def _document(self, step: DanceStep, answer: Answer) -> dict[str, Any]:
        """The JSON object that a 200 holds."""
        value = json_object(answer.body) if answer.status == 200 else None
        if value is None:
            raise self._unexpected_answer(step, answer)
        return value

    def _names(self, myself: dict[str, Any]) -> tuple[str, str | None]:
        user, display_name = _text(myself, "name"), _text(myself, "displayName")
        if user is None:
            raise NotJira(
                f"{self._base.authority} did not say who we are.",
                "see whether jira.base_url is the address of Jira Data Center or Server",
            )
        return user, display_name

    async def _ask(
        self,
        step: DanceStep,
        question: Question,
        token: TokenCredentials | None,
        heals_url: bool = False,
    ) -> Answer:
        """Ask, and return a 200.

        Only what `run` does beside requests takes over the URL that Jira believes in: at a sign-in
        there is a user who can mend the configuration.
        """
        takes_url = heals_url or step is DanceStep.RENEWAL
        believe = self._identity.signing_url.believe if takes_url else None
        tries = 3 if heals_url else 2  # clock and URL may both be wrong
        signer = self._identity.request_signer

        def ask() -> Awaitable[Asked]:
            return self._requests.ask(signer, question, token, tries=tries, believe=believe)

        asked = await ask()
        about_key = asked.problem is not None and asked.problem.name in KEY_PROBLEMS
        if about_key and await self.take_next_key():
            asked = await ask()
        if asked.problem is not None:
            raise self._refused(step, asked.problem, asked.signed.base_string.decode())
        if asked.answer.status != 200:
            raise self._unexpected_answer(step, asked.answer)
        return asked.answer

    def _refused(self, step: DanceStep, problem: Problem, base_string: str) -> SidecarError:
        identity = self._identity
        consumer = Consumer(
            self._base, identity.signing_url.url, identity.consumer_key, identity.fingerprint
        )
        return refused(step, problem, consumer, base_string)

    def _unexpected_answer(self, step: DanceStep, answer: Answer) -> SidecarError:
        return unexpected_answer(step, answer.status, answer.fields, answer.body, self._base)


def parse_verifier(text: str, temporary: TemporaryCredentials) -> Secret:
    """Read what a user gives as the verifier: the code, or the URL that the browser ended on.

    Spaces and quotes around it do no harm.  Raises VerifierRefused for anything else, for the
    URL of another request token too, and NotAuthorized for the URL that says "denied".
    """
    text = text.strip(_AROUND)
    if "oauth_verifier=" in text or "oauth_token=" in text:
        text = _from_url(text, temporary)
    if not _CODE.fullmatch(text):
        raise VerifierRefused(
            "That is neither a verification code nor a URL that holds one.",
            "give the code that Jira shows, or the whole URL that the browser ended on",
        )
    if text == DENIED:
        raise denied()
    return Secret(text)


def _from_url(url: str, temporary: TemporaryCredentials) -> str:
    url = url.partition("#")[0]
    query = url.partition("?")[2] or url
    parameters = dict(decode_query(query)) if query.isascii() else {}
    token = parameters.get("oauth_token")
    if token is not None and Secret(token) != temporary.token:
        raise VerifierRefused(
            "That URL belongs to another sign-in: its request token is not the one of this one.",
            "give the URL, or the code, that came from the page of this sign-in",
        )
    return parameters.get("oauth_verifier", "")


def _end(now: float, seconds: str | None) -> float | None:
    """Unix time of the end of a life that Jira names in seconds; None if that is no number.

    Jira's documentation and its versions differ: the reply is believed.
    """
    if not seconds or not re.fullmatch("[0-9]{1,11}", seconds):
        return None
    return now + int(seconds) if 0 < int(seconds) <= _LONGEST_LIFE else None


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return printable(value) if isinstance(value, str) and value else None

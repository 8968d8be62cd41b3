"""The sidecar's own requests to Jira: of a sign-in, a renewal, a diagnosis.

Each is healed here, and ends within one limit on the whole, whatever Jira does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sidecar.account.remedies import Remedies
from sidecar.account.request_signer import RequestSigner, Signed
from sidecar.credentials import TWO_LEGGED, TokenCredentials
from sidecar.errors import ResponseTimeout
from sidecar.http.fields import USER_AGENT, Fields
from sidecar.http.target import BaseURL, Target, acting_as
from sidecar.jira.problems import (
    ActsAs,
    Problem,
    json_object,
    parse_problem,
    token_endpoint_problem,
)
from sidecar.signing.signature import encode_query
from sidecar.upstream.pool import Answer, Upstream, UpstreamRequest

TOKEN_ENDPOINTS = "/plugins/servlet/oauth/"  # noqa: S105
_LIMIT = 1 << 20
"""Bytes of an answer that are read; what Jira answers to us has some hundreds."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request of our own, before it is signed."""

    method: str
    path: str
    """Below the base URL."""
    query: str = ""
    extra: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Protocol parameters besides the usual ones."""
    is_safe: bool = True
    """Whether it does no harm if Jira acts on it twice."""
    acting_as: str | None = None
    """The user that a two-legged request names."""


REQUEST_TOKEN = Question(
    "POST", TOKEN_ENDPOINTS + "request-token", extra=[("oauth_callback", "oob")]
)
"""Needs no user and no token, and does nothing: so it tells what Jira thinks of our signature."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer of Jira's."""

    answer: Answer
    answered_at: float
    """When Jira answered, by our clock: half a round trip ago."""


@dataclass(frozen=True, slots=True)
class Asked(Heard):
    """An answer to a signed request, and what is wrong with it."""

    signed: Signed
    problem: Problem | None
    refused: tuple[Asked, ...] = ()
    """The tries before, whose problems were healed."""


class OwnRequests:
    """Asks one Jira."""

    def __init__(
        self,
        upstream: Upstream,
        seconds: float,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`seconds` is the limit on each question, retries included; `clock` is this machine's."""
        self._upstream = upstream
        self._seconds = seconds
        self._clock = clock

    async def ask(
        self,
        signer: RequestSigner,
        question: Question,
        token: TokenCredentials | None,
        *,
        tries: int = 2,
        believe: Callable[[BaseURL], None] | None = None,
    ) -> Asked:
        """Ask a signed question, again if that heals it; ResponseTimeout past the limit.

        `believe` is told the URL that Jira has shown to be its own; without it, a signature that
        is wrong for its URL is not healed.
        """
        remedies = Remedies(signer)
        async with limited(signer.base_url, self._seconds):
            asked = await self._ask_once(signer, question, token, None)
            while asked.problem is not None and len(asked.refused) < tries - 1:
                url = remedies.heal(
                    asked.problem, asked.signed, asked.answer.fields, is_safe=question.is_safe
                )
                if url is not None and url != asked.signed.url:
                    if believe is None:
                        break
                    believe(url)
                if url is None:
                    break
                again = await self._ask_once(signer, question, token, url)
                asked = replace(again, refused=(*asked.refused, asked))
            return asked

    async def ask_unsigned(self, base_url: BaseURL, target: str) -> Heard:
        """Ask as anybody; `target` has the context path in it."""
        async with limited(base_url, self._seconds):
            return await self._send(UpstreamRequest("GET", target, _fields(base_url)))

    async def _ask_once(
        self,
        signer: RequestSigner,
        question: Question,
        token: TokenCredentials | None,
        url: BaseURL | None,
    ) -> Asked:
        target = Target(signer.base_url.path + question.path, question.query or None)
        target = acting_as(target, question.acting_as)
        parameters = encode_query(target.query) if target.query else []
        signed = signer.prepare(
            question.method, target.path, parameters, token, extra=question.extra, url=url
        ).sign()
        fields = [*_fields(signer.base_url), (b"Authorization", signed.authorization)]
        if question.method == "POST":
            fields.append((b"Content-Length", b"0"))
        heard = await self._send(UpstreamRequest(question.method, str(target), fields))
        problem = _problem(question, heard.answer, token)
        return Asked(heard.answer, heard.answered_at, signed, problem)

    async def _send(self, request: UpstreamRequest) -> Heard:
        response = await self._upstream.send(request)
        answered_at = self._clock() - response.first_byte_seconds / 2
        try:
            body = b""
            while len(body) < _LIMIT and (piece := await response.read()):
                body += piece
        finally:
            response.close()
        return Heard(Answer(response.status, response.fields, body), answered_at)


async def is_accepted(requests: OwnRequests, signer: RequestSigner, *, two_legged: bool) -> bool:
    """Whether Jira accepts the signatures of a key.

    It is asked for a request token, which lapses unused; as the link itself, who we are.
    """
    if two_legged:
        question, token = Question("GET", "/rest/api/2/myself"), TWO_LEGGED
    else:
        question, token = REQUEST_TOKEN, None
    asked = await requests.ask(signer, question, token, tries=3, believe=signer.signing_url.take)
    if asked.problem is not None or asked.answer.status != 200:
        return False
    if two_legged:
        return "name" in (json_object(asked.answer.body) or {})
    return b"oauth_token=" in asked.answer.body


@asynccontextmanager
async def limited(base_url: BaseURL, seconds: float) -> AsyncIterator[None]:
    """Limit the whole of an exchange with Jira: ResponseTimeout where it takes longer.

    A Jira that drips its answer reaches no limit on the pauses in it.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise ResponseTimeout(
            f"{base_url.authority} gave no whole answer within {seconds:g} s.",
            "timeouts.response sets the limit",
        ) from None


def _fields(base_url: BaseURL) -> Fields:
    return [
        (b"Host", base_url.authority.encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"identity"),
        (b"User-Agent", USER_AGENT),
        (b"X-Atlassian-Token", b"no-check"),
    ]


def _problem(question: Question, answer: Answer, token: TokenCredentials | None) -> Problem | None:
    """What is wrong with the answer to a signed request, if anything."""
    if question.path.startswith(TOKEN_ENDPOINTS):
        return token_endpoint_problem(answer.status, answer.fields, answer.body)
    body = answer.body if answer.body.strip() else b""  # an empty 401 may have an end of line
    acts_as = ActsAs.of(token, question.acting_as)
    return parse_problem(answer.status, answer.fields, body, acts_as)

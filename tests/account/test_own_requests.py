"""The sidecar's own requests: healed in one place, and never longer than their limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar import __version__
from sidecar.account.clock import JiraClock
from sidecar.account.own_requests import OwnRequests, Question, is_accepted, limited
from sidecar.account.request_signer import RequestSigner
from sidecar.account.signing_url import SigningURL
from sidecar.credentials import TWO_LEGGED, Secret, TokenCredentials
from sidecar.errors import ResponseTimeout
from sidecar.http.target import BaseURL
from sidecar.jira.problems import Problem
from sidecar.sandbox import Sandbox
from sidecar.signing.signer import Signer
from sidecar.upstream.pool import Upstream
from tests.conftest import CONSUMER_KEY, make_config
from tests.support.clocks import Ticking
from tests.support.dancing import Odd, answer
from tests.support.raw_server import Peer, RawServer
from tests.support.raw_upstream import RawUpstream

SHORT = 0.2
MYSELF = Question("GET", "/rest/api/2/myself")
REQUEST_TOKEN = Question(
    "POST", "/plugins/servlet/oauth/request-token", extra=[("oauth_callback", "oob")]
)
GIVEN = '{"name": "&oauth_token=a&"}'
"""What a key is accepted for, with a token and without."""
TOKEN = TokenCredentials(Secret("T" * 32), Secret(""))


class Desk:
    """Who asks, and what it is signed by."""

    def __init__(self, upstream: Upstream, key: RSAPrivateKey, url: str, seconds: float) -> None:
        base = BaseURL.parse(url)
        self.clock = JiraClock()
        self.signing_url = SigningURL(base, base)
        signer = Signer(key, CONSUMER_KEY, clock=self.clock.now)
        self.signer = RequestSigner(base, signer, self.clock, self.signing_url)
        self.upstream = upstream
        self.requests = OwnRequests(upstream, seconds)

    async def is_accepted(self, *, two_legged: bool = False) -> bool:
        return await is_accepted(self.requests, self.signer, two_legged=two_legged)


Make = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def make(private_key: RSAPrivateKey, tmp_path: Path) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def start(url: str, seconds: float = 60.0) -> Desk:
            upstream = Upstream(make_config(url, tmp_path, private_key))
            stack.push_async_callback(upstream.close)
            return Desk(upstream, private_key, url, seconds)

        yield start


# ── the limit on the whole ──────────────────────────────────────────────────────────────────


async def say_nothing(peer: Peer) -> None:
    await peer.gone()


async def drip_the_head(peer: Peer) -> None:
    await drip(peer, b"HTTP/1.1 200 OK\r\nX: ")


async def drip_the_body(peer: Peer) -> None:
    await drip(peer, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")


async def drip(peer: Peer, beginning: bytes) -> None:
    await peer.head()
    await peer.send(beginning)
    while not peer.writer.is_closing():
        await peer.send(b"a")
        await asyncio.sleep(SHORT / 20)


@pytest.mark.parametrize("script", [say_nothing, drip_the_head, drip_the_body])
async def test_a_jira_that_is_silent_or_drips_is_given_up(
    make: Make, script: Callable[[Peer], Awaitable[None]]
) -> None:
    """No pause between two pieces is long: timeouts.idle alone would wait for ever."""
    async with RawServer(script) as server:
        desk = await make(server.url, SHORT)
        asking = [
            desk.requests.ask(desk.signer, MYSELF, TOKEN),
            desk.requests.ask(desk.signer, REQUEST_TOKEN, None),
            desk.requests.ask_unsigned(desk.signer.base_url, "/"),
        ]
        for question in asking:
            with pytest.raises(ResponseTimeout, match="no whole answer within") as caught:
                await question
            assert caught.value.exit_code == 69
            assert "timeouts.response" in caught.value.hint


async def test_the_limit_is_on_all_tries_together(make: Make) -> None:
    """A Jira that refuses slowly has no more time for the second try."""
    refusal = answer(400, b"oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700")
    tries = 0

    async def refuse_once(peer: Peer) -> None:
        nonlocal tries
        tries += 1
        await peer.head()
        await (peer.send(refusal) if tries == 1 else peer.gone())

    async with RawServer(refuse_once) as server:
        desk = await make(server.url, SHORT)
        with pytest.raises(ResponseTimeout):
            await desk.requests.ask(desk.signer, REQUEST_TOKEN, None)
    assert tries == 2


async def test_other_timeouts_and_cancellations_pass() -> None:
    base = BaseURL.parse("http://jira.example.com")
    with pytest.raises(TimeoutError, match="another"):
        async with limited(base, 60):
            raise TimeoutError("another")
    with pytest.raises(asyncio.CancelledError):
        async with limited(base, 60):
            raise asyncio.CancelledError


async def test_an_answer_without_end_is_read_up_to_a_limit(make: Make) -> None:
    async def flood(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while not peer.writer.is_closing():
            await peer.send(b"<html>" * 10_000)

    async with RawServer(flood) as server:
        desk = await make(server.url)
        heard = await desk.requests.ask_unsigned(desk.signer.base_url, "/")
        assert 1 << 20 <= len(heard.answer.body) < 2 << 20
        await server.end()  # we have ended the connection


@pytest.mark.parametrize(("length", "is_whole"), [(1 << 20, True), ((1 << 20) - 1, False)])
async def test_a_megabyte_of_an_answer_is_enough(make: Make, length: int, is_whole: bool) -> None:
    async def pause(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * length)
        await peer.gone()

    async with RawServer(pause) as server:
        desk = await make(server.url, 60.0 if is_whole else SHORT)
        asking = desk.requests.ask_unsigned(desk.signer.base_url, "/")
        if is_whole:
            assert (await asking).answer.body == b"a" * length
        else:
            with pytest.raises(ResponseTimeout):
                await asking


# ── healing ─────────────────────────────────────────────────────────────────────────────────


async def test_clock_and_url_are_both_healed_if_there_are_tries_enough(
    sandbox: Sandbox, make: Make
) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.throw({"clock_offset": 7200.0, "perceived_scheme": "https"})
    believed: list[BaseURL] = []
    asked = await desk.requests.ask(
        desk.signer, REQUEST_TOKEN, None, tries=3, believe=believed.append
    )
    assert (asked.answer.status, asked.problem) == (200, None)
    names = [refusal.problem.name for refusal in asked.refused if refusal.problem]
    assert names == ["timestamp_refused", "signature_invalid"]
    assert [url.scheme for url in believed] == ["https"], "a URL that was right is not told"
    assert asked.signed.url == believed[0]
    assert desk.clock.difference == pytest.approx(7200, abs=2)


async def test_unless_it_is_said_there_are_two_tries(sandbox: Sandbox, make: Make) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.nonce_used = 10
    asked = await desk.requests.ask(desk.signer, REQUEST_TOKEN, None)
    assert (len(asked.refused), len(sandbox.log)) == (1, 2)


@pytest.mark.parametrize("tries", [1, 2, 3])
async def test_what_no_try_heals_is_asked_no_more_often_than_it_may(
    sandbox: Sandbox, make: Make, tries: int
) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.nonce_used = 10
    asked = await desk.requests.ask(desk.signer, REQUEST_TOKEN, None, tries=tries)
    assert asked.problem is not None
    assert asked.problem.name == "nonce_used"
    assert (len(asked.refused), len(sandbox.log)) == (tries - 1, tries)


async def test_a_wrong_url_is_healed_only_for_whoever_believes_it(
    sandbox: Sandbox, make: Make
) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.perceived_scheme = "https"
    asked = await desk.requests.ask(desk.signer, REQUEST_TOKEN, None, tries=3)
    assert asked.problem is not None
    assert asked.problem.name == "signature_invalid"
    assert asked.refused == ()
    assert len(sandbox.log) == 1


async def test_a_question_is_safe_unless_it_says_otherwise(sandbox: Sandbox, make: Make) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.nonce_used = 1
    token = TokenCredentials(Secret(sandbox.grant().token), Secret(""))
    asked = await desk.requests.ask(desk.signer, MYSELF, token)
    assert (asked.answer.status, len(asked.refused)) == (200, 1)


@pytest.mark.parametrize("path", ["/rest/api/2/myself", REQUEST_TOKEN.path])
async def test_a_problem_that_stands_in_the_body_alone_is_read(make: Make, path: str) -> None:
    async with Odd(answer(401, b"oauth_problem=token_rejected")) as odd:
        desk = await make(odd.url)
        asked = await desk.requests.ask(desk.signer, Question("GET", path), TOKEN)
    assert asked.problem is not None
    assert asked.problem.name == "token_rejected"


@pytest.mark.parametrize(("is_safe", "tries"), [(True, 2), (False, 1)])
async def test_what_a_copy_may_have_done_is_not_asked_again(
    sandbox: Sandbox, make: Make, is_safe: bool, tries: int
) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.nonce_used = 1
    question = Question("POST", REQUEST_TOKEN.path, extra=REQUEST_TOKEN.extra, is_safe=is_safe)
    asked = await desk.requests.ask(desk.signer, question, None)
    assert len(sandbox.log) == tries
    assert (asked.problem is None) == is_safe


@pytest.mark.parametrize(
    ("path", "name"),
    [("/rest/api/2/myself", "user_may_not_log_in"), (REQUEST_TOKEN.path, None)],
)
async def test_an_empty_401_is_a_problem_only_where_somebody_is_signed_in(
    make: Make, path: str, name: str | None
) -> None:
    async with Odd(answer(401, b"\r\n", "X-AUSERNAME: anonymous")) as odd:
        desk = await make(odd.url)
        asked = await desk.requests.ask(desk.signer, Question("GET", path), TOKEN)
    assert (asked.problem.name if asked.problem else None) == name


async def test_a_query_is_signed_and_sent(sandbox: Sandbox, make: Make) -> None:
    desk = await make(sandbox.url)
    token = TokenCredentials(Secret(sandbox.grant().token), Secret(""))
    search = Question("GET", "/rest/api/2/search", "jql=order+by+created&maxResults=0")
    before = time.time()
    asked = await desk.requests.ask(desk.signer, search, token)
    assert asked.answer.status == 200
    assert before <= asked.answered_at <= time.time()
    assert sandbox.log[-1].target.endswith(search.query)


async def test_jira_has_answered_half_a_round_trip_ago(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.upstream.exchange.perf_counter", Ticking(8.0))
    async with RawUpstream() as upstream:
        desk = await make(upstream.url)
        requests = OwnRequests(desk.upstream, 60.0, clock=lambda: 1000.0)
        heard = await requests.ask_unsigned(desk.signer.base_url, "/")
        asked = await requests.ask(desk.signer, MYSELF, TOKEN)
    assert heard.answered_at == asked.answered_at == 1000.0 - 8.0 / 2


@pytest.mark.parametrize(
    ("question", "more"),
    [(MYSELF, []), (REQUEST_TOKEN, ["Content-Length: 0"])],
    ids=["GET", "POST"],
)
async def test_each_says_who_asks_and_wants_it_plain(
    make: Make, question: Question, more: list[str]
) -> None:
    async with RawUpstream() as upstream:
        desk = await make(upstream.url)
        await desk.requests.ask(desk.signer, question, None)
        (exchange,) = upstream.exchanges
    lines = exchange.head.decode().split("\r\n")
    assert lines.pop(6).startswith("Authorization: OAuth ")
    assert lines == [
        f"{question.method} {question.path} HTTP/1.1",
        f"Host: 127.0.0.1:{upstream.port}",
        "Accept: */*",
        "Accept-Encoding: identity",
        f"User-Agent: jira-oauth-sidecar/{__version__}",
        "X-Atlassian-Token: no-check",
        *more,
        "",
        "",
    ]


async def test_a_two_legged_question_names_its_user_before_all_else(make: Make) -> None:
    question = Question("GET", "/rest/api/2/search", "user_id=b", acting_as="a b")
    async with RawUpstream() as upstream:
        desk = await make(upstream.url)
        asked = await desk.requests.ask(desk.signer, question, TWO_LEGGED)
        (exchange,) = upstream.exchanges
    assert exchange.target == "/rest/api/2/search?xoauth_requestor_id=a%20b&user_id=b"
    assert b"user_id%3Db%26xoauth_requestor_id%3Da%2520b" in asked.signed.base_string


@pytest.mark.parametrize(
    ("token", "user", "name", "meaning"),
    [
        (TOKEN, None, "user_may_not_log_in", ""),
        (TWO_LEGGED, None, "two_legged_not_allowed", ""),
        (TWO_LEGGED, "alana", "two_legged_not_allowed", "impersonation_not_allowed"),
    ],
)
async def test_an_empty_401_is_about_whom_jira_was_to_take_us_for(
    make: Make, token: TokenCredentials, user: str | None, name: str, meaning: str
) -> None:
    question = Question("GET", MYSELF.path, acting_as=user)
    async with Odd(answer(401, b"", "X-AUSERNAME: anonymous")) as odd:
        desk = await make(odd.url)
        asked = await desk.requests.ask(desk.signer, question, token)
    assert asked.problem == Problem(name, meaning=meaning)


def test_no_secret_of_a_question_is_shown() -> None:
    question = Question("POST", "/x", extra=[("oauth_verifier", "secret")])
    assert "secret" not in repr(question)


async def test_one_that_is_asked_as_anybody_is_not_signed(make: Make) -> None:
    async with RawUpstream() as upstream:
        desk = await make(upstream.url)
        heard = await desk.requests.ask_unsigned(desk.signer.base_url, "/jira/status?x=1")
        (exchange,) = upstream.exchanges
    assert (heard.answer.status, heard.answer.body) == (200, b"ok")
    assert exchange.start_line == "GET /jira/status?x=1 HTTP/1.1"
    assert not exchange.is_signed
    assert exchange.all("User-Agent") == [f"jira-oauth-sidecar/{__version__}"]


# ── whether a key is accepted ───────────────────────────────────────────────────────────────


async def test_a_key_is_accepted_if_jira_gives_a_request_token_for_it(
    sandbox: Sandbox, make: Make, other_key: RSAPrivateKey
) -> None:
    desk = await make(sandbox.url)
    assert await desk.is_accepted()
    (asked,) = sandbox.log
    assert (asked.method, asked.target) == ("POST", f"/jira{REQUEST_TOKEN.path}")
    assert 'oauth_callback="oob"' in asked.fields.get("authorization")
    assert "oauth_token=" not in asked.fields.get("authorization")
    sandbox.public_key = other_key.public_key()
    assert not await desk.is_accepted()


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_as_the_link_itself_a_key_is_accepted_if_jira_says_who_we_are(
    sandbox: Sandbox, make: Make, is_allowed: bool
) -> None:
    sandbox.faults.two_legged = is_allowed
    desk = await make(sandbox.url)
    assert await desk.is_accepted(two_legged=True) == is_allowed
    (asked,) = sandbox.log
    assert (asked.method, asked.target) == ("GET", f"/jira{MYSELF.path}")
    assert 'oauth_token=""' in asked.fields.get("authorization")


async def test_a_key_is_judged_when_clock_and_url_are_healed(sandbox: Sandbox, make: Make) -> None:
    desk = await make(sandbox.url)
    sandbox.faults.throw({"clock_offset": 7200.0, "perceived_scheme": "https"})
    assert await desk.is_accepted()
    assert len(sandbox.log) == 3
    assert desk.signing_url.url.scheme == "https"
    sandbox.faults.nonce_used = 10
    assert not await desk.is_accepted()
    assert len(sandbox.log) == 6, "and no more tries than that take"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '<title>Log in</title><input name="name">'),
        (200, '["name"]'),
        (200, "[" * 60_000),
        (200, "{}"),
        (201, GIVEN),
        (302, GIVEN),
        (503, GIVEN),
    ],
)
@pytest.mark.parametrize("two_legged", [False, True])
async def test_what_is_not_jira_accepts_no_key(
    make: Make, two_legged: bool, status: int, body: str
) -> None:
    async with Odd(answer(status, body)) as odd:
        assert not await (await make(odd.url)).is_accepted(two_legged=two_legged)
    async with Odd(answer(200, GIVEN)) as odd:
        assert await (await make(odd.url)).is_accepted(two_legged=two_legged)

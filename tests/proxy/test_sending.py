"""Answers of every kind on their way back: what is read of them, and what is left as it was."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
import tracemalloc
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.authorize import Authorizer
from sidecar.account.healing import SEND_AGAIN
from sidecar.credentials import TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.proxy import sending
from sidecar.proxy.sending import _parameters
from sidecar.sandbox import Sandbox
from sidecar.signing.long_parameters import MOST_PARAMETERS, STEP, LongParameters
from sidecar.signing.signature import FORM_LIMIT
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock, Ticking
from tests.support.loading import store_grant
from tests.support.raw_upstream import Exchange, Handler, RawUpstream
from tests.support.waiting import SOON, until
from tests.support.wire import turns

PROBLEM = urlencode({"oauth_problem": "token_rejected", "x": "y" * 200}).encode()
GZIPPED = gzip.compress(PROBLEM, mtime=0)
FORM = "Content-Type: application/x-www-form-urlencoded;charset=UTF-8"
GET = "/rest/api/2/myself"
REFUSED = b"oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700"
"""By clocks so far apart that nothing of what was signed can have been acted upon."""


def in_flight(running: Running) -> set[str]:
    """The nonces of requests that Jira has not answered."""
    return running.server.generations[-1].identity.in_flight


@pytest.mark.parametrize(
    ("status", "is_read"),
    [(400, True), (401, True), (403, True), (503, True), (402, False), (404, False), (504, False)],
)
async def test_a_problem_that_stands_in_the_body_alone_is_read(
    edge: Running, upstream: RawUpstream, status: int, is_read: bool
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(PROBLEM, FORM, status=f"{status} Refused")

    upstream.handler = refuse
    answer = await edge.get(GET)
    assert "".join(answer.all("Sidecar-Problem")).startswith("token_rejected; ") is is_read
    assert (answer.status, answer.body) == (status, PROBLEM)


@pytest.mark.parametrize(
    ("data", "name", "coding"),
    [
        (GZIPPED, "token_rejected", "gzip"),
        (GZIPPED, "token_rejected", "GZip"),
        (GZIPPED[:60], "token_rejected", "gzip"),
        (GZIPPED[:12], "user_may_not_log_in", "gzip"),
        (b"no gzip", "user_may_not_log_in", "gzip"),
    ],
    ids=["whole", "letter case", "truncated", "hardly begun", "not compressed"],
)
async def test_a_problem_in_a_compressed_body_is_read_and_the_body_passes_unchanged(
    edge: Running, upstream: RawUpstream, data: bytes, name: str, coding: str
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(data, FORM, f"Content-Encoding: {coding}", status="401 Unauthorized")

    upstream.handler = refuse
    answer = await edge.get(GET, ("Accept-Encoding", "gzip"))
    assert answer.body == data
    assert answer["Content-Encoding"] == coding
    assert answer["Sidecar-Problem"].startswith(name)


async def test_a_compressed_body_cannot_blow_up(edge: Running, upstream: RawUpstream) -> None:
    data = gzip.compress(b"oauth_problem=token_rejected&x=" + b"y" * (64 << 20), 9)[: 64 << 10]

    async def refuse(exchange: Exchange) -> None:
        await exchange.say(data, FORM, "Content-Encoding: gzip", status="401 Unauthorized")

    upstream.handler = refuse
    tracemalloc.start()
    try:
        answer = await edge.get(GET, ("Accept-Encoding", "gzip"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.body == data
    assert peak < 8 << 20


async def test_a_problem_is_looked_for_in_64_kib_and_no_more_is_waited_for(
    edge: Running, upstream: RawUpstream
) -> None:
    seen = asyncio.Event()
    beginning = PROBLEM + b"&z=" + b"z" * (64 * 1024 - len(PROBLEM) - 3)

    async def refuse(exchange: Exchange) -> None:
        head = f"HTTP/1.1 401 Unauthorized\r\n{FORM}\r\nContent-Length: {len(beginning) + 4}"
        await exchange.answer(head.encode() + b"\r\n\r\n" + beginning)
        await seen.wait()
        await exchange.answer(b"last")

    upstream.handler = refuse
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", GET))
        status, _, fields = await wire.head()
        assert status == 401
        assert dict(fields)[b"Sidecar-Problem"].startswith(b"token_rejected; ")
        seen.set()
        body = await wire.reader.readexactly(len(beginning) + 4)
        assert body == beginning + b"last"


@pytest.mark.parametrize(
    ("status", "problem"),
    [("204 No Content", "anonymous"), ("304 Not Modified", "anonymous"), ("200 OK", "anonymous")],
)
async def test_an_answer_without_a_body_may_have_a_problem(
    edge: Running, upstream: RawUpstream, status: str, problem: str
) -> None:
    async def answer_bodiless(exchange: Exchange) -> None:
        head = f"HTTP/1.1 {status}\r\nX-AUSERNAME: anonymous\r\n"
        head += "Content-Length: 0\r\n" if status.startswith("200") else ""
        await exchange.answer(head.encode() + b"\r\n")

    upstream.handler = answer_bodiless
    await edge.server.generations[-1].standing.close()  # whose question would be another
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("GET", GET))
            answer = await wire.receive()
            assert answer.status == int(status[:3])
            assert answer["Sidecar-Problem"].startswith(problem)
    assert upstream.connections == 1


async def test_head_has_its_problem_in_the_fields(edge: Running, upstream: RawUpstream) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 401 Unauthorized\r\n"
            b'WWW-Authenticate: OAuth realm="x", oauth_problem="token_rejected"\r\n'
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 333\r\n\r\n"
        )

    upstream.handler = refuse
    await edge.server.generations[-1].standing.close()  # whose question would be another
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("HEAD", GET))
            answer = await wire.receive(method="HEAD")
            assert answer["Sidecar-Problem"].startswith("token_rejected")
            assert answer["Content-Length"] == "333"
    assert upstream.connections == 1


async def test_a_head_that_names_a_length_is_not_taken_for_an_empty_answer(
    edge: Running, upstream: RawUpstream
) -> None:
    """Jira's 401 is empty for a user that may not log in, and for an unknown one it is not."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 401 Unauthorized\r\nX-AUSERNAME: anonymous\r\nContent-Length: 333\r\n\r\n"
        )

    upstream.handler = refuse
    answer = await edge.request("HEAD", GET)
    assert answer["Sidecar-Problem"].startswith("anonymous; ")


async def test_a_problem_whose_body_is_cut_short_is_502(
    edge: Running, upstream: RawUpstream
) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\noauth_problem=token"
        )
        exchange.writer.close()

    upstream.handler = cut
    answer = await edge.get(GET)
    assert answer.status == 502
    assert "connection_terminated" in answer["Proxy-Status"]
    assert in_flight(edge) == set()


@pytest.mark.parametrize(
    ("status", "content_type"),
    [
        (400, "application/json"),
        (401, "Application/JSON;charset=UTF-8"),
        (403, "text/html"),
        (503, "TEXT/HTML"),
        (404, "text/plain"),
        (500, "text/plain"),
        (200, "text/plain"),
    ],
)
async def test_what_holds_no_problem_in_its_body_is_passed_on_as_it_comes(
    edge: Running, upstream: RawUpstream, status: int, content_type: str
) -> None:
    """No OAuth problem comes as JSON or as a page, and none with another status."""
    seen = asyncio.Event()

    async def drip(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 %d X\r\nContent-Type: %b\r\n" % (status, content_type.encode())
            + b'Content-Length: 8\r\n\r\n{"a": '
        )
        await seen.wait()
        await exchange.answer(b"1}")

    upstream.handler = drip
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", GET))
        async with asyncio.timeout(SOON):
            assert (await wire.head())[0] == status
            seen.set()
            assert b"1}" in await wire.reader.readuntil(b"1}")


async def test_a_second_try_goes_by_the_connection_of_the_first(
    edge: Running, upstream: RawUpstream
) -> None:
    async def refuse_once(exchange: Exchange) -> None:
        await exchange.read_body()
        if len(upstream.exchanges) == 1:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")
        else:
            await exchange.say(b"ok")

    upstream.handler = refuse_once
    answer = await edge.request("POST", GET, body=b"{}")
    assert answer.status == 200
    assert (len(upstream.exchanges), upstream.connections) == (2, 1)
    first, second = upstream.exchanges
    assert first.body == second.body == b"{}"
    assert first.all("X-Request-Id") == second.all("X-Request-Id")
    assert first.all("Authorization") != second.all("Authorization")


@pytest.mark.parametrize(
    ("framing", "halves"),
    [
        (("Content-Length", "8"), (b"half", b"half")),
        (("Transfer-Encoding", "chunked"), (b"4\r\nhalf\r\n", b"4\r\nhalf\r\n0\r\n\r\n")),
    ],
    ids=["length", "chunked"],
)
async def test_a_small_body_that_is_still_arriving_is_sent_again(
    edge: Running, upstream: RawUpstream, framing: tuple[str, str], halves: tuple[bytes, bytes]
) -> None:
    async def refuse_once(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 1:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")
        else:
            await exchange.say(bytes(await exchange.read_body()))

    upstream.handler = refuse_once
    async with await edge.wire() as wire:
        await wire.send(edge.message("POST", GET, framing), halves[0])
        await upstream.request(1)
        await wire.send(halves[1])
        answer = await wire.receive()
    assert (answer.status, answer.body) == (200, b"halfhalf")


async def test_a_post_whose_second_try_is_lost_is_not_sent_a_third_time(
    edge: Running, upstream: RawUpstream
) -> None:
    async def refuse_once(exchange: Exchange) -> None:
        await exchange.read_body()
        if len(upstream.exchanges) > 1:
            exchange.reset()
        else:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")

    upstream.handler = refuse_once
    answer = await edge.request("POST", GET, body=b"{}")
    assert answer.status == 502
    assert len(upstream.exchanges) == 2


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_get_may_lose_a_connection_and_be_healed(
    edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture, lost: int
) -> None:
    caplog.set_level(logging.INFO)

    async def reset_refuse_answer(exchange: Exchange) -> None:
        number = len(upstream.exchanges)
        if number == lost:
            exchange.reset()
        elif number == 3 - lost:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")
        else:
            await exchange.say(b"ok")

    upstream.handler = reset_refuse_answer
    assert (await edge.get(GET)).status == 200
    assert len({tuple(e.all("Authorization")) for e in upstream.exchanges}) == 3
    (line,) = [r.getMessage() for r in caplog.records if f"GET {GET} 200" in r.getMessage()]
    assert " retries=2" in line


async def test_a_get_with_a_small_body_may_lose_a_connection_too(
    edge: Running, upstream: RawUpstream
) -> None:
    """Node's Jira clients send `{}` with every GET, and Jira closes idle connections."""

    async def reset_once(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 1:
            exchange.reset()
        else:
            await exchange.say(bytes(await exchange.read_body()))

    upstream.handler = reset_once
    answer = await edge.request("GET", GET, body=b"{}")
    assert (answer.status, answer.body) == (200, b"{}")


async def test_a_400_to_a_long_head_is_explained(
    edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(b"", status="400 Bad Request")

    upstream.handler = refuse
    for size in (100, 9000, 9000):
        answer = await edge.get(f"/rest/api/2/user/search?jql={'x' * size}")
        assert answer.status == 400
        assert not answer.all("Sidecar-Problem")
    (line,) = [
        r.getMessage()
        for r in caplog.records
        if r.levelno >= logging.WARNING and r.name.startswith("sidecar")
    ]
    assert "Tomcat refuses those over 8 KiB. What to do: send less in the query" in line
    assert "maxHttpHeaderSize" in line
    assert "xxxx" not in line


FORM_FIELD = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    "body",
    [
        b"a=" + b"%ff" * (FORM_LIMIT // 3 - 1),
        b"a=" + b"," * (FORM_LIMIT - 2),
        b"&".join([b"a=%ff"] * (MOST_PARAMETERS - 1)),
        b"\xff" * STEP,
        b"\xff" * (STEP + 1),
        b"a=" + b"x" * STEP + b"%&b=1",
    ],
    ids=["octets", "the longest", "the most", "the longest short", "the shortest long", "stray %"],
)
async def test_a_form_of_any_content_is_signed_as_jira_reads_it(
    sandbox: Sandbox, sidecar: Running, body: bytes
) -> None:
    answer = await sidecar.request("POST", "/_sandbox/echo?q=1", FORM_FIELD, body=body)
    assert answer.status == 200
    assert [request.verdict for request in sandbox.log] == ["ok"]


@pytest.mark.parametrize(
    "query", ["q=" + "%ff" * 20_000, "&".join("ba" * 4_900) + "x" * 40_000, "%&" * 9_900 + "a"]
)
async def test_a_query_of_any_length_is_signed_as_jira_reads_it(
    sandbox: Sandbox, sidecar: Running, query: str
) -> None:
    await sidecar.get(f"/_sandbox/echo?{query}")
    assert [request.verdict for request in sandbox.log] == ["ok"]


async def test_a_form_of_more_parameters_than_tomcat_reads_is_413(
    edge: Running, upstream: RawUpstream
) -> None:
    most = b"&".join([b"a"] * MOST_PARAMETERS)
    nameless = b"&=x" * 100 + b"&&"
    assert (await edge.request("POST", "/x", FORM_FIELD, body=most + nameless)).status == 200
    for target, body in (("/x", most + b"&b"), ("/x?b", most), ("/x", b"a&" * (FORM_LIMIT // 2))):
        answer = await edge.request("POST", target, FORM_FIELD, body=body)
        assert answer.status == 413
        assert "more than 10,000 parameters" in answer.message
        assert "send JSON" in answer.message
    assert (await edge.request("PUT", "/x", FORM_FIELD, body=most + b"&b")).status == 200
    assert (await edge.get("/x?" + most.decode() + "&b")).status == 200, "it is no form"
    assert [len(exchange.body) for exchange in upstream.exchanges] == [
        len(most + nameless),
        len(most) + 2,
        0,
    ]


async def test_a_long_form_is_looked_through_for_names_that_only_we_may_set(
    edge: Running, upstream: RawUpstream
) -> None:
    for name in (b"oauth_token", b"%6fs_username", b"xoauth_" + b"x" * STEP):
        for body in (b"a=" + b"x" * STEP + b"&" + name, name + b"=" + b"x" * STEP):
            answer = await edge.request("POST", "/x", FORM_FIELD, body=body)
            assert answer.status == 400
            assert answer.message.startswith("sidecar: The form has a parameter ")
            assert "only the sidecar may set" in answer.message
    assert not upstream.exchanges


async def test_a_long_form_is_signed_anew_where_that_heals_it(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.clock_offset = 1000.0
    body = b"a=" + b"%ff" * STEP
    answer = await sidecar.request("POST", "/_sandbox/echo", FORM_FIELD, body=body)
    assert answer.status == 200
    assert [request.verdict for request in sandbox.log] == ["timestamp_refused", "ok"]


async def test_only_an_upload_waits_for_a_renewal_that_has_just_begun(
    sandbox: Sandbox, sidecar: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be sent only once; what is small is sent again if the token has ended."""
    asked, go = asyncio.Event(), asyncio.Event()
    renew = Authorizer.renew

    async def renewing(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        asked.set()
        await go.wait()
        return await renew(authorizer, old)

    monkeypatch.setattr(Authorizer, "renew", renewing)
    store_grant(sidecar, sandbox.grant(), expires_at=time.time() - 1)
    assert (await sidecar.get(GET)).status == 200
    await asked.wait()
    async with await sidecar.wire() as wire:
        await wire.send(sidecar.message("POST", "/_sandbox/echo", body=b"x" * 300_000))
        await until(lambda: sidecar.server.generations[-1].waiting == 1)
        small = await sidecar.request("POST", "/_sandbox/echo", body=b"x" * 100)
        assert small.json()["body_length"] == 100
        assert [request.method for request in sandbox.log].count("POST") == 1
        sandbox.expire()
        expired = asyncio.create_task(sidecar.get(GET))
        await until(lambda: sidecar.server.generations[-1].waiting == 2)
        assert sidecar.server.generations[-1]._proxy.slots.in_use == 0
        go.set()
        assert (await expired).status == 200
        answer = await wire.receive()
        assert (answer.status, answer.json()["body_length"]) == (200, 300_000)


# ── a long request, whose refusal does not fit into an answer ───────────────────────────────

STATUS = "/_sidecar/status"
LONG_QUERY = "/_sandbox/echo?q=" + "%C3%BC" * 1600
LONG_FORM = b"a=" + b"%C3%BC" * 2000


async def counters(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = (await running.get(STATUS)).json()["counters"]
    return found


async def bare_500(exchange: Exchange) -> None:
    """Answer as Tomcat does in place of an answer whose head is too long; all else with 200."""
    await exchange.read_body()
    is_long = len(exchange.target) + len(exchange.body) > 1000
    await exchange.say(b"", status="500 Internal Server Error" if is_long else "200 OK")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_long_request_that_only_reads_is_sent_again_once_a_short_one_has_shown_why(
    sandbox: Sandbox, sidecar: Running, method: str
) -> None:
    sandbox.faults.perceived_scheme = "https"
    assert (await sidecar.request(method, LONG_QUERY)).status == 200
    assert [request.method for request in sandbox.log] == [method, "GET", "GET", method]
    assert (await counters(sidecar))["retries"] == {"oauth_problem": 1}
    assert (await counters(sidecar))["heals"] == {"signature_invalid": 1}


async def test_a_long_request_that_may_have_acted_is_not_sent_again(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.perceived_scheme = "https"
    first = await sidecar.request("POST", "/_sandbox/echo", FORM_FIELD, body=LONG_FORM)
    assert first.status == 500
    assert first["Sidecar-Problem"].startswith("signature_invalid; hint=")
    assert SEND_AGAIN in first["Sidecar-Problem"]
    assert [request.method for request in sandbox.log] == ["POST", "GET", "GET"]
    second = await sidecar.request("POST", "/_sandbox/echo", FORM_FIELD, body=LONG_FORM)
    assert second.status == 200


async def test_a_long_request_whose_body_is_gone_is_not_sent_again(
    sandbox: Sandbox, sidecar: Running
) -> None:
    """More than 64 KiB of a body are not kept: what is left of it is not what was sent."""
    sandbox.faults.perceived_scheme = "https"
    first = await sidecar.request("GET", LONG_QUERY, body=b"x" * (64 * 1024 + 1))
    assert first.status == 500
    assert SEND_AGAIN in first["Sidecar-Problem"]
    assert (await sidecar.request("GET", LONG_QUERY, body=b"x" * (64 * 1024 + 1))).status == 200


async def test_a_long_requests_500_that_is_not_about_its_signature_is_jiras(
    edge: Running, upstream: RawUpstream
) -> None:
    upstream.handler = bare_500
    answer = await edge.get(LONG_QUERY)
    assert answer.status == 500
    assert not answer.all("Sidecar-Problem")
    assert [exchange.target == LONG_QUERY for exchange in upstream.exchanges] == [True, False]
    assert (await counters(edge))["retries"] == {}


@pytest.mark.parametrize(("size", "is_asked"), [(1999, False), (2000, True)])
async def test_a_request_whose_refusal_fits_into_a_head_is_not_long(
    edge: Running, upstream: RawUpstream, size: int, is_asked: bool
) -> None:
    shortest = len(edge.server.identity.sign("GET", "/", []).base_string)
    target = "/" + "x" * (size - shortest)

    async def fail(exchange: Exchange) -> None:
        is_it = exchange.target == target
        await exchange.say(b"", status="500 Internal Server Error" if is_it else "200 OK")

    upstream.handler = fail
    assert (await edge.get(target)).status == 500
    assert len(upstream.exchanges) == (2 if is_asked else 1)


async def test_a_form_that_is_hashed_in_steps_is_long(edge: Running, upstream: RawUpstream) -> None:
    upstream.handler = bare_500
    form = b"a=" + b"x" * STEP
    assert (await edge.request("POST", "/x", FORM_FIELD, body=form)).status == 500
    assert len(upstream.exchanges) == 2


async def test_nothing_is_asked_about_a_short_requests_500(
    edge: Running, upstream: RawUpstream
) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.say(b"", status="500 Internal Server Error")

    upstream.handler = fail
    answer = await edge.get(GET)
    assert (answer.status, answer.all("Sidecar-Problem")) == (500, [])
    assert len(upstream.exchanges) == 1


@pytest.mark.parametrize(("number", "is_explained"), [(1000, False), (1001, True)])
async def test_more_parameters_than_a_newer_tomcat_reads_are_explained(
    edge: Running, upstream: RawUpstream, number: int, is_explained: bool
) -> None:
    upstream.handler = bare_500
    form = b"&".join(b"n%d=v" % each for each in range(number))
    answer = await edge.request("POST", "/x", FORM_FIELD, body=form)
    assert answer.status == 500
    assert ("maxParameterCount" in "".join(answer.all("Sidecar-Problem"))) == is_explained


def refuse_long_and_ask(problem: str) -> Handler:
    """Answer a long request with a bare 500, and any short one with an OAuth problem."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.read_body()
        if len(exchange.target) + len(exchange.body) > 1000:
            await exchange.say(b"", status="500 Internal Server Error")
        else:
            challenge = f'WWW-Authenticate: OAuth oauth_problem="{problem}"'
            await exchange.say(b"", challenge, status="401 Unauthorized")

    return refuse


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_a_short_request_finds_is_told_of_the_long_one_though_it_is_not_healed(
    edge: Running, upstream: RawUpstream, method: str
) -> None:
    upstream.handler = refuse_long_and_ask("signature_invalid")
    many = "&".join(f"n{each}=v" for each in range(1001))
    answer = await edge.request(method, f"/x?{many}")
    assert answer.status == 500
    assert answer["Sidecar-Problem"].startswith("signature_invalid; hint=")
    assert SEND_AGAIN not in answer["Sidecar-Problem"]
    assert "maxParameterCount" not in answer["Sidecar-Problem"]
    assert [exchange.target for exchange in upstream.exchanges].count(f"/x?{many}") == 1


async def test_a_long_request_is_sent_again_by_another_private_key_that_lies_there_now(
    edge: Running, upstream: RawUpstream, other_key: RSAPrivateKey
) -> None:
    refuse = refuse_long_and_ask("signature_invalid")

    async def answer(exchange: Exchange) -> None:
        if [each.target for each in upstream.exchanges].count(exchange.target) == 2:
            await exchange.say(b"ok")
        else:
            await refuse(exchange)

    upstream.handler = answer
    write_private(edge.config.jira.private_key, keys.private_key_pem(other_key))
    assert (await edge.get(LONG_QUERY)).status == 200


@pytest.mark.parametrize("losses", [1, 2])
async def test_a_lost_connection_counts_as_one_retry(
    edge: Running, upstream: RawUpstream, losses: int
) -> None:
    async def reset(exchange: Exchange) -> None:
        if len(upstream.exchanges) <= losses:
            exchange.reset()
        else:
            await exchange.say(b"ok")

    upstream.handler = reset
    assert (await edge.get(GET)).status == (200 if losses == 1 else 502)
    assert (await counters(edge))["retries"] == {"connection_lost": 1}


@pytest.mark.parametrize(
    ("method", "tries"), [("GET", 2), ("HEAD", 2), ("OPTIONS", 1), ("POST", 1), ("DELETE", 1)]
)
async def test_after_a_lost_connection_only_get_and_head_are_sent_again_and_only_once(
    edge: Running, upstream: RawUpstream, method: str, tries: int
) -> None:
    async def reset(exchange: Exchange) -> None:
        exchange.reset()

    upstream.handler = reset
    assert (await edge.request(method, GET)).status == 502
    assert len(upstream.exchanges) == tries
    assert in_flight(edge) == set()


async def test_what_is_answered_with_something_else_than_http_is_not_sent_again(
    edge: Running, upstream: RawUpstream
) -> None:
    async def greet(exchange: Exchange) -> None:
        await exchange.answer(b"220 mail.example.com ESMTP\r\n")

    upstream.handler = greet
    assert (await edge.get(GET)).status == 502
    assert len(upstream.exchanges) == 1


async def test_a_second_try_after_a_loss_takes_no_connection_that_has_rested(
    edge: Running, upstream: RawUpstream
) -> None:
    go_on, rests = asyncio.Event(), asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.target == "/first":
            await go_on.wait()
        elif not rests.is_set():
            go_on.set()
            await rests.wait()
            exchange.reset()
            return
        await exchange.say(b"ok")

    upstream.handler = answer
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/first"))
        await upstream.request()
        second = asyncio.create_task(edge.get("/second"))
        assert (await wire.receive()).status == 200
    await until(lambda: edge.server.metrics.requests)  # its connection rests
    rests.set()
    assert (await second).status == 200
    assert (len(upstream.exchanges), upstream.connections) == (3, 3)


async def test_the_times_that_signing_took_are_added_up(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reset_once(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 2:
            exchange.reset()
        else:
            await exchange.say(b"ok")

    upstream.handler = reset_once
    monkeypatch.setattr(sending, "perf_counter", Ticking(1.0))
    metrics = edge.server.metrics
    for tries in (1, 2):
        before = metrics.signings.sum
        assert (await edge.get(GET)).status == 200
        await until(lambda: sum(metrics.requests.values()) == tries)  # noqa: B023 - it is awaited
        assert metrics.signings.sum - before == tries


async def test_how_long_it_took_to_connect_and_until_jira_began_to_answer_is_counted(
    edge: Running, upstream: RawUpstream
) -> None:
    assert (await edge.get(GET)).status == 200
    metrics = edge.server.metrics
    await until(lambda: metrics.requests)
    assert metrics.connects.sum > 0
    assert metrics.first_bytes.sum > 0


async def test_a_healed_request_counts_as_one_retry(sandbox: Sandbox, sidecar: Running) -> None:
    sandbox.faults.clock_offset = 1000.0
    assert (await sidecar.get(GET)).status == 200
    assert (await counters(sidecar))["retries"] == {"oauth_problem": 1}


CHUNKED = ("Transfer-Encoding", "chunked")


@pytest.mark.parametrize(
    ("method", "fields", "body", "length", "coding"),
    [
        ("GET", [], b"", [], []),
        ("OPTIONS", [], b"", [], []),
        ("POST", [], b"", ["0"], []),
        ("PUT", [], b"", ["0"], []),
        ("PATCH", [], b"", ["0"], []),
        ("DELETE", [], b"", ["0"], []),
        ("POST", [], b"12345", ["5"], []),
        ("GET", [], b"12345", ["5"], []),
        ("POST", [("Content-Length", "0")], b"", ["0"], []),
        ("POST", [CHUNKED], b"3\r\na=b\r\n0\r\n\r\n", [], ["chunked"]),
        ("GET", [CHUNKED], b"0\r\n\r\n", [], ["chunked"]),
        ("POST", [CHUNKED, FORM_FIELD], b"3\r\na=b\r\n0\r\n\r\n", ["3"], []),
    ],
)
async def test_a_request_has_one_framing_field_if_it_may_have_a_body(
    edge: Running,
    upstream: RawUpstream,
    method: str,
    fields: list[tuple[str, str]],
    body: bytes,
    length: list[str],
    coding: list[str],
) -> None:
    assert (await edge.request(method, "/x", *fields, body=body)).status == 200
    (exchange,) = upstream.exchanges
    assert [value for name, value in exchange.fields if name == "Content-Length"] == length
    assert exchange.all("Content-Length") == length
    assert [value for name, value in exchange.fields if name == "Transfer-Encoding"] == coding
    assert exchange.all("Transfer-Encoding") == coding
    assert bytes(exchange.body) == (b"a=b" if b"a=b" in body else body if length else b"")


@pytest.mark.parametrize(("two_legged", "status"), [(False, 200), (True, 400)])
async def test_a_form_may_name_a_user_where_that_means_nothing(
    upstream: RawUpstream, make_sidecar: MakeSidecar, two_legged: bool, status: int
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t", jira__two_legged=two_legged)
    body = b"user_id=admin"
    answer = await sidecar.request("POST", "/x", FORM_FIELD, body=body)
    assert answer.status == status
    assert ("The form has a parameter user_id" in answer.body.decode()) == two_legged
    assert [bytes(e.body) for e in upstream.exchanges if e.body] == ([] if two_legged else [body])


async def test_a_two_legged_request_names_its_user_and_a_refusal_of_that_is_explained(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(b"", "X-AUSERNAME: anonymous", status="401 Unauthorized")

    upstream.handler = refuse
    sidecar = await make_sidecar(upstream.url, jira__two_legged=True, jira__act_as="alana")
    answer = await sidecar.get("/x?a=b")
    assert upstream.exchanges[-1].target == "/x?xoauth_requestor_id=alana&a=b"
    assert answer["Sidecar-Problem"].startswith("two_legged_not_allowed; ")
    assert "impersonation" in answer["Sidecar-Problem"].lower()


def parameters(query: str, form: bytes) -> object:
    """What is signed of them, whatever the form is called."""
    return _parameters(query, form, lambda text: None)


def test_what_is_longer_than_a_step_is_signed_in_steps() -> None:
    """Nothing else keeps forty forms of 2 MiB from stopping the loop."""
    assert isinstance(parameters("a" * STEP, b""), list)
    assert isinstance(parameters("a" * (STEP - 1), b"b"), list)
    assert isinstance(parameters("a" * (STEP + 1), b""), LongParameters)
    assert isinstance(parameters("a" * (STEP - 1), b"bc"), LongParameters)


def test_a_form_that_jira_does_not_parse_is_not_signed() -> None:
    """Where limits.form_bytes is above Tomcat's maxPostSize."""
    assert isinstance(parameters("", b"oauth_token" * (FORM_LIMIT // 11)), LongParameters)
    assert parameters("q", b"oauth_token".ljust(FORM_LIMIT + 1, b"x")) == [("q", "")]


# ── a search, which may go as POST ──────────────────────────────────────────────────────────


async def sent(edge: Running, upstream: RawUpstream, method: str, target: str) -> str:
    """The method by which a request goes to Jira, and its path."""
    assert (await edge.request(method, target)).status == 200
    exchange = upstream.exchanges[-1]
    return f"{exchange.head.split(b' ')[0].decode()} {exchange.target.partition('?')[0]}"


async def test_only_a_long_get_of_the_search_goes_as_post(
    edge: Running, upstream: RawUpstream
) -> None:
    search, users = "/rest/api/2/search", "/rest/api/2/user/search"
    long = "?jql=" + "x" * 9000
    assert await sent(edge, upstream, "GET", search + long) == f"POST {search}"
    assert b'{"jql": "x' in upstream.exchanges[-1].body
    assert await sent(edge, upstream, "GET", search + "?jql=x") == f"GET {search}"
    assert await sent(edge, upstream, "GET", search) == f"GET {search}"
    assert await sent(edge, upstream, "GET", users + long) == f"GET {users}"
    assert await sent(edge, upstream, "POST", search + long) == f"POST {search}"
    assert upstream.exchanges[-1].body == b""


async def test_a_search_that_only_its_signature_makes_too_long_goes_as_post(
    edge: Running, upstream: RawUpstream
) -> None:
    search = "/rest/api/2/search"
    assert await sent(edge, upstream, "GET", f"{search}?jql=x") == f"GET {search}"
    rest = 8 * 1024 - len(upstream.exchanges[-1].head)
    assert (
        await sent(edge, upstream, "GET", f"{search}?jql=x{'x' * (rest - 20)}") == f"GET {search}"
    )
    assert (
        await sent(edge, upstream, "GET", f"{search}?jql=x{'x' * (rest + 20)}") == f"POST {search}"
    )


# ── whose turn it is ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("is_upload", "targets"),
    [
        (True, ["/hangs", "/first", "/second"]),
        (False, ["/hangs", "/first", "/first", "/second"]),
    ],
    ids=["an upload", "a healed request"],
)
async def test_what_waits_for_nothing_keeps_its_turn(
    upstream: RawUpstream, make_sidecar: MakeSidecar, is_upload: bool, targets: list[str]
) -> None:
    """An upload while no token is renewed, and a request that is healed at once."""
    sidecar = await make_sidecar(upstream.url, token="t", limits__connections=1)
    go_on = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.target == "/hangs":
            await go_on.wait()
        if not is_upload and len(upstream.exchanges) == 2:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")
        else:
            await exchange.read_body()
            await exchange.say(b"ok")

    upstream.handler = answer
    slots = sidecar.server.generations[-1]._proxy.slots
    body = bytes(300_000 if is_upload else 0)
    tasks = [asyncio.create_task(sidecar.get("/hangs"))]
    await upstream.request()
    async with await sidecar.wire() as wire:
        await wire.send(sidecar.message("PUT", "/first", ("Content-Length", str(len(body)))))
        await until(lambda: slots.waiting == 1)
        tasks.append(asyncio.create_task(sidecar.get("/second")))
        await until(lambda: slots.waiting == 2)
        go_on.set()
        await wire.send(body)
        assert (await wire.receive()).status == 200
    assert [(await task).status for task in tasks] == [200, 200]
    assert [exchange.target for exchange in upstream.exchanges] == targets


BUCKET = (
    "X-RateLimit-Limit: 9",
    "X-RateLimit-FillRate: 1",
    "X-RateLimit-Interval-Seconds: 6",
)


async def test_what_an_answer_says_of_the_rate_limit_is_noted(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """Where it took the last token a line begins, and where many are left again it ends."""
    left = [3, 0, 9]

    async def answer(exchange: Exchange) -> None:
        await exchange.say(b"ok", *BUCKET, f"X-RateLimit-Remaining: {left.pop(0)}")

    upstream.handler = answer
    lines = edge.server.generations[-1].lines.lines
    for is_line in (False, True, False):
        asked = asyncio.create_task(edge.get(GET))
        while not asked.done():
            await loop_clock.skip(0.25)
            await turns(10)
        assert (await asked).status == 200
        assert bool(lines) is is_line


@pytest.mark.parametrize(
    ("method", "target", "size", "is_repeated"),
    [
        ("GET", GET, 0, True),
        ("GET", GET, 65 * 1024, False),
        ("POST", "/rest/api/2/search", 2, True),
        ("POST", "/rest/api/2/search", 65 * 1024, False),
        ("POST", "/rest/api/2/issue", 2, False),
        ("PUT", "/rest/api/2/search", 2, False),
        ("DELETE", "/rest/api/2/issue/JJ-2", 0, False),
    ],
)
async def test_after_a_429_what_only_reads_is_sent_again_while_its_body_is_in_memory(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, method: str, target: str,
    size: int, is_repeated: bool,
) -> None:  # fmt: skip
    async def refuse_once(exchange: Exchange) -> None:
        await exchange.read_body()
        if len(upstream.exchanges) == 1:
            await exchange.say(b"", "Retry-After: 1", status="429 Too Many Requests")
        else:
            await exchange.say(b"ok")

    upstream.handler = refuse_once
    asked = asyncio.create_task(edge.request(method, target, body=b" " * size))
    while not asked.done():
        await loop_clock.skip(0.25)
        await turns(10)
    assert (await asked).status == (200 if is_repeated else 429)
    assert len(upstream.exchanges) == (2 if is_repeated else 1)


# ── what is healed ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("OPTIONS", 200), ("POST", 401)])
async def test_what_may_have_been_acted_upon_is_sent_again_only_where_it_reads(
    sandbox: Sandbox, sidecar: Running, method: str, status: int
) -> None:
    sandbox.faults.nonce_used = 1
    answer = await sidecar.request(method, "/_sandbox/echo")
    assert answer.status == status
    assert ("the first copy" in "".join(answer.all("Sidecar-Problem"))) is (status == 401)


async def test_a_request_is_signed_anew_for_the_url_that_jira_believes_in(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.perceived_scheme = "https"
    assert (await sidecar.request("POST", "/_sandbox/echo", body=b"{}")).status == 200
    assert [request.verdict for request in sandbox.log] == ["signature_invalid", "ok"]


async def test_an_upload_cannot_be_sent_again_but_what_it_has_taught_is_kept(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.perceived_scheme = "https"
    body = b"x" * 300_000
    first = await sidecar.request("POST", "/_sandbox/echo", body=body)
    assert first.status == 401
    assert SEND_AGAIN in first["Sidecar-Problem"]
    assert (await sidecar.request("POST", "/_sandbox/echo", body=body)).status == 200
    assert [request.verdict for request in sandbox.log] == ["signature_invalid", "ok"]


async def test_a_client_that_leaves_while_its_token_is_renewed_leaves_nothing_behind(
    sandbox: Sandbox, sidecar: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def renew(authorizer: Authorizer, old: TokenCredentials) -> TokenCredentials:
        asked.set()
        await go.wait()
        return old

    monkeypatch.setattr(Authorizer, "renew", renew)
    store_grant(sidecar, sandbox.grant(), expires_at=time.time() + 10_000_000)
    sandbox.expire()
    async with await sidecar.wire() as wire:
        await wire.send(sidecar.message("GET", GET))
        await asked.wait()
        assert in_flight(sidecar)
        wire.leave()
    await until(lambda: not in_flight(sidecar))
    slots = sidecar.server.generations[-1]._proxy.slots
    assert (slots.in_use, slots.waiting) == (0, 0)
    go.set()


async def test_a_client_that_leaves_while_jira_is_asked_about_its_request_leaves_nothing_behind(
    edge: Running, upstream: RawUpstream
) -> None:
    async def answer_the_long_one(exchange: Exchange) -> None:
        if len(upstream.exchanges) == 1:
            await exchange.say(b"", status="500 Internal Server Error")
        else:
            await exchange.hang()

    upstream.handler = answer_the_long_one
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", LONG_QUERY))
        await upstream.request(1)
        assert in_flight(edge)
        wire.leave()
    await until(lambda: not in_flight(edge))


async def test_a_two_legged_request_that_comes_round_is_known_while_it_is_on_its_way(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(upstream.url, jira__two_legged=True)
    statuses: list[int] = []

    async def lead_back(exchange: Exchange) -> None:
        ours = ("Authorization", exchange.all("Authorization")[0])
        if exchange.target == "/x":
            statuses.append((await sidecar.get("/round", ours)).status)
        await exchange.say(b"ok")

    upstream.handler = lead_back
    assert (await sidecar.get("/x")).status == 200
    assert statuses == [508]


@pytest.mark.parametrize(("is_refused", "difference"), [(False, 100), (True, 0)])
async def test_jiras_clock_is_read_from_answers_to_requests_that_it_took(
    edge: Running, upstream: RawUpstream, is_refused: bool, difference: int
) -> None:
    async def answer(exchange: Exchange) -> None:
        date = f"Date: {formatdate(time.time() + 100, usegmt=True)}"
        if is_refused:
            await exchange.say(PROBLEM, FORM, date, status="401 Unauthorized")
        else:
            await exchange.say(b"ok", date)

    upstream.handler = answer
    await edge.get(GET)
    status = (await edge.get(STATUS)).json()
    assert abs((status["clock_difference_seconds"] or 0) - difference) < 50


async def test_a_large_form_in_chunks_is_sent_with_its_length(
    edge: Running, upstream: RawUpstream
) -> None:
    form = b"a=" + b"x" * 100_000
    head = edge.message("POST", "/x", FORM_FIELD, CHUNKED)
    assert (await edge.raw(head, b"%x\r\n%b\r\n0\r\n\r\n" % (len(form), form))).status == 200
    assert upstream.exchanges[0].all("Content-Length") == [str(len(form))]
    assert upstream.exchanges[0].body == form


@pytest.mark.parametrize(
    ("target", "status", "field", "is_foreign"),
    [
        ("/rest/x", 200, "Content-Type: text/html", True),
        ("/rest/x", 200, "Content-Type: application/json", False),
        ("/browse/JJ-2", 200, "Content-Type: text/html", False),
        ("/browse/JJ-2", 302, "Location: https://login.example.com/", True),
        ("/browse/JJ-2", 302, "Location: {jira}/secure/x", False),
    ],
)
async def test_an_answer_that_is_not_jiras_is_told(
    upstream: RawUpstream, make_sidecar: MakeSidecar, target: str, status: int, field: str,
    is_foreign: bool,
) -> None:  # fmt: skip
    async def answer(exchange: Exchange) -> None:
        await exchange.say(b"", field.format(jira=upstream.url), status=f"{status} X")

    upstream.handler = answer
    sidecar = await make_sidecar(f"{upstream.url}/jira", token="t")
    problems = (await sidecar.get(target)).all("Sidecar-Problem")
    assert [problem.partition(";")[0] for problem in problems] == ["not_jira"] * is_foreign

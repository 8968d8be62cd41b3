"""Answers of every kind on their way back: what is read of them, and what is left as it was."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from sidecar.account.authorize import Authorizer
from sidecar.account.healing import SEND_AGAIN
from sidecar.credentials import TokenCredentials
from sidecar.proxy.sending import _parameters
from sidecar.sandbox import Sandbox
from sidecar.signing.long_parameters import MOST_PARAMETERS, STEP, LongParameters
from sidecar.signing.signature import FORM_LIMIT
from tests.conftest import MakeSidecar, Running
from tests.support.loading import store_grant
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until

PROBLEM = urlencode({"oauth_problem": "token_rejected", "x": "y" * 200}).encode()
GZIPPED = gzip.compress(PROBLEM, mtime=0)
FORM = "Content-Type: application/x-www-form-urlencoded;charset=UTF-8"
GET = "/rest/api/2/myself"
REFUSED = b"oauth_problem=timestamp_refused&oauth_acceptable_timestamps=100-700"
"""By clocks so far apart that nothing of what was signed can have been acted upon."""


async def test_a_problem_that_stands_in_the_body_alone_is_read(
    edge: Running, upstream: RawUpstream
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(PROBLEM, FORM, status="401 Unauthorized")

    upstream.handler = refuse
    answer = await edge.get(GET)
    assert answer["Sidecar-Problem"].startswith("token_rejected; ")
    assert answer.body == PROBLEM


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (GZIPPED, "token_rejected"),
        (GZIPPED[:60], "token_rejected"),
        (GZIPPED[:12], "user_may_not_log_in"),
        (b"no gzip", "user_may_not_log_in"),
    ],
    ids=["whole", "truncated", "hardly begun", "not compressed"],
)
async def test_a_problem_in_a_compressed_body_is_read_and_the_body_passes_unchanged(
    edge: Running, upstream: RawUpstream, data: bytes, name: str
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(data, FORM, "Content-Encoding: gzip", status="401 Unauthorized")

    upstream.handler = refuse
    answer = await edge.get(GET, ("Accept-Encoding", "gzip"))
    assert answer.body == data
    assert answer["Content-Encoding"] == "gzip"
    assert answer["Sidecar-Problem"].startswith(name)


async def test_a_compressed_body_cannot_blow_up(edge: Running, upstream: RawUpstream) -> None:
    data = gzip.compress(b"oauth_problem=token_rejected&x=" + b"y" * (64 << 20), 9)[: 64 << 10]

    async def refuse(exchange: Exchange) -> None:
        await exchange.say(data, FORM, "Content-Encoding: gzip", status="401 Unauthorized")

    upstream.handler = refuse
    answer = await edge.get(GET, ("Accept-Encoding", "gzip"))
    assert answer.body == data


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


async def test_an_error_of_jiras_is_passed_on_as_it_comes(
    edge: Running, upstream: RawUpstream
) -> None:
    """JSON is not waited for: no OAuth problem comes as JSON."""

    seen = asyncio.Event()

    async def drip(exchange: Exchange) -> None:
        await exchange.answer(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            b'Content-Length: 8\r\n\r\n{"a": '
        )
        await asyncio.wait_for(seen.wait(), 5)
        await exchange.answer(b"1}")

    upstream.handler = drip
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", GET))
        status, _, _ = await wire.head()
        assert status == 400
        seen.set()
        assert b"1}" in await wire.reader.readuntil(b"0\r\n\r\n")


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
    assert [len(exchange.body) for exchange in upstream.exchanges] == [
        len(most + nameless),
        len(most) + 2,
    ]


async def test_a_long_form_is_looked_through_for_names_that_only_we_may_set(
    edge: Running, upstream: RawUpstream
) -> None:
    for name in (b"oauth_token", b"%6fs_username", b"xoauth_" + b"x" * STEP):
        for body in (b"a=" + b"x" * STEP + b"&" + name, name + b"=" + b"x" * STEP):
            answer = await edge.request("POST", "/x", FORM_FIELD, body=body)
            assert answer.status == 400
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


async def test_signing_takes_a_part_of_the_time(edge: Running) -> None:
    started = time.perf_counter()
    assert (await edge.get(GET)).status == 200
    await until(lambda: sum(edge.server.metrics.signings.counts) == 1)
    assert 0 < edge.server.metrics.signings.sum < time.perf_counter() - started


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
    assert exchange.all("Content-Length") == length
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
    assert ("user_id" in answer.body.decode()) == two_legged
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

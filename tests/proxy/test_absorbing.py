"""Jira's 429s from end to end: who waits, for how long, and what passes."""

from __future__ import annotations

import asyncio
import gzip
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp.streams import EMPTY_PAYLOAD

from sidecar.config.load import Config
from sidecar.downstream.request import UNREAD, Request
from sidecar.proxy.absorbing import _caller
from sidecar.sandbox import Sandbox
from sidecar.telemetry.record import Record
from tests.conftest import MakeSidecar, Running, store_token
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until
from tests.support.wire import Response, Wire, turns

MYSELF = "/rest/api/2/myself"
SEARCH = "/rest/api/2/search"
ISSUE = "/rest/api/2/issue"
MakeSandbox = Callable[..., Awaitable[Sandbox]]
SLOW = (
    "Retry-After: 20",
    "X-RateLimit-Limit: 1",
    "X-RateLimit-FillRate: 1",
    "X-RateLimit-Interval-Seconds: 20",
)
"""One request each 20 s: who comes second may not wait for that long."""


class Limited:
    """An upstream that refuses some requests for its rate limit; `refusals` says how many more."""

    def __init__(self, upstream: RawUpstream, *fields: str, refusals: int = 1) -> None:
        self.refusals = refusals
        self.fields = fields or ("Retry-After: 5",)
        self.body = b'{"message":"Rate limit exceeded."}'
        self.seen: list[str] = []
        upstream.handler = self._answer

    async def _answer(self, exchange: Exchange) -> None:
        await exchange.read_body()
        self.seen.append(exchange.head.split(b" HTTP/1.1")[0].decode())
        is_refused, json = self.refusals > 0, "Content-Type: application/json"
        self.refusals -= is_refused
        status = "429 Too Many Requests" if is_refused else "200 OK"
        fields = (json, *self.fields) if is_refused else (json,)
        if exchange.head.startswith(b"HEAD"):
            lines = [f"HTTP/1.1 {status}", *fields, "Content-Length: 9", "", ""]
            exchange.writer.write("\r\n".join(lines).encode())
        else:
            await exchange.say(self.body if is_refused else b"{}", *fields, status=status)


def waiting(sidecar: Running) -> int:
    return sum(lines.waiting for lines in {each.lines for each in sidecar.server.generations})


async def held(sidecar: Running, number: int = 1) -> None:
    """Wait until so many requests are held."""
    await until(lambda: waiting(sidecar) == number)


async def passing(clock: LoopClock, done: Callable[[], object], step: float = 0.25) -> None:
    """Let time pass until something is done."""
    while not done():
        await clock.skip(step)
        await turns(10)


async def answer(clock: LoopClock, asked: Awaitable[Response]) -> Response:
    task = asyncio.ensure_future(asked)
    await passing(clock, task.done)
    return await task


REPEATED: dict[str, tuple[str, str, bytes]] = {
    "GET": ("GET", MYSELF, b""),
    "HEAD": ("HEAD", MYSELF, b""),
    "OPTIONS": ("OPTIONS", MYSELF, b""),
    "a search": ("POST", SEARCH, b'{"jql": "project = JJ"}'),
    "a search below the context path": ("POST", "/rest/api/latest/search/", b"{}"),
    "GET with a body": ("GET", MYSELF, b"{}"),
}


@pytest.mark.parametrize(("method", "target", "body"), REPEATED.values(), ids=REPEATED.keys())
async def test_what_may_be_sent_again_waits_and_is(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, method: str, target: str,
    body: bytes,
) -> None:  # fmt: skip
    jira = Limited(upstream)
    asked = asyncio.create_task(edge.request(method, target, body=body))
    await held(edge)
    await loop_clock.skip(4.9)
    assert len(jira.seen) == 1, "Retry-After has not passed"
    jira.refusals = 0
    assert (await answer(loop_clock, asked)).status == 200
    assert len(jira.seen) == 2
    assert [bytes(exchange.body) for exchange in upstream.exchanges] == [body, body]
    assert upstream.connections == 1
    assert waiting(edge) == 0
    assert edge.server.generations[-1].identity.in_flight == set()


NOT_REPEATED: dict[str, tuple[str, str]] = {
    "an issue": ("POST", ISSUE),
    "PUT": ("PUT", f"{ISSUE}/JJ-2"),
    "DELETE": ("DELETE", f"{ISSUE}/JJ-2"),
    "PATCH": ("PATCH", f"{ISSUE}/JJ-2"),
    "another search": ("POST", "/rest/api/2/user/search"),
}


@pytest.mark.parametrize(("method", "target"), NOT_REPEATED.values(), ids=NOT_REPEATED.keys())
async def test_what_may_not_be_sent_again_gets_its_429_with_its_fields(
    edge: Running, upstream: RawUpstream, method: str, target: str
) -> None:
    fields = ("Retry-After: 5", "X-RateLimit-Remaining: 0", "X-Of: Jira")
    jira = Limited(upstream, *fields, refusals=9)
    answer = await edge.request(method, target, body=b'{"x": 1}')
    assert (answer.status, answer.body) == (429, jira.body)
    assert [answer[line.partition(":")[0]] for line in fields] == ["5", "0", "Jira"]
    assert not answer.all("Sidecar-Problem")
    assert len(jira.seen) == 1


async def test_a_write_waits_before_it_is_sent_where_others_wait(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """Nothing was sent yet: sending it once, in its turn, does nothing twice."""
    jira = Limited(upstream)
    reading = asyncio.create_task(edge.get(MYSELF))
    await held(edge)
    writing = asyncio.create_task(edge.request("POST", ISSUE, body=b"{}"))
    await held(edge, 2)
    assert len(jira.seen) == 1
    await passing(loop_clock, lambda: reading.done() and writing.done())
    assert jira.seen == [f"GET {MYSELF}", f"GET {MYSELF}", f"POST {ISSUE}"]
    assert (await writing).status == 200


@pytest.mark.parametrize(
    "wait", ["31", "9223372036854775807", "9" * 400, "Fri, 15 Jan 2100 08:00:00 GMT"]
)
async def test_a_wait_that_is_too_long_passes_at_once(
    edge: Running, upstream: RawUpstream, wait: str
) -> None:
    jira = Limited(upstream, f"Retry-After: {wait}", refusals=9)
    for number in (1, 2):
        answer = await edge.get(MYSELF)
        assert (answer.status, answer["Retry-After"]) == (429, wait)
        assert len(jira.seen) == number, "Jira is asked each time: it may have changed its mind"
    jira.refusals = 0
    assert (await edge.get(MYSELF)).status == 200
    assert waiting(edge) == 0


@pytest.mark.parametrize("wait", ["-1", "soon", "", "Fri, 15 Jan 2010 08:00:00 GMT", None])
async def test_where_no_time_is_named_that_of_the_bucket_counts(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, wait: str | None
) -> None:
    bucket = ("X-RateLimit-Limit: 5", "X-RateLimit-FillRate: 5", "X-RateLimit-Interval-Seconds: 9")
    fields = bucket if wait is None else (*bucket, f"Retry-After: {wait}")
    jira = Limited(upstream, *fields)
    asked = asyncio.create_task(edge.get(MYSELF))
    await held(edge)
    await loop_clock.skip(8.5)
    assert len(jira.seen) == 1
    assert (await answer(loop_clock, asked)).status == 200


async def test_a_request_is_held_no_longer_than_rate_wait_altogether(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__rate_wait=12)
    jira = Limited(upstream, "Retry-After: 4", refusals=99)
    began = asyncio.get_running_loop().time()
    refused = await answer(loop_clock, sidecar.get(MYSELF))
    assert (refused.status, refused["Retry-After"]) == (429, "4")
    assert asyncio.get_running_loop().time() - began < 14
    assert 2 <= len(jira.seen) <= 4


@pytest.mark.parametrize("tokens", [1, 1000, 9999999999])
async def test_a_jira_that_refuses_what_it_says_may_come_at_once_is_asked_now_and_then(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock, tokens: int
) -> None:
    """Of such a bucket tokens come all the time, and a turn as often."""
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__rate_wait=12)
    bucket = [f"X-RateLimit-{name}: {tokens}" for name in ("Limit", "FillRate")]
    jira = Limited(upstream, *bucket, "X-RateLimit-Interval-Seconds: 1", "Retry-After: 0",
                   refusals=9999)  # fmt: skip
    began = asyncio.get_running_loop().time()
    refused = await answer(loop_clock, sidecar.get(MYSELF))
    assert (refused.status, refused["Retry-After"]) == (429, "0")
    assert asyncio.get_running_loop().time() - began < 14
    assert 3 <= len(jira.seen) <= 18


async def test_each_pause_of_a_request_that_might_be_sent_at_once_doubles_the_last(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """From a tenth of a second up to a second."""
    loop_clock.stand_still()
    bucket = [f"X-RateLimit-{name}: 1000" for name in ("Limit", "FillRate")]
    jira = Limited(upstream, *bucket, "X-RateLimit-Interval-Seconds: 1", "Retry-After: 0",
                   refusals=6)  # fmt: skip
    asked = asyncio.create_task(edge.get(MYSELF))
    for number, pause in enumerate((0.1, 0.2, 0.4, 0.8, 1.0, 1.0), 1):
        while not waiting(edge):
            await turns(1)
        await loop_clock.skip(pause - 0.01)
        await turns(20)
        assert (len(jira.seen), waiting(edge)) == (number, 1)
        await loop_clock.skip(0.02)
        while len(jira.seen) == number:
            await turns(1)
    assert (await asked).status == 200
    counters = (await edge.get("/_sidecar/status")).json()["counters"]
    assert counters["held_seconds"] == pytest.approx(3.5, abs=0.1)


async def test_what_waits_for_a_tenth_of_a_second_was_held(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    loop_clock.stand_still()
    bucket = [f"X-RateLimit-{name}: 9" for name in ("Limit", "FillRate", "Interval-Seconds")]
    Limited(upstream, *bucket, "Retry-After: 0")
    assert (await answer(loop_clock, edge.get(MYSELF))).status == 200
    assert (await edge.get("/_sidecar/status")).json()["counters"]["held_requests"] == 1


async def test_what_was_held_before_it_was_sent_is_held_no_longer_altogether(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__rate_wait=12)
    jira = Limited(upstream, "Retry-After: 8", refusals=1)
    first = asyncio.create_task(sidecar.get(MYSELF))
    await held(sidecar)
    second = asyncio.create_task(sidecar.get(MYSELF))
    await held(sidecar, 2)
    first.cancel()
    await held(sidecar)
    jira.refusals = 1
    refused = await answer(loop_clock, second)
    assert (refused.status, len(jira.seen)) == (429, 2), "8 s and 8 s would be too long"


async def test_zero_passes_every_429(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__rate_wait=0)
    Limited(upstream, refusals=3)
    statuses = [(await sidecar.get(MYSELF)).status for _ in range(4)]
    assert statuses == [429, 429, 429, 200]
    assert waiting(sidecar) == 0


async def test_after_a_reload_with_zero_nobody_joins_the_queue(
    edge: Running, upstream: RawUpstream
) -> None:
    Limited(upstream, "Retry-After: 20")
    before = asyncio.create_task(edge.get(MYSELF))
    await held(edge)
    config: Config = edge.config
    edge.server.reload(replace(config, limits=replace(config.limits, rate_wait=0.0)))
    assert (await edge.get(MYSELF)).status == 200
    assert not before.done()
    before.cancel()


async def test_a_body_that_is_no_longer_in_memory_is_not_sent_again(
    edge: Running, upstream: RawUpstream
) -> None:
    Limited(upstream)
    answer = await edge.request("POST", SEARCH, body=b" " * (65 * 1024) + b"{}")
    assert answer.status == 429


async def test_a_large_429_passes_whole(edge: Running, upstream: RawUpstream) -> None:
    jira = Limited(upstream)
    jira.body = b'"' + b"x" * (100 * 1024) + b'"'
    answer = await edge.get(MYSELF)
    assert (answer.status, answer.body) == (429, jira.body)


@pytest.mark.parametrize("ends", ["Jira", "the client"])
async def test_a_429_that_never_comes_to_its_end_leaves_nothing_behind(
    edge: Running, upstream: RawUpstream, ends: str
) -> None:

    async def begin(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.writer.write(b"HTTP/1.1 429 \r\nRetry-After: 5\r\nContent-Length: 9\r\n\r\nhalf")
        if ends == "Jira":
            exchange.writer.close()

    upstream.handler = begin
    identity = edge.server.generations[-1].identity
    wire = await edge.wire()
    await wire.send(edge.message("GET", MYSELF))
    await until(lambda: edge.server.generations[-1].lines.lines)  # its head was read
    if ends == "Jira":
        assert (await wire.receive()).status == 502
    await wire.close()
    slots = edge.server.generations[-1]._proxy.slots
    await until(lambda: slots.waiting == slots.in_use == 0)
    assert identity.in_flight == set()


async def test_who_leaves_leaves_the_queue(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    jira = Limited(upstream)
    first, second = await edge.wire(), await edge.wire()
    await first.send(edge.message("GET", MYSELF))
    await held(edge)
    await second.send(edge.message("GET", MYSELF))
    await held(edge, 2)
    first.leave()
    await held(edge, 1)
    await second.close()
    await held(edge, 0)
    slots = edge.server.generations[-1]._proxy.slots
    await until(lambda: slots.waiting == slots.in_use == 0)
    await loop_clock.skip(20.0)
    assert len(jira.seen) == 1
    assert edge.server.generations[-1].lines.lines == {}


async def test_shutting_down_sends_all_away_who_wait(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    Limited(upstream, refusals=1)
    asked = [asyncio.create_task(edge.get(MYSELF))]
    await held(edge, 1)
    asked.append(asyncio.create_task(edge.get(MYSELF)))
    await held(edge, 2)
    late = await edge.wire()
    await edge.server.stop(5.0)
    for one in asked:
        answer = await one
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert "connection_limit_reached" in answer["Proxy-Status"]
    await late.close()


async def test_those_that_wait_are_counted(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__waiting=2)
    jira = Limited(upstream, refusals=1)
    asked = [asyncio.create_task(sidecar.get(MYSELF))]
    await held(sidecar, 1)
    asked.append(asyncio.create_task(sidecar.get(MYSELF)))
    await held(sidecar, 2)
    answer = await sidecar.get(MYSELF)
    assert (answer.status, answer["Retry-After"]) == (503, "1")
    await passing(loop_clock, lambda: all(task.done() for task in asked))
    assert [(await task).status for task in asked] == [200, 200]
    assert len(jira.seen) == 3


async def test_where_nobody_may_wait_the_429_passes(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(upstream.url, token="t" * 32, limits__waiting=0)
    Limited(upstream, refusals=1)
    assert (await sidecar.get(MYSELF)).status == 429


async def test_a_queue_that_is_too_long_answers_with_what_jira_said(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent past the queue, it would take a token from those that wait."""
    caplog.set_level(logging.INFO)
    bucket = ("X-RateLimit-Limit: 1", "X-RateLimit-FillRate: 1", "X-RateLimit-Interval-Seconds: 5")
    jira = Limited(upstream, "Retry-After: 5", *bucket, "X-Of: Jira", refusals=1)
    asked = [asyncio.create_task(edge.get(MYSELF))]
    await held(edge, 1)
    while not asked[-1].done():
        asked.append(asyncio.create_task(edge.get(MYSELF)))
        await until(lambda: waiting(edge) == len(asked) or asked[-1].done())
    assert 4 <= len(asked) <= 7, "one each 5 s, for 30 s"
    last = await asked.pop()
    assert last.status == 429
    assert (last.body, last["X-Of"], last["Retry-After"]) == (jira.body, "Jira", "5")
    assert len(jira.seen) == 1
    (line,) = [r.getMessage() for r in caplog.records if last["X-Request-Id"] in r.getMessage()]
    assert " held=" not in line
    for task in asked:
        task.cancel()


async def test_who_is_refused_behind_others_does_not_wait_in_vain(
    edge: Running, upstream: RawUpstream
) -> None:
    """A token comes each 20 s: of two that were refused at once the second would wait for 40 s."""
    bucket = ("X-RateLimit-Limit: 1", "X-RateLimit-FillRate: 1", "X-RateLimit-Interval-Seconds: 20")
    jira = Limited(upstream, "Retry-After: 20", *bucket, refusals=9)
    first = asyncio.create_task(edge.get(MYSELF))
    await held(edge, 1)
    for _ in range(2):
        answer = await edge.get(MYSELF)
        assert (answer.status, answer.body, answer["Retry-After"]) == (429, jira.body, "20")
    assert len(jira.seen) == 1
    first.cancel()


@pytest.mark.parametrize("asked_by", ["HEAD", "gzip"])
async def test_what_jira_said_to_one_goes_to_no_other_who_could_not_read_it(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, asked_by: str
) -> None:
    """The refusal of a HEAD names a length and has no body: a GET would wait for that for ever."""
    text = b"Rate limit exceeded."

    async def refuse(exchange: Exchange) -> None:
        await exchange.read_body()
        is_gzip = b"Accept-Encoding: gzip" in exchange.head
        body = gzip.compress(text) if is_gzip else text
        fields = ["Content-Type: text/plain", *SLOW, *["Content-Encoding: gzip"][: int(is_gzip)]]
        if exchange.head.startswith(b"HEAD"):
            lines = ["HTTP/1.1 429 ", *fields, f"Content-Length: {len(body)}", "", ""]
            exchange.writer.write("\r\n".join(lines).encode())
        else:
            await exchange.say(body, *fields, status="429 Too Many Requests")

    upstream.handler = refuse
    if asked_by == "HEAD":
        first = asyncio.create_task(edge.request("HEAD", MYSELF))
    else:
        first = asyncio.create_task(edge.request("GET", MYSELF, ("Accept-Encoding", "gzip")))
    await held(edge)
    for _ in range(2):
        answer = await edge.get(MYSELF)
        assert (answer.status, answer.body) == (429, b"")
        assert (answer["Retry-After"], answer.all("Content-Encoding")) == ("20", [])
    first.cancel()


async def test_what_jira_said_to_one_is_given_to_another_without_its_id(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    jira = Limited(upstream, *SLOW, "X-Request-Id: of-another", refusals=1)
    first = asyncio.create_task(edge.request("GET", MYSELF, ("X-Request-Id", "of-another")))
    await held(edge)
    answer = await edge.get(MYSELF)
    assert (answer.status, answer.body) == (429, jira.body)
    assert answer["X-Request-Id"] != "of-another"
    first.cancel()


async def test_a_reload_leaves_the_queue(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    jira = Limited(upstream)
    before = asyncio.create_task(edge.get(MYSELF))
    await held(edge)
    config: Config = edge.config
    edge.server.reload(config)
    after = asyncio.create_task(edge.get(MYSELF))
    await held(edge, 2)
    assert len(jira.seen) == 1, "the new generation knows of the limit"
    await passing(loop_clock, lambda: before.done() and after.done())
    assert {(await before).status, (await after).status} == {200}


async def test_two_reloads_of_which_one_changes_the_token_leave_the_queue(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock
) -> None:
    """The generation between them ends at once; the line that it shares goes on."""
    jira = Limited(upstream)
    leaving = asyncio.create_task(edge.get(MYSELF))
    await held(edge)
    before = asyncio.create_task(edge.get(MYSELF))
    await held(edge, 2)
    leaving.cancel()
    await held(edge, 1)
    config: Config = edge.config
    edge.server.reload(config)
    other = replace(config, token=replace(config.token, path=config.token.path.with_name("new")))
    edge.server.reload(other)
    await until(lambda: len(edge.server.generations) == 2)
    await passing(loop_clock, before.done)
    assert (await before).status == 200
    assert len(jira.seen) == 2


async def test_what_was_held_is_told(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bucket = ("X-RateLimit-Limit: 9", "X-RateLimit-FillRate: 3", "X-RateLimit-Interval-Seconds: 2")
    Limited(upstream, "Retry-After: 2", *bucket, refusals=1)
    assert (await answer(loop_clock, edge.get(MYSELF))).status == 200
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "(3 each 2 s, 9 at most): they wait for their turn, 30 s at most." in told
    assert "exempt the consumer key OauthKey" in told
    assert "whitelisted-oauth-consumers" in told
    (line,) = [r.getMessage() for r in caplog.records if f"GET {MYSELF} 200" in r.getMessage()]
    assert " held=2." in line
    assert " absorbed=1" in line
    status = (await edge.get("/_sidecar/status")).json()
    assert status["last_problem"]["problem"] == "rate_limited"
    assert status["counters"]["held_requests"] == 1
    assert 2 <= status["counters"]["held_seconds"] < 4
    assert status["counters"]["rate_limited"] == {"absorbed": 1}
    metrics = (await edge.get("/_sidecar/metrics")).body.decode()
    assert 'sidecar_rate_limit_refusals_total{outcome="absorbed"} 1.0' in metrics
    assert "sidecar_rate_limit_waits_total 1.0" in metrics


async def test_a_request_that_waits_twice_was_held_for_both_times_together(
    edge: Running, upstream: RawUpstream, loop_clock: LoopClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Limited(upstream, "Retry-After: 4", refusals=2)
    assert (await answer(loop_clock, edge.get(MYSELF))).status == 200
    (line,) = [r.getMessage() for r in caplog.records if f"GET {MYSELF} 200" in r.getMessage()]
    assert " absorbed=2" in line
    counters = (await edge.get("/_sidecar/status")).json()["counters"]
    assert counters["held_requests"] == 1
    assert counters["held_seconds"] >= 8


@pytest.mark.parametrize(("user", "of"), [(None, ""), ("Alana", " of alana")])
@pytest.mark.parametrize(
    ("bucket", "limit"),
    [
        ([], ""),
        (
            ["Limit: 9", "FillRate: 3", "Interval-Seconds: 2"],
            " (3 each 2 s, 9 at most)",
        ),
    ],
)
async def test_whose_limit_it_is_and_what_it_is_are_told_where_they_are_known(
    edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture, user: str | None,
    of: str, bucket: list[str], limit: str,
) -> None:  # fmt: skip
    store_token(edge.config, "t" * 32, user=user)
    Limited(upstream, "Retry-After: 2", *[f"X-RateLimit-{field}" for field in bucket])
    assert (await edge.request("PUT", f"{ISSUE}/JJ-2", body=b"{}")).status == 429
    began, passed = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert began.startswith(
        f"Jira limits the rate of requests{of}{limit}: they wait for their turn, 30 s at most."
    )
    assert passed.startswith(
        f"Jira refused a request{of} for its rate limit{limit}, and the 429 was passed on:"
    )


async def test_what_passed_is_told_with_what_to_do(
    edge: Running, upstream: RawUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    Limited(upstream, "Retry-After: 3600", refusals=1)
    assert (await edge.get(MYSELF)).status == 429
    told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "the 429 was passed on" in told[-1]
    assert "exempt the consumer key OauthKey" in told[-1]
    counters = (await edge.get("/_sidecar/status")).json()["counters"]
    assert counters["rate_limited"] == {"passed": 1}


# ── who is a caller ─────────────────────────────────────────────────────────────────────────


@dataclass
class Connection:
    client: str
    process: int = 0


def caller(connection: Connection, name: str = "") -> Hashable:
    request = Request(UNREAD, EMPTY_PAYLOAD, cast(Any, connection))
    return _caller(request, Record("GET", "/", "id", 0.0, caller=name))


def test_callers_are_told_apart_as_far_as_they_can_be() -> None:
    one, two = Connection("127.0.0.1"), Connection("127.0.0.1")
    assert caller(one) == caller(one) != caller(two), "on loopback, by their connections"
    assert caller(one, "ci") == caller(two, "ci") != caller(two, "cd"), "by their keys' names"
    distant, same = Connection("10.0.0.1"), Connection("10.0.0.1")
    assert caller(distant) == caller(same) != caller(Connection("10.0.0.2")), "by their machines"
    first, second = Connection("uid:1000", 77), Connection("uid:1000", 77)
    assert caller(first) == caller(second) != caller(Connection("uid:1000", 78)), "by processes"
    unknown = Connection("uid:1000"), Connection("uid:1000")
    assert caller(unknown[0]) != caller(unknown[1])


async def test_a_greedy_process_does_not_starve_another(
    upstream: RawUpstream, make_sidecar: MakeSidecar, loop_clock: LoopClock, tmp_path: Path
) -> None:
    """Its connections take one turn together; another process is the next."""
    socket = tmp_path / "sidecar.sock"
    sidecar = await make_sidecar(
        upstream.url, token="t" * 32, listen__addresses=["127.0.0.1:0", f"unix:{socket}"]
    )
    jira = Limited(upstream, refusals=1)
    greedy = [await Wire.open_unix(str(socket)) for _ in range(4)]
    for number, wire in enumerate(greedy):
        await wire.send(b"GET /rest/greedy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await held(sidecar, number + 1)
    modest = asyncio.create_task(sidecar.get("/rest/modest"))
    await held(sidecar, 5)
    await passing(loop_clock, lambda: waiting(sidecar) == 0)
    assert (await modest).status == 200
    assert jira.seen.index("GET /rest/modest") <= 3
    for wire in greedy:
        assert (await wire.receive()).status == 200
        await wire.close()


# ── the sandbox's buckets ───────────────────────────────────────────────────────────────────


@pytest.fixture
async def clocked(
    make_sandbox: MakeSandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> Callable[..., Awaitable[tuple[Sandbox, Running]]]:
    """A Jira whose buckets are filled by the test's clock, and a sidecar."""
    loop, real = asyncio.get_running_loop(), time.time() - asyncio.get_running_loop().time()

    async def make(two_legged: bool = False, **options: Any) -> tuple[Sandbox, Running]:
        link = {"two_legged": True, "impersonation": True} if two_legged else {}
        sandbox = await make_sandbox(clock=lambda: real + loop.time(), **link)
        if two_legged:
            options |= {"jira__two_legged": True, "access__act_as": ["*"]}
        else:
            options["token"] = sandbox.grant().token
        return sandbox, await make_sidecar(sandbox.url, **options)

    return make


@pytest.mark.parametrize("nodes", [1, 2])
async def test_twenty_clients_that_know_no_429_see_none(
    clocked: Any, loop_clock: LoopClock, nodes: int
) -> None:
    sandbox, sidecar = await clocked()
    sandbox.faults.throw({"rate_capacity": 10, "rate_fill": 10, "nodes": nodes})
    statuses: Counter[int] = Counter()
    served: Counter[int] = Counter()
    least: list[int] = []

    async def client(number: int) -> None:
        async with await sidecar.wire() as wire:
            for _ in range(5):
                await wire.send(sidecar.message("GET", MYSELF))
                statuses[(await wire.receive()).status] += 1
                served[number] += 1
                least.append(max(served.values()) - min(served[each] for each in range(20)))

    clients = [asyncio.create_task(client(number)) for number in range(20)]
    await passing(loop_clock, lambda: all(task.done() for task in clients), step=0.02)
    assert statuses == {200: 100}
    assert max(least) <= 2, "nobody is served twice as often as another"


async def test_other_users_are_not_held(clocked: Any, loop_clock: LoopClock) -> None:
    sandbox, sidecar = await clocked(two_legged=True, limits__connections=1)
    sandbox.faults.throw({"rate_capacity": 1, "rate_fill": 1, "rate_interval": 20})
    william, alana = [("X-Sidecar-Act-As", name) for name in ("william", "alana")]
    assert (await sidecar.get(MYSELF, william)).status == 200
    waits = asyncio.create_task(sidecar.get(MYSELF, william))
    await held(sidecar)
    answer = await sidecar.get(MYSELF, alana)
    assert (answer.status, answer.json()["name"]) == (200, "alana")
    assert not waits.done()
    await passing(loop_clock, waits.done)
    assert (await waits).status == 200


async def test_jira_tells_no_letter_case_of_its_users_apart(
    clocked: Any, loop_clock: LoopClock
) -> None:
    sandbox, sidecar = await clocked(two_legged=True)
    sandbox.faults.throw({"rate_capacity": 1, "rate_fill": 1, "rate_interval": 10})
    william, same = [("X-Sidecar-Act-As", name) for name in ("william", "WILLIAM")]
    assert (await sidecar.get(MYSELF, william)).status == 200
    asked = len(sandbox.log)
    waits = [asyncio.create_task(sidecar.get(MYSELF, each)) for each in (william, same)]
    await held(sidecar, 2)
    assert len(sandbox.log) == asked
    for task in waits:
        task.cancel()


async def test_a_long_search_waits_like_the_get_that_it_is(
    clocked: Any, loop_clock: LoopClock
) -> None:
    sandbox, sidecar = await clocked()
    sandbox.faults.throw({"rate_capacity": 1, "rate_interval": 5})
    target = f"{SEARCH}?jql=" + "key=JJ-2+or+" * 900 + "key=JJ-3"
    statuses = [(await answer(loop_clock, sidecar.get(target))).status for _ in range(3)]
    assert statuses == [200, 200, 200]
    assert {record.method for record in sandbox.log} == {"POST"}

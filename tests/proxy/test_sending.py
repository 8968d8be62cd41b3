"""Answers of every kind on their way back: what is read of them, and what is left as it was."""

from __future__ import annotations

import asyncio
import gzip
import logging
from urllib.parse import urlencode

import pytest

from tests.conftest import Running
from tests.support.raw_upstream import Exchange, RawUpstream

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


async def test_a_get_may_lose_a_connection_and_be_healed(
    edge: Running, upstream: RawUpstream
) -> None:
    async def reset_refuse_answer(exchange: Exchange) -> None:
        number = len(upstream.exchanges)
        if number == 1:
            exchange.reset()
        elif number == 2:
            await exchange.say(REFUSED, FORM, status="400 Bad Request")
        else:
            await exchange.say(b"ok")

    upstream.handler = reset_refuse_answer
    assert (await edge.get(GET)).status == 200
    assert len({tuple(e.all("Authorization")) for e in upstream.exchanges}) == 3


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
        answer = await edge.get(f"/rest/api/2/search?jql={'x' * size}")
        assert answer.status == 400
        assert not answer.all("Sidecar-Problem")
    (line,) = [
        r.getMessage()
        for r in caplog.records
        if r.levelno >= logging.WARNING and r.name.startswith("sidecar")
    ]
    assert "POST to /rest/api/2/search" in line
    assert "xxxx" not in line

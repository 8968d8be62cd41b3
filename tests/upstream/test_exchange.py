"""One request and its response, whatever Jira does: raw servers on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from sidecar.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    ProtocolError,
    RequestRefused,
    ResponseTimeout,
)
from sidecar.upstream.exchange import UpstreamRequest
from sidecar.upstream.incoming import PIECE
from tests.support.clocks import LoopClock
from tests.support.jira_edge import (
    Connect,
    Serve,
    connect,
    get,
    nothing_is_left,
    request,
    serve,
    whole,
)
from tests.support.raw_server import Peer, answers, once
from tests.support.waiting import SOON, until
from tests.support.wire import turns

__all__ = ["connect", "nothing_is_left", "serve"]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Resolve = Callable[..., list[str]]


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# Whatever Jira may answer

VALID: dict[str, tuple[list[bytes], bytes]] = {
    "length": ([OK + b"Content-Length: 5\r\n\r\nhello"], b"hello"),
    "no body": ([OK + b"Content-Length: 0\r\n\r\n"], b""),
    "chunks": ([CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"], b"hello"),
    "extensions": ([CHUNKED + b'2;a\r\nhe\r\n3;b=c;d="e"\r\nllo\r\n0;f\r\n\r\n'], b"hello"),
    "trailers": ([CHUNKED + b"5\r\nhello\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n"], b"hello"),
    "Chunked": ([OK + b"Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], b"hello"),
    "204": ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
    "304": ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"], b""),
    "no reason": ([b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello"], b"hello"),
    "bare LF": ([b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"], b"hello"),
    "compressed": (
        [OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"],
        b"hello",
    ),
    "upgrade": (
        [OK + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello"],
        b"hello",
    ),
    "100": (
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello"],
        b"hello",
    ),
    "102, 103": (
        [
            b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
            OK + b"Content-Length: 5\r\n\r\nhello",
        ],
        b"hello",
    ),
    "many": ([b"HTTP/1.1 102 P\r\n\r\n" * 1000, OK + b"Content-Length: 5\r\n\r\nhello"], b"hello"),
}


@pytest.mark.parametrize(
    ("name", "cut"),
    [(name, "whole") for name in VALID] + [(name, "bytes") for name in VALID if name != "many"],
)
async def test_a_valid_answer_is_read_and_its_connection_kept(
    serve: Serve, connect: Connect, name: str, cut: str
) -> None:
    pieces, body = VALID[name]
    if cut == "bytes":
        pieces = [bytes([byte]) for byte in b"".join(pieces)]

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(2):
        assert await get(upstream) == body
    assert len(server.peers) == 1


async def test_the_head_is_kept_as_it_came(serve: Serve, connect: Connect) -> None:
    server = await serve(
        once(
            b"HTTP/1.1 201 Gr\xfc\xdfe\r\nX-B: 2\r\nx-b:  1 \r\nX-Latin: \xe9\r\nX-Empty:\r\n"
            b"X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n"
        )
    )
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await whole(response) == b""
    assert (response.status, response.reason) == (201, b"Gr\xfc\xdfe")
    assert response.fields == [
        (b"X-B", b"2"),
        (b"x-b", b"1"),
        (b"X-Latin", b"\xe9"),
        (b"X-Empty", b""),
        (b"X-Folded", b"a b"),
        (b"Content-Length", b"0"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=repr,
)
async def test_a_body_that_ends_with_its_connection_is_whole(
    serve: Serve, connect: Connect, answer: bytes
) -> None:
    server = await serve(once(answer, end=Peer.finish))
    upstream = await connect(server.url)
    for _ in range(2):
        assert await get(upstream) == b"hello"
    assert len(server.peers) == 2


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (OK + b"\r\n", Peer.reset),
        (b"HTTP/1.0 200 OK\r\n\r\n", Peer.reset),
        (OK + b"Content-Length: 50\r\n\r\n", Peer.reset),
        (OK + b"Content-Length: 50\r\n\r\n", Peer.finish),
        (CHUNKED + b"5\r\n", Peer.finish),
        (CHUNKED + b"ff\r\n", Peer.finish),
        (CHUNKED + b"5\r\n", Peer.reset),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
@pytest.mark.parametrize("seen", [True, False], ids=["waiting", "not yet waiting"])
async def test_a_body_that_is_cut_short_is_never_taken_for_whole(
    serve: Serve, connect: Connect, head: bytes, end: Callable[[Peer], None], seen: bool
) -> None:
    cut = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"hello")
        await cut.wait()
        end(peer)

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    try:
        if seen:
            assert await response.read() == b"hello"
            assert not response.at_end()
            reading = asyncio.create_task(response.read())
            cut.set()
            with pytest.raises(ConnectionLost):
                await reading
        else:
            cut.set()
            await until(lambda: not upstream.connections, SOON)
            assert not response.at_end()
            with pytest.raises(ConnectionLost):
                response.read_nowait()
        assert not response.at_end()
    finally:
        response.close()


BROKEN: dict[str, list[bytes]] = {
    "not HTTP": [b"220 mail.example.com ESMTP\r\n"],
    "HTTP/0.9": [b"<html></html>"],
    "HTTP/2.0": [b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "HTTP/1.2": [b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "TLS alert": [b"\x15\x03\x01\x00\x02\x02\x46"],
    "two digits": [b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"],
    "four digits": [b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"],
    "status 099": [b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"],
    "101": [b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00"],
    "bare 101": [b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    "both lengths": [
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ],
    "both, other way round": [
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    ],
    "two lengths": [OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"],
    "a list of lengths": [OK + b"Content-Length: 5, 5\r\n\r\nhello"],
    "negative": [OK + b"Content-Length: -5\r\n\r\nhello"],
    "signed": [OK + b"Content-Length: +5\r\n\r\nhello"],
    "no number": [OK + b"Content-Length: five\r\n\r\nhello"],
    "huge": [OK + b"Content-Length: 99999999999999999999999\r\n\r\nhello"],
    "gzip, chunked": [OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    "identity": [OK + b"Transfer-Encoding: identity\r\n\r\nhello"],
    "xchunked": [OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    "chunked twice": [
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ],
    "chunked in 1.0": [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    "NUL": [OK + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n"],
    "bare CR": [OK + b"X-A: a\rX-B: b\r\nContent-Length: 0\r\n\r\n"],
    "space before colon": [OK + b"X-A : b\r\nContent-Length: 0\r\n\r\n"],
    "space in name": [OK + b"X A: b\r\nContent-Length: 0\r\n\r\n"],
    "no name": [OK + b": b\r\nContent-Length: 0\r\n\r\n"],
    "no colon": [OK + b"X-A\r\nContent-Length: 0\r\n\r\n"],
    "fold first": [OK + b"  X-A: b\r\nContent-Length: 0\r\n\r\n"],
    "blank fold first": [OK + b" \r\nX-A: b\r\nContent-Length: 0\r\n\r\n"],
    "blank fold first in 1xx": [b"HTTP/1.1 103 E\r\n\t\r\n" + OK + b"Content-Length: 0\r\n\r\n"],
    "8-bit name": [OK + b"X-\xe9: b\r\nContent-Length: 0\r\n\r\n"],
    "no chunk size": [CHUNKED + b"hello\r\n"],
    "negative chunk": [CHUNKED + b"-5\r\nhello\r\n"],
    "huge chunk": [CHUNKED + b"fffffffffffffffff\r\nhello\r\n"],
    "too many fields": [OK + b"X-A: b\r\n" * 257 + b"Content-Length: 0\r\n\r\n"],
    "long field": [OK + b"X-A: " + b"b" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"],
    "long name": [OK + b"X" * 70_000 + b": b\r\nContent-Length: 0\r\n\r\n"],
    "long reason": [b"HTTP/1.1 200 " + b"O" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n"],
    "long head": [OK + (b"X-A: " + b"b" * 1000 + b"\r\n") * 66 + b"Content-Length: 0\r\n\r\n"],
    "endless 1xx": [b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000],
}


@pytest.mark.parametrize(
    ("name", "cut"),
    [(name, "whole") for name in BROKEN]
    + [(name, "bytes") for name, pieces in BROKEN.items() if len(b"".join(pieces)) <= 1000],
)
async def test_a_broken_answer_is_a_protocol_error_at_once(
    serve: Serve, connect: Connect, name: str, cut: str
) -> None:
    pieces = BROKEN[name]
    if cut == "bytes":
        pieces = [bytes([byte]) for byte in b"".join(pieces)]
    server = await serve(once(*pieces))
    upstream = await connect(server.url)
    with pytest.raises(ProtocolError):
        await get(upstream)
    await server.end()  # the connection is gone
    assert len(server.peers) == 1


FAULTS = {
    "NUL": "field 1 of its head (X-A) has a control character",
    "space before colon": "field 1 of its head has a space before its colon",
    "no colon": "field 1 of its head has no colon",
    "no number": "invalid character in content-length",
    "no chunk size": "invalid character in chunk size",
    "fold first": "field 1 of its head is folded",
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_broken_answer_is_told_by_its_fault_without_what_is_in_it(
    serve: Serve, connect: Connect, name: str
) -> None:
    pieces = [piece.replace(b"hello", b"hush").replace(b": b", b": hush") for piece in BROKEN[name]]
    upstream = await connect((await serve(once(*pieces))).url)
    with pytest.raises(
        ProtocolError, match=re.escape(f"not valid HTTP: {FAULTS[name]}.")
    ) as caught:
        await get(upstream)
    assert "hush" not in caught.value.message + caught.value.hint


BROKEN_LATER: dict[str, tuple[bytes, bytes]] = {
    "no chunk size": (CHUNKED + b"5\r\nhello\r\n", b"zz\r\n"),
    "no CRLF after a chunk": (CHUNKED + b"5\r\nhello", b"X0\r\n\r\n"),
    "no number": (CHUNKED + b"5\r\nhello\r\n", b"\r\n"),
    "trailer without colon": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X\r\n\r\n"),
    "long trailer": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: " + b"y" * 70_000 + b"\r\n\r\n"),
    "many trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"X: y\r\n" * 300 + b"\r\n"),
}


@pytest.mark.parametrize("name", BROKEN_LATER)
async def test_a_body_that_turns_out_broken_fails_at_once(
    serve: Serve, connect: Connect, name: str
) -> None:
    good, bad = BROKEN_LATER[name]
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(good)
        await go_on.wait()
        await peer.send(bad)
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url, timeouts__idle=60)
    response = await upstream.send(request())
    try:
        assert await response.read() == b"hello"
        reading = asyncio.create_task(response.read())
        go_on.set()
        with pytest.raises(ProtocolError):
            await asyncio.wait_for(reading, 5)
        assert not response.at_end()
    finally:
        response.close()
    await server.end()


async def test_bytes_beyond_content_length_are_never_seen_by_anybody(
    serve: Serve, connect: Connect
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        if len(server.peers) > 1:
            return await answers(peer)
        await peer.request()
        await peer.send(OK + b"Content-Length: 5\r\n\r\nhello")
        await go_on.wait()
        await peer.send(b" world")
        await peer.gone()
        return None

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await response.read() == b"hello"
    go_on.set()
    await server.end()
    assert response.at_end()
    response.close()
    assert await get(upstream) == b"GET / HTTP/1.1"
    assert len(server.peers) == 2


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_bodiless_answer_with_a_body_poisons_nothing(
    serve: Serve, connect: Connect, method: str
) -> None:
    status = b"200 OK" if method == "HEAD" else b"304 Not Modified"
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 %b\r\nContent-Length: 5\r\n\r\n" % status)
            await go_on.wait()
            await peer.send(b"hello")

    server = await serve(script)
    upstream = await connect(server.url)
    for number in range(2):
        response = await upstream.send(request(method))
        assert response.at_end()
        assert await whole(response) == b""
        assert len(server.peers) == number + 1
        go_on.set()
        await server.end()
        go_on.clear()
        server.ended.clear()


async def test_a_head_of_almost_the_limit_passes(serve: Serve, connect: Connect) -> None:
    fields = b"".join(b"X-%03d: %b\r\n" % (n, b"b" * 300) for n in range(200))
    server = await serve(once(OK + fields + b"Content-Length: 2\r\n\r\nok"))
    upstream = await connect(server.url)
    assert await get(upstream) == b"ok"


ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "head": (OK, b"X-A: " + b"b" * 1000 + b"\r\n"),
    "short fields": (OK, b"X:\r\n"),
    "field": (OK + b"X-A: ", b"b" * 1000),
    "reason": (b"HTTP/1.1 200 ", b"O" * 1000),
    "1xx": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "1xx with fields": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "empty lines": (b"", b"\r\n"),
    "chunk extension": (CHUNKED + b"5;a=", b"b" * 1000),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: " + b"b" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("name", ENDLESS)
async def test_what_has_no_end_is_cut_off_in_little_memory(
    serve: Serve, connect: Connect, name: str
) -> None:
    start, again = ENDLESS[name]
    again *= 1 + (1 << 20) // len(again)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(start)
        while sent < 64 << 20:
            await peer.send(again)
            sent += len(again)

    server = await serve(script)
    upstream = await connect(server.url)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        with pytest.raises(ProtocolError):
            await get(upstream)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    await server.end()
    assert sent < 16 << 20  # what sockets hold is in it
    assert peak < 8 << 20


# Timeouts


async def until_given_up(clock: LoopClock, doing: asyncio.Task[Any]) -> None:
    """Let time pass until it ends; a clock that is looked at again may put the end off."""
    while not doing.done():
        await clock.skip(3)


async def test_no_head_within_the_response_timeout(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=20)
    asking = asyncio.create_task(upstream.send(request()))
    await asked.wait()
    await loop_clock.skip(19)
    assert not asking.done()
    await loop_clock.skip(2)
    with pytest.raises(ResponseTimeout, match=r"did not answer within 20 s"):
        await asking
    await server.end()


async def test_interim_answers_do_not_extend_the_response_timeout(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await loop_clock.skip(3)

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=20)
    with pytest.raises(ResponseTimeout):
        await upstream.send(request())


async def test_a_slow_upload_is_no_slow_response(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            await loop_clock.skip(8)
            yield b"piece"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await loop_clock.skip(8)
        await peer.answer(b"thanks")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=10)
    response = await upstream.send(request("PUT", body=slowly(), chunked=True))
    assert await whole(response) == b"thanks"


async def test_a_large_body_in_memory_has_time_to_be_sent(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    body = b"x" * (32 << 20)  # more than sockets hold

    async def script(peer: Peer) -> None:
        await peer.head()
        await loop_clock.skip(30)
        rest = len(body)
        while rest:
            rest -= len(await peer.reader.read(1 << 20))
        await peer.answer(b"thanks")

    server = await serve(script, receive_buffer=1 << 16)
    upstream = await connect(server.url, timeouts__response=10)
    response = await upstream.send(request("POST", body=body))
    assert await whole(response) == b"thanks"


async def test_a_pause_inside_the_body(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    server = await serve(once(OK + b"Content-Length: 50\r\n\r\nhello"))
    upstream = await connect(server.url, timeouts__idle=20)
    response = await upstream.send(request())
    assert await response.read() == b"hello"
    reading = asyncio.create_task(response.read())
    await loop_clock.skip(15)
    assert not reading.done()
    await until_given_up(loop_clock, reading)
    with pytest.raises(ResponseTimeout, match=r"paused for more than 20 s"):
        await reading
    response.close()
    await server.end()


async def test_a_drip_is_no_pause_and_arrives_at_once(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    taken = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(5):
            await loop_clock.skip(15)
            await peer.send(b"1\r\nx\r\n")
            await taken.wait()
            taken.clear()
        await peer.send(b"0\r\n\r\n")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__idle=20)
    response = await upstream.send(request())
    for _ in range(5):
        assert await response.read() == b"x"
        taken.set()
    assert await whole(response) == b""


async def test_the_idle_timeout_of_one_answer_does_not_end_the_next_request(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"quick")
        await peer.request()
        await loop_clock.skip(40)
        await peer.answer(b"slow")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__idle=10)
    assert await get(upstream) == b"quick"
    assert await get(upstream) == b"slow"
    assert len(server.peers) == 1


async def test_a_reader_that_is_slow_is_no_pause_of_jira(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    body = b"x" * (4 << 20)
    server = await serve(once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    upstream = await connect(server.url, timeouts__idle=10)
    response = await upstream.send(request())
    for _ in range(10):
        await loop_clock.skip(3)
    assert await whole(response) == body


async def test_back_pressure_holds_jira_up(serve: Serve, connect: Connect) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % (256 << 20))
        while True:
            peer.writer.write(b"x" * (1 << 20))
            await peer.writer.drain()
            sent += 1 << 20

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    await turns(500)  # enough for all of it, if nothing held it up
    assert sent < 64 << 20  # what sockets and 128 KiB of ours hold
    response.close()


async def test_jira_stops_taking_the_upload(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    gave_up = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await gave_up.wait()

    server = await serve(script, receive_buffer=1 << 14)
    upstream = await connect(server.url, timeouts__idle=10)
    body = stream(*[b"x" * (1 << 20)] * 64)
    sending = asyncio.create_task(upstream.send(request("PUT", body=body, chunked=True)))
    await until_given_up(loop_clock, sending)
    with pytest.raises(ResponseTimeout, match="stopped taking") as caught:
        await sending
    assert "timeouts.idle" in caught.value.hint
    gave_up.set()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it alone")
@pytest.mark.parametrize(("size", "is_patient"), [(PIECE, False), (PIECE + 1, True)])
async def test_while_a_large_body_is_sent_jira_may_leave_it_unread_for_long(
    serve: Serve, connect: Connect, size: int, is_patient: bool
) -> None:
    def patience() -> int:
        (connection,) = upstream.connections
        assert connection.transport is not None
        sock: socket.socket = connection.transport.get_extra_info("socket")
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)

    asked, go_on = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await go_on.wait()
        await peer.answer(b"thanks")

    server = await serve(script)
    upstream = await connect(server.url)
    sending = asyncio.create_task(upstream.send(request("POST", body=bytes(size))))
    await asked.wait()
    assert patience() == (0 if is_patient else 14_000)
    go_on.set()
    assert await whole(await sending) == b"thanks"
    assert patience() == 14_000


# Uploads


async def test_pieces_are_framed_as_chunks_and_empty_ones_end_nothing(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.answer(await peer.reader.readuntil(b"0\r\n\r\n"))
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    body = stream(b"hello", b"", b"x" * 26)
    response = await upstream.send(request("PUT", body=body, chunked=True))
    sent = b"5\r\nhello\r\n1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert await whole(response) == sent


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 5 * PIECE + 7])
async def test_a_body_in_memory_arrives_whole(serve: Serve, connect: Connect, size: int) -> None:
    body = bytes(number % 251 for number in range(size))

    async def script(peer: Peer) -> None:
        while True:
            await peer.answer((await peer.request()).partition(b"\r\n\r\n")[2])

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(2):
        assert await whole(await upstream.send(request("POST", body=body))) == body
    assert len(server.peers) == 1


@pytest.mark.parametrize("status", [400, 413])
async def test_an_early_refusal_is_read_and_the_upload_ends(
    serve: Serve, connect: Connect, status: int
) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)
        finally:
            closed.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 %d Too Large\r\nContent-Length: 9\r\n\r\ntoo " % status)
        await closed.wait()
        await peer.send(b"large")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request("PUT", body=endless(), chunked=True))
    assert response.status == status
    async with asyncio.timeout(SOON):
        assert await whole(response) == b"too large"
    await server.end()  # never completed, and never used again


@pytest.mark.parametrize("end", [Peer.reset, Peer.finish], ids=["RST", "FIN"])
async def test_an_early_refusal_is_read_though_its_connection_ended_with_it(
    serve: Serve, connect: Connect, end: Callable[[Peer], None]
) -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await ended.wait()
        for _ in range(64):  # the next write fails
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        end(peer)
        ended.set()

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(10):
        ended.clear()
        response = await upstream.send(request("PUT", body=pieces(), chunked=True))
        assert response.status == 413
        assert await whole(response) == b"too large"


async def test_a_refusal_that_has_arrived_is_read_before_more_is_sent(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    loop_clock.stand_still()
    answered = asyncio.Event()
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b"first"
        await answered.wait()
        for _ in range(64):
            taken += 1
            yield b"x" * 1000

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        answered.set()
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request("PUT", body=pieces(), chunked=True))
    assert await whole(response) == b"too large"
    assert taken <= 1


@pytest.mark.parametrize("status", [200, 399])
async def test_an_early_answer_that_is_no_refusal_lets_the_upload_go_on_at_once(
    serve: Serve, connect: Connect, loop_clock: LoopClock, status: int
) -> None:
    loop_clock.stand_still()
    answered = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"second"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKED.replace(b"200", b"%d" % status) + b"2\r\nok\r\n")
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(b"4\r\ndone\r\n0\r\n\r\n")
        await peer.request()
        await peer.answer(b"again")

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request("PUT", body=pieces(), chunked=True))
    assert await response.read() == b"ok"
    answered.set()
    assert await whole(response) == b"done"
    assert await get(upstream) == b"again"
    assert len(server.peers) == 1


async def test_a_body_that_fails_is_never_completed(serve: Serve, connect: Connect) -> None:
    received = asyncio.get_running_loop().create_future()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise RequestRefused(400, "The request's body is malformed.")

    async def script(peer: Peer) -> None:
        await peer.head()
        received.set_result(await peer.gone())

    server = await serve(script)
    upstream = await connect(server.url)
    with pytest.raises(RequestRefused, match="malformed"):
        await upstream.send(request("PUT", body=pieces(), chunked=True))
    assert not (await received).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), ValueError("a bug")], ids=repr)
async def test_a_body_s_own_failure_is_not_taken_for_jira_s(
    serve: Serve, connect: Connect, error: Exception
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise error

    server = await serve(once())
    upstream = await connect(server.url)
    with pytest.raises(type(error)) as caught:
        await upstream.send(request("PUT", body=pieces(), chunked=True))
    assert caught.value is error


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 50\r\n\r\n"], ids=repr)
async def test_a_body_that_fails_after_the_answer_began_cuts_the_answer_short(
    serve: Serve, connect: Connect, head: bytes
) -> None:
    answered = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        raise RequestRefused(400, "The request's body is malformed.")

    server = await serve(once(head + b"hello"))
    upstream = await connect(server.url)
    response = await upstream.send(request("PUT", body=pieces(), chunked=True))
    assert await response.read() == b"hello"
    answered.set()
    with pytest.raises(ConnectionLost, match="The request's body failed") as caught:
        await response.read()
    assert "send the request again" in caught.value.hint
    assert not response.at_end()
    response.close()


async def test_jira_closes_during_the_upload(serve: Serve, connect: Connect) -> None:
    gone = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await gone.wait()
        for _ in range(1000):
            yield b"x" * 1000
            await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reset()
        gone.set()

    server = await serve(script)
    upstream = await connect(server.url)
    with pytest.raises(ConnectionLost):
        await upstream.send(request("PUT", body=pieces(), chunked=True))


# What is read ahead


async def test_what_was_looked_at_is_read_all_the_same(serve: Serve, connect: Connect) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 12\r\n\r\n", b"he", b"llo ")
        await go_on.wait()
        await peer.send(b"world!")
        await peer.request()
        await peer.answer(b"again")

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    for _ in range(2):
        assert await response.peek(6) == b"hello ", "no more is waited for"
    assert not response.at_end()
    assert response.read_nowait() == b"hello "
    assert response.read_nowait() == b""
    go_on.set()
    assert await response.peek(100) == b"world!"
    assert not response.at_end()
    assert await response.read() == b"world!"
    assert await response.read() == b""
    assert response.at_end()
    response.close()
    assert await get(upstream) == b"again"


async def test_what_was_looked_at_is_given_back_with_its_connection_but_not_read(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await response.peek(100) == b"GET / HTTP/1.1"
    for _ in range(2):
        response.close()
        assert not response.at_end()
    assert await get(upstream) == b"GET / HTTP/1.1"
    assert len(server.peers) == 1


async def test_of_an_exchange_that_was_given_up_nothing_is_read_any_more(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(once(OK + b"Content-Length: 50\r\n\r\nhello"))
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await response.peek(5) == b"hello"
    for _ in range(2):
        response.abort()
        assert not response.at_end()
    with pytest.raises(ConnectionLost):
        response.read_nowait()
    with pytest.raises(ConnectionLost):
        await response.read()


# What is noted of an exchange


async def test_the_time_until_jira_began_to_answer_is_taken(serve: Serve, connect: Connect) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    started = time.perf_counter()
    response = await upstream.send(request())
    assert 0 < response.first_byte_seconds < time.perf_counter() - started
    assert await whole(response)


def test_a_request_has_no_body_unless_it_is_told_and_shows_nothing_secret() -> None:
    fields = [(b"Authorization", b"OAuth s3cret")]
    bare = UpstreamRequest("GET", "/", fields)
    assert (bare.body, bare.chunked) == (b"", False)
    shown = repr(UpstreamRequest("POST", "/x", fields, b"s3cret"))
    assert "s3cret" not in shown
    assert "/x" in shown


@pytest.mark.parametrize(
    ("fields", "is_kept"),
    [
        ([], True),
        (["Keep-Alive: timeout=60"], True),
        (["Keep-Alive: max=100"], True),
        (["Keep-Alive: timeout=5"], False),
        (["KEEP-ALIVE: max=100, TimeOut = 5"], False),
    ],
)
async def test_a_connection_rests_for_less_long_than_jira_says(
    serve: Serve, connect: Connect, loop_clock: LoopClock, fields: list[str], is_kept: bool
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"ok", *fields)

    server = await serve(script)
    upstream = await connect(server.url)
    assert await get(upstream) == b"ok"
    await loop_clock.skip(6)
    assert await get(upstream) == b"ok"
    assert len(server.peers) == (1 if is_kept else 2)


@pytest.mark.parametrize("through_proxy", [False, True])
@pytest.mark.parametrize("status", [403, 407])
async def test_a_407_is_jiras_own_unless_a_proxy_is_asked(
    serve: Serve, connect: Connect, status: int, through_proxy: bool
) -> None:
    head = b"HTTP/1.1 %d X\r\nProxy-Authenticate: NTLM\r\nContent-Length: 5\r\n\r\nhello"
    server = await serve(once(head % status))
    upstream = (
        await connect("http://jira.example.com", jira__proxy=server.url)
        if through_proxy
        else await connect(server.url)
    )
    if status == 407 and through_proxy:
        with pytest.raises(ConnectionRefused, match="by NTLM alone"):
            await upstream.send(request())
    else:
        assert await get(upstream) == b"hello"


# Somebody gives up


@pytest.mark.parametrize("stage", ["waiting", "uploading", "streaming", "stalled upload"])
async def test_giving_up_ends_the_connection(serve: Serve, connect: Connect, stage: str) -> None:
    reached = asyncio.Event()
    closed = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            if stage == "uploading":
                reached.set()
                await asyncio.Event().wait()
            for _ in range(64):
                yield b"x" * (1 << 20)
        finally:
            closed.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        if stage == "streaming":
            await peer.send(OK + b"Content-Length: 50\r\n\r\nhello")
        elif stage == "waiting":
            reached.set()
        elif stage == "stalled upload":
            await turns(50)  # until sockets are full
            reached.set()
        await peer.gone()

    server = await serve(script, receive_buffer=1 << 14)
    upstream = await connect(server.url)

    async def use() -> None:
        outgoing = request()
        if "upload" in stage:
            outgoing = request("PUT", body=pieces(), chunked=True)
        response = await upstream.send(outgoing)
        try:
            await response.read()
            reached.set()
            await response.read()
        finally:
            response.close()

    using = asyncio.create_task(use())
    await reached.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    await server.end()
    if "upload" in stage:
        await closed.wait()
    assert not upstream.connections


async def test_giving_up_while_connecting(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*args: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    upstream = await connect("http://127.0.0.1:9")
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    using = asyncio.create_task(upstream.send(request()))
    await reached.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert not upstream.connections


async def test_no_connection_within_the_connect_timeout(
    connect: Connect, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: object) -> None:
        await asyncio.Event().wait()

    upstream = await connect("http://127.0.0.1:9", timeouts__connect=10)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    dialling = asyncio.create_task(upstream.send(request()))
    await until_given_up(loop_clock, dialling)
    with pytest.raises(ConnectTimeout, match=r"within 10 s"):
        await dialling

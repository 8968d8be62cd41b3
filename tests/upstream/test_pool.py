"""One request to Jira, whatever Jira does: raw servers on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import (
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    NameNotResolved,
    ProtocolError,
    RequestRefused,
    ResponseTimeout,
    UpstreamError,
)
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.exchange import UpstreamResponse
from sidecar.upstream.incoming import PIECE
from sidecar.upstream.pool import MOST_AGE
from tests.conftest import MakeSidecar
from tests.support.clocks import LoopClock
from tests.support.jira_edge import (
    Connect,
    Serve,
    connecting,
    get,
    nothing_left,
    request,
    serving,
    whole,
)
from tests.support.raw_server import Peer, answers, field, once
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Resolve = Callable[..., list[str]]


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    async with nothing_left():
        yield


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


@pytest.fixture
async def connect(tmp_path: Path, private_key: RSAPrivateKey) -> AsyncIterator[Connect]:
    async with connecting(tmp_path, private_key) as make:
        yield make


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# The pool


async def test_requests_one_after_another_share_a_connection(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    for number in range(5):
        assert await get(upstream, f"/{number}") == b"GET /%d HTTP/1.1" % number
    assert len(server.peers) == 1


async def test_requests_at_once_have_connections_of_their_own_that_are_kept(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    for _ in range(3):
        found = await asyncio.gather(*(get(upstream, f"/{number}") for number in range(8)))
        assert found == [b"GET /%d HTTP/1.1" % number for number in range(8)]
    assert len(server.peers) == 8


async def test_every_connection_is_bounded(serve: Serve, connect: Connect) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert {type(connection) for connection in upstream.connections} == {UpstreamConnection}
    await whole(response)


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset, Peer.cut])
async def test_a_connection_that_ended_while_idle_is_not_used_again(
    serve: Serve, connect: Connect, end: Callable[[Peer], None]
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    end(server.peers[0])
    if end is not Peer.cut:  # which the loop has not seen yet, only the kernel
        await server.end()
    # A POST, which is never retried.
    assert await whole(await upstream.send(request("POST"))) == b"POST / HTTP/1.1"
    assert len(server.peers) == 2


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "still in the kernel"])
@pytest.mark.parametrize(
    "poison",
    [
        OK + b"Content-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        OK + b"X-Evil: ",
        b"HTTP/1.1 2",
        b"\r\n",
        b"\x00",
    ],
    ids=repr,
)
async def test_bytes_that_nobody_asked_for_are_not_taken_for_the_next_answer(
    serve: Serve, connect: Connect, poison: bytes, seen: bool
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    first = server.peers[0]
    first.writer.write(poison)
    if seen:
        await server.end()  # we ended it
    assert await get(upstream, "/next") == b"GET /next HTTP/1.1"
    assert len(server.peers) == 2


async def test_an_answer_behind_the_answer_is_discarded_with_its_connection(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    assert await get(upstream) == b"ok"
    assert await get(upstream) == b"ok"
    assert len(server.peers) == 2


async def test_a_server_that_speaks_first_is_an_error_and_not_a_loop(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    with pytest.raises(ProtocolError):
        await upstream.send(request())
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("early", "error"), [(b"SSH-2.0-x\r\n", ProtocolError), (b"", ConnectionLost)], ids=repr
)
async def test_what_happens_between_connecting_and_asking_is_noticed(
    serve: Serve, connect: Connect, early: bytes, error: type[UpstreamError]
) -> None:
    async def script(peer: Peer) -> None:
        if early:
            await peer.send(early)
            await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    connection = await upstream._dial()
    async with asyncio.timeout(5):
        while connection.transport is not None:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0)
    response = UpstreamResponse(upstream._terms, connection, 0.0, upstream._give_back)
    with pytest.raises(error):
        await response.exchange(b"GET / HTTP/1.1\r\n\r\n", request())


async def test_what_was_peeked_at_is_still_read(serve: Serve, connect: Connect) -> None:
    body = bytes(range(256)) * 1024
    server = await serve(once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    upstream = await connect(server.url)
    response = await upstream.send(request())
    start = await response.peek(1000)
    assert len(start) >= 1000
    assert body.startswith(start)
    assert not response.at_end()
    assert response.read_nowait() == start
    assert start + await whole(response) == body


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 20", OK, OK + b"X-A: "], ids=repr)
async def test_a_connection_that_ends_before_the_head_is_lost(
    serve: Serve, connect: Connect, end: Callable[[Peer], None], part: bytes
) -> None:
    server = await serve(once(part, end=end))
    upstream = await connect(server.url)
    with pytest.raises(ConnectionLost):
        await upstream.send(request())


async def test_no_cookie_is_kept_and_nothing_is_added(serve: Serve, connect: Connect) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.answer(b"", "Set-Cookie: JSESSIONID=1; Path=/")

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(2):
        await get(upstream, "/a?b=%20&c")
    assert seen == [b"GET /a?b=%20&c HTTP/1.1\r\nHost: jira\r\n\r\n"] * 2


# Connections that fail over, or grow old


async def test_a_retry_takes_a_fresh_connection_and_no_other_that_rested(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    together = asyncio.Barrier(4)
    failed_over = False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if failed_over and peer in server.peers[:4]:
                return peer.reset()
            if not failed_over:
                await together.wait()
            await peer.answer(b"ok")

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    await asyncio.gather(*(sidecar.get("/x") for _ in range(4)))
    assert len(server.peers) == 4
    failed_over = True
    answer = await sidecar.get("/x")
    assert (answer.status, answer.body) == (200, b"ok")
    assert len(server.peers) == 5
    # The others that rested are gone, too: a POST, which is never sent twice, does not meet them.
    posts = [sidecar.request("POST", "/x", body=b"{}") for _ in range(2)]
    assert [answer.status for answer in await asyncio.gather(*posts)] == [200, 200]
    assert len(server.peers) == 6


async def test_requests_of_our_own_take_a_fresh_connection(serve: Serve, connect: Connect) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    for number in range(2, 4):
        answer = await upstream.fetch(request("POST", "/plugins/servlet/oauth/access-token"))
        assert answer.status == 200
        assert len(server.peers) == number


async def test_a_busy_connection_is_renewed_within_a_minute_the_new_one_first(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    ages: list[float] = []
    for _ in range(60):
        await get(upstream)
        now = asyncio.get_running_loop().time()
        ages.append(now - min(connection.born for connection in upstream.connections))
        assert upstream.connections  # an old one goes when the new one is there
        await until(lambda: not upstream.renewing)
        await loop_clock.skip(3)
    assert 3 <= len(server.peers) <= 7  # in three minutes, at 30 to 45 s
    assert max(ages) < MOST_AGE


async def test_a_connection_that_cannot_be_renewed_goes_on(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    server.stop_listening()
    for _ in range(30):
        assert await get(upstream) == b"GET / HTTP/1.1"
        await loop_clock.skip(4)
    assert len(server.peers) == 1


async def test_a_connection_that_was_busy_for_long_is_not_kept(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.answer(b"%d" % server.peers.index(peer))

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=1000)
    waiting = asyncio.create_task(get(upstream))
    await until(lambda: server.peers)
    await loop_clock.skip(MOST_AGE + 1)
    go_on.set()
    assert await waiting == b"0"
    assert await get(upstream) == b"1"


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


@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("name", VALID)
async def test_a_valid_answer_is_read_and_its_connection_kept(
    serve: Serve, connect: Connect, name: str, cut: str
) -> None:
    pieces, body = VALID[name]
    if cut == "bytes":
        if name == "many":
            pytest.skip("a minute of single bytes")
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
            async with asyncio.timeout(5):
                while upstream.connections:  # noqa: ASYNC110 - nothing announces it
                    await asyncio.sleep(0)
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


@pytest.mark.parametrize("cut", ["whole", "bytes"])
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_a_protocol_error_at_once(
    serve: Serve, connect: Connect, name: str, cut: str
) -> None:
    pieces = BROKEN[name]
    data = b"".join(pieces)
    if cut == "bytes":
        if len(data) > 1000:
            pytest.skip("a minute of single bytes")
        pieces = [bytes([byte]) for byte in data]
    server = await serve(once(*pieces))
    upstream = await connect(server.url)
    with pytest.raises(ProtocolError):
        await get(upstream)
    await server.end()  # the connection is gone
    assert len(server.peers) == 1


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


async def test_no_head_within_the_response_timeout(serve: Serve, connect: Connect) -> None:
    server = await serve(once())
    upstream = await connect(server.url, timeouts__response=0.1)
    with pytest.raises(ResponseTimeout, match=r"did not answer within 0.1 s"):
        await upstream.send(request())
    await server.end()


async def test_interim_answers_do_not_extend_the_response_timeout(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0.02)

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=0.2)
    with pytest.raises(ResponseTimeout):
        await upstream.send(request())


async def test_a_slow_upload_is_no_slow_response(serve: Serve, connect: Connect) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield b"piece"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(0.1)
        await peer.answer(b"thanks")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=0.25)
    response = await upstream.send(request("PUT", body=slowly(), chunked=True))
    assert await whole(response) == b"thanks"


async def test_a_large_body_in_memory_has_time_to_be_sent(serve: Serve, connect: Connect) -> None:
    body = b"x" * (32 << 20)  # more than sockets hold

    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.sleep(0.5)
        rest = len(body)
        while rest:
            rest -= len(await peer.reader.read(1 << 20))
        await peer.answer(b"thanks")

    server = await serve(script, receive_buffer=1 << 16)
    upstream = await connect(server.url, timeouts__response=0.3)
    response = await upstream.send(request("POST", body=body))
    assert await whole(response) == b"thanks"


async def test_a_pause_inside_the_body(serve: Serve, connect: Connect) -> None:
    server = await serve(once(OK + b"Content-Length: 50\r\n\r\nhello"))
    upstream = await connect(server.url, timeouts__idle=0.1)
    response = await upstream.send(request())
    assert await response.read() == b"hello"
    with pytest.raises(ResponseTimeout, match=r"paused for more than 0.1 s"):
        await response.read()
    response.close()
    await server.end()


async def test_a_drip_is_no_pause_and_arrives_at_once(serve: Serve, connect: Connect) -> None:
    taken = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(5):
            await asyncio.sleep(0.1)
            await peer.send(b"1\r\nx\r\n")
            await taken.wait()
            taken.clear()
        await peer.send(b"0\r\n\r\n")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__idle=0.3)
    response = await upstream.send(request())
    for _ in range(5):
        assert await response.read() == b"x"
        taken.set()
    assert await whole(response) == b""


async def test_the_idle_timeout_of_one_answer_does_not_end_the_next_request(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"quick")
        await peer.request()
        await asyncio.sleep(0.4)
        await peer.answer(b"slow")

    server = await serve(script)
    upstream = await connect(server.url, timeouts__idle=0.1)
    assert await get(upstream) == b"quick"
    assert await get(upstream) == b"slow"
    assert len(server.peers) == 1


async def test_a_reader_that_is_slow_is_no_pause_of_jira(serve: Serve, connect: Connect) -> None:
    body = b"x" * (4 << 20)
    server = await serve(once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    upstream = await connect(server.url, timeouts__idle=0.1)
    response = await upstream.send(request())
    await asyncio.sleep(0.3)
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
    await asyncio.sleep(0.3)
    assert sent < 64 << 20  # what sockets and 128 KiB of ours hold
    response.close()


async def test_jira_stops_taking_the_upload(serve: Serve, connect: Connect) -> None:
    gave_up = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await gave_up.wait()

    server = await serve(script, receive_buffer=1 << 14)
    upstream = await connect(server.url, timeouts__idle=0.1)
    body = stream(*[b"x" * (1 << 20)] * 64)
    with pytest.raises(ResponseTimeout, match="stopped taking"):
        await upstream.send(request("PUT", body=body, chunked=True))
    gave_up.set()


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


async def test_an_early_refusal_is_read_and_the_upload_ends(serve: Serve, connect: Connect) -> None:
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
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo ")
        await closed.wait()
        await peer.send(b"large")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    response = await upstream.send(request("PUT", body=endless(), chunked=True))
    assert response.status == 413
    async with asyncio.timeout(5):
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


async def test_an_early_answer_that_is_no_refusal_lets_the_upload_go_on(
    serve: Serve, connect: Connect
) -> None:
    answered = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"second"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKED + b"2\r\nok\r\n")
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
    with pytest.raises(ConnectionLost):
        await response.read()
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


# Connecting


@pytest.fixture
async def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make every name resolve to the addresses given; the list returned fills with the names."""

    def to(*addresses: str) -> list[str]:
        asked: list[str] = []

        async def answer(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            asked.append(host)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = [socket.getaddrinfo(one, port, type=socket.SOCK_STREAM) for one in addresses]
            return [info for infos in found for info in infos]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        return asked

    return to


async def test_nothing_listens(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(f"http://127.0.0.1:{sock.getsockname()[1]}")
        with pytest.raises(ConnectionRefused, match=r"connection refused"):
            await upstream.send(request())


async def test_a_name_without_address(connect: Connect, resolve: Resolve) -> None:
    upstream = await connect("http://jira.invalid")
    resolve()
    with pytest.raises(NameNotResolved, match=r"name of jira.invalid .* not known"):
        await upstream.send(request())


@pytest.mark.parametrize("host", ["my_jira", "my_jira.example.com", "xn--bcher-kva.example"])
async def test_a_host_with_an_underscore(
    serve: Serve, connect: Connect, resolve: Resolve, host: str
) -> None:
    server = await serve(answers)
    upstream = await connect(f"http://{host}:{server.port}")
    asked = resolve("127.0.0.1")
    assert await get(upstream) == b"GET / HTTP/1.1"
    assert asked == [host]


async def test_an_address_of_version_6(serve: Serve, connect: Connect) -> None:
    server = await serve(answers, host="::1")
    upstream = await connect(server.url)
    assert await get(upstream) == b"GET / HTTP/1.1"


async def test_the_next_address_is_tried(serve: Serve, connect: Connect, resolve: Resolve) -> None:
    server = await serve(answers)
    upstream = await connect(f"http://jira.example.com:{server.port}")
    resolve("::1", "127.0.0.1")
    assert await get(upstream) == b"GET / HTTP/1.1"


async def test_all_addresses_refuse(connect: Connect, resolve: Resolve) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(f"http://jira.example.com:{sock.getsockname()[1]}")
        resolve("::1", "127.0.0.1")
        with pytest.raises(ConnectionRefused, match=r"connection refused"):
            await upstream.send(request())


async def test_proxy_variables_and_netrc_are_not_looked_at(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.answer(b"direct")

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://user:password@127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("default login alana password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = await serve(script)
    upstream = await connect(server.url)
    assert await get(upstream) == b"direct"
    assert seen == [b"GET / HTTP/1.1\r\nHost: jira\r\n\r\n"]


async def test_closed_while_requests_are_under_way(serve: Serve, connect: Connect) -> None:
    server = await serve(once(OK + b"\r\nhello"))
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await response.read() == b"hello"
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    await upstream.close()
    with pytest.raises(ConnectionLost):
        await reading
    response.close()
    with pytest.raises(UpstreamError):
        await upstream.send(request())


# Through an HTTP proxy, without TLS


async def test_a_proxy_is_asked_in_absolute_form(serve: Serve, connect: Connect) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.answer(b"proxied")

    server = await serve(script)
    for login, expected in {
        "": None,
        "alana:s3cret@": "Basic YWxhbmE6czNjcmV0",
        "al%C3%A4na:%E2%82%AC%3A%40@": "Basic YWzDpG5hOuKCrDpA",
        "alana@": "Basic YWxhbmE6",
    }.items():
        upstream = await connect(
            "http://jira.example.com:8080/jira",
            jira__proxy=f"http://{login}127.0.0.1:{server.port}",
        )
        peers = len(server.peers)
        for _ in range(2):
            assert await get(upstream, "/jira/x?y") == b"proxied"
            head = seen.pop()
            assert head.startswith(b"GET http://jira.example.com:8080/jira/x?y HTTP/1.1\r\n")
            assert field(head, "proxy-authorization") == expected
            assert field(head, "authorization") is None
        assert len(server.peers) == peers + 1


async def test_a_proxy_that_wants_a_password_is_not_taken_for_jira(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(
        once(b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
    )
    upstream = await connect(
        "http://jira.example.com", jira__proxy=f"http://127.0.0.1:{server.port}"
    )
    with pytest.raises(ConnectionRefused, match="407") as caught:
        await upstream.send(request())
    assert "password" in caught.value.hint


async def test_a_proxy_that_is_down(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(
            "http://jira.example.com", jira__proxy=f"http://127.0.0.1:{sock.getsockname()[1]}"
        )
        with pytest.raises(ConnectionRefused, match=r"proxy in jira.proxy cannot be reached"):
            await upstream.send(request())


async def test_a_proxy_without_address_is_named(connect: Connect, resolve: Resolve) -> None:
    upstream = await connect("http://jira.example.com", jira__proxy="http://proxy.invalid:3128")
    resolve()
    with pytest.raises(NameNotResolved, match=r"name of proxy.invalid cannot"):
        await upstream.send(request())


# The sidecar's own requests


async def test_fetch_reads_all_up_to_a_limit(serve: Serve, connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"x" * 1000, "X-A: b")

    server = await serve(script)
    upstream = await connect(server.url)
    answer = await upstream.fetch(request(), limit=1000)
    assert answer.status == 200
    assert answer.fields == [(b"Content-Length", b"1000"), (b"X-A", b"b")]
    assert answer.body == b"x" * 1000
    with pytest.raises(ProtocolError, match="more than 999 bytes"):
        await upstream.fetch(request(), limit=999)


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
            await asyncio.sleep(0.1)
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
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*args: object) -> None:
        await asyncio.Event().wait()

    upstream = await connect("http://127.0.0.1:9", timeouts__connect=0.1)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(ConnectTimeout, match=r"within 0.1 s"):
        await upstream.send(request())


# Through a whole sidecar


def nonce(head: bytes) -> str:
    found = re.search(r'oauth_nonce="([^"]+)"', field(head, "authorization") or "")
    assert found is not None
    return found[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_lost_get_is_sent_once_more_with_a_new_nonce(
    serve: Serve, make_sidecar: MakeSidecar, method: str
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        if len(seen) > 1:
            await peer.answer(b"" if method == "HEAD" else b"second")

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.request(method, "/x")
    assert answer.status == 200
    assert len(seen) == 2
    assert nonce(seen[0]) != nonce(seen[1])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_other_lost_request_is_sent_once(
    serve: Serve, make_sidecar: MakeSidecar, method: str
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.request(method, "/x")
    assert answer.status == 502
    assert "error=connection_terminated" in answer["proxy-status"]
    assert len(seen) == 1


async def test_a_get_that_is_lost_twice_is_an_error(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 502
    assert "error=connection_terminated" in answer["proxy-status"]
    assert len(seen) == 2


async def test_a_413_reaches_a_client_that_is_still_sending(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await peer.gone()

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    async with await sidecar.wire() as wire:
        await wire.send(
            b"PUT /x HTTP/1.1\r\nHost: %b\r\nContent-Length: 1000000\r\n\r\n"
            % sidecar.authority.encode(),
            b"x" * 1000,
        )
        answer = await wire.receive()
    assert (answer.status, answer.body) == (413, b"too large")
    await server.end()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X-A", b"a\x01b"),
        (b"X-AUSERNAME", b"alana\x7f"),
        (b"Location", b"http://jira/\x0bX"),
        (b"X-A", b"a\rb"),
    ],
    ids=repr,
)
async def test_a_field_with_control_bytes_makes_it_502(
    serve: Serve, make_sidecar: MakeSidecar, name: bytes, value: bytes
) -> None:
    server = await serve(once(OK + name + b": " + value + b"\r\nContent-Length: 2\r\n\r\nok"))
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 502
    assert "error=http_protocol_error" in answer["proxy-status"]


async def test_fields_reach_the_client_as_they_came(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    fields = [
        (b"X-Latin", b"caf\xe9"),
        (b"x-a", b"2"),
        (b"X-A", b"1"),
        (b"X-Utf", "caf\u00e9 \u20ac".encode()),
        (b"X-Bytes", bytes(range(0x80, 0x100))),
        (b"X-Empty", b""),
    ]
    head = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    server = await serve(once(OK + head + b"Content-Length: 2\r\n\r\nok"))
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 200
    names = {name for name, _ in fields}
    assert [pair for pair in answer.fields if pair[0] in names] == fields


@pytest.mark.parametrize("stage", ["waiting", "uploading", "streaming"])
async def test_a_client_that_leaves_ends_its_request_to_jira(
    serve: Serve, make_sidecar: MakeSidecar, stage: str
) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        if stage == "streaming":
            await peer.send(OK + b"Content-Length: 50\r\n\r\nhello")
        reached.set()
        await peer.gone()

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    length = b"Content-Length: 50\r\n" if stage == "uploading" else b""
    wire = await sidecar.wire()
    await wire.send(b"PUT /x HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (sidecar.authority.encode(), length))
    await reached.wait()
    if stage == "streaming":
        await wire.head()
    wire.writer.transport.abort()
    await server.end()
    await wire.close()

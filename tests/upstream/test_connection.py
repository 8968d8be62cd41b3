"""A connection that is given up leaves nothing that waits for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from aiohttp.http import HttpResponseParser
from aiohttp.streams import StreamReader

from sidecar.errors import ConnectionLost, ProtocolError, RequestRefused, SidecarError
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.exchange import UpstreamResponse
from sidecar.upstream.incoming import Incoming
from sidecar.upstream.pool import Upstream
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
from tests.support.raw_server import Peer
from tests.support.waiting import until

__all__ = ["connect", "nothing_is_left", "serve"]

OK = b"HTTP/1.1 200 OK\r\n"
HELD = (UpstreamConnection, UpstreamResponse, Incoming, HttpResponseParser, StreamReader)
"""What holds a body's bytes, or whatever does."""
TIMES = 100


def held() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, HELD))


async def a_download_is_given_up(upstream: Upstream) -> None:
    response = await upstream.send(request())
    assert await response.read()
    response.close()


async def a_reader_is_cancelled(upstream: Upstream) -> None:
    response = await upstream.send(request(target="/little"))
    assert await response.read() == b"hello"
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    response.abort()


async def a_peeked_answer_is_given_up(upstream: Upstream) -> None:
    response = await upstream.send(request())
    await response.peek(1000)
    response.close()


async def an_upload_is_given_up(upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    sending = asyncio.create_task(
        upstream.send(request("PUT", "/never", body=pieces(), chunked=True))
    )
    await until(lambda: upstream.connections)
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending


async def an_upload_fails(upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 65536
        raise RequestRefused(400, "The request's body is malformed.")

    with suppress(RequestRefused):
        await upstream.send(request("PUT", "/never", body=pieces(), chunked=True))


async def an_upload_is_refused_early(upstream: Upstream) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    response = await upstream.send(request("PUT", "/refused", body=pieces(), chunked=True))
    assert response.status == 413
    assert await whole(response) == b"no"


async def the_connection_dies(upstream: Upstream) -> None:
    with suppress(ConnectionLost):
        response = await upstream.send(request(target="/dies"))
        try:
            while await response.read():
                pass
        finally:
            response.close()


async def the_connection_dies_before_the_answer(upstream: Upstream) -> None:
    with suppress(SidecarError):
        await upstream.send(request(target="/dies early"))


async def the_answer_is_broken(upstream: Upstream) -> None:
    with suppress(ProtocolError):
        response = await upstream.send(request(target="/broken"))
        try:
            while await response.read():
                pass
        finally:
            response.close()


async def script(peer: Peer) -> None:
    """Behave as the target says."""
    head = await peer.head()
    target = head.split(b" HTTP/1.1\r\n")[0].partition(b" ")[2]
    big = OK + b"Content-Length: %d\r\n\r\n" % (1 << 30)
    if target == b"/":
        await peer.send(big)
        with suppress(ConnectionError):
            while True:
                await peer.send(b"x" * 65536)
    elif target == b"/little":
        await peer.send(big + b"hello")
    elif target == b"/dies":
        await peer.send(big + b"hello")
        peer.reset()
        return
    elif target == b"/dies early":
        peer.reset()
        return
    elif target == b"/refused":
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
    elif target == b"/broken":
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
    await peer.gone()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    "give_up",
    [
        a_download_is_given_up,
        a_reader_is_cancelled,
        a_peeked_answer_is_given_up,
        an_upload_is_given_up,
        an_upload_fails,
        an_upload_is_refused_early,
        the_connection_dies,
        the_connection_dies_before_the_answer,
        the_answer_is_broken,
    ],
    ids=lambda function: function.__name__,
)
async def test_nothing_of_an_exchange_waits_for_the_garbage_collector(
    serve: Serve,
    connect: Connect,
    tmp_path: Path,
    give_up: Callable[[Upstream], Awaitable[None]],
    secure: bool,
) -> None:
    context, options = None, {}
    if secure:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        options["jira__ca_file"] = str(tmp_path / "ca.pem")
    server = await serve(script, context=context)
    upstream = await connect(server.url, **options)
    gc.collect()
    before = held()
    gc.disable()
    try:
        for _ in range(TIMES if not secure else TIMES // 10):
            await give_up(upstream)
        await until(lambda: not upstream.connections)
        await asyncio.sleep(0)
        left = held() - before
    finally:
        gc.enable()
    assert not left


async def test_a_connection_that_was_used_a_thousand_times_holds_no_more_than_a_new_one(
    serve: Serve, connect: Connect
) -> None:
    async def answering(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"hello")

    server = await serve(answering)
    upstream = await connect(server.url)
    await get(upstream)
    gc.collect()
    before = held()
    gc.disable()
    try:
        for _ in range(1000):
            assert await get(upstream) == b"hello"
        left = held() - before
    finally:
        gc.enable()
    assert not left
    assert len(server.peers) == 1


async def test_an_answer_is_read_after_a_write_that_failed(serve: Serve, connect: Connect) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        peer.reset()
        gone.set()

    server = await serve(script)
    upstream = await connect(server.url)
    connection = await upstream._dial()
    connection.begin("PUT")
    connection.write(b"PUT / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
    await gone.wait()
    connection.write(b"x" * 65536)  # before the event loop has read
    message = await connection.read_head()
    assert message.status == 413
    assert await connection.read() == b"too large"
    assert connection.at_end()
    assert not connection.rest()
    connection.abort()

"""An answer that is kept reads as it did when it arrived."""

from __future__ import annotations

import pytest

from sidecar.errors import UpstreamError
from sidecar.pacing.kept import KEPT_BYTES, KeptResponse
from sidecar.upstream.pool import Upstream, UpstreamRequest, UpstreamResponse
from tests.conftest import Running
from tests.support.raw_upstream import Exchange, RawUpstream


async def asked(edge: Running) -> UpstreamResponse:
    upstream: Upstream = edge.server.generations[-1]._upstream
    return await upstream.send(UpstreamRequest("GET", "/", [(b"Host", b"x")]))


async def test_all_of_it_is_kept_and_read_as_often_as_one_likes(
    edge: Running, upstream: RawUpstream
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(b"x" * (KEPT_BYTES - 1), "X-Of: Jira", status="429 Too Many Requests")

    upstream.handler = refuse
    response = await asked(edge)
    kept = await KeptResponse.of(response)
    assert kept is not None
    response.close()
    assert (kept.status, kept.reason) == (429, b"Too Many Requests")
    assert (b"X-Of", b"Jira") in kept.fields
    for one in (kept, kept.copy(), kept.copy()):
        assert not one.at_end()
        assert await one.peek(10) == b"x" * (KEPT_BYTES - 1)
        assert one.read_nowait() == b"x" * (KEPT_BYTES - 1)
        assert one.at_end()
        assert await one.read() == b""
        one.close()
    again = await asked(edge)
    again.abort()
    assert upstream.connections == 1, "its connection went on"


async def test_one_that_is_too_large_is_left_to_be_read(
    edge: Running, upstream: RawUpstream
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.say(b"x" * KEPT_BYTES, status="429 Too Many Requests")

    upstream.handler = refuse
    response = await asked(edge)
    assert await KeptResponse.of(response) is None
    body = b""
    while piece := await response.read():
        body += piece
    assert body == b"x" * KEPT_BYTES
    response.close()


async def test_one_that_is_cut_short_is_none(edge: Running, upstream: RawUpstream) -> None:
    async def cut(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 10\r\n\r\nhalf")
        await exchange.writer.drain()
        exchange.writer.close()

    upstream.handler = cut
    response = await asked(edge)
    with pytest.raises(UpstreamError):
        await KeptResponse.of(response)
    response.abort()

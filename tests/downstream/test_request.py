"""A request whose body fails: the work on it ends at once, whatever it waits for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import MakeSidecar, Running
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import SOON

pytestmark = pytest.mark.usefixtures("quiet")


async def hang(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.hang()


async def test_a_body_that_fails_while_its_request_waits_never_reaches_jira(
    make_sidecar: MakeSidecar, upstream: RawUpstream
) -> None:
    edge = await make_sidecar(upstream.url, token="t", limits__connections=1)
    upstream.handler = hang
    chunked = edge.message("PUT", "/second", ("Transfer-Encoding", "chunked"))
    async with await edge.wire() as first, await edge.wire() as second:
        await first.send(edge.message("GET", "/first"))
        await upstream.request()
        await second.send(chunked)
        assert (await edge.get("/_sidecar/health")).status == 200
        await second.send(b"Z\r\n")
        assert (await second.receive()).status == 400  # though the first is still under way
    assert [exchange.target for exchange in upstream.exchanges] == ["/first"]


@pytest.mark.parametrize("how", ["malformed", "ended early"])
async def test_a_body_that_fails_while_jira_takes_nothing_is_given_up_at_once(
    edge: Running, upstream: RawUpstream, quiet: pytest.LogCaptureFixture, how: str
) -> None:
    stalled, read_on = asyncio.Event(), asyncio.Event()

    async def stall(exchange: Exchange) -> None:
        exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        stalled.set()
        await read_on.wait()
        exchange.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await exchange.hang()

    upstream.handler = stall
    async with await edge.wire() as wire:
        await wire.send(edge.message("PUT", "/x", ("Transfer-Encoding", "chunked")))
        await stalled.wait()
        (served,) = edge.server.listener.connections
        while not await upload_is_stalled(edge, served):
            await wire.send(b"8000\r\n" + bytes(0x8000) + b"\r\n")
        if how == "malformed":
            await wire.send(b"Z\r\n")
        else:
            wire.half_close()
        assert (await wire.receive()).status == 400
        assert " 400 " in quiet.text
        read_on.set()
    async with asyncio.timeout(SOON):
        await upstream.exchanges[0].over.wait()
    assert not upstream.exchanges[0].complete


async def upload_is_stalled(edge: Running, served: Any) -> bool:
    """Whether what was read from the client is no longer taken by the connection to Jira."""
    body = served.current.body
    waiting = body._size
    if not waiting:
        return False
    assert (await edge.get("/_sidecar/health")).status == 200  # many turns of the loop
    return bool(body._size == waiting and not served._has_enough)


async def test_a_form_that_turns_out_malformed_as_it_is_read_is_answered(edge: Running) -> None:
    """So many chunks that the parser pauses: who reads the form has it find the fault."""
    form = ("Content-Type", "application/x-www-form-urlencoded")
    async with await edge.wire() as wire:
        await wire.send(edge.message("POST", "/x", form, ("Transfer-Encoding", "chunked")))
        await wire.send(b"1\r\nx\r\n" * 20_000 + b"ZZZ\r\n")
        await wire.send(*[bytes(65536)] * 10)  # the client has not heard of it yet
        assert (await wire.receive()).status == 400


async def test_an_answer_that_has_begun_goes_on_though_the_body_fails(
    edge: Running, upstream: RawUpstream
) -> None:
    """A client may well stop sending once it reads that its body was refused."""
    go_on = asyncio.Event()

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nto")
        await go_on.wait()
        await exchange.answer(b"o!")

    upstream.handler = refuse
    async with await edge.wire() as wire:
        await wire.send(edge.message("PUT", "/x", ("Content-Length", "100000")), b"hello")
        status, _, _ = await wire.head()
        wire.half_close()
        assert await wire.reader.readexactly(2) == b"to"
        go_on.set()
        assert (status, await wire.end()) == (413, (b"o!", False))

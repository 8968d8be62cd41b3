"""All connections at one address: made, counted, forgotten, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from sidecar.downstream import timers
from sidecar.downstream.listener import Listener
from sidecar.downstream.replies import Reply, error_reply
from sidecar.downstream.request import Request
from sidecar.downstream.states import State
from tests.support.wire import Client

GO = "/go"


class Place:
    """A listener whose handler waits, but for requests to GO."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()
        self.listener = Listener(
            self.answer, lambda error: error_reply(error, head_only=False), head_bytes=65536
        )

    async def answer(self, request: Request) -> Reply:
        self.arrived.set()
        if request.message.path != GO:
            await self.go_on.wait()
        return Reply(200, body=request.message.path.encode())


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Place, Client]]:
    place = Place()
    server = await asyncio.get_running_loop().create_server(place.listener, "127.0.0.1", 0)
    async with server:
        yield place, Client("127.0.0.1", server.sockets[0].getsockname()[1])
        place.listener.cut()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 — there is no event for it
            await asyncio.sleep(0)


async def test_it_is_aiohttp_that_listens() -> None:
    assert isinstance(Place().listener, web.Server)


async def test_connections_are_known_while_they_last() -> None:
    async with listening() as (place, client):
        async with await client.wire() as one, await client.wire() as other:
            await one.send(client.message("GET", GO))
            await other.send(client.message("GET", "/wait"))
            assert (await one.receive()).body == GO.encode()
            await until(lambda: len(place.listener.idle) == 1)
            states = [connection.state for connection in place.listener.connections]
            assert states == [State.IDLE, State.ANSWERING]
            place.go_on.set()
            assert (await other.receive()).body == b"/wait"
            await until(lambda: len(place.listener.idle) == 2)
        await until(lambda: not place.listener.connections)
        assert len(place.listener.idle) == 0


async def test_draining_ends_what_is_idle_and_waits_for_what_is_not() -> None:
    async with listening() as (place, client), await client.wire() as idle:
        await idle.send(client.message("GET", GO))
        await idle.receive()
        async with await client.wire() as busy:
            await busy.send(client.message("GET", "/wait"))
            await place.arrived.wait()
            draining = asyncio.create_task(place.listener.drain(20))
            assert await idle.end() == (b"", False)
            assert not draining.done()
            place.go_on.set()
            answer = await busy.receive()
            assert (answer.body, answer["Connection"]) == (b"/wait", "close")
            await busy.close()
            await draining


async def test_what_is_not_done_in_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "FIRST_REQUEST_SECONDS", 0.01)
    async with listening() as (place, client), await client.wire() as busy:
        await busy.send(client.message("GET", "/wait"))
        await place.arrived.wait()
        await place.listener.drain(0.05)
        assert (await busy.end())[1]
        assert place.listener.is_cutting
    assert not place.listener.connections

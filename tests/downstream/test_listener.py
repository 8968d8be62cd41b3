"""All connections at one address: made, counted, forgotten, and ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sidecar.downstream import listener, timers
from sidecar.downstream.listener import Listener
from sidecar.downstream.replies import Reply, error_reply
from sidecar.downstream.request import Request
from sidecar.downstream.states import State
from tests.support.waiting import until
from tests.support.wire import Client, Wire

GO = "/go"


class Place:
    """A listener whose handler waits, but for requests to GO."""

    def __init__(self, **options: Any) -> None:
        self.arrived = asyncio.Event()
        self.go_on = asyncio.Event()
        self.listener = Listener(
            self.answer,
            lambda error, _: error_reply(error, head_only=False),
            head_bytes=65536,
            **options,
        )

    async def answer(self, request: Request) -> Reply:
        self.arrived.set()
        if request.message.path != GO:
            await self.go_on.wait()
        return Reply(200, body=request.message.path.encode())


@asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[tuple[Place, Client]]:
    place = Place(**options)
    server = await asyncio.get_running_loop().create_server(place.listener, "127.0.0.1", 0)
    async with server:
        yield place, Client("127.0.0.1", server.sockets[0].getsockname()[1])
        place.listener.cut()


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


# ---------------------------------------------------------------- limits.clients


async def used(client: Client) -> Wire:
    """A connection on which a request was answered."""
    wire = await client.wire()
    await wire.send(client.message("GET", GO))
    assert (await wire.receive()).status == 200
    return wire


async def busy(client: Client, place: Place) -> Wire:
    """A connection on which a request is being answered."""
    wire = await client.wire()
    place.arrived.clear()
    await wire.send(client.message("GET", "/wait"))
    await place.arrived.wait()
    return wire


async def test_the_longest_idle_connection_makes_room_for_a_new_one() -> None:
    async with listening(most_clients=3) as (place, client), AsyncExitStack() as stack:
        unused, first = await stack.enter_async_context(await client.wire()), await used(client)
        working = await busy(client, place)
        fourth, fifth = await used(client), await used(client)
        for wire in (first, working, fourth, fifth):
            await stack.enter_async_context(wire)
        assert await unused.end() == (b"", False)
        assert await first.end() == (b"", False)
        place.go_on.set()
        assert (await working.receive()).body == b"/wait"
        for wire in (working, fourth, fifth):
            await wire.send(client.message("GET", GO))
            assert (await wire.receive()).status == 200
        assert len(place.listener.connections) == 3


async def test_where_none_is_idle_the_new_one_is_told_so() -> None:
    async with listening(most_clients=2) as (place, client), AsyncExitStack() as stack:
        wires = [await busy(client, place) for _ in range(2)]
        async with await client.wire() as new:
            answer = await new.receive()
            assert (answer.status, answer["Connection"], answer["Retry-After"]) == (
                503,
                "close",
                "1",
            )
            assert answer["Proxy-Status"].startswith("sidecar; error=connection_limit_reached")
            assert "limits.clients" in answer.message
            assert await new.end() == (b"", False)
        place.go_on.set()
        for wire in wires:
            await stack.enter_async_context(wire)
            assert (await wire.receive()).body == b"/wait"
        async with await used(client):
            pass


async def test_a_slow_head_makes_room_where_no_connection_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A byte on each of many connections shuts nobody out."""
    async with listening(most_clients=2) as (place, client), AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await client.wire()) for _ in range(2)]
        for wire in wires:
            await wire.send(b"G")
        await until(lambda: all(c.state is State.HEAD for c in place.listener.connections))
        monkeypatch.setattr(timers, "SLOW_HEAD_SECONDS", 1e6)
        async with await client.wire() as early:
            assert (await early.receive()).status == 503
            await early.end()
        await until(lambda: len(place.listener.connections) == 2)
        monkeypatch.setattr(timers, "SLOW_HEAD_SECONDS", 0)
        async with await used(client):
            assert await wires[0].end() == (b"", False)
        place.go_on.set()
        await wires[1].send(client.message("GET", GO)[1:])
        assert (await wires[1].receive()).status == 200


async def test_who_is_turned_away_holds_few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "LINGER_SECONDS", 20)
    async with listening(most_clients=1) as (place, client), AsyncExitStack() as stack:
        await stack.enter_async_context(await busy(client, place))
        wires = [
            await stack.enter_async_context(await client.wire())
            for _ in range(listener.MOST_TURNED_AWAY + 5)
        ]
        ends = [await wire.receive() for wire in wires[: listener.MOST_TURNED_AWAY]]
        assert [answer.status for answer in ends] == [503] * listener.MOST_TURNED_AWAY
        for wire in wires[listener.MOST_TURNED_AWAY :]:
            assert (await wire.end())[1]


async def test_descriptors_do_not_run_out_whoever_holds_them() -> None:
    """The number of a new one says how many there are."""
    with socket.socket() as probe:
        last = probe.fileno() + listener.KEPT_FREE + 8
    async with listening(descriptors=last) as (place, client), AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(await used(client)) for _ in range(9)]
        assert await wires[0].end() == (b"", False)
        assert len(place.listener.connections) < 9

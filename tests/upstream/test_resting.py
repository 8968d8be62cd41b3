"""Connections that rest: which is taken, and how long each is kept."""

from __future__ import annotations

import pytest

from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.resting import KEEP_ALIVE, Resting
from tests.support.clocks import LoopClock
from tests.support.jira_edge import Connect, Serve, connect, get, nothing_is_left, serve
from tests.support.raw_server import Peer, answers
from tests.support.waiting import until

__all__ = ["connect", "nothing_is_left", "serve"]


async def dialled(serve: Serve, connect: Connect, count: int) -> list[UpstreamConnection]:
    server = await serve(answers)
    upstream = await connect(server.url)
    return [await upstream._dial() for _ in range(count)]


async def test_the_one_that_rested_last_is_taken_first(serve: Serve, connect: Connect) -> None:
    connections = await dialled(serve, connect, 3)
    resting = Resting()
    for connection in connections:
        resting.put(connection, None)
    assert resting.remove(connections[1])
    assert not resting.remove(connections[1])
    assert [resting.take() for _ in range(3)] == [connections[2], connections[0], None]
    resting.close()


@pytest.mark.parametrize("kept_for", [None, 100.0, 5.0])
async def test_it_is_kept_for_less_than_jira_says_and_for_less_than_tomcat_keeps_it(
    serve: Serve, connect: Connect, loop_clock: LoopClock, kept_for: float | None
) -> None:
    connection, other = await dialled(serve, connect, 2)
    seconds = KEEP_ALIVE if kept_for is None else min(KEEP_ALIVE, kept_for - 1)
    resting = Resting()
    resting.put(connection, kept_for)
    await loop_clock.skip(seconds - 0.5)
    assert resting.take() is connection
    resting.put(connection, kept_for)
    resting.put(other, None)
    await loop_clock.skip(KEEP_ALIVE + 1)
    assert resting.take() is None
    await until(lambda: connection.transport is None and other.transport is None)
    resting.close()


@pytest.mark.parametrize("kept_for", [0.0, 0.5, 1.0])
async def test_one_that_jira_ends_within_a_second_is_not_kept(
    serve: Serve, connect: Connect, kept_for: float
) -> None:
    (connection,) = await dialled(serve, connect, 1)
    resting = Resting()
    resting.put(connection, kept_for)
    assert resting.take() is None
    await until(lambda: connection.transport is None)


async def test_whose_time_is_over_is_ended_though_nobody_takes_any(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    connection, other = await dialled(serve, connect, 2)
    resting = Resting()
    resting.put(connection, 4.0)
    resting.put(other, None)
    await loop_clock.skip(3.5)
    await until(lambda: connection.transport is None)
    assert other.transport is not None
    resting.close()
    await until(lambda: other.transport is None)


async def test_a_time_that_jira_names_is_heeded_with_a_second_to_spare(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"ok", "Connection: Keep-Alive", "Keep-Alive: timeout=4, max=100")

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(3):
        assert await get(upstream) == b"ok"
        await loop_clock.skip(2.5)
        assert await get(upstream) == b"ok"
        await loop_clock.skip(3.1)
    assert len(server.peers) == 3

"""How long clients are waited for: one deadline, and connections that nobody uses."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.downstream import timers
from sidecar.downstream.timers import IdleConnections, Timer


class Unused:
    """An idle connection that says when it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.closed.set()


async def test_a_timer_calls_the_last_thing_that_it_was_set_for_and_that_once() -> None:
    called: list[str] = []
    done = asyncio.Event()
    timer = Timer()
    assert not timer.is_set
    timer.set(0, lambda: called.append("first"))
    timer.set(0.01, done.set)
    assert timer.is_set
    await asyncio.wait_for(done.wait(), 20)
    assert not timer.is_set
    assert called == []


async def test_a_timer_that_is_cancelled_calls_nothing() -> None:
    called: list[str] = []
    timer = Timer()
    timer.cancel()
    timer.set(0, lambda: called.append("no"))
    timer.cancel()
    assert not timer.is_set
    await asyncio.sleep(0.01)
    assert called == []


async def test_the_longest_idle_connection_is_closed_first() -> None:
    idle, clients = IdleConnections(), [Unused() for _ in range(4)]
    for client in clients:
        idle.add(client)
    idle.discard(clients[0])
    idle.add(clients[0])  # it was used
    idle.discard(clients[2])
    idle.discard(clients[2])
    assert len(idle) == 3
    order = []
    while idle.close_longest():
        order.append([client.closed.is_set() for client in clients])
    assert order == [
        [False, True, False, False],
        [False, True, False, True],
        [True, True, False, True],
    ]


async def test_connections_are_closed_once_they_have_been_idle_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timers, "IDLE_SECONDS", 0.05)
    idle, used, unused, late = IdleConnections(), Unused(), Unused(), Unused()
    idle.add(used)
    idle.add(unused)
    idle.discard(used)
    await asyncio.wait_for(unused.closed.wait(), 20)
    idle.add(late)
    await asyncio.wait_for(late.closed.wait(), 20)
    assert not used.closed.is_set()
    assert len(idle) == 0

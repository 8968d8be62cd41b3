"""A pause that is too long is noticed, and one that is our own fault is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from sidecar.upstream.pauses import Deadline, PauseWatch, Wake


class Loop:
    """A loop's clock and its timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Loop.Timer:
        return self.call_later(at - self.now, call)

    def call_later(self, seconds: float, call: Callable[..., None], *args: object) -> Loop.Timer:
        self._timers.append((self.now + seconds, lambda: call(*args)))
        return Loop.Timer(self)

    def go(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, call = self._timers.pop(0)
            call()
        self.now = end

    class Timer:
        def __init__(self, loop: Loop) -> None:
            self._loop = loop

        def cancel(self) -> None:
            self._loop._timers.clear()


def watch(loop: Loop, seconds: float) -> tuple[PauseWatch, list[float]]:
    expired: list[float] = []
    pauses = PauseWatch(cast(asyncio.AbstractEventLoop, loop), seconds)
    pauses.start(lambda: expired.append(loop.now))
    return pauses, expired


def test_silence_expires_once() -> None:
    loop = Loop()
    _, expired = watch(loop, 10)
    loop.go(100)
    assert expired == [110.0]


def test_what_is_heard_puts_the_end_off() -> None:
    loop = Loop()
    pauses, expired = watch(loop, 10)
    for _ in range(5):
        loop.go(6)
        pauses.heard()
    assert not expired
    loop.go(20)
    assert expired == [140.0]


def test_silence_that_nobody_listens_to_does_not_count() -> None:
    loop = Loop()
    pauses, expired = watch(loop, 10)
    pauses.is_listening = False
    loop.go(95)
    assert not expired
    pauses.is_listening = True
    pauses.heard()
    loop.go(20)
    assert expired == [205.0]


def test_nothing_expires_once_it_is_stopped() -> None:
    loop = Loop()
    pauses, expired = watch(loop, 10)
    pauses.stop()
    pauses.stop()
    loop.go(100)
    assert not expired


async def test_who_waits_is_woken_and_whoever_gave_up_is_not_missed() -> None:
    wake = Wake(asyncio.get_running_loop())
    wake.call()  # nobody waits: it is not kept for later
    waiting = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    wake.call()
    wake.call()
    await waiting
    waiting = asyncio.create_task(wake.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    wake.call()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


def deadline(loop: Loop, seconds: float) -> tuple[Deadline, list[float]]:
    return Deadline(cast(asyncio.AbstractEventLoop, loop), seconds), []


def test_a_deadline_is_kept_once_for_each_start() -> None:
    loop = Loop()
    watched, over = deadline(loop, 10)
    for _ in range(2):
        watched.start(lambda: over.append(loop.now))
        loop.go(50)
    assert over == [110.0, 160.0]


def test_a_deadline_that_is_stopped_and_started_again_counts_from_then() -> None:
    loop = Loop()
    watched, over = deadline(loop, 10)
    watched.start(lambda: over.append(loop.now))
    loop.go(9)
    watched.stop()
    loop.go(0.5)
    watched.start(lambda: over.append(loop.now))
    assert len(loop._timers) == 1  # the same timer serves both
    loop.go(50)
    assert over == [119.5]


def test_a_deadline_that_was_stopped_or_closed_is_never_over() -> None:
    loop = Loop()
    watched, over = deadline(loop, 10)
    watched.start(lambda: over.append(loop.now))
    watched.stop()
    loop.go(50)
    watched.start(lambda: over.append(loop.now))
    watched.close()
    assert loop._timers == []
    assert over == []

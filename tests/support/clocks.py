"""Clocks that a test moves: nothing waits, and no machine is too slow."""

from __future__ import annotations

import asyncio

from tests.support.wire import turns


class LoopClock:
    """The running loop's clock, which `skip` puts forward."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._skipped = 0.0

    def __enter__(self) -> LoopClock:
        self._loop.time = lambda: self._time() + self._skipped  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        del self._loop.time

    def stand_still(self) -> None:
        """Let no more time pass than what is skipped."""
        now = self._time()
        self._time = lambda: now

    async def skip(self, seconds: float) -> None:
        """Let so many seconds have passed: whatever was to wait for less is due."""
        self._skipped += seconds
        await turns(5)


class Ticking:
    """A clock that goes on by a step whenever somebody looks at it, and never by itself."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self._step
        return self._now

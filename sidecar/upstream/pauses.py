"""Waiting for what the peer does next, and noticing that it has paused for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PauseWatch:
    """Calls back when nothing was heard for so many seconds, unless nobody listened.

    A timer that is set anew at each piece would cost more than the piece.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self.is_listening = True
        """Whether the peer could be heard."""

    def start(self, expired: Callable[[], None]) -> None:
        """Count from now on, and call `expired` at the end, unless stop() comes first."""
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._check, expired)

    def heard(self) -> None:
        """The peer did something."""
        self._heard = self._loop.time()

    def stop(self) -> None:
        """Count no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self, expired: Callable[[], None]) -> None:
        if not self.is_listening:
            self.heard()
        quiet = self._loop.time() - self._heard
        if quiet >= self._seconds:
            self._timer = None
            expired()
        else:
            self._timer = self._loop.call_later(self._seconds - quiet, self._check, expired)


class Deadline:
    """Calls back when a time is over, unless it was stopped before; one time after another.

    One timer serves for many of them: making and cancelling one for each request costs more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._at: float | None = None
        self._over: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, over: Callable[[], None]) -> None:
        """Call `over` when the time is over, counted from now on, unless stop() comes first."""
        self._at = self._loop.time() + self._seconds
        self._over = over
        if self._timer is None:
            self._timer = self._loop.call_at(self._at, self._check)

    def stop(self) -> None:
        """Do not call back; the timer may stay for the next time."""
        self._at = None

    def close(self) -> None:
        """Let go of the timer, and of whoever would be called."""
        self._at = self._over = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._at is None or self._over is None:
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._check)
        else:
            self._at = None
            self._over()


class Wake:
    """Wakes the one coroutine that waits, if one does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next call()."""
        self._waiter = self._loop.create_future()
        await self._waiter

    def call(self) -> None:
        """Wake whoever waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

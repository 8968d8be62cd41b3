"""How long clients are waited for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

IDLE_SECONDS = 75.0
"""nginx's keepalive_timeout, between two requests and before the first."""
HEAD_SECONDS = 30.0
"""From the first byte of a head to its last; for a TLS handshake as well."""
FIRST_REQUEST_SECONDS = 3.0
"""How long a new connection has for its request where no other connection is taken."""
SLOW_HEAD_SECONDS = 1.0
"""A head that has taken so long gives way to a new client where no other connection does."""
HALF_CLOSED_SECONDS = 1.0
"""How long a request may go on whose client ended its side, until it is known to read on."""
SELDOM_SECONDS = 8.0
"""How often we look, in the end, whether such a client still reads."""
LOOK_SECONDS = 1.0
"""How often we look for the end of a client whose bytes are left unread."""
LINGER_SECONDS = 5.0
"""How long we wait after a last answer for the client to read, send or end."""
LINGER_TOTAL_SECONDS = 30.0


class Timer:
    """One thing to be done later, unless it is put off or given up before."""

    __slots__ = ("_handle",)

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether something is to be done."""
        return self._handle is not None

    def set(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` in so many seconds, and nothing that was to be called before."""
        self.cancel()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._ring, do)

    def _ring(self, do: Callable[[], None]) -> None:
        self._handle = None
        do()

    def cancel(self) -> None:
        """Call nothing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class Closable(Protocol):
    """An idle connection."""

    def close(self) -> None:
        """Close it; nobody will miss it."""


class IdleConnections:
    """Closes connections that have been idle for IDLE_SECONDS, or earlier where room is wanted."""

    def __init__(self) -> None:
        self._since: OrderedDict[Closable, float] = OrderedDict()  # the longest idle first
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, connection: Closable) -> None:
        """Note that a connection is idle from now on."""
        now = self._loop.time()
        self._since[connection] = now
        if self._timer is None:  # one timer does for all connections, and for many requests
            self._wake_at(now + IDLE_SECONDS)

    def discard(self, connection: Closable) -> None:
        """Note that a connection is not idle any more."""
        self._since.pop(connection, None)

    def close_longest(self) -> bool:
        """Close the connection that has been idle longest; whether there was one."""
        if not self._since:
            return False
        connection, _ = self._since.popitem(last=False)
        connection.close()
        return True

    def _wake_at(self, when: float) -> None:
        self._timer = self._loop.call_at(when, self._close_old)

    def _close_old(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._since:
            since = next(iter(self._since.values()))
            if now < since + IDLE_SECONDS:
                self._wake_at(since + IDLE_SECONDS)
                return
            self.close_longest()


class SlowHeads:
    """The connections on which a head has begun and not ended, the longest first."""

    def __init__(self) -> None:
        self._since: dict[Closable, float] = {}

    def note(self, connection: Closable, *, is_arriving: bool) -> None:
        """Note whether part of a head is there."""
        if is_arriving:
            self._since.setdefault(connection, asyncio.get_running_loop().time())
        else:
            self._since.pop(connection, None)

    def close_longest(self) -> bool:
        """Close the connection whose head takes longest; whether there was a slow one."""
        connection, since = next(iter(self._since.items()), (None, 0.0))
        now = asyncio.get_running_loop().time()
        if connection is None or now < since + SLOW_HEAD_SECONDS:
            return False
        connection.close()
        return True

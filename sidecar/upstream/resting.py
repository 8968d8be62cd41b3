"""Connections to Jira that wait for their next request."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from sidecar.upstream.connection import UpstreamConnection

KEEP_ALIVE = 15.0
"""Seconds that a connection rests: less than Tomcat's keepAliveTimeout of 20."""
SPARE = 1.0
"""Seconds before the time that Jira names: a request under way then would meet a closed end."""
_SWEEP_SECONDS = 1.0


class _Resting(NamedTuple):
    connection: UpstreamConnection
    until: float
    """By the loop's clock."""


class Resting:
    """A stack of connections: those that rest longest are the first to be too many."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stack: list[_Resting] = []
        self._sweeping: asyncio.TimerHandle | None = None

    def put(self, connection: UpstreamConnection, kept_for: float | None) -> None:
        """Keep a connection, but for less than `kept_for` seconds, after which Jira ends it."""
        seconds = KEEP_ALIVE if kept_for is None else min(KEEP_ALIVE, kept_for - SPARE)
        if seconds <= 0:
            connection.close()
            return
        self._stack.append(_Resting(connection, self._loop.time() + seconds))
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def take(self) -> UpstreamConnection | None:
        """The connection that rested last, if it can be used as far as one can know."""
        now = self._loop.time()
        while self._stack:
            connection, until = self._stack.pop()
            if until > now and connection.is_usable:
                return connection
            connection.close()
        return None

    def remove(self, connection: UpstreamConnection) -> bool:
        """Take this connection out; whether it was here."""
        kept = [resting for resting in self._stack if resting.connection is not connection]
        found = len(kept) < len(self._stack)
        self._stack = kept
        return found

    def close(self) -> None:
        """End all of them."""
        stack, self._stack = self._stack, []
        for connection, _ in stack:
            connection.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _sweep(self) -> None:
        """End those whose time is over."""
        self._sweeping = None
        now = self._loop.time()
        kept = [resting for resting in self._stack if resting.until > now]
        for connection, until in self._stack:
            if until <= now:
                connection.close()
        self._stack = kept
        if kept:
            self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

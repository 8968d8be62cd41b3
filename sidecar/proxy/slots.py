"""How many requests may be on their way to Jira, and how many may wait for that."""

from __future__ import annotations

import asyncio
from types import TracebackType

from sidecar.errors import Overloaded


class Slots:
    """A fair queue in front of Jira: `async with slots` takes a slot, first come first served.

    Raises Overloaded where `waiting` requests wait already.
    """

    def __init__(self, connections: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(connections)
        self._limit = waiting
        self.waiting = 0
        self.in_use = 0

    async def __aenter__(self) -> None:
        if self._free.locked():
            if self.waiting >= self._limit:
                raise Overloaded(
                    f"{self.waiting} requests wait for Jira already.",
                    "send fewer at once; limits.connections and limits.waiting set the limits",
                )
            self.waiting += 1
            try:
                await self._free.acquire()
            finally:
                self.waiting -= 1
        else:
            await self._free.acquire()
        self.in_use += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.in_use -= 1
        self._free.release()

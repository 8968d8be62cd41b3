"""How many requests may be on their way to Jira, and how many may wait for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Self

from sidecar.errors import Overloaded


class Slots:
    """A fair queue in front of Jira: `async with slots.take()`, first come first served.

    Overloaded where `waiting` requests wait already.
    """

    def __init__(self, connections: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(connections)
        self._limit = waiting
        self.waiting = 0
        self.in_use = 0

    def take(self) -> Slot:
        """A slot, to be taken with `async with`."""
        return Slot(self)

    @property
    def has_room(self) -> bool:
        """Whether one more request may wait."""
        return self.waiting < self._limit

    async def acquire(self) -> None:
        """Wait for a slot, or raise Overloaded."""
        if not self._free.locked():
            await self._free.acquire()
        else:
            self.check_room()
            with self.one_more_waits():
                await self._free.acquire()
        self.in_use += 1

    def check_room(self) -> None:
        """Raise Overloaded where no more may wait."""
        if not self.has_room:
            raise Overloaded(
                f"{self.waiting} requests wait for Jira already.",
                "send fewer at once; limits.connections and limits.waiting set the limits",
            )

    async def acquire_again(self) -> None:
        """Wait for a slot once more; who does that counts as waiting already."""
        await self._free.acquire()
        self.in_use += 1

    def release(self) -> None:
        """Give a slot to whoever waits."""
        self.in_use -= 1
        self._free.release()

    @contextmanager
    def one_more_waits(self) -> Iterator[None]:
        """Count a request among those that wait."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


class Slot:
    """One request's leave to be on its way to Jira."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._is_held: bool  # from its entry on

    async def __aenter__(self) -> Self:
        await self._slots.acquire()
        self._is_held = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_up()

    @asynccontextmanager
    async def given_up(self) -> AsyncIterator[None]:
        """Let others go first while this request waits for something else than Jira's answer.

        It counts as one that waits for a slot; where no more may wait, it keeps its slot.
        """
        if not self._slots.has_room:
            yield
            return
        with self._slots.one_more_waits():
            self._give_up()
            yield
            await self._slots.acquire_again()
            self._is_held = True

    def _give_up(self) -> None:
        if self._is_held:
            self._is_held = False
            self._slots.release()

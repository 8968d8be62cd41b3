"""How many requests may be on their way to Jira, and how many may wait for that."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
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
        self._slots = connections
        self._limit = waiting
        self._queue: OrderedDict[asyncio.Future[None], None] = OrderedDict()  # done: has a slot
        self.waiting = 0
        self.in_use = 0

    def take(self) -> Slot:
        """A slot, to be taken with `async with`."""
        return Slot(self)

    @property
    def has_room(self) -> bool:
        """Whether one more request may wait."""
        return self.waiting < self._limit

    def acquire_free(self) -> bool:
        """Take a slot, unless all are in use; whether one was free."""
        if self.in_use >= self._slots:
            return False
        self.in_use += 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot, or raise Overloaded."""
        self.check_room()
        with self.one_more_waits():
            await self.acquire_again()

    def check_room(self) -> None:
        """Raise Overloaded where no more may wait."""
        if not self.has_room:
            raise Overloaded(
                f"{self.waiting} requests wait for Jira already.",
                "send fewer at once; limits.connections and limits.waiting set the limits",
            )

    async def acquire_again(self) -> None:
        """Wait for a slot once more; who does that counts as waiting already."""
        if self.acquire_free():
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue[mine] = None
        try:
            await mine
        except asyncio.CancelledError:
            self._queue.pop(mine, None)
            if not mine.cancelled():
                self.release()  # it was given to somebody who left in the same moment
            raise

    def release(self) -> None:
        """Give a slot to whoever has waited longest; nobody can take it in between."""
        while self._queue:
            next_one, _ = self._queue.popitem(last=False)
            if not next_one.done():  # else it has left
                next_one.set_result(None)
                return
        self.in_use -= 1

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
        if not self._slots.acquire_free():
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

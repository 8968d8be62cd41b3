"""Long work in steps: one step of one work at a time, and the event loop's turn in between."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Does one work after the other, in the order in which they came.

    What a work holds in memory, it holds alone: forty at once take no more than one.
    """

    def __init__(self) -> None:
        self._free = asyncio.Lock()

    async def finish(self, steps: Generator[None, None, T]) -> T:
        """Return what the steps return.  After each, whatever else is ready goes first."""
        async with self._free:
            try:
                while True:
                    next(steps)
                    await asyncio.sleep(0)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                steps.close()

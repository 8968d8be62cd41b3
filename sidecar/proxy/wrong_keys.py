"""Wrong access keys are answered slowly, so that guessing one takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

DELAY_SECONDS = 1.0
"""Seconds until a wrong key is answered: one guess a second on each connection."""
MOST_HELD = 64
"""Answers that are held back at once.  A connection that waits so holds its request's head, and
no slot; where there are more, they are guesses, or a fleet with an old key."""


class WrongKeys:
    """Holds back the answers to wrong keys."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._held = 0

    async def hold_back(self) -> bool:
        """Wait before a wrong key is answered; False, at once, where too many wait already.

        Whoever is not made to wait is made to connect again for the next guess.
        """
        if self._held >= MOST_HELD:
            return False
        self._held += 1
        try:
            await self._sleep(DELAY_SECONDS)
        finally:
            self._held -= 1
        return True

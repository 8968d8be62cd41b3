"""Waiting for what is sure to come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds after which something hangs; what works takes none as long, on any machine."""


SOON = 10.0
"""Seconds, less than any limit of the sidecar's on connections: it did not wait for one to end."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something that nothing tells of."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

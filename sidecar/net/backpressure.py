"""Waiting for a peer that takes what is sent slowly, for as long as it takes any."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Awaitable, Callable


async def taken(
    drain: Callable[[], Awaitable[None]], transport: asyncio.WriteTransport, seconds: float
) -> None:
    """Wait for `drain`, which returns when the peer has taken enough of what was written.

    TimeoutError where it has taken nothing at all for so many seconds.
    """
    left = untaken(transport)
    waiting = asyncio.ensure_future(drain())
    try:
        while not (await asyncio.wait([waiting], timeout=seconds))[0]:
            before, left = left, untaken(transport)
            if left >= before:
                raise TimeoutError
        waiting.result()
    finally:
        waiting.cancel()


def untaken(transport: asyncio.WriteTransport) -> int:
    """The bytes written that the peer's system has not confirmed, as far as ours tells."""
    try:
        return transport.get_write_buffer_size() + _queued(transport)
    except AttributeError:  # what asyncio's TLS transport raises once its connection is lost
        return 0


def _queued(transport: asyncio.WriteTransport) -> int:
    """What the system holds for the peer: megabytes, of which a slow one takes few in a minute."""
    sock = transport.get_extra_info("socket")
    try:
        queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (AttributeError, OSError, ValueError):  # closed, or a system that does not tell
        return 0
    return int(struct.unpack("i", queued)[0])

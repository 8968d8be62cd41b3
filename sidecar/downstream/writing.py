"""What is sent on one client's connection, and how that ends so that nobody misreads it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from sidecar.downstream import timers
from sidecar.net.backpressure import taken, untaken

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Writer:
    """The sending side of a connection."""

    __slots__ = ("_drained", "_ended", "_transport", "is_paused")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None  # while the connection is open
        self._drained: asyncio.Future[None] | None = None  # done when the client has read enough
        self._ended: asyncio.Future[None] | None = None  # done when the client ends its side
        self.is_paused = False
        """Whether the client has much to read before more should be written."""

    def opened(self, transport: asyncio.Transport) -> None:
        """Write to `transport` from now on."""
        self._transport = transport

    def lost(self) -> None:
        """Write no more, and wait for nothing any more."""
        self._transport = None
        finish(self._drained)
        finish(self._ended)

    def resume(self) -> None:
        """The client has read enough of what was written."""
        self.is_paused = False
        finish(self._drained)

    def client_ended(self) -> None:
        """The client sends nothing any more."""
        finish(self._ended)

    @property
    def has_own_end(self) -> bool:
        """Whether one side can end while the other goes on: TLS has no way to say so."""
        return self._transport is not None and self._transport.can_write_eof()

    def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionResetError where the client is gone."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the client has read enough; TimeoutError where it reads nothing so long."""
        if not self.is_paused or self._transport is None:
            return
        await taken(self._until_drained, self._transport, seconds)
        if self._transport is None:
            raise ConnectionResetError("the client is gone")

    def _until_drained(self) -> asyncio.Future[None]:
        self._drained = asyncio.get_running_loop().create_future()
        return self._drained

    def close(self) -> bool:
        """Close behind what is written; whether some of that has not arrived."""
        transport = self._transport
        if transport is None:
            return False
        transport.close()
        return untaken(transport) > 0

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def reset(self) -> None:
        """End by RST: without a length an HTTP/1.0 client takes FIN for the end of the body."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def end(self, *, is_complete: bool) -> bool:
        """End our side, where that can be done alone; whether it is worth waiting for the client's.

        `is_complete` says that the client's request has come whole.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if not self.has_own_end:
            return not is_complete
        try:
            transport.write_eof()
        except OSError:  # it was reset, and nobody has told us yet
            return False
        return True

    async def linger(self, discarded: Callable[[], int]) -> None:
        """Wait for the client's end as long as bytes still move, but not forever.

        Closing with something unread resets the connection, and that can destroy the answer
        (RFC 9112 §9.6).  `discarded` counts what the client still sends.
        """
        transport, loop = self._transport, asyncio.get_running_loop()
        if transport is None:
            return
        ended = self._ended = loop.create_future()
        latest = loop.time() + timers.LINGER_TOTAL_SECONDS
        before = None
        while not ended.done() and loop.time() < latest:
            moved = discarded(), untaken(transport)
            if moved == before:
                return
            before = moved
            await asyncio.wait([ended], timeout=timers.LINGER_SECONDS)


def finish(future: asyncio.Future[None] | None) -> None:
    """Have whoever waits go on."""
    if future is not None and not future.done():
        future.set_result(None)

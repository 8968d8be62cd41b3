"""The client at the other end of a connection: read from, written to, and left in a clear way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from sidecar.downstream import timers
from sidecar.downstream.timers import Timer
from sidecar.net.backpressure import taken, untaken
from sidecar.net.half_closed import still_reads
from sidecar.net.liveness import End, peer_end
from sidecar.net.peers import peer_address, peer_process

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Peer:
    """One client, by the transport that leads to it."""

    __slots__ = (
        "_drained",
        "_ended",
        "_give_up_timer",
        "_look_timer",
        "_transport",
        "is_left_unread",
        "is_paused",
    )

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None  # while the connection is open
        self._drained: asyncio.Future[None] | None = None  # done when the client has read enough
        self._ended: asyncio.Future[None] | None = None  # done when the client ends its side
        self._give_up_timer = Timer()
        self._look_timer = Timer()  # set while what the client sends is left unread
        self.is_left_unread = False
        """Whether nothing that the client sends is read."""
        self.is_paused = False
        """Whether the client has much to read before more should be written."""

    @property
    def is_given_up(self) -> bool:
        """Whether the connection will be aborted if nothing is written soon."""
        return self._give_up_timer.is_set

    def opened(self, transport: asyncio.BaseTransport) -> tuple[str, int]:
        """Use `transport` from now on; return the client's address, for the log, and process."""
        self._transport = cast(asyncio.Transport, transport)
        return peer_address(transport), peer_process(transport)

    def lost(self) -> None:
        """Wait for nothing any more."""
        self._transport = None
        self._give_up_timer.cancel()
        self._look_timer.cancel()
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

    def read_on(self) -> None:
        """Read what the client sends."""
        transport = self._transport
        self._look_timer.cancel()
        self.is_left_unread = False
        if transport is not None and not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()

    def leave_unread(self, look: Callable[[], None]) -> None:
        """Leave unread what the client sends, and call `look` after a while.

        The client's end comes behind what it has sent: nobody tells of it.
        """
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.pause_reading()
            self.is_left_unread = True
            if not self._look_timer.is_set:
                self._look_timer.set(timers.LOOK_SECONDS, look)

    def end_that_is_known(self) -> End:
        """Whether the client has ended its side, as far as its kernel could tell ours."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return End.OPEN
        return peer_end(transport.get_extra_info("socket"))

    def give_up_in(self, seconds: float) -> None:
        """Abort the connection in so many seconds, unless something is written before.

        If the client is gone without a word, writing brings that to light.
        """
        self._give_up_timer.set(seconds, self.abort)

    def give_up_unless_it_reads(self, seconds: float) -> None:
        """Abort the connection in so many seconds, unless something is written before.

        A client that is known to wait for its answer is waited for, and looked at again, ever more
        rarely: a look takes 0.1 ms.
        """
        self._give_up_timer.set(seconds, lambda: self._look_for_reader(seconds))

    def _look_for_reader(self, seconds: float) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if still_reads(transport.get_extra_info("socket")):
            self.give_up_unless_it_reads(min(2 * seconds, timers.SELDOM_SECONDS))
        else:
            transport.abort()

    def write(self, data: bytes) -> None:
        """Send bytes; raises ConnectionResetError where the client is gone."""
        self._give_up_timer.cancel()
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

    def close(self) -> None:
        """Close behind what is written; what the client does not read in time is given up."""
        if self._transport is not None:
            self._transport.close()
            if untaken(self._transport):
                self.give_up_in(timers.LINGER_SECONDS)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def can_reset(self) -> bool:
        """Whether there is a RST; unix sockets know none."""
        transport = self._transport
        return transport is None or transport.get_extra_info("socket").family != socket.AF_UNIX

    def reset(self) -> None:
        """End by RST: without a length an HTTP/1.0 client takes FIN for the end of the body."""
        if self._transport is None:
            return
        if self.can_reset:
            sock = self._transport.get_extra_info("socket")
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

    async def wait_for_end(self, seconds: float) -> None:
        """Wait until the client ends its side or is gone, but no longer than that."""
        if self._transport is not None:
            self.read_on()
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._ended], timeout=seconds)

    async def linger(self, discarded: Callable[[], int]) -> None:
        """Wait for the client's end as long as bytes still move, but not forever.

        Closing with something unread resets the connection, and that can destroy the answer
        (RFC 9112 §9.6).  `discarded` counts what the client still sends.
        """
        transport, loop = self._transport, asyncio.get_running_loop()
        if transport is None:
            return
        self.read_on()
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

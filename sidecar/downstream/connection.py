"""One client's connection: what is sent, and how it ends.

Answers are written as bytes.  A connection closes so that the last answer is still read, and an
answer that is cut short ends so that nobody takes it for whole.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, _ErrInfo

from sidecar.downstream.malformed import refusal
from sidecar.downstream.receiving import Receiver
from sidecar.downstream.request import Request
from sidecar.net.backpressure import taken, untaken

if TYPE_CHECKING:
    from sidecar.downstream.listener import Listener

log = logging.getLogger("sidecar.connection")

IDLE_SECONDS = 75.0
LINGER_SECONDS = 5.0
"""How long we wait after a last answer for the client to read, send or end."""
LINGER_TOTAL_SECONDS = 30.0
FIRST_REQUEST_SECONDS = 3.0
"""How long a new connection has for its request where no other connection is taken."""
HALF_CLOSED_SECONDS = 1.0
"""How long a request may go on whose client ended its side: most such clients are gone."""


class ClientConnection(Receiver):
    """One client's connection."""

    __slots__ = (
        "__weakref__",
        "_ended",
        "_give_up_timer",
        "_half_closed",
        "_listener",
        "_retiring",
    )

    def __init__(
        self, listener: Listener, loop: asyncio.AbstractEventLoop, options: dict[str, Any]
    ) -> None:
        super().__init__(listener, listener.head_bytes, loop, options)
        self._listener = listener
        self._retiring = False  # no request is taken after the present one
        self._half_closed = False  # the client ended its side
        self._give_up_timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None  # done when the client ends its side

    # One request after the other

    async def start(self) -> None:
        """Answer requests until the connection is to end; called by aiohttp, in a task.

        It stands in for aiohttp's own loop, which makes a task and a writer for each request.
        """
        try:
            while not self._force_close:
                if not await self._answer(*await self._next_request()):
                    break
                self._await_next_until(self._loop.time() + IDLE_SECONDS)
        except ConnectionError:
            pass  # the client is gone
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:
            log.exception("a bug in a client's connection")
            self.force_close()
        if not self._force_close:
            self._task_handler = None
            if self.transport is not None:
                self.transport.close()

    async def _next_request(self) -> tuple[RawRequestMessage | _ErrInfo, StreamReader]:
        if not self._messages:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        arrived = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused:
            self._resume_reading_if_drained()
        return arrived

    async def _answer(self, message: RawRequestMessage | _ErrInfo, body: StreamReader) -> bool:
        """Answer one request; whether another can follow."""
        if isinstance(message, _ErrInfo):
            self._stop()
            request = Request(ERROR, body, self)
            reply = self._listener.refuse(refusal(message.exc, message.status))
        else:
            request = Request(message, body, self)
            self._current_request = cast(Any, request)
            request.work = self._task_handler
            try:
                reply = await self._listener.handler(request)
            finally:
                self._current_request = request.work = None
        await reply.finish(request)
        return reply.keep_alive and body.is_eof() and not self._close

    def _process_keepalive(self) -> None:
        """Called by aiohttp when the connection was idle for long."""
        self._keepalive_handle = None
        if not self._head_size:  # a head that has begun has a deadline of its own
            super()._process_keepalive()

    def _await_next_until(self, deadline: float) -> None:
        self._next_keepalive_close_time = deadline
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(deadline, self._process_keepalive)

    # How it ends

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client ended its side, or left: that looks the same."""
        self._half_closed = True
        self._client_ended()
        body, encrypted = self._receiving, self.ssl_context is not None
        if self.is_idle or encrypted:
            return None
        if body is not None:
            self._body_failed(body, "it ended early")
        else:  # the requests that came whole are answered
            self._give_up_timer = self._loop.call_later(HALF_CLOSED_SECONDS, self._give_up)
        return True

    def _body_failed(self, body: StreamReader, why: str) -> None:
        super()._body_failed(body, why)
        request = cast("Request | None", self._current_request)
        if request is not None and request.body is body:
            request.break_off()

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _cancel_give_up_timer(self) -> None:
        if self._give_up_timer is not None:
            self._give_up_timer.cancel()
            self._give_up_timer = None

    def _client_ended(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_give_up_timer()
        self._client_ended()
        super().connection_lost(exc)

    def force_close(self) -> None:
        """Close; what the client does not read in time is given up."""
        transport = self.transport
        super().force_close()
        if transport is not None and untaken(transport):
            self._loop.call_later(LINGER_SECONDS, transport.abort)

    def reset(self) -> None:
        """End the connection so that the client cannot take its answer for complete.

        By RST: without a length an HTTP/1.0 client takes FIN for the end of the body.
        """
        transport = self.transport
        if transport is None:
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        self._force_close = True

    def retire(self) -> None:
        """Take no further request; close now if none is being answered or on its way.

        A new connection, and one whose request has begun to arrive, have a moment for it.
        """
        self._retiring = True
        if self.is_idle:
            if self._request_count and not self._head_size:
                self.force_close()
            else:
                self._loop.call_later(FIRST_REQUEST_SECONDS, self._close_unused)
        elif not self._messages and self._receiving is None:
            self._close = True  # seen by aiohttp, which would go on waiting after the answer
            self._stop()

    def _close_unused(self) -> None:
        # After a moment of load the request may be here, and just not yet read.
        self._loop.call_later(0.01, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.force_close()

    # What is sent

    @property
    def scheme(self) -> str:
        """What the client speaks: http or https."""
        return self._listener.scheme

    @property
    def may_continue(self) -> bool:
        """Whether another request can follow the one being answered."""
        if self._force_close or self._close or self._retiring:
            return False
        return bool(self._messages) or not (self._stopped or self._half_closed)

    def send(self, data: bytes) -> None:
        """Write bytes of an answer; raises ConnectionResetError where the client is gone."""
        if self._current_request is not None:
            cast(Request, self._current_request).is_answered = True
        self._write(data)

    def ask_for_body(self) -> None:
        """Send the interim answer that a client waits for before it sends a body."""
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        # If it is gone without a word, writing brings that to light.
        self._cancel_give_up_timer()
        self.transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the client has read enough; TimeoutError where it reads nothing so long."""
        if self._paused and self.transport is not None:
            await taken(self._drain_helper, self.transport, seconds)

    async def answered(self, *, keep_alive: bool) -> None:
        """Follow up an answer: with the next request, once this was read, or with the end."""
        if not keep_alive:
            await self._linger()
            return
        try:
            await self.drain(IDLE_SECONDS)
        except TimeoutError:
            self.reset()
            raise ConnectionResetError("the client does not read its answers") from None

    async def _linger(self) -> None:
        """Let the client read its last answer: end our side, then discard what it still sends.

        Closing with something unread resets the connection, and that can destroy the answer
        (RFC 9112 §9.6).  TLS has no way to end one side alone.
        """
        transport, is_complete = self.transport, self._receiving is None
        self._stop()
        if transport is None or transport.is_closing():
            return
        if not self._half_closed and _ended_our_side(transport, is_complete):
            self._resume_transport_reading()
            self._ended = self._loop.create_future()
            await self._until_ended(transport, self._ended)
        self.force_close()

    async def _until_ended(
        self, transport: asyncio.WriteTransport, ended: asyncio.Future[None]
    ) -> None:
        """Wait for the client's end as long as bytes still move, but not forever."""
        latest = self._loop.time() + LINGER_TOTAL_SECONDS
        before = None
        while not ended.done() and self._loop.time() < latest:
            moved = self.discarded, untaken(transport)
            if moved == before:
                return
            before = moved
            await asyncio.wait([ended], timeout=LINGER_SECONDS)


def _ended_our_side(transport: asyncio.WriteTransport, is_complete: bool) -> bool:
    """End our side where that can be done alone; whether it is worth waiting for the client's."""
    if not transport.can_write_eof():
        return not is_complete
    try:
        transport.write_eof()
    except OSError:  # it was reset, and nobody has told us yet
        return False
    return True

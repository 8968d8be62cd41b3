"""One client's connection: its requests in, their answers out, and its end.

aiohttp's web.Server listens, and makes one of these of each connection.  All that is known of it is
here, by the table in states.py: a Receiver cuts what the client sends into requests, and a Peer is
the client as far as sockets go.  A connection that is lost lets go of whatever refers back to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp.base_protocol import BaseProtocol

from sidecar.downstream import timers
from sidecar.downstream.peer import Peer, finish
from sidecar.downstream.receiving import Receiver
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import CLIENT_LEFT, Request
from sidecar.downstream.states import State
from sidecar.downstream.timers import IdleConnections, SlowHeads, Timer
from sidecar.errors import RequestRefused, SidecarError
from sidecar.http import framing
from sidecar.net.liveness import End

log = logging.getLogger(__name__)

HELD_BYTES = 64 * 1024
"""Stop reading once this much is held behind a request that waits."""


class Owner(Protocol):
    """What a connection needs of the listener that it came in by."""

    handler: Callable[[Request], Awaitable[Reply]]
    refuse: Callable[[SidecarError, str], Reply]  # what never became a request, and from where
    head_bytes: int
    scheme: str
    idle: IdleConnections
    slow_heads: SlowHeads

    def opened(self, connection: ClientConnection) -> None:
        """Note that a connection is open, its TLS handshake done."""

    def over(self, connection: ClientConnection) -> None:
        """Forget a connection that is lost, and that nothing works for any more."""


class ClientConnection(BaseProtocol):
    """One client's connection."""

    def __init__(self, owner: Owner) -> None:
        self._clock = asyncio.get_running_loop()
        super().__init__(self._clock)
        self._owner = owner
        self._peer = Peer()
        self.received = Receiver(self, owner.head_bytes)
        """What the client sent, and nobody has taken yet."""
        self.state = State.IDLE
        self.task: asyncio.Task[None] | None = None
        """The task that answers, until the connection is over."""
        self.current: Request | None = None
        """The request that is being answered."""
        self._next: Request | SidecarError | None = None  # what is to be answered behind that
        self._arrival: asyncio.Future[None] | None = None  # done when there is something to answer
        self._has_enough = False  # the reader of a body does not want more of it for now
        self._will_read_on = False  # what is held is read on in the loop's next turn
        self._half_closed = False  # the client ended its side, or is taken for one that did
        self._end_was_seen = False  # it did, and has sent more than was read until now
        self._retiring = False  # no request is taken after the present one
        self._has_served = False
        self._head_timer = Timer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to answer; called by asyncio."""
        super().connection_made(transport)
        self.client, self.process = self._peer.opened(transport)
        self.task = self._clock.create_task(self._serve())
        self._owner.opened(self)
        if self.state is State.IDLE:
            self._owner.idle.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the work on what was asked, and let go of it; called by asyncio."""
        super().connection_lost(exc)
        self._enter(State.CLOSED)
        self._peer.lost()
        self._next = None
        self._head_timer.cancel()
        if self.current is not None:
            self.current.fail(CLIENT_LEFT)
            if self.task is not None:
                self.task.cancel()
        if self.task is None:
            self._owner.over(self)

    def eof_received(self) -> bool:
        """The client ended its side, or left: that looks the same.  Called by asyncio."""
        self._half_closed = True
        self._peer.client_ended()
        if self.state.awaits_request or self.state is State.CLOSED or not self._peer.has_own_end:
            return False
        if self.received.body is not None:
            self._pace()
        elif self.state is State.ANSWERING:  # the requests that came whole are answered
            self._peer.give_up_unless_it_reads(timers.HALF_CLOSED_SECONDS)
        return True

    def close(self) -> None:
        """Close; what the client does not read in time is given up."""
        self._enter(State.CLOSED)
        self._peer.close()

    def reset(self) -> None:
        """End the connection so that the client cannot take its answer for complete."""
        self._enter(State.CLOSED)
        self._peer.reset()

    def _enter(self, state: State) -> None:
        if state is State.IDLE:
            self._owner.idle.add(self)
        elif self.state is State.IDLE:
            self._owner.idle.discard(self)
        if State.HEAD in (state, self.state):
            self._owner.slow_heads.note(self, is_arriving=state is State.HEAD)
        self.state = state
        if state is State.CLOSED:
            self.received.stop()
            finish(self._arrival)

    def retire(self) -> None:
        """Take no further request; close if none is being answered or expected."""
        self._retiring = True
        if self.state is State.IDLE and self._has_served:
            self.close()
        elif not self.state.awaits_request and self._next is None and self.received.body is None:
            self.received.stop()

    def data_received(self, data: bytes) -> None:
        """Read what has arrived, as far as it may be read now; called by asyncio."""
        self.received.add(data)
        self._read_on()

    def pause_reading(self) -> None:
        """The reader of a body has enough for now; called by its StreamReader."""
        self._has_enough = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """The reader of a body wants more; called by its StreamReader, paused or not."""
        if self._has_enough:
            self._has_enough = False
            self._read_on_soon()

    def _read_on_soon(self) -> None:
        if not self._will_read_on:
            self._will_read_on = True
            self._clock.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._will_read_on = False
        received = self.received
        if received.body is not None and not self._has_enough:
            self._read_body()
        if received.body is None and self._next is None and received.held:
            self._read_head()
        self._pace()

    def _read_head(self) -> None:
        received = self.received
        try:
            arrived = received.next_request()
        except RequestRefused as refused:
            self.refuse(refused)
            return
        if arrived is not None:
            self._set_next(Request(*arrived, self))
            if received.body is not None and received.held:
                self._read_body()
        elif received.has_begun and not self._head_timer.is_set:
            self._head_timer.set(timers.HEAD_SECONDS, lambda: self.refuse(framing.too_late()))
            if self.state is State.IDLE:
                self._enter(State.HEAD)

    def _read_body(self) -> None:
        try:
            self.received.read_body()
        except RequestRefused as refused:
            self._fail_body(refused.message)

    def _pace(self) -> None:
        """Read on soon where that is possible, and pause reading where enough is held."""
        received, waits = self.received, False
        if received.body is None:
            waits = self._next is not None and received.held > HELD_BYTES
        elif self._has_enough:
            waits = True
        elif received.has_unread_body:
            self._read_on_soon()
            waits = received.held > HELD_BYTES
        elif self._half_closed:
            why = "it is too far behind another" if received.is_full else "it ended early"
            self._fail_body(framing.bad_body(why).message)
        if waits and not received.is_full:
            self._peer.leave_unread(self._look)
        elif self._peer.is_left_unread:
            self._peer.read_on()

    def _look(self) -> None:
        """Look for the end of a client behind what it has sent and we have left unread."""
        end = self._peer.end_that_is_known()
        if end is End.GONE:
            self._peer.abort()
        elif self.received.body is None and not self._end_was_seen:
            if end is End.HALF:
                self._end_was_seen = True
                self._peer.give_up_unless_it_reads(timers.HALF_CLOSED_SECONDS)
            else:
                self.received.is_full = self._half_closed = True
        self._pace()

    def refuse(self, error: SidecarError) -> None:
        """Have an error answered in place of a request, and look at nothing behind it."""
        self.received.stop()
        self._set_next(error)

    def _set_next(self, arrived: Request | SidecarError) -> None:
        self._head_timer.cancel()
        self._next = arrived
        if self.state is not State.ANSWERING:
            self._enter(State.ANSWERING)
        finish(self._arrival)

    def _fail_body(self, why: str) -> None:
        body = self.received.body
        self.received.stop()
        for request in (self.current, self._next):
            if isinstance(request, Request) and request.body is body:
                request.fail(why)
                request.break_off()

    async def _serve(self) -> None:
        """Answer requests until the connection is to end."""
        try:
            while (arrived := await self._next_request()) and await self._answer(arrived):
                continue
        except ConnectionError:
            pass  # the client is gone
        except Exception:
            log.exception("a bug in a client's connection")
        finally:
            self.task = None
            self.close()
            if self.transport is None:
                self._owner.over(self)

    async def _next_request(self) -> Request | SidecarError | None:
        """Wait for what is to be answered next; None where nothing will be."""
        if self._next is None and self.state is not State.CLOSED:
            self._enter(State.HEAD if self.received.has_begun else State.IDLE)
            self._arrival = self._clock.create_future()
            await self._arrival
            self._arrival = None
        else:
            await asyncio.sleep(0)  # others have their turn, however many are pipelined here
        arrived, self._next = self._next, None
        if self.received.held:
            self._read_on()
        return arrived

    async def _answer(self, arrived: Request | SidecarError) -> bool:
        """Answer one request; whether another can follow."""
        self._has_served = True
        if not isinstance(arrived, Request):
            unread = Request.unread(self)
            await self._owner.refuse(arrived, unread.client).finish(unread)
            return False
        arrived.work = self.task
        self.current = arrived
        try:
            reply = await self._owner.handler(arrived)
        finally:
            self.current = arrived.work = None
        await reply.finish(arrived)
        return reply.keep_alive and arrived.body.is_eof() and self.state is not State.CLOSED

    @property
    def scheme(self) -> str:
        """What the client speaks: http or https."""
        return self._owner.scheme

    @property
    def may_continue(self) -> bool:
        """Whether another request can follow the one being answered."""
        if self.state is State.CLOSED or self._retiring:
            return False
        return self._next is not None or not (self.received.is_deaf or self._half_closed)

    def send(self, data: bytes) -> None:
        """Write bytes of an answer; raises ConnectionResetError where the client is gone."""
        if self.current is not None:
            self.current.is_answered = True
        self._peer.write(data)

    def ask_for_body(self) -> None:
        """Send the interim answer that a client waits for before it sends a body."""
        self._peer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_writing(self) -> None:
        """The client has much to read before more should be written; called by asyncio."""
        self._peer.is_paused = True

    def resume_writing(self) -> None:
        """The client has read enough of it; called by asyncio."""
        self._peer.resume()

    async def drain(self, seconds: float) -> None:
        """Wait until the client has read enough; TimeoutError where it reads nothing so long."""
        await self._peer.drain(seconds)

    @property
    def can_reset(self) -> bool:
        """Whether there is an end that nobody takes for one in order."""
        return self._peer.can_reset

    async def wait_for_end(self, seconds: float) -> None:
        """Wait until the client leaves, but no longer than that."""
        self.received.stop()
        await self._peer.wait_for_end(seconds)

    async def answered(self, *, keep_alive: bool) -> None:
        """Follow up an answer: with the next request, once this was read, or with the end."""
        if not keep_alive:
            await self._linger()
            return
        try:
            await self._peer.drain(timers.IDLE_SECONDS)
        except TimeoutError:
            self.reset()
            raise ConnectionResetError("the client does not read its answers") from None

    async def _linger(self) -> None:
        """Let the client read its last answer: end our side, discard what it sends, then close."""
        is_complete = self.received.body is None
        self.received.stop()
        self._enter(State.LINGERING)
        if not self._half_closed and self._peer.end(is_complete=is_complete):
            await self._peer.linger(lambda: self.received.discarded)
        self.close()

"""A connection to Jira, through one exchange after the other; errors on it are not lost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from sidecar.errors import ProtocolError, ResponseTimeout, SidecarError
from sidecar.net import liveness
from sidecar.upstream.heads import Head
from sidecar.upstream.incoming import PIECE, Incoming, Terms
from sidecar.upstream.pauses import Deadline, PauseWatch, Wake
from sidecar.upstream.states import State


class UpstreamConnection(asyncio.BufferedProtocol):
    """A connection to Jira, or to the proxy on the way to it; states.py says where it can stand."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        terms: Terms,
        ended: Callable[[UpstreamConnection], None],
    ) -> None:
        """`ended` is called once, when the connection has ended."""
        self._loop = loop
        self._terms = terms
        self._ended = ended
        self.transport: asyncio.Transport | None = None
        """None once the connection has ended."""
        self._state = State.RESTING
        self._answer: Incoming | None = None
        self._failure: Exception | None = None
        self._is_reusable = True
        self._arrival = Wake(loop)
        self._drained = Wake(loop)
        self._parsing_later: asyncio.Handle | None = None
        self._pauses = PauseWatch(loop, terms.idle_seconds)
        self._deadline = Deadline(loop, terms.response_seconds)
        self._unread: liveness.Unread | None = None
        self.writing_is_paused = False
        """Whether enough waits to be sent."""
        self.born = loop.time()
        self.renew_at = self.born
        """When another should take its place, by the loop's clock."""
        self.is_retired = False
        """Whether another has taken its place."""

    # What an exchange does with it

    def begin(self, method: str) -> None:
        """Make ready for the answer to `method`; raises why no request can be sent any more."""
        if self._state is State.LOST:
            raise self._take_failure()
        assert self._state is State.RESTING
        self._answer = Incoming(self._loop, self._terms, method, self._parse_later)
        self._state = State.WAITING

    def write(self, data: bytes) -> bool:
        """Send bytes; False where the connection has ended already."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written, or is gone."""
        if self.writing_is_paused:
            await self._drained.wait()

    async def read_head(self) -> Head:
        """The next head, 1xx included; raises why there is none."""
        while not (self._answer is not None and self._answer.heads):
            if self._state is State.LOST:
                raise self._take_failure()
            await self._arrival.wait()
        return self._answer.heads.popleft()

    async def read(self) -> bytes:
        """What has arrived of the body, at least a byte; b"" at its end."""
        while not (piece := self.read_nowait()) and not self.at_end():
            await self._arrival.wait()
        return piece

    def read_nowait(self) -> bytes:
        """What has arrived of the body, perhaps nothing; raises why it was cut short."""
        if self._state is State.LOST:
            raise self._take_failure()
        answer = self._answer
        return b"" if answer is None else answer.body.read_nowait(answer.piece)

    def at_end(self) -> bool:
        """Whether the body is complete, and was read."""
        answer = self._answer
        return self._state is State.DONE and (answer is None or answer.body.at_eof())

    def expect_answer(self) -> None:
        """End the exchange where no head has come in timeouts.response from now on."""
        if self._state is State.WAITING and not self.has_head:
            self._deadline.start(self._is_late)

    def watch_pauses(self) -> None:
        """End the exchange when, from now on, no byte arrives for timeouts.idle."""
        if self._state is State.WAITING:
            self._pauses.start(self._has_paused)

    def be_patient(self, *, patient: bool) -> None:
        """Let the peer leave what it is sent unread for long, or notice in seconds that it died."""
        if self.transport is not None and not self.transport.is_closing():
            liveness.set_patience(self.transport.get_extra_info("socket"), patient=patient)

    def rest(self) -> bool:
        """Wait for another request, if one may follow; whether that is so."""
        answer = self._answer
        if self._state is not State.DONE or answer is None:
            return False
        if not (self._is_reusable and answer.keeps_alive) or answer.has_followers():
            return False
        self._state = State.RESTING
        self._let_go()
        return True

    @property
    def has_head(self) -> bool:
        """Whether the head of the answer has arrived."""
        return self._answer is not None and self._answer.has_head

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent on a resting connection, as far as one can know.

        What the kernel holds for it is its end, or an answer to nothing; it would be taken for
        the answer to the next request.
        """
        return self._state is State.RESTING and not self.has_unread()

    def has_unread(self) -> bool:
        """Whether the kernel holds something that arrived: bytes, or the connection's end."""
        return self._unread is None or self._unread.is_there()

    def close(self) -> None:
        """End a resting connection in order."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the connection at once: what was sent stays incomplete."""
        self.fail(None)

    def fail(self, error: Exception | None) -> None:
        """End the connection at once, and the exchange with `error`."""
        self._lose(error)
        if error is None:
            self._failure = None
        if self._answer is not None:
            self._answer.heads.clear()
        if self.transport is not None:
            self.transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self._unread = liveness.Unread(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop puts what it reads, until buffer_updated()."""
        return self._terms.buffer[: PIECE if self._answer is None else self._answer.piece]

    def buffer_updated(self, nbytes: int) -> None:
        """Parse an answer."""
        data = bytes(self._terms.buffer[:nbytes])
        if self._state is State.WAITING and self._answer is not None:
            if self._answer.take_whole(data):
                self._finish()
                return
            self._pauses.heard()
            self._answer.receive(data)
            if self._parsing_later is None:
                self._parse()
        elif self._state is State.RESTING and data:
            self.fail(
                ProtocolError(
                    f"{self._terms.where} sent something before it was asked.",
                    "does Jira speak HTTP at that port? jira.base_url says which it is",
                )
            )
        elif data and self.transport is not None:  # the answer is read to its end all the same
            self._is_reusable = False
            self.transport.abort()

    def eof_received(self) -> None:
        """End the body, if that is how it ends, or else the exchange.

        TLS must have been ended by close_notify: anybody can send a FIN (RFC 9112 §9.8).
        """
        self._is_reusable = False
        answer = self._answer
        if (
            self._state is State.WAITING
            and answer is not None
            and answer.ends_with_connection
            and self._ended_in_order()
        ):
            answer.end()
            self._finish()
        if self._state is not State.DONE:
            self.fail(self._why_lost(None))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, if there is one, with the reason."""
        self._is_reusable = False
        if self._state is State.WAITING and exc is not None:
            self._read_rest()
        if self._state is not State.DONE:
            self._lose(self._why_lost(exc))
        self.transport = self._unread = None
        self._deadline.close()
        self.resume_writing()
        self._ended(self)

    def _read_rest(self) -> None:
        """Parse an answer that came before the end: a write that failed left it unread.

        Not with TLS: only what reads the socket in order can decrypt it.
        """
        transport, answer = self.transport, self._answer
        assert transport is not None
        assert answer is not None
        if transport.get_extra_info("ssl_object") is None and not answer.must_wait:
            answer.receive(liveness.read_rest(transport.get_extra_info("socket"), PIECE))
            self._parse()

    def pause_writing(self) -> None:
        """Make drain() wait."""
        self.writing_is_paused = True

    def resume_writing(self) -> None:
        """Let drain() return."""
        self.writing_is_paused = False
        self._drained.call()

    # The answer as it arrives

    def _parse(self) -> None:
        self._parsing_later = None
        answer = self._answer
        if answer is None or self._state is not State.WAITING:
            return
        try:
            if answer.parse():
                self._parse_later()
        except ProtocolError as error:
            self.fail(error.with_traceback(None))
            return
        if answer.has_head:
            self._deadline.stop()
        if answer.is_whole:
            self._finish()
        self._read_on(listening=not answer.must_wait)
        self._arrival.call()

    def _parse_later(self) -> None:
        if self._parsing_later is None and self._state is State.WAITING:
            self._pauses.heard()
            self._parsing_later = self._loop.call_soon(self._parse)

    def _read_on(self, *, listening: bool) -> None:
        """Read from the socket only while all that was read is parsed."""
        transport = self.transport
        if listening == self._pauses.is_listening or transport is None or transport.is_closing():
            return
        self._pauses.is_listening = listening
        if listening:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _is_late(self) -> None:
        seconds = self._terms.response_seconds
        message = f"{self._terms.where} did not answer within {seconds:g} s."
        self.fail(ResponseTimeout(message, "timeouts.response sets the limit"))

    def _has_paused(self) -> None:
        seconds = self._terms.idle_seconds
        message = f"{self._terms.where} paused for more than {seconds:g} s inside its answer."
        self.fail(ResponseTimeout(message, "timeouts.idle sets the limit"))

    def _finish(self) -> None:
        """The whole answer has arrived."""
        self._state = State.DONE
        self._stop_timers()
        self._arrival.call()

    def _ended_in_order(self) -> bool:
        """Whether TLS, if there is any, was ended by close_notify."""
        assert self.transport is not None
        security = self.transport.get_extra_info("ssl_object")
        try:
            return security is None or security.read(1) == b""
        except ssl.SSLError:  # it waits for more
            return False

    # The end

    def _why_lost(self, error: Exception | None) -> SidecarError:
        answer = self._answer
        return self._terms.failures.lost(
            error,
            is_silent=answer is None or answer.is_silent,
            has_begun=answer is not None and answer.has_head,
        )

    def _lose(self, error: Exception | None) -> None:
        if self._state is not State.LOST:
            self._state = State.LOST
            self._failure = error
            self._let_go()
            self._arrival.call()

    def _let_go(self) -> None:
        """Let go of the answer, but for heads that were not read yet."""
        self._stop_timers()
        if self._answer is not None:
            self._answer.close()
            if not self._answer.heads:
                self._answer = None

    def _stop_timers(self) -> None:
        self._deadline.stop()
        self._pauses.stop()
        if self._parsing_later is not None:
            self._parsing_later.cancel()
            self._parsing_later = None

    def _take_failure(self) -> Exception:
        """The reason, once: an exception that was raised refers to whoever raised it."""
        failure, self._failure = self._failure, None
        return failure or self._terms.failures.lost(None, is_silent=False, has_begun=True)

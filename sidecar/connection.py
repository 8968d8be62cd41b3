"""One client's connection: what aiohttp's server does, made strict.

aiohttp's RequestHandler parses, queues and paces requests.  Added here: limits on the whole head
and on chunk framing, a deadline for the head, bodies that fail at once when they turn out
malformed or end early, closing so that the last answer is still read, and answers written as
bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidURLError, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from sidecar.errors import RequestRefused

if TYPE_CHECKING:
    from sidecar.replies import Reply

HEAD_SECONDS = 30.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 5.0
"""How long we wait after a last answer for the client to read, send or end."""
LINGER_TOTAL_SECONDS = 30.0
HALF_CLOSED_SECONDS = 1.0
"""How long a request may go on whose client ended its side: most such clients are gone."""
MAX_FIELDS = 128
CHUNK_OVERHEAD = 16
"""Bytes of framing that each byte of a chunked body makes good: one-byte chunks need 5."""


class Request:
    """A request as the parser read it, with its body as it arrives."""

    __slots__ = ("_task", "body", "connection", "message")

    def __init__(
        self,
        message: RawRequestMessage,
        body: StreamReader,
        connection: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> None:
        self.message = message
        self.body = body
        self.connection = cast("ClientConnection", connection)
        self._task = task

    def _finish(self) -> None:
        """Called by aiohttp when the handler is done."""

    def _cancel(self, error: BaseException) -> None:
        """Called by aiohttp when the connection is gone."""
        self.body.set_exception(error)


class Listener(web.Server):
    """Makes a ClientConnection of each connection that arrives at one of our addresses."""

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Reply]],
        refuse: Callable[[RequestRefused], Reply],
        *,
        head_bytes: int,
        scheme: str = "http",
    ) -> None:
        super().__init__(
            cast(Any, handler),
            request_factory=cast(Any, Request),
            handler_cancellation=True,
            keepalive_timeout=IDLE_SECONDS,
            max_line_size=head_bytes,
            max_field_size=head_bytes,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
            access_log=None,
            lingering_time=0,
        )
        self.refuse = refuse
        self.head_bytes = head_bytes
        self.scheme = scheme

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, self._loop, self._kwargs)


class ClientConnection(RequestHandler):
    """One client's connection."""

    __slots__ = (
        "_discarded",
        "_ended",
        "_framing_left",
        "_framing_limit",
        "_give_up_timer",
        "_half_closed",
        "_head_size",
        "_head_timer",
        "_held",
        "_is_last",
        "_listener",
        "_receiving",
        "_retiring",
        "_stopped",
    )

    def __init__(
        self, listener: Listener, loop: asyncio.AbstractEventLoop, options: dict[str, Any]
    ) -> None:
        super().__init__(listener, loop=loop, **options)
        # aiohttp parses 32 requests ahead and loses all that stand before a malformed one.  Here
        # the parser stops after each, and one waits while another is answered.
        self._max_msg_queue_size, self._msg_queue_resume_size = 1, 0
        self._parser = HttpRequestParser(
            self,
            loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_headers=self.max_headers,
            max_field_size=self.max_field_size,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=1,
        )
        self._listener = listener
        self._held = b""  # what arrived behind the request that waits
        self._receiving: StreamReader | None = None  # the body that is not yet complete
        self._framing_left = self._framing_limit = 0  # bytes that may yet come around that body
        self._is_last = False  # nothing is looked at behind the request last parsed
        self._head_size = 0  # bytes received of a head that is not yet complete
        self._head_timer: asyncio.TimerHandle | None = None
        self._stopped = False  # what arrives is no longer looked at
        self._discarded = 0  # bytes of it
        self._retiring = False  # no request is taken after the present one
        self._half_closed = False  # the client ended its side
        self._give_up_timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None  # done when the client ends its side

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._stopped or self._force_close:
            self._discarded += len(data)
        elif self._messages:
            if data:
                self._held += data
                self._pause_transport_reading()
        else:
            if self._held:
                data, self._held = self._held + data, b""
            self._parse(data)

    def _pause_reading_for_buffer(self) -> None:
        """Called when a request waits.  The transport is only paused once more arrives."""
        self._buffer_paused = True

    def _parse(self, data: bytes) -> None:
        """Have aiohttp parse up to the end of one message, and see what it found."""
        body = self._receiving
        size = body.total_bytes if body is not None else 0
        super().data_received(data)
        if self._messages:
            self._message_arrived(data, body)
        elif body is None:
            self._part_of_head(data)
        elif body.is_eof():
            self._body_complete()
        else:
            self._count_framing(body, len(data), body.total_bytes - size)

    def _message_arrived(self, data: bytes, unfinished: StreamReader | None) -> None:
        alone = self._head_size == 0 and _is_one_head(data)
        self._head_size = 0
        self._cancel_head_timer()
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            if unfinished is None:
                self._stop()
            else:
                # aiohttp would queue the error behind a request that waits for its body forever.
                self._messages.pop()
                self._body_failed(unfinished, "its chunks are malformed")
            return
        self._is_last = message.should_close
        if message.upgrade and not (alone and self._parsed_past_upgrade(message)):
            self._is_last = True
        if not body.is_eof():
            self._receiving = body
            left = self._listener.head_bytes - head_size(message)
            self._framing_left = self._framing_limit = left
        elif self._is_last:
            self._stop()

    def _parsed_past_upgrade(self, message: RawRequestMessage) -> bool:
        """Bring the parser back to HTTP behind an offer to upgrade, which is ignored.

        It drops what came with the request, or takes it for another protocol: only where nothing
        did can another request follow.
        """
        if message.method == "CONNECT" or "websocket" in message.headers.get("Upgrade", "").lower():
            return False
        assert self._parser is not None
        self._parser.feed_data(b"")
        return True

    def _body_complete(self) -> None:
        self._receiving = None
        if self._is_last:
            self._stop()
            return
        # The parser counts a request that was begun before its end as one that waits.
        assert self._parser is not None
        self._parser.message_consumed()
        self._parse(b"")

    def _count_framing(self, body: StreamReader, size: int, grown: int) -> None:
        """Limit chunk framing, extensions and trailers by the body that comes with them."""
        left = self._framing_left + (CHUNK_OVERHEAD + 1) * grown - size
        self._framing_left = min(left, self._framing_limit)
        if self._framing_left < 0 and not self._reading_paused:
            self._body_failed(body, "chunk framing or trailers are too long")

    def _part_of_head(self, data: bytes) -> None:
        if not self._head_size and not data.strip(b"\r\n"):
            return  # RFC 9112 §2.2: an empty line before a request is ignored
        self._head_size += len(data)
        if self._head_size > self._listener.head_bytes:
            self._refuse_head(LineTooLong(b"", self._listener.head_bytes), 431)
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._refuse_head(TimeoutError(), 408)

    def _refuse_head(self, error: Exception, status: int) -> None:
        self._stop()
        self._messages.append((_ErrInfo(status=status, exc=error, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _body_failed(self, body: StreamReader, why: str) -> None:
        self._stop()
        self._receiving = None
        body.set_exception(RequestPayloadError(why))

    def _stop(self) -> None:
        """Look at nothing that arrives from now on."""
        self._stopped = True
        self._held = b""
        self._cancel_head_timer()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    @property
    def _idle(self) -> bool:
        """Whether no request is being answered and none waits."""
        return not self._messages and (self._waiter is not None or not self._request_count)

    # How it ends

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client ended its side, or left: that looks the same."""
        self._half_closed = True
        self._client_ended()
        body, encrypted = self._receiving, self.ssl_context is not None
        if self._idle or encrypted:
            return None
        if body is not None:
            self._body_failed(body, "it ended early")
        else:
            self._stop()
            self._give_up_timer = self._loop.call_later(HALF_CLOSED_SECONDS, self._give_up)
        return True

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
        self._stop()
        self._cancel_give_up_timer()
        self._client_ended()
        super().connection_lost(exc)

    def force_close(self) -> None:
        """Close; what the client does not read in time is given up."""
        transport = self.transport
        super().force_close()
        if transport is not None and transport.get_write_buffer_size():
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
        """Take no further request; close now if none is being answered."""
        self._retiring = True
        if self._idle:
            self.force_close()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Let the request being answered go on for `timeout` seconds, its body too, then end."""
        task = self._task_handler
        self.retire()
        if task is None:
            return
        _, pending = await asyncio.wait([task], timeout=timeout)
        if pending:
            self.reset()
            await asyncio.wait([task], timeout=LINGER_SECONDS)

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
        return not self._stopped or bool(self._messages)

    def send(self, data: bytes) -> None:
        """Write bytes; raises ConnectionResetError where the client is gone."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        # If it is gone without a word, writing brings that to light.
        self._cancel_give_up_timer()
        self.transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the client has read enough; TimeoutError after `seconds` without that."""
        if self._paused:
            async with asyncio.timeout(seconds):
                await self._drain_helper()

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
        if transport.can_write_eof():
            transport.write_eof()
        elif is_complete:
            self._half_closed = True
        if not self._half_closed:
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
            moved = self._discarded, transport.get_write_buffer_size()
            if moved == before:
                return
            before = moved
            await asyncio.wait([ended], timeout=LINGER_SECONDS)

    # What aiohttp's parser refuses

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """Answer what the parser refuses in our own words, never quoting the input."""
        if exc is not None and status >= 500:
            raise exc  # not the parser's: the client is gone, or that is a bug
        self._stop()
        return self._listener.refuse(_refusal(exc, status))


def head_size(message: RawRequestMessage) -> int:
    """The bytes that a request's target and fields took, spaces around values aside."""
    fields = message.raw_headers
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in fields)


def _is_one_head(data: bytes) -> bool:
    """Whether this is one whole head, and nothing else."""
    return data[:1].isalpha() and data.find(b"\r\n\r\n") == len(data) - 4


def _refusal(error: BaseException | None, status: int) -> RequestRefused:
    text = str(getattr(error, "message", ""))
    match error:
        case TimeoutError():
            return RequestRefused(
                408, f"The request's head was not complete within {HEAD_SECONDS:g} s."
            )
        case LineTooLong():
            return RequestRefused(
                431,
                "The request's head is too large.",
                "limits.head_bytes sets the limit; long JQL can go into the body of a POST to"
                " /rest/api/2/search",
            )
        case BadHttpMethod() if "HTTPS" in text:
            return RequestRefused(
                400,
                "This port speaks plain http, and the request came in TLS.",
                "use http://, or set listen.tls_certificate and listen.tls_key",
            )
        case BadHttpMethod():
            return RequestRefused(400, "The request's method is not one that HTTP knows.")
        case BadStatusLine():
            return RequestRefused(400, "The request line is malformed.", "HTTP/1.0 and 1.1 only")
        case InvalidURLError():
            return RequestRefused(
                400, "The request target is malformed.", "percent-encode spaces and the like"
            )
    if "Too many headers" in text:
        return RequestRefused(431, f"The request has more than {MAX_FIELDS} header fields.")
    if "Host" in text:
        return RequestRefused(400, "The request needs exactly one Host field.")
    if status == 431:
        return RequestRefused(431, "The request's head is too large.")
    return RequestRefused(
        400, "The request is malformed.", "its header fields, lengths or chunks break HTTP's rules"
    )

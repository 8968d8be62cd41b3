"""What arrives on one client's connection: aiohttp's parser, made strict.

aiohttp's RequestHandler parses, queues and paces requests.  Added here: one request at a time, so
that each is judged by its own bytes; limits on the whole head and on what stands around chunks;
a deadline for the head; bodies that fail at once when they turn out malformed or end early.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine, LineTooLong
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from sidecar.downstream.boundaries import Boundaries

HEAD_SECONDS = 30.0
KEPT_HEAD_BYTES = 8 * 1024
"""As much of a head that arrives in pieces is kept, to see how its request line was spelt."""
HELD_BYTES = 64 * 1024
"""Where more has arrived behind a request that waits, no more is read.  Who left isn't noticed."""
CHUNK_OVERHEAD = 16
"""Bytes of framing that each byte of a chunked body makes good: one-byte chunks need 5."""


class Receiver(RequestHandler):
    """The receiving side of a connection."""

    __slots__ = (
        "_boundaries",
        "_framing_left",
        "_framing_limit",
        "_head",
        "_head_bytes",
        "_head_size",
        "_head_timer",
        "_held",
        "_is_last",
        "_receiving",
        "_stopped",
        "discarded",
    )

    def __init__(
        self,
        server: web.Server,
        head_bytes: int,
        loop: asyncio.AbstractEventLoop,
        options: dict[str, Any],
    ) -> None:
        """`head_bytes` limits a request's line, fields and trailers together."""
        super().__init__(server, loop=loop, **options)
        # aiohttp parses 32 requests ahead and loses all that stand before a malformed one.  Here
        # the parser gets one after the other, and one waits while another is answered.
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
        self._boundaries = Boundaries()
        self._head_bytes = head_bytes
        self._head_size = 0  # bytes received of a head that is not yet complete
        self._head = bytearray()  # the first of these bytes
        self._head_timer: asyncio.TimerHandle | None = None
        self._held = b""  # what arrived and can't be parsed yet
        self._receiving: StreamReader | None = None  # the body that is not yet complete
        self._framing_left = self._framing_limit = 0  # bytes that may yet come around that body
        self._is_last = False  # nothing is looked at behind the request last parsed
        self._stopped = False  # what arrives is no longer looked at
        self.discarded = 0
        """Bytes that arrived and were not looked at."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered and none waits."""
        return not self._messages and (self._waiter is not None or not self._request_count)

    def data_received(self, data: bytes) -> None:
        if self._stopped or self._force_close:
            self.discarded += len(data)
        elif self._must_hold:
            self._hold(data)
        else:
            if self._held:
                data, self._held = self._held + data, b""
            if data or self._receiving is not None:  # of a body the parser may have a rest
                self._parse(data)

    @property
    def _must_hold(self) -> bool:
        """Whether a whole request waits, or the reader of a body has enough of it."""
        return (bool(self._messages) and self._receiving is None) or self._reading_paused

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > HELD_BYTES:
            self._pause_transport_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _pause_reading_for_buffer(self) -> None:
        """Called when a request waits.  The transport is only paused once more arrives."""
        self._buffer_paused = True

    def _parse(self, data: bytes) -> None:
        """Give the parser one message after the other: what it may not have yet is held."""
        start = 0
        while True:
            end = self._boundaries.next(data, start)
            self._parse_piece(data[start:end])
            start = end
            if start == len(data):
                return
            if self._stopped or self._must_hold:
                break
        if self._stopped:
            self.discarded += len(data) - start
        else:
            self._hold(data[start:])

    def _parse_piece(self, piece: bytes) -> None:
        """Have aiohttp parse what holds at most the rest of one message, and see what it found."""
        waiting, body = len(self._messages), self._receiving
        size = body.total_bytes if body is not None else 0
        super().data_received(piece)
        if len(self._messages) > waiting:
            self._message_arrived(piece, body)
        elif body is None:
            self._part_of_head(piece)
        elif body.is_eof():
            self._body_complete()
        else:
            self._count_framing(body, len(piece), body.total_bytes - size)

    def _message_arrived(self, piece: bytes, unfinished: StreamReader | None) -> None:
        self._cancel_head_timer()
        if self._head_size:
            self._keep_of_head(piece)
            piece = bytes(self._head)
            self._forget_head()
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self._stop()
            if unfinished is not None:
                # aiohttp would queue the error behind a request that waits for its body forever.
                self._messages.pop()
                self._body_failed(unfinished, "its chunks are malformed")
        elif _is_loosely_read(message, piece):
            self._stop()
            self._messages[-1] = _ErrInfo(400, BadStatusLine(), ""), EMPTY_PAYLOAD
        else:
            self._request_arrived(message, body)

    def _request_arrived(self, message: RawRequestMessage, body: StreamReader) -> None:
        self._is_last = message.should_close
        if message.upgrade and not self._parsed_past_upgrade(message, body):
            self._is_last = True
        if not body.is_eof():
            self._receiving = body
            self._boundaries.body_follows(_length(message))
            self._framing_left = self._framing_limit = self._head_bytes - head_size(message)
        elif self._is_last:
            self._stop()

    def _parsed_past_upgrade(self, message: RawRequestMessage, body: StreamReader) -> bool:
        """Bring the parser back to HTTP behind an offer to upgrade, which is ignored.

        It would take what follows a body, or a CONNECT, for another protocol: there no other
        request can follow.
        """
        if not body.is_eof() or message.method == "CONNECT":
            return False
        if "websocket" in message.headers.get("Upgrade", "").lower():
            return False
        assert self._parser is not None
        self._parser.feed_data(b"")
        return True

    def _body_complete(self) -> None:
        self._receiving = None
        if self._is_last:
            self._stop()

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
        self._keep_of_head(data)
        if self._head_size > self._head_bytes:
            self._refuse_head(LineTooLong(b"", self._head_bytes), 431)
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _keep_of_head(self, data: bytes) -> None:
        self._head += data[: KEPT_HEAD_BYTES - len(self._head)]

    def _head_is_late(self) -> None:
        self._refuse_head(TimeoutError(), 408)

    def _refuse_head(self, error: Exception, status: int) -> None:
        self._stop()
        self._request_count += 1
        self._messages.append((_ErrInfo(status, error, ""), EMPTY_PAYLOAD))
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
        self._forget_head()
        self._cancel_head_timer()

    def _forget_head(self) -> None:
        self._head_size = 0
        self._head.clear()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def head_size(message: RawRequestMessage) -> int:
    """The bytes that a request's target and fields took, spaces around values aside."""
    fields = message.raw_headers
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in fields)


def _length(message: RawRequestMessage) -> int | None:
    """A body's length; None for a chunked one, and for what follows CONNECT."""
    length = message.headers.get("Content-Length")
    return None if message.chunked or length is None else int(length)


def _is_loosely_read(message: RawRequestMessage, head: bytes) -> bool:
    """Whether the request line that `head` begins with is not just what the parser read.

    It takes several spaces for one, and RTSP for HTTP.  `head` may be the first part of it.
    """
    method = message.method.encode()
    path = message.path.encode("utf-8", "surrogateescape")
    line = b"%b %b HTTP/%d.%d\r\n" % (method, path, *message.version)
    head = head.lstrip(b"\r\n")[: len(line)]
    return not line.startswith(head)

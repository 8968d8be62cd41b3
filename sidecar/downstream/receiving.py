"""What one client sends, cut into requests: each head is judged, then read by aiohttp's parser.

No socket and no clock are used here.  One request is read after the other, so that each is judged
by its own bytes, whatever stands before or behind it in the same segment.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.downstream.boundaries import Boundaries, Chunked, Sized
from sidecar.downstream.request import Head
from sidecar.http import framing
from sidecar.http.fields import Received, lacks
from sidecar.http.framing import END_OF_HEAD
from sidecar.http.methods import METHODS

BUFFER_BYTES = 256 * 1024
"""Twice as much of a body waits for its reader before the client's socket is left alone."""

REMEMBERED_BYTES = 1024
"""As large a request's fields are remembered for the next one."""

_FORWARDED = frozenset(method.encode() for method in METHODS)

_EMPTY_LINES = re.compile(rb"(?:\r\n)*+")


class _Known(NamedTuple):
    """What was read of one request's fields: a client's next request has mostly the same."""

    after_version: bytes
    """All that follows `HTTP/1.` in its head."""
    length: int | None
    head: Head

    def __repr__(self) -> str:
        """Show no bytes: keys and cookies are among them."""
        return f"<_Known {len(self.after_version)} bytes>"


class Receiver:
    """Reads requests out of what arrives on one connection.

    It expects a head (`body` is None), or is in the middle of a body, or is deaf.
    """

    __slots__ = (
        "_boundaries",
        "_held",
        "_is_last",
        "_known",
        "_limit",
        "_parser",
        "_protocol",
        "_seen",
        "_start",
        "body",
        "discarded",
        "is_deaf",
        "is_full",
    )

    def __init__(self, protocol: BaseProtocol, head_bytes: int) -> None:
        """`protocol` is told when a body's reader has enough, and when it has not any more.

        `head_bytes` limits a request's line, fields and trailers together.
        """
        self._protocol: BaseProtocol | None = protocol
        self._limit = head_bytes
        self._parser: HttpRequestParser | None = None
        self._boundaries: Boundaries | None = None  # of the body
        self._held = b""
        self._start = 0  # of what is still to be read in that
        self._seen = 0  # bytes from there on that are part of a head, and were looked at
        self._is_last = False
        self._known: _Known | None = None  # of a request before
        self.body: StreamReader | None = None
        """The body that is still arriving."""
        self.discarded = 0
        """Bytes that arrived and were not looked at."""
        self.is_deaf = False
        """Whether what is here, and all that arrives, is discarded."""
        self.is_full = False
        """Whether what arrives is discarded, though what is here is read."""

    @property
    def held(self) -> int:
        """Bytes that have arrived and are still to be read."""
        return len(self._held) - self._start

    @property
    def has_unread_body(self) -> bool:
        """Whether more of the body can be read before more arrives."""
        return self.held > 0 and self._boundaries is not None and not self._boundaries.needs_more

    @property
    def has_begun(self) -> bool:
        """Whether part of a head is here."""
        return self._seen > 0

    def add(self, data: bytes) -> None:
        """Hold what has arrived, to be read when its turn comes."""
        if self.is_deaf or self.is_full:
            self.discarded += len(data)
        else:
            self._held = self._held[self._start :] + data if self.held else data
            self._start = 0

    def stop(self) -> None:
        """Look at nothing that is here or arrives from now on."""
        self.is_deaf = True
        self._held = b""
        self._start = self._seen = 0
        self.body = self._boundaries = self._protocol = self._parser = None

    def next_request(self) -> tuple[Head, StreamReader] | None:
        """The next request, once its head is here; its body may still be arriving.

        RequestRefused for a head that is malformed, or too large.
        """
        assert self.body is None
        # RFC 9112 §2.2: empty lines before a request are ignored
        if not self._seen and self._held.startswith(b"\r", self._start):
            empty = _EMPTY_LINES.match(self._held, self._start)
            self._start = empty.end() if empty else self._start
        end = self._held.find(END_OF_HEAD, max(self._start, self._start + self._seen - 3))
        if end < 0:
            self._look_at_beginning()
            return None
        end += len(END_OF_HEAD)
        data = self._held[self._start : end]
        self._move_to(end)
        self._seen = 0
        length, head = self._read(data)
        self._is_last = head.should_close
        return head, self._begin_body(length, len(data), len(head.raw_headers))

    def read_body(self) -> None:
        """Give the body's reader what has arrived of it; RequestRefused where it is malformed."""
        body, boundaries = self.body, self._boundaries
        assert body is not None
        assert boundaries is not None
        content, end = boundaries.take(self._held, self._start)
        self._move_to(end)
        if content:
            body.feed_data(content)
        if boundaries.is_complete:
            self._end_body()
            body.feed_eof()

    def _look_at_beginning(self) -> None:
        """Refuse early what cannot become a head."""
        if self._start:
            self._held, self._start = self._held[self._start :], 0
        if self._held not in (b"", b"\r"):  # which may yet be another empty line
            framing.check_beginning(self._held, self._seen, self._limit)
            self._seen = len(self._held)

    def _read(self, data: bytes) -> tuple[int | None, Head]:
        """Judge a head and have it parsed; the fields of a request before are known already."""
        line = framing.request_line(data, self._limit)
        after_version = data[line.end() - 3 :]
        known, (method, target) = self._known, line.groups()
        if (
            known is not None
            and known.after_version == after_version
            and method in _FORWARDED  # any other is left to the parser
            and target.startswith(b"/")
        ):
            return known.length, Head(method.decode(), target.decode(), *known.head[2:])
        length = framing.body_length(after_version)
        head = self._parsed(data, length)
        if len(after_version) <= REMEMBERED_BYTES and lacks(head.raw_headers, b"upgrade"):
            self._known = _Known(after_version, length, head)
        return length, head

    def _parsed(self, data: bytes, length: int | None) -> Head:
        """Have aiohttp's parser read a head.  It never sees a body, and takes none for granted."""
        assert self._protocol is not None
        if self._parser is None:
            self._parser = HttpRequestParser(
                self._protocol,
                asyncio.get_running_loop(),
                BUFFER_BYTES,
                max_line_size=self._limit,
                max_field_size=self._limit,
                max_headers=framing.MAX_FIELDS,
                response_with_body=False,
                auto_decompress=False,
            )
        try:
            messages, _, _ = self._parser.feed_data(framing.without_trailing_space(data))
        except (HttpProcessingError, ValueError):
            messages = []
        if len(messages) != 1:
            raise framing.malformed()
        message: RawRequestMessage = messages[0][0]
        if not data.startswith(message.method.encode() + b" "):
            raise framing.unknown_method()  # before 3.14.2 aiohttp has no name for QUERY
        if message.upgrade:
            self._parser = None  # it would take what follows for another protocol
        return Head(
            message.method,
            message.path,
            message.version.minor,
            Received(message.raw_headers),
            message.should_close or _ends_http(message, length),
            message.chunked,
        )

    def _begin_body(self, length: int | None, head_size: int, fields: int) -> StreamReader:
        if length == 0:
            self._end_body()
            return EMPTY_PAYLOAD
        assert self._protocol is not None
        if length is None:
            self._boundaries = Chunked(self._limit - head_size, framing.MAX_FIELDS - fields)
        else:
            self._boundaries = Sized(length)
        self.body = StreamReader(self._protocol, BUFFER_BYTES, loop=asyncio.get_running_loop())
        return self.body

    def _end_body(self) -> None:
        self.body = self._boundaries = None
        if self._is_last:
            self.stop()

    def _move_to(self, end: int) -> None:
        if end == len(self._held):
            self._held, self._start = b"", 0
        else:
            self._start = end


def _ends_http(message: RawRequestMessage, length: int | None) -> bool:
    """Whether nobody can tell what would follow: an offer to upgrade, ignored here, taken there."""
    if not message.upgrade:
        return message.method == "CONNECT"
    is_websocket = "websocket" in message.headers.get("Upgrade", "").lower()
    return message.method == "CONNECT" or length != 0 or is_websocket

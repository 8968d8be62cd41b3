"""One answer of Jira's as it is parsed: bounded in size, and in what one turn of the loop does."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from aiohttp import hdrs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpResponseParser, RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.errors import ProtocolError
from sidecar.http.fields import Received, size_of
from sidecar.upstream.failures import Failures
from sidecar.upstream.heads import MAX_FIELDS, Head, WholeBody, whole_answer

PIECE = 64 * 1024
"""Bytes that are read at a time, from the socket and of a body; asyncio's high-water mark."""
_HIGH_WATER = 64 * 1024
"""Bytes of a body that nobody has read at which Jira is held up: a slow reader costs us twice as
many, and a hundred of them 12 MiB."""
LARGE_PIECE = 256 * 1024
"""Bytes that are read at a time once the reader is known to keep pace: it costs a third less."""
_KEEPS_PACE = 8 << 20
"""Bytes of a body after which that is known: no socket holds more than 4 MiB (tcp_wmem) for it."""

_FRAMING = 1 << 20
_CHUNK_OVERHEAD = 16
"""Framing bytes (heads, chunk sizes, trailers) allowed in all, and for each byte of the body."""
_STEP = 4 * 1024
"""Bytes that the parser is given at a time, unless no byte of them can be framing."""
_TURN = 4 * 1024
"""Framing bytes parsed in one turn of the loop: 1,600 chunks of one byte take about 1 ms."""
_FOLD_FIRST = re.compile(rb"HTTP/1\.[01] [0-9]{3}[^\n]*\n[ \t]")
"""Whitespace where the first field should begin (RFC 9112 §2.2); llhttp takes it for the end."""
_BODILESS = frozenset({204, 304})
"""Statuses whose Content-Length, if any, announces no body (RFC 9112 §6.3)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every exchange with one Jira."""

    where: str
    """Jira's authority, for messages."""
    response_seconds: float
    idle_seconds: float
    head_bytes: int
    asks_proxy: bool
    """Whether requests go to an HTTP proxy in absolute-form, so that it may answer instead."""
    failures: Failures
    buffer: memoryview = field(
        default_factory=lambda: memoryview(bytearray(LARGE_PIECE)), repr=False
    )
    """Where every connection's bytes arrive first; each takes its own out at once."""


class Incoming:
    """The answer to one request.  close() it, so that its buffers wait for no garbage collector.

    aiohttp's parser makes the body's stream, and the stream asks its "protocol" to read less or
    more: that is this object.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        terms: Terms,
        method: str,
        go_on: Callable[[], None],
    ) -> None:
        """`go_on` is called when the body's reader has caught up, perhaps while it reads."""
        self._loop = loop
        self._terms = terms
        self._has_no_body = method == "HEAD"
        self._go_on = go_on
        self._parser: HttpResponseParser | None = None  # until it is needed
        self._unparsed = b""
        self._is_behind = False
        self._is_chunked = False
        self._head = b""  # until it is complete, with 1xx before and perhaps a body behind
        self._lines = 0  # of the head
        self._framing = 0
        self.heads: deque[Head] = deque()
        """Heads to be read, 1xx included."""
        self.body: StreamReader | WholeBody = EMPTY_PAYLOAD
        self.has_head = False
        """Whether the head has arrived that is no 1xx."""
        self.is_whole = False
        self.is_silent = True
        """Whether no byte has arrived."""
        self.ends_with_connection = False
        """Whether the connection's end is the body's."""
        self.keeps_alive = True
        """Whether, as far as this answer goes, another request may follow."""

    @property
    def must_wait(self) -> bool:
        """Whether no more should be read from the connection for now."""
        return self._is_behind or bool(self._unparsed)

    def take_whole(self, data: bytes) -> bool:
        """Take an answer that arrives whole at once, if it is a plain one; whether it was."""
        if self._has_no_body or not self.is_silent:
            return False
        found = whole_answer(data, self._terms.head_bytes)
        if found is None:
            return False
        head, content = found
        self.is_silent = False
        self.has_head = self.is_whole = True
        self.heads.append(head)
        self.body = WholeBody(content)
        return True

    def receive(self, data: bytes) -> None:
        """Take bytes that arrived; parse() parses them."""
        self.is_silent = self.is_silent and not data
        self._unparsed = self._unparsed + data if self._unparsed else data

    def parse(self) -> bool:
        """Parse as much as one turn of the loop has time for; whether there is more to do now.

        Raises ProtocolError for what is no answer, or one without bounds.
        """
        framing = 0
        while self._unparsed and not self.is_whole and not self._is_behind:
            if framing > _TURN:
                return True
            framing += self._feed(self._next_piece())
        if self.is_whole and self._unparsed:
            self.add_surplus()
        return False

    def _next_piece(self) -> bytes:
        data = self._unparsed
        if len(data) <= _STEP or (self.has_head and not self._is_chunked):
            self._unparsed = b""
            return data
        self._unparsed = data[_STEP:]
        return data[:_STEP]

    def _feed(self, piece: bytes) -> int:
        """Have the parser read a piece; return how many of its bytes are framing."""
        if self._parser is None:
            self._parser = self._new_parser()
        if not self.has_head:
            self._lines += piece.count(b"\n")
            self._head += piece
        size = self.body.total_bytes
        try:
            messages = self._parser.feed_data(piece)[0]
        except HttpProcessingError as error:
            self._refuse(error)
            return len(piece)
        self._refuse_folds(message for message, _ in messages)
        for message, body in messages:
            self._take(message, body)
        framing = len(piece) - (self.body.total_bytes - size)
        self._framing += framing
        if self.has_head and self.body.is_eof():
            self.is_whole = True
        self._check_bounds()
        return framing

    def _new_parser(self) -> HttpResponseParser:
        limit = self._terms.head_bytes
        return HttpResponseParser(
            cast(BaseProtocol, self),
            self._loop,
            _HIGH_WATER // 2,  # half of it is where reading goes on
            max_line_size=limit,
            max_field_size=limit,
            max_headers=MAX_FIELDS,
            response_with_body=not self._has_no_body,
            read_until_eof=True,
            auto_decompress=False,
        )

    def _take(self, message: RawResponseMessage, body: StreamReader) -> None:
        """Take a head that is complete."""
        if self.has_head:  # an answer behind the answer
            self.keeps_alive = False
            return
        self.heads.append(_head(message))
        if message.code < 200:
            return
        self._check_size(message)
        self.has_head = True
        self._head = b""
        self._is_chunked = message.chunked
        self.keeps_alive = not message.should_close
        if message.code in _BODILESS:
            self.keeps_alive = self.keeps_alive and not body.total_bytes
            self._parser = None  # it may wait for a body
        else:
            self.body = body
            has_length = hdrs.CONTENT_LENGTH in message.headers
            self.ends_with_connection = not (message.chunked or has_length or body.is_eof())

    def _check_size(self, message: RawResponseMessage) -> None:
        """Refuse a head that is too large; what has come with it, a body too, is counted first."""
        limit = self._terms.head_bytes
        if len(self._head) > limit and len(message.reason) + size_of(message.raw_headers) > limit:
            raise self._terms.failures.head_too_large()

    def _refuse_folds(self, messages: Iterable[RawResponseMessage]) -> None:
        """Look once at what has come, whatever number of 1xx without a field is in it."""
        if self.has_head or all(message.raw_headers for message in messages):
            return
        if _FOLD_FIRST.search(self._head):
            raise self._terms.failures.not_http("the first field of its head is folded")

    def _check_bounds(self) -> None:
        if not self.has_head:
            if self._framing > self._terms.head_bytes:
                raise self._terms.failures.head_too_large()
        elif self._framing > _FRAMING + _CHUNK_OVERHEAD * self.body.total_bytes:
            raise ProtocolError(f"{self._terms.where} sends chunk framing without end.")

    def _refuse(self, error: HttpProcessingError) -> None:
        """Raise why the parser cannot go on, unless it cannot with what is behind the answer."""
        if self.has_head and self.body.is_eof():
            self.is_whole = True
            self.keeps_alive = False
        elif isinstance(error, LineTooLong) or self._lines > MAX_FIELDS:
            raise self._terms.failures.head_too_large()
        else:
            from sidecar.upstream.broken_heads import fault_of  # which only an error needs

            head = b"" if self.has_head else self._head
            raise self._terms.failures.not_http(fault_of(head, error.message))

    def add_surplus(self) -> None:
        """More has arrived than the answer."""
        self._unparsed = b""
        self.keeps_alive = False

    def end(self) -> None:
        """The connection has ended in order, and the body with it."""
        self.keeps_alive = False
        self.body.feed_eof()
        self.is_whole = True

    def has_followers(self) -> bool:
        """Whether the parser met the beginning of another message behind the answer."""
        try:
            return self._parser is not None and self._parser.feed_eof() is not None
        except HttpProcessingError:
            return True

    def close(self) -> None:
        """Let go of parser, body and whatever is not parsed."""
        self._parser = None
        self.body = EMPTY_PAYLOAD
        self._unparsed = b""
        self._is_behind = False
        self._go_on = _do_nothing

    @property
    def piece(self) -> int:
        """How many bytes are to be read at a time."""
        return PIECE if self.body.total_bytes < _KEEPS_PACE else LARGE_PIECE

    # What the body's stream calls

    @property
    def connected(self) -> bool:
        """Whether more may arrive."""
        return self._parser is not None

    def pause_reading(self) -> None:
        """Parse no more: the reader is behind."""
        self._is_behind = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on, but not at once: the stream may be in the middle of being read."""
        if self._is_behind:
            self._is_behind = False
            self._go_on()


def _head(message: RawResponseMessage) -> Head:
    fields = Received([(name, value.rstrip(b" \t")) for name, value in message.raw_headers])
    reason = message.reason.encode("utf-8", "surrogateescape")
    version = message.version.major, message.version.minor
    return Head(version, message.code, reason, fields, message.chunked)


def _do_nothing() -> None:
    pass

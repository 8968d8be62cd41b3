"""A connection to Jira: aiohttp's, with bounds on what arrives, and errors that are not lost."""

from __future__ import annotations

import asyncio
import select
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.helpers import _EXC_SENTINEL
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from sidecar.errors import ProtocolError
from sidecar.upstream.failures import head_too_large

MAX_FIELDS = 256
"""Fields in Jira's head; more are a broken reply."""

_FRAMING = 1 << 20
_CHUNK_OVERHEAD = 16
"""Bytes of chunk framing and trailers: so many in all, and for each byte of the body so many."""


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


class UpstreamConnection(ResponseHandler):
    """A connection to Jira, or to the proxy on the way: what arrives on it is bounded."""

    def __init__(self, loop: asyncio.AbstractEventLoop, terms: Terms) -> None:
        super().__init__(loop)
        self._terms = terms
        self._resting = False  # in the pool: nothing may arrive
        self._head_due = False  # a request was sent, and the head of its response isn't here yet
        self._body: StreamReader | None = None
        self._until_close = False  # only the connection's end says where the body ends
        self._ended = False  # it did end, in order
        self._poll: select.poll | None = None
        self.received = 0
        """Bytes that arrived since the request began."""

    def begin(self, method: str) -> None:
        """Make ready for the response to `method`; ProtocolError if something is here already."""
        if not self.is_connected():
            raise aiohttp.ServerDisconnectedError
        if self.should_close:
            raise ProtocolError(
                f"{self._terms.where} sent something before it was asked.",
                "does Jira speak HTTP at that port? jira.base_url says which it is",
            )
        self._resting = False
        self._head_due = True
        self._body = None
        self.received = 0
        limit = self._terms.head_bytes
        self.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=limit,
            max_field_size=limit,
            max_headers=MAX_FIELDS,
        )

    def rest(self) -> None:
        """Both messages are complete: the connection may wait for another request."""
        self._resting = True
        self._body = None

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent: for a connection from the pool, as far as one can know.

        What the kernel holds for a resting connection is its end, or an answer to nothing; it
        would be taken for the answer to the next request.
        """
        if not self._resting:
            return True
        if self.should_close or not self.is_connected():
            return False
        if self._poll is None:
            assert self.transport is not None
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)

    def data_received(self, data: bytes) -> None:
        if self._resting:
            if data and self.transport is not None:
                self.transport.abort()
            return
        super().data_received(data)
        self.received += len(data)
        body = self._body
        if self._head_due:
            if self.received > self._terms.head_bytes:
                self.fail(head_too_large(self._terms.where))
        elif body is not None and not body.is_eof():
            size = body.total_bytes
            if self.received - size > _FRAMING + _CHUNK_OVERHEAD * size:
                self.fail(ProtocolError(f"{self._terms.where} sends chunk framing without end."))

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Called for every head that is complete."""
        message, body = data
        if message.code >= 200 and self._head_due:
            self._head_due = False
            self._body = body
            self._until_close = not message.chunked and hdrs.CONTENT_LENGTH not in message.headers
        super().feed_data(data, size)

    def eof_received(self) -> None:
        self._ended = self._until_close and self._ended_in_order()
        super().eof_received()

    def _ended_in_order(self) -> bool:
        """Whether TLS, if there is any, was ended by close_notify: anybody can send a FIN."""
        assert self.transport is not None
        tls = self.transport.get_extra_info("ssl_object")
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError:  # it waits for more
            return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_due = False
        body = self._body
        if body is not None and self._until_close and (exc is not None or not self._ended):
            # aiohttp would take any end for the body's (RFC 9112 §9.8).
            body.set_exception(exc or aiohttp.ClientPayloadError(), _EXC_SENTINEL)
        super().connection_lost(exc)

    def set_exception(self, exc: BaseException, exc_cause: BaseException = _EXC_SENTINEL) -> None:
        """Tell whoever waits.  aiohttp forgets who waits for the body, who would wait forever."""
        super().set_exception(exc, exc_cause)
        body = self._body
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc, exc_cause)

    def fail(self, error: Exception) -> None:
        """End the connection at once, and the exchange with `error`."""
        self._buffer.clear()
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

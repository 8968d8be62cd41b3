"""One request and its response on one connection to Jira."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import aiohttp
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.errors import (
    ConnectionLost,
    ProtocolError,
    ResponseTimeout,
    SidecarError,
    UpstreamError,
)
from sidecar.http.fields import Fields, Received, values
from sidecar.net.backpressure import taken
from sidecar.upstream.connection import Terms, UpstreamConnection
from sidecar.upstream.failures import FOREIGN, exchange_failed, head_too_large, proxy_refused

PIECE = 64 * 1024
"""Bytes of a body in memory that are sent at a time; asyncio's high-water mark."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request as it goes on the wire."""

    method: str
    target: str
    """Origin-form, context path included."""
    fields: Fields = field(repr=False)
    """Complete: Host, Authorization and framing are in it."""
    body: bytes | AsyncIterator[bytes] = field(default=b"", repr=False)
    """In memory, or pieces to be sent as they come."""
    chunked: bool = False
    """Whether the pieces are framed as chunks; without, Content-Length says where they end."""


class UpstreamResponse:
    """One request on one connection, and its response as it arrives."""

    def __init__(self, terms: Terms, connection: Connection, connect_seconds: float) -> None:
        self._terms = terms
        self._connection = connection
        self._protocol = cast(UpstreamConnection, connection.protocol)
        self._loop = asyncio.get_running_loop()
        self._upload: asyncio.Task[None] | None = None
        self._upload_error: Exception | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stream: StreamReader = EMPTY_PAYLOAD
        self._ahead = b""
        self._released = False
        self.connect_seconds = connect_seconds
        self.first_byte_seconds = 0.0
        self.status = 0
        self.reason = b""
        self.fields: Fields = []
        self.chunked = False

    async def exchange(self, head: bytes, request: UpstreamRequest) -> None:
        """Send the request and wait for the response's head; 1xx are swallowed.

        Raises an UpstreamError, or what the body's iterator raised; the connection is gone then.
        """
        started = perf_counter()
        try:
            self._send(head, request)
            message, stream = await self._protocol.read()
            while message.code < 200:
                self._check_interim(message)
                message, stream = await self._protocol.read()
            if self._upload_error is not None:
                raise self._upload_error
            self._begin(message, stream)
        except BaseException as error:
            self.abort()
            if isinstance(error, FOREIGN) and error is not self._upload_error:
                raise self._failed(error) from error
            raise
        self.first_byte_seconds = perf_counter() - started

    def _send(self, head: bytes, request: UpstreamRequest) -> None:
        """Send the request, or begin to."""
        self._protocol.begin(request.method)
        body = request.body
        if isinstance(body, bytes) and len(body) <= PIECE:
            if not self._write(head + body):
                raise aiohttp.ServerDisconnectedError
            self._expect_head()
        else:
            self._write(head)
            pieces = _pieces(body) if isinstance(body, bytes) else body
            self._upload = self._loop.create_task(self._send_body(pieces, request.chunked))

    def _check_interim(self, message: RawResponseMessage) -> None:
        if not 100 <= message.code < 200 or message.code == 101:
            raise ProtocolError(f"{self._terms.where} answers with status {message.code}, unasked.")

    def _begin(self, message: RawResponseMessage, stream: StreamReader) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._check(message)
        self.status = message.code
        self.reason = message.reason.encode("utf-8", "surrogateescape")
        self.fields = Received(message.raw_headers)
        self.chunked = message.chunked
        self._stream = stream
        if self.status >= 400 and self._upload is not None:
            # "the client SHOULD immediately cease transmitting" (RFC 9112 §9.5): a server that
            # refuses a body may close, and a write that fails would lose us its answer.
            self._upload.cancel()
        if not stream.is_eof():
            self._protocol.read_timeout = self._terms.idle_seconds
            self._protocol.start_timeout()

    def _check(self, message: RawResponseMessage) -> None:
        """Refuse what the parser lets through and we could not pass on truthfully."""
        where = self._terms.where
        if message.version not in ((1, 0), (1, 1)):
            raise ProtocolError(f"{where} answers neither in HTTP/1.0 nor in HTTP/1.1.")
        if self._protocol.received > self._terms.head_bytes:
            size = len(message.reason) + sum(len(k) + len(v) + 4 for k, v in message.raw_headers)
            if size > self._terms.head_bytes:
                raise head_too_large(where)
        if hdrs.TRANSFER_ENCODING in message.headers:
            codings = [v.lower() for v in values(message.raw_headers, b"transfer-encoding")]
            if codings != [b"chunked"] or message.version.minor == 0:
                # Other codings were never asked for (TE); RFC 9112 §6.1 on HTTP/1.0.
                raise ProtocolError(f"The answer of {where} has a Transfer-Encoding unasked for.")
        if message.code == 407 and self._terms.asks_proxy:
            raise proxy_refused(where, message.code)

    async def peek(self, limit: int) -> bytes:
        """The body's first bytes, about `limit` of them; they are still there to be read."""
        while len(self._ahead) < limit and not self._stream.at_eof():
            self._ahead += await self._read()
        return self._ahead

    def read_nowait(self) -> bytes:
        """What has arrived of the body, perhaps nothing; raises an UpstreamError."""
        if self._ahead:
            return self._take_ahead()
        try:
            return self._stream.read_nowait()
        except (*FOREIGN, SidecarError) as error:
            raise self._failed(error) from error

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end; raises an UpstreamError."""
        return self._take_ahead() if self._ahead else await self._read()

    async def _read(self) -> bytes:
        try:
            return await self._stream.readany()
        except (*FOREIGN, SidecarError) as error:
            raise self._failed(error) from error

    def _take_ahead(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead

    def at_end(self) -> bool:
        """Whether the whole body was read."""
        return not self._ahead and self._stream.at_eof() and self._stream.exception() is None

    def close(self) -> None:
        """Give the connection back where both messages are complete, else end it."""
        if self._released:
            return
        uploaded = self._upload is None or (
            self._upload.done() and not self._upload.cancelled() and self._upload_error is None
        )
        if uploaded and self._stream.at_eof() and self._stream.exception() is None:
            self._released = True
            self._protocol.rest()
            self._connection.release()
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection at once: what was sent stays incomplete."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._upload is not None:
            self._upload.cancel()
        if not self._released:
            self._released = True
            self._protocol.abort()
            self._connection.close()

    def _write(self, data: bytes) -> bool:
        """Hand bytes to the connection; False where it has ended already."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def _expect_head(self) -> None:
        self._deadline = self._loop.call_later(self._terms.response_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        seconds = self._terms.response_seconds
        self._protocol.fail(
            ResponseTimeout(
                f"{self._terms.where} did not answer within {seconds:g} s.",
                "timeouts.response sets the limit",
            )
        )

    async def _send_body(self, pieces: AsyncIterator[bytes], chunked: bool) -> None:
        """Send the body as it comes.  A failure ends the exchange with that failure."""
        try:
            if await self._send_pieces(pieces, chunked) and not self.status:
                self._expect_head()
        except Exception as error:  # noqa: BLE001 — handed to whoever reads
            self._upload_error = error
            self._protocol.fail(error)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def _send_pieces(self, pieces: AsyncIterator[bytes], chunked: bool) -> bool:
        """Whether all was sent; if not, whoever reads learns why the connection ended."""
        async for piece in pieces:
            if chunked and piece:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            if not (self._write(piece) and await self._drained()):
                return False
        return not chunked or self._write(b"0\r\n\r\n")

    async def _drained(self) -> bool:
        """Wait until Jira has taken enough of what was written; False where it is gone."""
        transport = self._protocol.transport
        if not self._protocol.writing_paused or transport is None:
            return transport is not None
        try:
            await taken(self._protocol._drain_helper, transport, self._terms.idle_seconds)
        except ConnectionError:
            return False
        except TimeoutError:
            raise ResponseTimeout(
                f"{self._terms.where} stopped taking the request's body.",
                "timeouts.idle sets the limit",
            ) from None
        return True

    def _failed(self, error: Exception) -> UpstreamError:
        if error is self._upload_error and not isinstance(error, UpstreamError):
            return ConnectionLost(
                "The request's body failed, and its answer with it.", "send the request again"
            )
        return exchange_failed(
            error, self._terms.where, self._terms.idle_seconds, has_begun=bool(self.status)
        )


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]

"""One request and its response on one connection to Jira."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from time import perf_counter

from sidecar.errors import ConnectionLost, ProtocolError, ResponseTimeout, UpstreamError
from sidecar.http.fields import Fields, first, values
from sidecar.net.backpressure import taken
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.heads import Head
from sidecar.upstream.incoming import PIECE, Terms

_TURNS = 3
"""Turns of the loop until whoever waits for an answer that the kernel holds has seen its head."""
_KEEP_ALIVE = re.compile(rb"(?i:timeout) *= *([0-9]{1,9})")


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

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        terms: Terms,
        connection: UpstreamConnection,
        connect_seconds: float,
        give_back: Callable[[UpstreamConnection, float | None], None],
    ) -> None:
        """`give_back` takes a connection that rests, and for how many seconds Jira keeps it."""
        self._terms = terms
        self._connection = connection
        self._give_back = give_back
        self._loop = loop
        self._upload: asyncio.Task[None] | None = None
        self._is_sent = False
        self._ahead = b""
        self._is_over = False
        self._was_whole = False
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
            answer = await self._connection.read_head()
            while answer.status < 200:
                self._check_interim(answer)
                answer = await self._connection.read_head()
            self._begin(answer)
        except BaseException:
            self.abort()
            raise
        self.first_byte_seconds = perf_counter() - started

    def _send(self, head: bytes, request: UpstreamRequest) -> None:
        """Send the request, or begin to."""
        self._connection.begin(request.method)
        body = request.body
        if isinstance(body, bytes) and len(body) <= PIECE:
            self._connection.write(head + body)
            self._has_sent()
        else:
            self._connection.be_patient(patient=True)
            self._connection.write(head)
            pieces = _pieces(body) if isinstance(body, bytes) else body
            self._upload = self._loop.create_task(self._send_body(pieces, request.chunked))

    def _check_interim(self, head: Head) -> None:
        if head.status < 100 or head.status == 101:
            raise ProtocolError(f"{self._terms.where} answers with status {head.status}, unasked.")

    def _begin(self, head: Head) -> None:
        self._check(head)
        self.status = head.status
        self.reason = head.reason
        self.fields = head.fields
        self.chunked = head.chunked
        if self.status >= 400 and self._upload is not None:
            # "the client SHOULD immediately cease transmitting" (RFC 9112 §9.5): a server that
            # refuses a body may close, and a write that fails would lose us its answer.
            self._upload.cancel()
        self._connection.watch_pauses()

    def _check(self, head: Head) -> None:
        """Refuse what the parser lets through and we could not pass on truthfully."""
        where = self._terms.where
        if head.version not in ((1, 0), (1, 1)):
            raise ProtocolError(f"{where} answers neither in HTTP/1.0 nor in HTTP/1.1.")
        codings = values(head.fields, b"transfer-encoding")
        if codings and ([c.lower() for c in codings] != [b"chunked"] or head.version == (1, 0)):
            # Other codings were never asked for (TE); RFC 9112 §6.1 on HTTP/1.0.
            raise ProtocolError(f"The answer of {where} has a Transfer-Encoding unasked for.")
        if head.status == 407 and self._terms.asks_proxy:
            challenges = values(head.fields, b"proxy-authenticate")
            raise self._terms.failures.proxy_refused(head.status, challenges)

    async def peek(self, limit: int) -> bytes:
        """The body's first bytes, about `limit` of them; they are still there to be read."""
        while len(self._ahead) < limit and not self._connection.at_end():
            self._ahead += await self._connection.read()
        return self._ahead

    def read_nowait(self) -> bytes:
        """What has arrived of the body, perhaps nothing; raises an UpstreamError."""
        return self._take_ahead() if self._ahead else self._connection.read_nowait()

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end; raises an UpstreamError."""
        return self._take_ahead() if self._ahead else await self._connection.read()

    def _take_ahead(self) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead

    def at_end(self) -> bool:
        """Whether the whole body was read."""
        whole = self._was_whole if self._is_over else self._connection.at_end()
        return whole and not self._ahead

    def close(self) -> None:
        """Give the connection back where both messages are complete, else end it."""
        if self._is_over:
            return
        self._was_whole = self._connection.at_end()
        if not (self._is_sent and self._was_whole and self._connection.rest()):
            self.abort()
            return
        self._is_over = True
        if self._upload is not None:
            self._upload = None
            self._connection.be_patient(patient=False)
        self._give_back(self._connection, _kept_for(self.fields))

    def abort(self) -> None:
        """End the connection at once: what was sent stays incomplete."""
        if self._is_over:
            return
        self._is_over = True
        self._ahead = b""
        if self._upload is not None:
            self._upload.cancel()
            self._upload = None  # a task that was cancelled refers to us by its traceback
        self._connection.abort()

    def _has_sent(self) -> None:
        """The whole request was handed to the connection."""
        self._is_sent = True
        self._connection.expect_answer()

    async def _send_body(self, pieces: AsyncIterator[bytes], chunked: bool) -> None:
        """Send the body as it comes.  Where that fails, the exchange ends with the failure."""
        try:
            if await self._send_pieces(pieces, chunked):
                self._has_sent()
        except Exception as error:  # noqa: BLE001 — handed to whoever reads
            if self.status and not isinstance(error, UpstreamError):
                error = ConnectionLost(
                    "The request's body failed, and its answer with it.", "send the request again"
                )
            self._connection.fail(error)
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def _send_pieces(self, pieces: AsyncIterator[bytes], chunked: bool) -> bool:
        """Whether all was sent; if not, whoever reads learns why the connection ended."""
        async for piece in pieces:
            await self._let_answer_in()
            if chunked and piece:
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            if not self._connection.write(piece):
                return False
            await self._drain()
        return self._connection.write(b"0\r\n\r\n" if chunked else b"")

    async def _let_answer_in(self) -> None:
        """Let what has arrived be read before more is sent.

        A server that refuses a body closes its end, the next write fails, and asyncio then ends
        the connection with its early answer unread.
        """
        connection = self._connection
        if connection.has_unread() or connection.has_head:
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    async def _drain(self) -> None:
        """Wait until Jira has taken enough of what was written, or is gone."""
        transport = self._connection.transport
        if transport is None or not self._connection.writing_is_paused:
            return
        try:
            await taken(self._connection.drain, transport, self._terms.idle_seconds)
        except TimeoutError:
            raise ResponseTimeout(
                f"{self._terms.where} stopped taking the request's body.",
                "timeouts.idle sets the limit",
            ) from None


def _kept_for(fields: Fields) -> float | None:
    """For how many seconds Jira keeps a connection that rests; None where it does not say."""
    value = first(fields, b"keep-alive")
    found = None if value is None else _KEEP_ALIVE.search(value)
    return None if found is None else float(found[1])


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]

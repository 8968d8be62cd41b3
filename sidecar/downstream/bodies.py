"""A client's request body: read with deadlines, counted, and kept while it is small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sidecar.downstream.request import CLIENT_LEFT, Request
from sidecar.errors import RequestRefused
from sidecar.http.fields import first

REPLAY_BYTES = 64 * 1024
"""As much of a body is kept, so that it can be sent once more."""


class RequestBody:
    """The body of one request, as it arrives.

    Iterating streams it; what was kept of it comes again when iteration begins again.
    """

    def __init__(self, request: Request, idle_seconds: float, *, expects_continue: bool) -> None:
        self._request = request
        self._stream = request.body
        self._connection = request.connection
        self._idle = idle_seconds
        self._expects_continue = expects_continue
        self._kept: list[bytes] = []
        self._replayed = 0
        self._fields = request.message.raw_headers
        self._chunked = request.message.chunked
        self.size = 0
        """Bytes read so far."""

    @property
    def replayable(self) -> bool:
        """Whether all that was read is still in memory."""
        return self.size <= REPLAY_BYTES

    def at_hand(self) -> bytes | None:
        """The whole body, if it has a length, is small and has arrived; else None.

        RequestRefused where it has failed already: then nothing of it should be sent.
        """
        self._request.check_body()
        if self._chunked or not self._stream.is_eof() or self._stream.total_bytes > REPLAY_BYTES:
            return None
        while not self._stream.at_eof():
            self._keep(self._stream.read_nowait())
        return b"".join(self._kept)

    async def read_all(self, limit: int) -> bytes:
        """The whole body in memory; RequestRefused (413) if it is larger than `limit` bytes."""
        pieces = []
        if int(first(self._fields, b"content-length") or b"0") > limit:
            raise _too_large(limit)
        async for piece in self:
            pieces.append(piece)
            if self.size > limit:
                raise _too_large(limit)
        return b"".join(pieces)

    async def skip(self, limit: int) -> None:
        """Read to the end and keep nothing; RequestRefused (413) beyond `limit` bytes."""
        async for _ in self:
            if self.size > limit:
                raise _too_large(limit)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._replayed = 0
        return self

    async def __anext__(self) -> bytes:
        if self._replayed < len(self._kept):
            piece = self._kept[self._replayed]
        elif piece := await self._next():
            self._keep(piece)
        else:
            raise StopAsyncIteration
        self._replayed += 1
        return piece

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.replayable:
            self._kept.append(piece)
        else:
            self._kept.clear()

    async def _next(self) -> bytes:
        """What has arrived since, at least a byte; b"" at the end."""
        self._request.check_body()
        if self._stream.at_eof():
            return b""
        piece = self._stream.read_nowait()
        if not piece:
            piece = await self._arrival()
            self._request.check_body()
        return piece

    async def _arrival(self) -> bytes:
        try:
            self._continue()
            async with asyncio.timeout(self._idle):
                return await self._stream.readany()
        except TimeoutError:
            raise RequestRefused(
                408,
                f"The request's body paused for more than {self._idle:g} s.",
                "timeouts.idle sets the limit",
            ) from None
        except ConnectionError:  # the client's, not to be mistaken for Jira's
            raise RequestRefused(400, CLIENT_LEFT) from None

    def _continue(self) -> None:
        """Ask for the body, if the client waits for that (RFC 9110 §10.1.1).

        Only when it is wanted, and not when it is on its way already.
        """
        if self._expects_continue:
            self._expects_continue = False
            if not self._stream.total_bytes:
                self._connection.ask_for_body()


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(
        413,
        f"The form is larger than {limit} bytes, and Jira reads no larger one.",
        "send JSON, or multipart for files",
    )

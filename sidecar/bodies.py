"""A client's request body: read with deadlines, counted, and kept while it is small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp.web_protocol import RequestPayloadError

from sidecar.connection import Request
from sidecar.errors import RequestRefused

REPLAY_BYTES = 64 * 1024
"""As much of a body is kept, so that it can be sent once more."""


class RequestBody:
    """The body of one request, as it arrives.  Iterating streams it; iterating again replays it."""

    def __init__(self, request: Request, idle_seconds: float, *, expects_continue: bool) -> None:
        self._stream = request.body
        self._connection = request.connection
        self._idle = idle_seconds
        self._expects_continue = expects_continue
        self._kept: list[bytes] = []
        self.size = 0
        """Bytes read so far."""

    @property
    def empty(self) -> bool:
        """Whether there is no body at all."""
        return self.size == 0 and self._stream.at_eof()

    @property
    def replayable(self) -> bool:
        """Whether all that was read is still in memory."""
        return self.size <= REPLAY_BYTES

    def at_hand(self) -> bytes | None:
        """The whole body, if all of it has arrived and it is small; else None."""
        if not self._stream.is_eof() or self._stream.total_bytes > REPLAY_BYTES:
            return None
        while not self._stream.at_eof():
            self._keep(self._stream.read_nowait())
        return b"".join(self._kept)

    async def read_all(self, limit: int) -> bytes:
        """The whole body in memory; RequestRefused (413) if it is larger than `limit` bytes."""
        pieces = []
        async for piece in self:
            pieces.append(piece)
            if self.size > limit:
                raise RequestRefused(
                    413,
                    f"The form is larger than {limit} bytes, and Jira reads no larger one.",
                    "send JSON, or multipart for files",
                )
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in tuple(self._kept):
            yield piece
        while not self._stream.at_eof():
            if piece := await self._next():
                self._keep(piece)
                yield piece

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.replayable:
            self._kept.append(piece)
        else:
            self._kept.clear()

    async def _next(self) -> bytes:
        if self._expects_continue:
            # RFC 9110 §10.1.1: only when the body is wanted, and not when it is here already.
            self._expects_continue = False
            if not self._stream.total_bytes:
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            async with asyncio.timeout(self._idle):
                return await self._stream.readany()
        except TimeoutError:
            raise RequestRefused(
                408,
                f"The request's body paused for more than {self._idle:g} s.",
                "timeouts.idle sets the limit",
            ) from None
        except RequestPayloadError as error:
            raise RequestRefused(
                400, f"The request's body cannot be understood: {error}."
            ) from None

"""A client's request body: read with deadlines, counted, and kept while it is small."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sidecar.downstream.request import Request, body_refusal
from sidecar.errors import RequestRefused
from sidecar.http.fields import first

REPLAY_BYTES = 64 * 1024
"""As much of a body is kept, so that it can be sent once more."""


class RequestBody:
    """The body of one request, as it arrives.

    Iterating streams it; what was kept of it comes again when iteration begins again.
    """

    def __init__(self, request: Request, idle_seconds: float, *, expects_continue: bool) -> None:
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
        if error := self._stream.exception():
            raise body_refusal(error)
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
        elif self._stream.at_eof() or not (piece := await self._next()):
            raise StopAsyncIteration
        else:
            self._keep(piece)
        self._replayed += 1
        return piece

    def _keep(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.replayable:
            self._kept.append(piece)
        else:
            self._kept.clear()

    async def _next(self) -> bytes:
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
        except (RequestRefused, ConnectionError) as error:
            # The client's ConnectionError, not to be mistaken for Jira's: what was sent of the
            # body there must not pass for the whole.
            raise body_refusal(error) from None

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

"""The body of a request: hashed and counted as it arrives, kept in memory only when asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from aiohttp import HttpVersion11, web

from sidecar.sandbox.answers import TooLarge
from sidecar.sandbox.record import Request


class WireBody:
    """The body of an aiohttp request; answers `Expect: 100-continue` when it is first read."""

    def __init__(self, request: web.BaseRequest, record: Request) -> None:
        self._request = request
        self._record = record
        self._kept: deque[bytes] = deque()
        self._expects = (
            record.fields.get("expect").lower() == "100-continue"
            and request.version == HttpVersion11
            and request.body_exists
        )

    async def _next(self) -> bytes:
        """Read the next piece from the connection; it is empty at the end of the body."""
        if self._expects:
            self._expects = False
            if self._request.transport is not None:
                self._request.transport.write(b"HTTP/1.1 100 \r\n\r\n")
        data: bytes = await self._request.content.readany()
        if data:
            self._record.saw(data)
        else:
            self._record.body_complete = True
        return data

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the pieces as they arrive, first those that peek() has kept."""
        while self._kept:
            yield self._kept.popleft()
        while data := await self._next():
            yield data

    async def peek(self, limit: int) -> bytes | None:
        """Give the whole body and keep it for the next reader; None if it is too long."""
        size = 0
        while size <= limit and (data := await self._next()):
            self._kept.append(data)
            size += len(data)
        return b"".join(self._kept) if size <= limit else None

    async def read(self, limit: int) -> bytes:
        """Give the whole body; raises TooLarge past `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        async for data in self.chunks():
            size += len(data)
            if size > limit:
                raise TooLarge(f"more than {limit} bytes")
            pieces.append(data)
        return b"".join(pieces)

    async def drain(self) -> None:
        """Read and drop the rest, unless the client still waits for `100 Continue`."""
        if not self._expects:
            while await self._next():
                pass

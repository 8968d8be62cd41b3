"""What nginx cannot do for the benchmark: read a body to its end, and drip events.

    PUT /origin/upload                 reads the body and answers with its size
    GET /origin/drip?n=N&interval=S    N server-sent events, S seconds apart, the first at once

Each event carries the monotonic clock in nanoseconds at which it was sent.
Run by the benchmark; LISTEN (host:port) comes from the environment.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from urllib.parse import parse_qs, urlsplit

_PIECE = 1 << 18


class Origin(asyncio.BufferedProtocol):
    """One connection of nginx's, one request after another."""

    def __init__(self) -> None:
        self._buffer = bytearray(_PIECE)
        self._head = b""
        self._left = 0  # bytes of the body that have not come yet
        self._size = 0
        self._dripping: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """End a drip that nobody reads any more."""
        if self._dripping is not None:
            self._dripping.cancel()

    def get_buffer(self, sizehint: int) -> bytearray:
        """The same buffer again: what is in it is only counted."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """A head, a part of a body, or the last of one and the answer to it."""
        if self._left:
            self._left -= nbytes
        else:
            self._head += self._buffer[:nbytes]
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = b""
            self._began(head.decode("latin-1"), len(rest))
        if not self._left and self._dripping is None:
            body = b'{"received": %d}' % self._size
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )

    def _began(self, head: str, received: int) -> None:
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        self._size = int(length[1]) if length else 0
        self._left = self._size - received
        url = urlsplit(head.split()[1])
        if url.path.endswith("/drip"):
            options = parse_qs(url.query)
            number, interval = int(options["n"][0]), float(options["interval"][0])
            self._dripping = asyncio.ensure_future(self._drip(number, interval))

    async def _drip(self, number: int, interval: float) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for index in range(number):
            if index:
                await asyncio.sleep(interval)
            event = b"data: %019d\n\n" % time.monotonic_ns()
            self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        self._transport.write(b"0\r\n\r\n")
        self._dripping = None


async def main() -> None:
    """Serve until SIGTERM."""
    host, port = os.environ["LISTEN"].split(":")
    server = await asyncio.get_running_loop().create_server(Origin, host, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

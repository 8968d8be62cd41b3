"""A server that answers with bytes as its script says, for what no sound server would send."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from tests.support.stream_server import StreamServer
from tests.support.waiting import PATIENCE, SOON
from tests.support.wire import reset


class Peer:
    """One connection as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """Read a request's head."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> bytes:
        """Read a request with a Content-Length or no body; return all of it."""
        head = await self.head()
        length = field(head, "content-length")
        async with asyncio.timeout(PATIENCE):
            return head + await self.reader.readexactly(int(length or 0))

    async def send(self, *pieces: bytes) -> None:
        """Send each piece in a segment of its own, as far as that is ours to decide."""
        async with asyncio.timeout(PATIENCE):
            for piece in pieces:
                self.writer.write(piece)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def answer(self, body: bytes = b"ok", *fields: str) -> None:
        """Send a 200."""
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""]
        await self.send("\r\n".join(lines).encode() + body)

    async def gone(self) -> bytes:
        """Read until the other side ends the connection; return what came before."""
        pieces = []
        async with asyncio.timeout(PATIENCE):
            try:
                while piece := await self.reader.read(1 << 16):
                    pieces.append(piece)
            except ConnectionError:
                pass
        return b"".join(pieces)

    def finish(self) -> None:
        """End the connection in order: FIN, in TLS after close_notify."""
        self.writer.close()

    def cut(self) -> None:
        """Send FIN at once, and in TLS without a word."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection by RST."""
        reset(self.writer)


Script = Callable[[Peer], Awaitable[None]]


class RawServer(StreamServer):
    """Runs a script for each connection; the connection ends with it."""

    def __init__(
        self,
        script: Script,
        *,
        host: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        super().__init__(self._play, sock=self._socket, ssl=context, limit=1 << 21)
        self._script = script
        self._host = host
        self._context = context
        self._receive_buffer = receive_buffer
        self.peers: list[Peer] = []
        self.ended = asyncio.Event()
        """Set when a connection's script is over."""

    async def __aenter__(self) -> Self:
        if self._receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self._socket.bind((self._host, 0))
        return await super().__aenter__()

    @property
    def url(self) -> str:
        scheme = "https" if self._context else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self.port}"

    async def end(self) -> None:
        """Wait until a connection's script is over; soon, and not when a pool gets tired of it."""
        async with asyncio.timeout(SOON):
            await self.ended.wait()

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._script(peer)
        finally:
            self.ended.set()


def field(head: bytes, name: str) -> str | None:
    """The one value of a field in a head, None without."""
    found = [
        value.strip()
        for line in head.decode("latin-1").split("\r\n")[1:]
        for key, _, value in [line.partition(":")]
        if key.lower() == name
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


async def answers(peer: Peer) -> None:
    """Answer every request with its own request line."""
    while True:
        request = await peer.request()
        await peer.answer(request.split(b"\r\n")[0])


def once(*pieces: bytes, end: Callable[[Peer], None] | None = None) -> Script:
    """Make a script that sends bytes after the first request's head, and then ends as told.

    Without an `end` the connection stays until the other side ends it.
    """

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(*pieces)
        if end is None:
            await peer.gone()
        else:
            end(peer)

    return script

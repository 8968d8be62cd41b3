"""An upstream without a library: it records every byte it gets, and answers what a test says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from tests.support.stream_server import StreamServer
from tests.support.waiting import PATIENCE
from tests.support.wire import reset

Fields = list[tuple[str, str]]

_SIGNED = re.compile(rb"\r\nAuthorization: OAuth [^\r]*oauth_signature=")


class Exchange:
    """One request as it arrives, perhaps not to its end, and the way to answer it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.head = b""
        """As received; without a blank line at its end where it never was complete."""
        self.body = bytearray()
        """Unframed, as far as it was read."""
        self.complete = False
        """Whether the whole request arrived and was read."""
        self.over = asyncio.Event()
        """Set when the connection has ended."""

    async def read_head(self, start: bytes) -> None:
        self.head = start
        try:
            self.head += await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self.head += error.partial
            raise

    async def read_body(self) -> bytearray:
        """Read to the request's end by its framing; the strictest reading there is."""
        length, coding = self.all("content-length"), self.all("transfer-encoding")
        assert len(length) + len(coding) < 2, f"ambiguous framing: {self.head!r}"
        if coding:
            assert coding == ["chunked"], coding
            await self._read_chunks()
        elif length:
            await self._read_exactly(int(length[0]) - len(self.body))
        self.complete = True
        return self.body

    async def read_piece(self) -> bytes:
        """Read what there is of a body that has a length."""
        piece = await self._reader.read(65536)
        self.body += piece
        return piece

    async def _read_chunks(self) -> None:
        while True:
            line = await self._reader.readuntil(b"\r\n")
            assert re.fullmatch(rb"[0-9a-f]+\r\n", line), line
            size = int(line, 16)
            if size:
                await self._read_exactly(size)
            assert await self._reader.readexactly(2) == b"\r\n"
            if not size:
                return

    async def _read_exactly(self, size: int) -> None:
        while size:
            piece = await self._reader.read(min(size, 65536))
            if not piece:
                raise asyncio.IncompleteReadError(b"", size)
            self.body += piece
            size -= len(piece)

    async def hang(self) -> None:
        """Say nothing until the other side ends the connection."""
        while await self._reader.read(65536):
            continue

    def reset(self) -> None:
        """End the connection by RST."""
        reset(self.writer)

    async def answer(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def say(self, body: bytes = b"", *fields: str, status: str = "200 OK") -> None:
        """Answer with a Content-Length."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
        await self.answer("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    @property
    def start_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.start_line.split(" ")[1]

    @property
    def fields(self) -> Fields:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines if line]
        return [(name, value.strip(" \t")) for name, _, value in pairs]

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def is_signed(self) -> bool:
        return _SIGNED.search(self.head) is not None


Handler = Callable[[Exchange], Awaitable[None]]


async def say_ok(exchange: Exchange) -> None:
    """Read the whole request, answer 200."""
    await exchange.read_body()
    await exchange.say(b"ok", "Content-Type: text/plain", "X-Upstream: 1")


class RawUpstream(StreamServer):
    """Listens on a free port of 127.0.0.1.  `handler` may be changed between requests."""

    def __init__(self, handler: Handler = say_ok) -> None:
        super().__init__(self._record, host="127.0.0.1", port=0, limit=1 << 17)
        self.handler = handler
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self._arrived = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def request(self, number: int = 0) -> Exchange:
        """The request of that number, once its head has begun to arrive."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.exchanges) > number)
        return self.exchanges[number]

    async def _record(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        exchange = None
        try:
            while start := await reader.read(1):
                exchange = Exchange(reader, writer)
                self.exchanges.append(exchange)
                async with self._arrived:
                    self._arrived.notify_all()
                await exchange.read_head(start)
                await self.handler(exchange)
        finally:
            if exchange is not None:
                exchange.over.set()  # which shows whether it is complete
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()


class Canary(StreamServer):
    """A listener that nobody may ever connect to."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.connections = 0

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _count(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        self.connections += 1

"""A client that sends bytes as they are and reads answers as they come."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

SECONDS = 25.0
"""For an answer: less than the 30 s after which the sidecar gives up a head."""


@dataclass(frozen=True)
class Response:
    """One answer, its head parsed and its body unframed."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        """The field of that name; KeyError where there is none, or more than one."""
        found = self.all(name)
        if len(found) != 1:
            raise KeyError(f"{name}: {found}")
        return found[0]

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [v.decode("latin-1") for k, v in self.fields if k.lower() == name.lower().encode()]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What the sidecar or Jira says in errorMessages."""
        return str(self.json()["errorMessages"][0])


class Wire:
    """One connection: `send` bytes, `receive` answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.interim: list[int] = []
        """The 1xx statuses that came before final ones."""

    @classmethod
    async def open(cls, host: str, port: int, **options: Any) -> Wire:
        wire = cls(*await asyncio.open_connection(host, port, **options))
        await turns(5)
        return wire

    @classmethod
    async def open_unix(cls, path: str) -> Wire:
        return cls(*await asyncio.open_unix_connection(path))

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    async def send(self, *pieces: bytes) -> None:
        """Send each piece in a segment of its own: a server in this loop reads one by one."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await turns(3)

    async def head(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Read a head; ConnectionError where the connection ends instead."""
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise ConnectionError(f"closed after {error.partial!r}") from None
        start, *lines = raw[:-4].split(b"\r\n")
        _, status, reason = start.split(b" ", 2)
        fields = []
        for line in lines:
            name, _, value = line.partition(b":")
            fields.append((name, value.strip(b" \t")))
        return int(status), reason, fields

    async def receive(self, *, method: str = "GET") -> Response:
        """Read one whole answer, interim ones aside."""
        async with asyncio.timeout(SECONDS):
            status, reason, fields = await self.head()
            while status < 200:
                self.interim.append(status)
                status, reason, fields = await self.head()
            return Response(status, reason, fields, await self._body(method, status, fields))

    def half_close(self) -> None:
        """End our side: nothing more will be sent."""
        self.writer.write_eof()

    def leave(self) -> None:
        """Be gone at once, by RST."""
        reset(self.writer)

    async def end(self) -> tuple[bytes, bool]:
        """Read until the other side ends the connection; what came, and whether it ended by RST."""
        pieces = []
        async with asyncio.timeout(SECONDS):
            try:
                while piece := await self.reader.read(65536):
                    pieces.append(piece)
            except ConnectionResetError:
                return b"".join(pieces), True
        return b"".join(pieces), False

    async def ends(self) -> bytes:
        """Read until the other side ends the connection, by FIN or RST; what came before it."""
        pieces = []
        async with asyncio.timeout(SECONDS):
            try:
                while piece := await self.reader.read(65536):
                    pieces.append(piece)
            except ConnectionError:
                pieces.append(b"")
        return b"".join(pieces)

    async def _body(self, method: str, status: int, fields: list[tuple[bytes, bytes]]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        named = {name.lower(): value for name, value in fields}
        if named.get(b"transfer-encoding") == b"chunked":
            return await self._chunks()
        if b"content-length" in named:
            return await self.reader.readexactly(int(named[b"content-length"]))
        return await self.reader.read(-1)

    async def _chunks(self) -> bytes:
        pieces = []
        while size := int((await self.reader.readuntil(b"\r\n"))[:-2].split(b";")[0], 16):
            pieces.append(await self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(pieces)


async def turns(count: int) -> None:
    """Let the event loop turn: for a server in it to accept, or to read what was sent."""
    for _ in range(count):
        await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Client:
    """Requests to one server, each on a connection of its own unless told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"

    async def wire(self, **options: Any) -> Wire:
        return await Wire.open(self.host, self.port, **options)

    async def raw(self, *pieces: bytes, method: str = "GET") -> Response:
        """Send bytes and read one answer."""
        async with await self.wire() as wire:
            await wire.send(*pieces)
            return await wire.receive(method=method)

    async def request(
        self, method: str, target: str, *fields: tuple[str, str], body: bytes = b""
    ) -> Response:
        """One well-formed request; Host and Content-Length are added where missing."""
        return await self.raw(self.message(method, target, *fields, body=body), method=method)

    async def get(self, target: str, *fields: tuple[str, str]) -> Response:
        return await self.request("GET", target, *fields)

    async def post_json(self, target: str, content: Any) -> Response:
        body = json.dumps(content).encode()
        return await self.request("POST", target, ("Content-Type", "application/json"), body=body)

    def message(
        self, method: str, target: str, *fields: tuple[str, str], body: bytes = b""
    ) -> bytes:
        """A well-formed request as bytes."""
        names = {name.lower() for name, _ in fields}
        lines = [f"{method} {target} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {self.authority}")
        lines += [f"{name}: {value}" for name, value in fields]
        if body and not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body

"""A tap on the line between client and sidecar: passes bytes on and remembers what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.stream_server import StreamServer

_PIECE = 65536


class Sent(NamedTuple):
    """One request as the client put it on the wire, its body unframed."""

    method: str
    target: str
    """A byte that is not UTF-8 as a surrogate (PEP 383)."""
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


@dataclass
class Line:
    """One connection: all that was said, either way."""

    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


class Tap(StreamServer):
    """Listens on a loopback port of its own and passes every connection on to the sidecar's."""

    def __init__(self, port: int) -> None:
        super().__init__(self._pass_on)
        self._sidecar_port = port
        self.lines: list[Line] = []

    @property
    def requests(self) -> list[Sent]:
        """What clients sent so far, connection by connection."""
        return [request for line in self.lines for request in read_requests(bytes(line.asked))]

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line()
        self.lines.append(line)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._sidecar_port)
        try:
            await asyncio.gather(
                _copy(reader, ours, line.asked),
                _copy(theirs, writer, line.answered),
            )
        finally:
            ours.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray
) -> None:
    """Copy until the end, which is passed on as what it was: FIN or RST."""
    try:
        while piece := await reader.read(_PIECE):
            heard += piece
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def read_requests(stream: bytes) -> Iterator[Sent]:
    """Take apart what a client sent on one connection (RFC 9112); what is unfinished is left."""
    while b"\r\n\r\n" in stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        start, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        method, target, _ = start.split(" ")
        fields = [
            (name, value.strip(" \t")) for name, _, value in (x.partition(":") for x in lines)
        ]
        named = {name.lower(): value for name, value in fields}
        if named.get("transfer-encoding") == "chunked":
            body, stream = _read_chunks(stream)
        else:
            length = int(named.get("content-length", 0))
            body, stream = stream[:length], stream[length:]
        yield Sent(method, target, fields, body)


def _read_chunks(stream: bytes) -> tuple[bytes, bytes]:
    """The body, and what follows it."""
    body = bytearray()
    while b"\r\n" in stream:
        size, _, stream = stream.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        body += stream[:length]
        stream = stream[length + 2 :]
        if not length:
            break
    return bytes(body), stream

"""A client that costs little: one connection, blocking, bodies counted and not kept."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

_PIECE = 1 << 20
_TIMEOUT = 60.0


class Transfer(NamedTuple):
    """One request and its answer; times are seconds from before the request was sent."""

    status: int
    first_byte: float
    """When the first byte of the body was here."""
    seconds: float
    received: int
    """Bytes of the body, and of its framing where it came in chunks."""


class Client:
    """A connection to one of the targets; a context manager."""

    def __init__(self, url: str) -> None:
        host, port = urlsplit(url).netloc.split(":")
        self._host = f"{host}:{port}"
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(_PIECE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def get(self, target: str) -> Transfer:
        """GET, and read the whole answer."""
        started = time.perf_counter()
        self._send(f"GET {target} HTTP/1.1")
        return self._answer(started)

    def put(self, target: str, path: Path, size: int) -> Transfer:
        """PUT a file of that size, and read the whole answer."""
        started = time.perf_counter()
        self._send(f"PUT {target} HTTP/1.1", f"Content-Length: {size}")
        with path.open("rb") as file:
            self._socket.sendfile(file)
        return self._answer(started)

    def events(self, target: str) -> tuple[float, list[float]]:
        """Read a drip; seconds to its first byte, and the delay of every event."""
        started = time.perf_counter()
        self._send(f"GET {target} HTTP/1.1")
        first_byte = 0.0
        delays: list[float] = []
        data = b""
        while b"0\r\n\r\n" not in data[-7:]:
            piece = self._socket.recv(65536)
            now = time.monotonic_ns()
            if not piece:
                raise ConnectionError(f"{target} ended early: {data[-200:]!r}")
            data += piece
            if not data.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"{target}: {data[:200]!r}")
            stamps = re.findall(rb"data: (\d{19})\n\n", data)
            if stamps and not first_byte:
                first_byte = time.perf_counter() - started
            delays += [(now - int(stamp)) / 1e9 for stamp in stamps[len(delays) :]]
        return first_byte, delays

    def _send(self, *lines: str) -> None:
        head = "\r\n".join([*lines, f"Host: {self._host}", "Accept: */*", "", ""])
        self._socket.sendall(head.encode())

    def _answer(self, started: float) -> Transfer:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        while not body:
            body = self._receive()
        first_byte = time.perf_counter() - started
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        received = self._rest(len(body), int(length[1])) if length else self._chunks(body)
        return Transfer(status, first_byte, time.perf_counter() - started, received)

    def _receive(self) -> bytes:
        piece = self._socket.recv(65536)
        if not piece:
            raise ConnectionError("the answer ended early")
        return piece

    def _rest(self, received: int, length: int) -> int:
        while received < length:
            size = self._socket.recv_into(self._buffer)
            if not size:
                raise ConnectionError(f"the answer ended after {received} of {length} bytes")
            received += size
        return received

    def _chunks(self, body: bytes) -> int:
        received, end = len(body), body[-7:]
        while not end.endswith(b"\r\n0\r\n\r\n"):
            piece = self._receive()
            received += len(piece)
            end = (end + piece)[-7:]
        return received

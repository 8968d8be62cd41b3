"""What clients leave behind that give up: nothing, though no garbage is ever collected.

A connection, its streams and its buffers must not refer to each other in a circle when it ends:
the collector is told to be rare, and until it comes a hundred slow readers are 90 MiB.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import MakeSidecar, Running
from tests.support.waiting import until

CLIENTS = 100
LARGE = 4096
"""Bytes objects of that size are counted."""
ANSWER = bytes(8 << 20)
UPLOAD = bytes(300_000)

Answer = Callable[[socket.socket, bytes], None]


class Jira:
    """An upstream whose threads leave nothing in the sidecar's loop."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.asked = 0
        self.over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            head = b""
            try:
                while b"\r\n\r\n" not in head:
                    head += sock.recv(1 << 16)
                self.asked += 1
                self._answer(sock, head)
            except OSError:
                return  # the sidecar ended the connection


@pytest.fixture
async def jira(request: pytest.FixtureRequest) -> AsyncIterator[Jira]:
    jira = Jira(request.param)
    yield jira
    jira.close()


def large(fields: bytes = b"Content-Type: application/octet-stream\r\n") -> Answer:
    """Answer with more than anybody's buffers hold."""

    def answer(sock: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (fields, len(ANSWER))
        sock.sendall(head + ANSWER)

    return answer


def silent(sock: socket.socket, _: bytes) -> None:
    """Read what comes, and say nothing."""
    while sock.recv(1 << 16):
        pass


def deaf(sock: socket.socket, _: bytes) -> None:
    """Read nothing and say nothing, until the sidecar leaves."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    threading.Event().wait(2)


def cut_short(sock: socket.socket, _: bytes) -> None:
    """Answer the half of it, and end."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + bytes(9000))


def leave(client: socket.socket) -> None:
    client.close()


def die(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def spoil(client: socket.socket) -> None:
    """Send a chunk that is none, and leave."""
    client.send(b"\r\nZZ\r\n")
    client.close()


@contextmanager
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def alive() -> Counter[str]:
    """How many objects there are of each class that a request or a connection makes."""
    return Counter(
        type(one).__name__
        for one in gc.get_objects()
        if str(type(one).__module__).startswith(
            ("sidecar.downstream", "sidecar.proxy", "sidecar.upstream.exchange", "aiohttp.streams")
        )
    )


def large_bytes() -> int:
    """The bytes that large buffers hold."""
    found = {
        id(inner): len(inner)
        for one in gc.get_objects()
        for inner in gc.get_referents(one)
        if isinstance(inner, bytes | bytearray) and len(inner) >= LARGE
    }
    return sum(found.values())


def ask(edge: Running, message: bytes) -> socket.socket:
    """Send a request on a connection whose own buffer is small, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((edge.host, edge.port))
    client.setblocking(False)
    client.send(message)
    return client


GET = ("GET", ())
PUT = ("PUT", (("Content-Length", "10000000"),))
CHUNKED = ("PUT", (("Transfer-Encoding", "chunked"),))
JSON = b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("jira", "request_line", "body", "go"),
    [
        pytest.param(large(), GET, b"", leave, id="slow readers leave"),
        pytest.param(large(), GET, b"", die, id="slow readers die"),
        pytest.param(large(JSON), GET, b"", leave, id="slow readers of JSON leave"),
        pytest.param(silent, GET, b"", leave, id="who waits leaves"),
        pytest.param(silent, GET, b"", die, id="who waits dies"),
        pytest.param(silent, PUT, UPLOAD, leave, id="uploads are given up"),
        pytest.param(deaf, PUT, UPLOAD, die, id="uploads that nobody takes die"),
        pytest.param(silent, CHUNKED, b"5000\r\n" + bytes(0x5000), spoil, id="spoilt uploads"),
        pytest.param(cut_short, GET, b"", leave, id="answers are cut short"),
    ],
    indirect=["jira"],
)
async def test_nothing_is_left_of_who_gives_up(
    make_sidecar: MakeSidecar,
    jira: Jira,
    request_line: tuple[str, tuple[tuple[str, str], ...]],
    body: bytes,
    go: Callable[[socket.socket], None],
) -> None:
    asyncio.get_running_loop().set_debug(False)  # it keeps what it shows
    edge = await make_sidecar(jira.url, token="t", limits__connections=CLIENTS)
    assert (await edge.get("/_sidecar/health")).status == 200
    listener = edge.server.listener
    await until(lambda: not listener.connections)
    method, fields = request_line
    message = edge.message(method, "/x", *fields) + body
    with no_collector():
        before, held_before = alive(), large_bytes()
        clients = [ask(edge, message) for _ in range(CLIENTS)]
        await until(lambda: jira.asked == CLIENTS)
        for client in clients:
            go(client)
        await until(lambda: not listener.connections)
        await until(lambda: not edge.server.generations[0].in_flight)
        await asyncio.sleep(0)
        left = alive() - before
        assert not left
        assert large_bytes() - held_before < 1 << 20

"""Who is at the other end of a connection."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sidecar.net import peers
from sidecar.net.peers import is_loopback, peer_address, peer_process
from tests.support.waiting import PATIENCE


class Server(asyncio.Protocol):
    """Notes what is shown of the client, and ends the connection."""

    def __init__(self, found: asyncio.Future[str]) -> None:
        self._found = found
        self.process = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.process = peer_process(transport)
        assert self.process == _wanted_process(transport)
        self._found.set_result(peer_address(transport))
        transport.close()


def _wanted_process(transport: asyncio.BaseTransport) -> int:
    """Ours, on a unix socket of a system that tells."""
    is_unix = transport.get_extra_info("socket").family == socket.AF_UNIX
    return os.getpid() if is_unix and peers._PEERCRED is not None else 0


async def seen(listening: socket.socket, address: Any, client: socket.socket) -> str:
    """What a server shows of a client that connects to it by this address."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()
    if listening.family == socket.AF_UNIX:
        server = await loop.create_unix_server(lambda: Server(found), sock=listening)
    else:
        server = await loop.create_server(lambda: Server(found), sock=listening)
    async with server, asyncio.timeout(PATIENCE):
        client.setblocking(False)
        await loop.sock_connect(client, address)
        return await found


async def test_it_is_the_address_without_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.bind(("127.0.0.2", 0))
        assert await seen(server, server.getsockname(), client) == "127.0.0.2"


async def test_ipv4_is_shown_as_such_on_a_socket_for_both_families() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server,
        socket.socket() as client,
    ):
        client.bind(("127.0.0.3", 0))
        address = "127.0.0.1", server.getsockname()[1]
        assert await seen(server, address, client) == "127.0.0.3"


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="Linux tells who connects")
async def test_on_a_unix_socket_it_is_the_user(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        assert await seen(server, path, client) == f"uid:{os.geteuid()}"


async def test_where_the_system_does_not_tell_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_PEERCRED", None)
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        assert await seen(server, path, client) == ""
    assert peer_address(None) == ""
    assert peer_process(None) == 0


@pytest.mark.parametrize(
    ("address", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("uid:1000", True),
     ("10.0.0.1", False), ("::2", False), ("fe80::1", False), ("1127.0.0.1", False)],
)  # fmt: skip
def test_which_addresses_are_this_machines(address: str, is_local: bool) -> None:
    assert is_loopback(address) == is_local

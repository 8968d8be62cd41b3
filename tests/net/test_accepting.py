"""A connection that was accepted arrives, however soon after that its server is closed."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sidecar.net.accepting import stop_accepting
from tests.support.late import TURNS
from tests.support.waiting import PATIENCE


@pytest.mark.parametrize("turns", TURNS)
async def test_what_was_accepted_arrives_or_is_refused_at_once(turns: int) -> None:
    loop = asyncio.get_running_loop()
    arrived: list[asyncio.StreamWriter] = []
    servers = [
        await asyncio.start_server(lambda _, writer: arrived.append(writer), "127.0.0.1", 0)
        for _ in range(2)
    ]
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(servers[1].sockets[0].getsockname())
        for _ in range(turns):
            await asyncio.sleep(0)
        await stop_accepting(servers)
        assert not any(server.is_serving() for server in servers)
        await asyncio.sleep(0)  # the turn in which its protocol is told
        for writer in arrived:
            writer.write(b"welcome")
        try:
            async with asyncio.timeout(PATIENCE):
                heard = await loop.sock_recv(client, 100)
        except ConnectionError:
            heard = b""
        assert heard == (b"welcome" if arrived else b"")
        for writer in arrived:
            writer.close()
            await writer.wait_closed()
    assert arrived or turns < 4


async def test_nobody_connects_afterwards() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await stop_accepting([server])
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(address)

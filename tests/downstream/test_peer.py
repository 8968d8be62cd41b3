"""What is sent, and how that ends: over socket pairs, without a connection around it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.downstream import timers
from sidecar.downstream.peer import Peer
from tests.support.wire import turns


class Side(asyncio.Protocol):
    """Our side of a connection, which does nothing but write."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.peer.opened(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.peer.lost()

    def pause_writing(self) -> None:
        self.peer.is_paused = True

    def resume_writing(self) -> None:
        self.peer.resume()

    def eof_received(self) -> bool:
        self.peer.client_ended()
        return True


@asynccontextmanager
async def connected(*, over_tcp: bool = True) -> AsyncIterator[tuple[Peer, socket.socket]]:
    """A peer, and the client's socket, which blocks."""
    peer = Peer()
    if over_tcp:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
    else:
        ours, client = socket.socketpair()
    ours.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: Side(peer), ours)
    with client:
        yield peer, client
    peer.abort()
    await turns(3)


async def read(client: socket.socket) -> bytes:
    def all_of_it() -> bytes:
        pieces = []
        while piece := client.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    return await asyncio.wait_for(asyncio.to_thread(all_of_it), 20)


async def test_what_is_written_arrives_before_the_end() -> None:
    async with connected() as (peer, client):
        peer.write(b"hello")
        assert peer.end(is_complete=True)
        assert await read(client) == b"hello"


async def test_nothing_can_be_written_to_who_is_gone() -> None:
    with pytest.raises(ConnectionResetError):
        Peer().write(b"too early")
    async with connected() as (peer, client):
        client.close()
        peer.abort()
        with pytest.raises(ConnectionResetError):
            peer.write(b"too late")
        assert not peer.end(is_complete=True)
        await turns(3)
        peer.reset()
        peer.close()
        await peer.drain(1)
        await peer.linger(lambda: 0)


@pytest.mark.parametrize("over_tcp", [True, False])
async def test_a_reset_is_an_error_to_the_client_where_sockets_know_one(over_tcp: bool) -> None:
    async with connected(over_tcp=over_tcp) as (peer, client):
        peer.write(b"half")
        assert client.recv(9) == b"half"
        peer.reset()
        if over_tcp:
            with pytest.raises(ConnectionResetError):
                await read(client)
        else:
            assert await read(client) == b""


async def test_draining_waits_for_a_client_that_reads_and_no_longer() -> None:
    async with connected(over_tcp=False) as (peer, client):
        peer.write(bytes(4 << 20))
        assert peer.is_paused
        reading = asyncio.create_task(read(client))
        await peer.drain(20)
        assert not peer.is_paused
        peer.end(is_complete=True)
        assert len(await reading) == 4 << 20


async def test_a_client_that_reads_nothing_is_not_waited_for() -> None:
    async with connected(over_tcp=False) as (peer, _):
        peer.write(bytes(4 << 20))
        with pytest.raises(TimeoutError):
            await peer.drain(0.05)


async def test_who_drains_learns_that_the_client_left() -> None:
    async with connected(over_tcp=False) as (peer, client):
        peer.write(bytes(4 << 20))
        draining = asyncio.create_task(peer.drain(20))
        await turns(1)
        client.close()
        peer.abort()
        with pytest.raises(ConnectionResetError):
            await draining


async def test_lingering_ends_with_the_client_or_when_nothing_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timers, "LINGER_SECONDS", 20)
    async with connected() as (peer, client):
        lingering = asyncio.create_task(peer.linger(lambda: 0))
        await turns(1)
        client.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(lingering, 10)
        monkeypatch.setattr(timers, "LINGER_SECONDS", 0.01)
        await asyncio.wait_for(peer.linger(lambda: 0), 10)
        monkeypatch.setattr(timers, "LINGER_TOTAL_SECONDS", 0.05)
        counts = iter(range(1_000_000))
        await asyncio.wait_for(peer.linger(lambda: next(counts)), 10)

"""A slow peer is waited for as long as it takes anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from sidecar.net.backpressure import taken, untaken


class Pipe(asyncio.WriteTransport):
    """Holds as many bytes as it is told to say, one number after the other."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes: Iterator[int] = iter(sizes)

    def get_write_buffer_size(self) -> int:
        return next(self.sizes)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_the_wait_goes_on_while_anything_is_taken_and_ends_when_nothing_is() -> None:
    pipe = Pipe(9, 8, 5, 4, 4, 3)
    with pytest.raises(TimeoutError):
        await taken(forever, pipe, 0.01)
    assert next(pipe.sizes) == 3


async def test_it_ends_when_enough_was_taken() -> None:
    enough = asyncio.Event()

    async def drain() -> None:
        await enough.wait()

    waiting = asyncio.create_task(taken(drain, Pipe(9, 8, 7), 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    enough.set()
    await waiting


async def test_what_drain_raises_is_raised() -> None:
    async def drain() -> None:
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        await taken(drain, Pipe(9), 60)


async def test_given_up_it_leaves_nothing_waiting() -> None:
    ended = asyncio.Event()

    async def drain() -> None:
        try:
            await forever()
        finally:
            ended.set()

    waiting = asyncio.create_task(taken(drain, Pipe(9), 60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    await ended.wait()


async def test_what_the_system_holds_counts_and_gets_less_as_the_peer_reads() -> None:
    """It takes megabytes at once: by our own buffer a slow peer would seem to stand still."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname())
        peer = server.accept()[0]
        with peer:
            transport.set_write_buffer_limits(1 << 30)
            transport.write(bytes(16 << 20))
            before = untaken(transport)
            own = transport.get_write_buffer_size()
            assert own < before
            left = peer.recv(1 << 20, socket.MSG_WAITALL)
            while untaken(transport) >= before:
                left += peer.recv(1 << 20, socket.MSG_WAITALL)
            assert transport.get_write_buffer_size() == own
        transport.abort()
        await asyncio.sleep(0)
        assert untaken(transport) == 0

"""Connections that arrive while a server stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from tests.support.waiting import PATIENCE

S = TypeVar("S")

TURNS = range(8)
"""After how many turns of the loop the server stops; asyncio needs three to hand one over."""


async def ends_what_arrives(
    server: AbstractAsyncContextManager[S], port: Callable[[S], int], turns: int
) -> bool:
    """Whether a connection made so many turns before a server's end comes to its own end."""
    with socket.socket() as client:
        client.setblocking(False)
        async with server as running:
            client.connect_ex(("127.0.0.1", port(running)))
            for _ in range(turns):
                await asyncio.sleep(0)
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except ConnectionError:
            return True

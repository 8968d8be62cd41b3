"""How a server stops to accept connections, and loses none that it has accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection


async def stop_accepting(servers: Collection[asyncio.Server]) -> None:
    """Close listening sockets; what was accepted from them still becomes a connection.

    asyncio makes a connection one turn of its loop after it has accepted.  If the server was
    closed in between, it drops the connection without closing it (asyncio.Server, Python 3.11).
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    for _ in range(2):
        await asyncio.sleep(0)
    for server in servers:
        server.close()

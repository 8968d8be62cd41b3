"""A hundred requests a second until SIGTERM, half of them on connections of their own.

It prints how many there were and how many were lost.  The other half keep their connection, and
send a request again where that was closed before an answer began, as clients do with a GET.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

HOST, PORT = "127.0.0.1", 8088
PERSISTENT = 10  # connections that are kept
INTERVAL = 0.01
PATIENCE = 30  # seconds: a client's own timeout

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(connection: Connection, more: str = "") -> str:
    """Send a GET, and return the status of an answer that came whole."""
    reader, writer = connection
    writer.write(f"GET /rest/api/2/myself HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b"chunked" in head.lower():
        while (size := int(await reader.readuntil(b"\r\n"), 16)) or not await reader.readexactly(2):
            await reader.readexactly(size + 2)
    else:
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    return head.split()[1].decode()


async def alone() -> str:
    connection = await asyncio.open_connection(HOST, PORT)
    try:
        return await ask(connection, "Connection: close\r\n")
    finally:
        connection[1].close()


async def kept(idle: list[Connection]) -> str:
    while idle:
        connection = idle.pop()
        try:
            status = await ask(connection)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            connection[1].close()
            if getattr(error, "partial", b""):
                raise
            continue
        idle.append(connection)
        return status
    connection = await asyncio.open_connection(HOST, PORT)
    status = await ask(connection)
    if len(idle) < PERSISTENT:
        idle.append(connection)
    else:
        connection[1].close()
    return status


async def main() -> None:
    results: Counter[str] = Counter()
    idle: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def one(number: int) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                results[await (kept(idle) if number % 2 else alone())] += 1
        except (OSError, EOFError, ValueError) as error:
            results[f"lost: {type(error).__name__}: {error}"] += 1

    number = 0
    while not stop.is_set() and number < 60_000:
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        number += 1
        await asyncio.sleep(INTERVAL)
    await asyncio.gather(*tasks)
    print(f"{number} requests, {number - results['200']} lost: {dict(results)}")


asyncio.run(main())

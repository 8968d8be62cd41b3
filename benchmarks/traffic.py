"""What the clients of a soak do: good ones, slow ones, some that give up, some that are refused."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.support.services import MYSELF
from tests.support.wire import Client, Wire

PACE = 0.005
"""Seconds between two requests: 200 a second."""
BIG = 3_000_000
"""Bytes that neither sockets nor the sidecar's own buffers hold."""
ECHO = "/_sandbox/echo"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


class Traffic:
    """What clients do, good and bad; every answer is counted by what was asked."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dice = random.Random(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self._kinds: list[tuple[int, Callable[[], Awaitable[str]]]] = [
            (8, self._get), (3, self._search), (2, self._form), (2, self._upload),
            (2, self._download), (2, self._several), (1, self._own_page),
            (1, self._slow), (1, self._slow_upload),
            (1, self._leave), (1, self._leave_upload), (1, self._stop_reading),
            (1, self._refused), (1, self._refused_upload), (1, self._too_large), (1, self._garbage),
        ]  # fmt: skip

    async def run(self, seconds: float) -> None:
        """Send requests at a steady pace for so long, and wait for the last answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        weights = [weight for weight, _ in self._kinds]
        while loop.time() < end:
            ((_, kind),) = self._dice.choices(self._kinds, weights)
            task = asyncio.create_task(self._one(kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(PACE)
        await asyncio.gather(*self._tasks)

    async def _one(self, kind: Callable[[], Awaitable[str]]) -> None:
        try:
            outcome = await kind()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            outcome = type(error).__name__
        self.counts[f"{kind.__name__.strip('_')} {outcome}"] += 1

    async def _get(self) -> str:
        return str((await self._client.get("/rest/api/2/issue/JJ-2?fields=summary")).status)

    async def _search(self) -> str:
        answer = await self._client.post_json("/rest/api/2/search", {"jql": "project = JJ"})
        return str(answer.status)

    async def _form(self) -> str:
        body = b"a=1&b=%C3%BC&c=" + b"x" * 5000
        return str((await self._client.request("POST", ECHO, FORM, body=body)).status)

    async def _upload(self) -> str:
        body = b"x" * 300_000
        return str((await self._client.request("PUT", ECHO, body=body)).status)

    async def _download(self) -> str:
        answer = await self._client.get("/_sandbox/drip?pieces=20&size=5000&interval=0.02")
        return f"{answer.status} {len(answer.body) if answer.status == 200 else ''}".strip()

    async def _several(self) -> str:
        statuses = set()
        async with await self._client.wire() as wire:
            for _ in range(5):
                await wire.send(self._client.message("GET", MYSELF))
                statuses.add((await wire.receive()).status)
        return "/".join(map(str, sorted(statuses)))

    async def _leave(self) -> str:
        async with await self._client.wire() as wire:
            await wire.send(self._client.message("GET", "/_sandbox/drip?pieces=9&interval=0.1"))
            await asyncio.sleep(self._dice.random() / 4)
            wire.leave()
        return "left"

    async def _leave_upload(self) -> str:
        async with await self._client.wire() as wire:
            head = self._client.message("PUT", ECHO, ("Content-Length", "1000000"))
            await wire.send(head + b"x" * 1000)
            wire.leave()
        return "left"

    async def _slow(self) -> str:
        """Read a large answer to its end, a little at a time."""
        async with await self._narrow() as wire:
            await wire.send(self._client.message("GET", f"/_sandbox/bytes?n={BIG // 10}"))
            status, _, _ = await wire.head()
            size = 0
            while size < BIG // 10 and (piece := await wire.reader.read(32_768)):
                size += len(piece)
                await asyncio.sleep(0.02)
        return f"{status} {size}"

    async def _slow_upload(self) -> str:
        """Send a body a little at a time."""
        async with await self._client.wire() as wire:
            await wire.send(self._client.message("PUT", ECHO, ("Content-Length", "20000")))
            for _ in range(10):
                await wire.send(b"x" * 2000)
                await asyncio.sleep(0.05)
            return str((await wire.receive()).status)

    async def _stop_reading(self) -> str:
        """Read the beginning of a large answer, wait, and be gone."""
        async with await self._narrow() as wire:
            await wire.send(self._client.message("GET", f"/_sandbox/bytes?n={BIG}"))
            await wire.head()
            await asyncio.sleep(2 * self._dice.random())
            wire.leave()
        return "left"

    async def _refused_upload(self) -> str:
        """Send a body where a rule allows none."""
        body = b"x" * 300_000
        return str((await self._client.request("PUT", "/denied/x", body=body)).status)

    async def _too_large(self) -> str:
        """Begin a form that is larger than may be: it is refused by its length."""
        async with await self._client.wire() as wire:
            message = self._client.message("POST", ECHO, FORM, ("Content-Length", str(BIG)))
            await wire.send(message, b"a=" + b"x" * 10_000)
            return str((await wire.receive()).status)

    async def _narrow(self) -> Wire:
        """A connection that takes little at a time."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (self._client.host, self._client.port))
        return Wire(*await asyncio.open_connection(sock=sock, limit=16_384))

    async def _refused(self) -> str:
        return str((await self._client.get("/x", ("Host", "evil.example"))).status)

    async def _garbage(self) -> str:
        return str((await self._client.raw(b"GET / HTTP/1.1\r\nHost: x\r\nb ad: 1\r\n\r\n")).status)

    async def _own_page(self) -> str:
        page = self._dice.choice(["health", "ready", "status", "metrics"])
        return str((await self._client.get(f"/_sidecar/{page}")).status)


GOOD = {
    "get 200", "search 200", "form 200", "upload 200", "download 200 100000", "several 200",
    "own_page 200", f"slow 200 {BIG // 10}", "slow_upload 200",
    "leave left", "leave_upload left", "stop_reading left",
    "refused 421", "refused_upload 403", "too_large 413", "garbage 400",
}  # fmt: skip

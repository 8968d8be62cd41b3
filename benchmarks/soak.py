"""The service for a long time: mixed traffic and faults, restarts under load, and what grows.

    python -m benchmarks.soak                   ten minutes of traffic and faults
    python -m benchmarks.soak --minutes 1
    python -m benchmarks.soak --restarts 20     instead: SIGTERM, SIGHUP and restarts under load

Everything runs on loopback and ends by itself.  The exit code is 1 if anything failed or grew.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sidecar.credentials import Secret
from sidecar.files.keys import generate_private_key
from sidecar.sandbox import Sandbox
from tests.support.processes import Process
from tests.support.services import MYSELF, Manager, listening_socket, under_load
from tests.support.wire import Client

WARM_UP_SECONDS = 20.0
REST_SECONDS = 3.0
MORE_MEMORY = 8 << 20
"""Bytes that memory may grow by: an allocator's slack, not a leak of 100,000 requests."""
FAULT_SECONDS, CLEAN_SECONDS = 4.0, 4.0
PACE = 0.005

FAULTS: dict[str, dict[str, object]] = {
    "clock an hour off": {"clock_offset": 3600.0},
    "nonces used": {"nonce_used": 20},
    "token expired": {"expired": True},
    "token revoked": {"revoked": True},
    "Authorization stripped": {"strip_authorization": True},
    "behind a proxy": {"perceived_scheme": "https", "perceived_port": 443},
    "answers cut off": {"cut_off": 500},
    "connections reset": {"reset": True},
    "Jira restarting": {"unavailable": True},
    "rate limited": {"rate_limited": 9223372036854775807},
    "a login page": {"sso_html": True},
    "slow": {"slow": 0.5},
}


class Size(NamedTuple):
    """What a process holds."""

    descriptors: int
    memory: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.descriptors} file descriptors, {self.memory / (1 << 20):.1f} MiB,"
            f" {self.threads} threads"
        )


class Stand:
    """A sandbox Jira, a socket that outlives the sidecar, and the sidecar."""

    def __init__(self, sandbox: Sandbox, manager: Manager, sock: socket.socket) -> None:
        self.sandbox = sandbox
        self.manager = manager
        self.socket = sock
        self.client = Client("127.0.0.1", sock.getsockname()[1])


@asynccontextmanager
async def stand() -> AsyncIterator[Stand]:
    """Everything but the sidecar, in a temporary folder."""
    key = generate_private_key()
    with TemporaryDirectory(prefix="soak-") as folder, listening_socket() as sock:
        async with Sandbox(public_key=key.public_key(), context_path="/jira") as sandbox:
            manager = Manager(Path(folder), sandbox.url, key)
            manager.configure('[log]\nlevel = "error"\n[timeouts]\nresponse = 5\n')
            store_grant(manager, sandbox)
            yield Stand(sandbox, manager, sock)


def store_grant(manager: Manager, sandbox: Sandbox) -> None:
    """Store a token that can be renewed."""
    grant = sandbox.grant()
    manager.store_token(grant.token, session_handle=Secret(grant.session_handle))


def size(pid: int) -> Size:
    """What a process holds now, by /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return Size(
        len(os.listdir(f"/proc/{pid}/fd")),
        int(fields["VmRSS"].split()[0]) << 10,
        int(fields["Threads"]),
    )


class Traffic:
    """What clients do, good and bad; every answer is counted by what was asked."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dice = random.Random(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self._kinds: list[tuple[int, Callable[[], Awaitable[str]]]] = [
            (8, self._get), (3, self._search), (2, self._form), (2, self._upload),
            (2, self._download), (2, self._several), (1, self._leave), (1, self._leave_upload),
            (1, self._refused), (1, self._garbage), (1, self._own_page),
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
        form = ("Content-Type", "application/x-www-form-urlencoded")
        body = b"a=1&b=%C3%BC&c=" + b"x" * 5000
        return str((await self._client.request("POST", "/_sandbox/echo", form, body=body)).status)

    async def _upload(self) -> str:
        body = b"x" * 300_000
        return str((await self._client.request("PUT", "/_sandbox/echo", body=body)).status)

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
            head = self._client.message("PUT", "/_sandbox/echo", ("Content-Length", "1000000"))
            await wire.send(head + b"x" * 1000)
            wire.leave()
        return "left"

    async def _refused(self) -> str:
        return str((await self._client.get("/x", ("Host", "evil.example"))).status)

    async def _garbage(self) -> str:
        return str((await self._client.raw(b"GET / HTTP/1.1\r\nHost: x\r\nb ad: 1\r\n\r\n")).status)

    async def _own_page(self) -> str:
        page = self._dice.choice(["health", "ready", "status", "metrics"])
        return str((await self._client.get(f"/_sidecar/{page}")).status)


GOOD = {
    "get 200", "search 200", "form 200", "upload 200", "download 200 100000", "several 200",
    "leave left", "leave_upload left", "refused 421", "garbage 400", "own_page 200",
}  # fmt: skip


async def soak(minutes: float) -> bool:
    """Traffic with a fault every few seconds; whether all that should went well, and was flat."""
    async with stand() as place, place.manager.running(place.socket) as process:
        traffic = Traffic(place.client)
        await traffic.run(WARM_UP_SECONDS)
        bad = _say_bad("warming up", traffic)
        before = await _at_rest(process)
        print(f"at the start: {before}", flush=True)
        end = time.monotonic() + minutes * 60
        for name, switches in itertools.cycle(FAULTS.items()):
            if time.monotonic() > end:
                break
            await _with_fault(place, traffic, switches)
            traffic.counts.clear()
            process.signal(signal.SIGHUP)
            await traffic.run(CLEAN_SECONDS)
            bad += _say_bad(f"after {name!r}", traffic)
        after = await _at_rest(process)
        print(f"at the end:   {after}", flush=True)
        await _say_counters(place.client)
        process.signal(signal.SIGTERM)
        code = await process.ends()
        trouble = [line for line in process.said if "Traceback" in line or "bug" in line]
        print(f"exit code {code}; {len(trouble)} tracebacks and bugs logged", flush=True)
    flat = (
        after.descriptors <= before.descriptors
        and after.memory <= before.memory + MORE_MEMORY
        and after.threads <= before.threads + 4  # name resolution starts some
    )
    return flat and not bad and not trouble and code == 0


async def _with_fault(place: Stand, traffic: Traffic, switches: dict[str, object]) -> None:
    """Throw switches for a while.  A revoked or expired token is followed by another.

    The first request afterwards is one that can be sent again: a clock that jumps back, or a
    proxy that goes, costs a streamed upload else.
    """
    place.sandbox.faults.throw(switches)
    await traffic.run(FAULT_SECONDS)
    place.sandbox.faults.clear()
    store_grant(place.manager, place.sandbox)
    await place.client.get(MYSELF)


async def _at_rest(process: Process) -> Size:
    """What the sidecar holds when nothing is going on; a reload closes idle connections."""
    process.signal(signal.SIGHUP)
    await asyncio.sleep(REST_SECONDS)
    return size(process.pid)


def _say_bad(when: str, traffic: Traffic) -> int:
    """Tell what went otherwise than it should; how often."""
    bad = {what: count for what, count in traffic.counts.items() if what not in GOOD}
    total = traffic.counts.total()
    print(f"{total:6} requests {when}: {bad or 'all as they should be'}", flush=True)
    return sum(bad.values())


async def _say_counters(client: Client) -> None:
    counters = (await client.get("/_sidecar/status")).json()["counters"]
    print(json.dumps(counters), flush=True)


async def restarts(times: int) -> bool:
    """SIGHUP, a restart, and SIGTERM without socket activation, each so often under load."""
    async with stand() as place:
        fine = await _reloads(place, times)
        fine &= await _activated(place, times)
        fine &= await _plain(place, times)
    return fine


async def _reloads(place: Stand, times: int) -> bool:
    async with place.manager.running(place.socket) as process:
        async with under_load(place.client) as load:
            for _ in range(times):
                await asyncio.sleep(0.4)
                process.signal(signal.SIGHUP)
            await asyncio.sleep(0.4)
        process.signal(signal.SIGTERM)
        await process.ends()
    print(f"{times} reloads: {load.done} requests, {len(load.failed)} failed", load.failed[:3])
    return not load.failed and not load.unheard


async def _activated(place: Stand, times: int) -> bool:
    async with under_load(place.client) as load:
        for _ in range(times):
            async with place.manager.running(place.socket) as process:
                await asyncio.sleep(1.0)
                process.signal(signal.SIGTERM)
                await process.ends()
        last = await place.manager.start(place.socket)
        await last.says("listening on")
    last.signal(signal.SIGTERM)
    await last.ends()
    print(
        f"{times} restarts with socket activation: {load.done} requests,"
        f" {len(load.failed)} failed, {load.unheard} not taken",
        load.failed[:3],
    )
    return not load.failed and not load.unheard


async def _plain(place: Stand, times: int) -> bool:
    """Without a socket that stays, new connections are refused meanwhile; no answer is cut."""
    probe = listening_socket()
    port = probe.getsockname()[1]
    probe.close()
    place.manager.configure(f'[log]\nlevel = "error"\n[listen]\naddresses = ["127.0.0.1:{port}"]\n')
    async with under_load(Client("127.0.0.1", port)) as load:
        for _ in range(times):
            async with place.manager.running() as process:
                await asyncio.sleep(1.0)
                process.signal(signal.SIGTERM)
                await process.ends()
    print(
        f"{times} stops and starts without: {load.done} requests, {len(load.failed)} failed,"
        f" {load.unheard} found nobody",
        load.failed[:3],
    )
    return not load.failed


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--restarts", type=int, default=0, metavar="TIMES")
    options = parser.parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the sandbox's, cut off
    work = restarts(options.restarts) if options.restarts else soak(min(options.minutes, 60.0))
    with suppress(KeyboardInterrupt):
        sys.exit(0 if asyncio.run(work) else 1)


if __name__ == "__main__":
    main()

"""The service for a long time: mixed traffic and faults, restarts under load, and what grows.

    python -m benchmarks.soak                   ten minutes of traffic, renewals and faults
    python -m benchmarks.soak --minutes 1 --rest 20
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
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.traffic import GOOD, Traffic
from sidecar.credentials import Secret
from sidecar.files.keys import generate_private_key
from sidecar.sandbox import Sandbox
from tests.support.processes import Process
from tests.support.services import MYSELF, Manager, listening_socket, under_load
from tests.support.waiting import until
from tests.support.wire import Client

WARM_UP_SECONDS = 20.0
REST_SECONDS = 80.0
"""Until nothing is left of what went before: idle connections, and the process that signs."""
MORE_MEMORY = 30 << 20
"""Bytes that memory may grow by: an allocator's slack, not a leak of 100,000 requests."""
FAULT_SECONDS, CLEAN_SECONDS = 4.0, 4.0
EXPIRES = "tokens that run out"
"""One after the other, each renewed with its session; the other faults leave a new one behind."""

FAULTS: dict[str, dict[str, object]] = {
    EXPIRES: {},
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

# The service as it is, but that it tells on a signal how many tasks it has.
_TELLING = """
import asyncio, os, signal
signal.signal(signal.SIGUSR1, lambda *_: os.write(2, b"tasks: %d\\n" % len(asyncio.all_tasks())))
from sidecar.cli import main
main()
"""


class Size(NamedTuple):
    """What a process holds."""

    descriptors: int
    tasks: int
    memory: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.descriptors} file descriptors, {self.tasks} tasks,"
            f" {self.memory / (1 << 20):.1f} MiB, {self.threads} threads"
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
            manager.program = ["-c", _TELLING]
            manager.configure(
                '[log]\nlevel = "error"\n[timeouts]\nresponse = 5\n'
                '[access]\ndeny = ["PUT /denied/**"]\n'
            )
            store_grant(manager, sandbox)
            yield Stand(sandbox, manager, sock)


def store_grant(manager: Manager, sandbox: Sandbox) -> None:
    """Store a token that can be renewed."""
    grant = sandbox.grant()
    manager.store_token(grant.token, session_handle=Secret(grant.session_handle))


def size(pid: int, tasks: int) -> Size:
    """What a process holds now, by /proc; its tasks are told."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return Size(
        len(os.listdir(f"/proc/{pid}/fd")),
        tasks,
        int(fields["VmRSS"].split()[0]) << 10,
        int(fields["Threads"]),
    )


async def soak(minutes: float, rest: float) -> bool:
    """Traffic with a fault every few seconds; whether all that should went well, and was flat."""
    async with stand() as place, place.manager.running(place.socket) as process:
        traffic = Traffic(place.client)
        await traffic.run(WARM_UP_SECONDS)
        bad = _say_bad("warming up", traffic)
        before = await _at_rest(process, rest)
        print(f"at the start: {before}", flush=True)
        end = time.monotonic() + minutes * 60
        for name, switches in itertools.cycle(FAULTS.items()):
            if time.monotonic() > end:
                break
            if name == EXPIRES:
                await _with_renewals(place, traffic)
            else:
                await _with_fault(place, traffic, switches)
            traffic.counts.clear()
            process.signal(signal.SIGHUP)
            await traffic.run(CLEAN_SECONDS)
            bad += _say_bad(f"after {name!r}", traffic)
        after = await _at_rest(process, rest)
        print(f"at the end:   {after}", flush=True)
        renewed = (await _counters(place.client))["heals"].get("token_expired", 0)
        process.signal(signal.SIGTERM)
        code = await process.ends()
        trouble = [line for line in process.said if "Traceback" in line or "bug" in line]
        print(f"exit code {code}; {len(trouble)} tracebacks and bugs logged", flush=True)
    flat = (
        (after.descriptors, after.tasks) == (before.descriptors, before.tasks)
        and after.memory <= before.memory + MORE_MEMORY
        and after.threads <= before.threads + 4  # name resolution starts some
    )
    return flat and renewed > 0 and not bad and not trouble and code == 0


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


async def _with_renewals(place: Stand, traffic: Traffic) -> None:
    """Let each token run out as soon as it is used, and then go on with the last."""

    async def run_out() -> None:
        while True:
            place.sandbox.expire()
            await asyncio.sleep(1.0)

    running_out = asyncio.create_task(run_out())
    await traffic.run(FAULT_SECONDS)
    running_out.cancel()
    await place.client.get(MYSELF)


async def _at_rest(process: Process, seconds: float) -> Size:
    """What the sidecar holds when nothing has been going on for so long."""
    process.signal(signal.SIGHUP)  # closes connections to Jira
    await asyncio.sleep(seconds)
    told = [line for line in process.said if line.startswith("tasks: ")]
    process.signal(signal.SIGUSR1)
    await until(lambda: sum(line.startswith("tasks: ") for line in process.said) > len(told))
    [*_, last] = [line for line in process.said if line.startswith("tasks: ")]
    return size(process.pid, int(last.rpartition(" ")[2]))


def _say_bad(when: str, traffic: Traffic) -> int:
    """Tell what went otherwise than it should; how often."""
    bad = {what: count for what, count in traffic.counts.items() if what not in GOOD}
    total = traffic.counts.total()
    print(f"{total:6} requests {when}: {bad or 'all as they should be'}", flush=True)
    return sum(bad.values())


async def _counters(client: Client) -> dict[str, Any]:
    """What the sidecar counted, which is printed too."""
    counters: dict[str, Any] = (await client.get("/_sidecar/status")).json()["counters"]
    print(json.dumps(counters), flush=True)
    return counters


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


async def _short_life(manager: Manager, *sockets: socket.socket) -> None:
    async with manager.running(*sockets) as process:
        await asyncio.sleep(1.0)
        process.signal(signal.SIGTERM)
        await process.ends()


async def _activated(place: Stand, times: int) -> bool:
    async with under_load(place.client) as load:
        for _ in range(times):
            await _short_life(place.manager, place.socket)
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
            await _short_life(place.manager)
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
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds")
    parser.add_argument("--restarts", type=int, default=0, metavar="TIMES")
    options = parser.parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the sandbox's, cut off
    minutes = min(options.minutes, 60.0)
    work = restarts(options.restarts) if options.restarts else soak(minutes, options.rest)
    with suppress(KeyboardInterrupt):
        sys.exit(0 if asyncio.run(work) else 1)


if __name__ == "__main__":
    main()

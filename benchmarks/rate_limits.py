"""How much of a rate limit the sidecar makes use of, and how fairly, for clients that know no 429.

    python -m benchmarks.rate_limits [--seconds 30] [--clients 20]

A sandbox Jira, in this process, gives each user so many tokens a second on each of its nodes, which
take turns; a sidecar in front of it is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox

CASES = {  # size, tokens, seconds between two fillings, nodes
    "10 each second": (10, 10, 1, 1),
    "10 each second, on two nodes": (10, 10, 1, 2),
    "10 each second, up to 50": (50, 10, 1, 1),
    "100 each second": (100, 100, 1, 1),
}
_FIRST = 3.0
"""Seconds that are left out: the full buckets of the first moment are in them."""
_GET = b"GET /rest/api/2/myself HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """Asks again as soon as it is answered, on one connection."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.answered: list[float] = []  # seconds after the beginning
        self.statuses: Counter[int] = Counter()

    async def run(self, port: int, seconds: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        start = time.monotonic()
        end = start + seconds
        while (begun := time.monotonic()) < end:
            writer.write(_GET)
            head = await reader.readuntil(b"\r\n\r\n")
            while (size := int(await reader.readline(), 16)) or await reader.readline() != b"\r\n":
                await reader.readexactly(size + 2)
            self.statuses[int(head[9:12])] += 1
            self.waits.append(time.monotonic() - begun)
            self.answered.append(time.monotonic() - start)
        writer.close()


@asynccontextmanager
async def running(sandbox: Sandbox, folder: Path, key: bytes) -> AsyncIterator[int]:
    """A sidecar in front of the sandbox; yields its port."""
    write_private(folder / "private_key.pem", key)
    token = TokenFile(folder / "token.json", BaseURL.parse(sandbox.url), "OauthKey")
    token.save(TokenCredentials(Secret(sandbox.grant().token), Secret(""), user="alana"))
    (folder / "config.toml").write_text(
        f'[jira]\nbase_url = "{sandbox.url}"\nconsumer_key = "OauthKey"\n'
        '[token]\npath = "token.json"\n[listen]\naddresses = ["127.0.0.1:0"]\n'
    )
    words = ("-m", "sidecar", "run", "--config", str(folder / "config.toml"))
    environ = {**os.environ, "HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stderr=asyncio.subprocess.PIPE, env=environ
    )
    assert process.stderr is not None
    try:
        line = b""
        while not line.startswith(b"listening on"):
            line = await process.stderr.readline()
        drain = asyncio.create_task(process.stderr.read())
        yield int(line.rpartition(b":")[2])
    finally:
        process.terminate()
        await process.wait()
        await drain


async def measure(name: str, seconds: float, number: int) -> None:
    """Measure one case and say what came out."""
    size, fill, interval, nodes = CASES[name]
    key = keys.generate_private_key(2048)
    async with Sandbox(public_key=key.public_key()) as sandbox:
        sandbox.faults.throw(
            {"rate_capacity": size, "rate_fill": fill, "rate_interval": interval, "nodes": nodes}
        )
        clients = [Client() for _ in range(number)]
        with tempfile.TemporaryDirectory() as folder:
            async with running(sandbox, Path(folder), keys.private_key_pem(key)) as port:
                await asyncio.gather(*(client.run(port, seconds) for client in clients))
    answers: Counter[int] = sum((client.statuses for client in clients), Counter())
    allowed = nodes * fill / interval
    at = [one for client in clients for one in client.answered if one < seconds]
    steady = sum(one >= _FIRST for one in at) / (seconds - _FIRST)
    waits = [mean(client.waits) for client in clients]
    refused = sum(record.method == "GET" for record in sandbox.log) - answers.total()
    print(
        f"{name}: {steady:.2f} a second of {allowed:g} ({steady / allowed:.1%}); from the first"
        f" moment on {len(at) / seconds / allowed:.1%}, less the full buckets"
        f" {(len(at) - nodes * size) / seconds / allowed:.1%}; answers {dict(answers)};"
        f" {refused} absorbed; mean wait of a caller {min(waits):.2f} to {max(waits):.2f} s"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=20)
    arguments = parser.parse_args()
    for name in CASES:
        await measure(name, arguments.seconds, arguments.clients)


if __name__ == "__main__":
    asyncio.run(main())

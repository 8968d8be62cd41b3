"""The program as a service manager runs it: sockets passed, notifications read, signals sent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from tests.conftest import CONSUMER_KEY
from tests.support.processes import Process
from tests.support.waiting import PATIENCE
from tests.support.wire import Client

MYSELF = "/rest/api/2/myself"

# What systemd does between fork and exec: descriptors from 3 on, and whose they are.
_PASS = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in fds]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = str(len(fds)), str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Manager:
    """Starts the sidecar as systemd does; the socket it notifies is ours."""

    def __init__(self, folder: Path, base_url: str, key: RSAPrivateKey) -> None:
        self.folder = folder
        self.base_url = base_url
        self.program = ["-m", "sidecar"]
        """What Python is told to run."""
        write_private(folder / "private_key.pem", keys.private_key_pem(key))
        self.config = folder / "config.toml"
        self.configure()
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("PATH", "COV"))}
        self.environ = {**kept, "HOME": str(folder), "STATE_DIRECTORY": str(folder / "state")}
        self.messages: list[dict[str, str]] = []
        self._notified = asyncio.Condition()

    def configure(self, more: str = '[listen]\naddresses = ["127.0.0.1:0"]\n') -> None:
        """Write the configuration: where Jira is, and more."""
        base = f"base_url = {json.dumps(self.base_url)}\nconsumer_key = {json.dumps(CONSUMER_KEY)}"
        self.config.write_text(f"[jira]\n{base}\n{more}")

    def store_token(self, token: str, **facts: Any) -> None:
        """Store an access token as `sidecar auth` would."""
        file = TokenFile(
            self.folder / "state" / "token.json", BaseURL.parse(self.base_url), CONSUMER_KEY
        )
        file.save(TokenCredentials(Secret(token), Secret(""), user="alana", **facts))

    @asynccontextmanager
    async def notified(self, *, abstract: bool = False) -> AsyncIterator[None]:
        """Listen for notifications while the context lasts."""
        path = str(self.folder / "notify")
        address = f"\0sidecar-test-{os.getpid()}" if abstract else path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(address)
            sock.setblocking(False)
            self.environ["NOTIFY_SOCKET"] = address.replace("\0", "@")
            reader = asyncio.create_task(self._read(sock))
            try:
                yield
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def message(self, name: str, after: int = 0) -> dict[str, str]:
        """Wait for a message that has `name` in it, of those from number `after` on."""
        async with asyncio.timeout(PATIENCE), self._notified:
            while True:
                for message in self.messages[after:]:
                    if name in message:
                        return message
                await self._notified.wait()

    async def _read(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await loop.sock_recv(sock, 65536)
            lines = [line.split("=", 1) for line in data.decode().splitlines()]
            async with self._notified:
                self.messages.append(dict(lines))
                self._notified.notify_all()

    async def start(self, *sockets: socket.socket, **environ: str) -> Process:
        """Start `sidecar run`, with sockets passed to it."""
        fds = [sock.fileno() for sock in sockets]
        command = [*self.program, "run", "--config", str(self.config)]
        if sockets:
            command = ["-c", _PASS, ",".join(map(str, fds)), *command]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            cwd=self.folder,
            env={**self.environ, **environ},
            pass_fds=fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return Process(process)

    @asynccontextmanager
    async def running(self, *sockets: socket.socket, **environ: str) -> AsyncIterator[Process]:
        """Run the sidecar while the context lasts; then it has ended, or is made to."""
        process = await self.start(*sockets, **environ)
        try:
            await process.says("listening on")
            yield process
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.signal(signal.SIGCONT)
            await process.stop()


def listening_socket() -> socket.socket:
    """A listening socket on a free port of 127.0.0.1."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    return sock


def port_of(line: str) -> int:
    """The port in `listening on http://127.0.0.1:8088`."""
    return int(line.partition("listening on ")[2].split()[0].rpartition(":")[2])


class Load:
    """200 requests a second, a connection for each, with slow downloads among them."""

    PACE = 0.005
    SLOW_EVERY = 20
    SLOW = "/_sandbox/drip?pieces=20&size=20000&interval=0.01&type=application/octet-stream"
    SLOW_SIZE = 400_000

    def __init__(self, client: Client) -> None:
        self._client = client
        self.failed: list[str] = []
        self.unheard = 0
        """Requests that nobody took: no connection, or its end before any byte of an answer."""
        self.done = 0
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send requests until `stop`, and wait for the last answer."""
        number = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not self._over.is_set():
            task = asyncio.create_task(self._one(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            number += 1
            await asyncio.sleep(max(0.0, started + number * self.PACE - loop.time()))
        await asyncio.gather(*self._tasks)

    def stop(self) -> None:
        """Send no more."""
        self._over.set()

    async def _one(self, number: int) -> None:
        slow = number % self.SLOW_EVERY == 0
        try:
            wire = await self._client.wire()
        except OSError:
            self.unheard += 1
            return
        async with wire:
            try:
                await wire.send(self._client.message("GET", self.SLOW if slow else MYSELF))
                await wire.reader.readexactly(len(b"HTTP/1.1"))
            except (OSError, asyncio.IncompleteReadError):
                self.unheard += 1
                return
            try:
                answer = await wire.receive()
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                self.failed.append(f"{number}: {error!r}")
                return
        if answer.status != 200 or (slow and len(answer.body) != self.SLOW_SIZE):
            self.failed.append(f"{number}: {answer.status} {len(answer.body)}")
        self.done += 1


@asynccontextmanager
async def under_load(client: Client) -> AsyncIterator[Load]:
    """Requests while the context lasts; at its end all are answered."""
    load = Load(client)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.stop()
        await running

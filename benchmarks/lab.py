"""The place where it is measured: an upstream, keys, a temporary folder, everything that runs."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from benchmarks import answers
from benchmarks.answers import BULK
from benchmarks.processes import Process, free_port
from benchmarks.targets import CONSUMER_KEY, HERE, Setting, Target, filled
from sidecar.files.keys import generate_private_key, private_key_pem
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox

AWKWARD = "/rest/api/2/issue/JJ-2?fields=summary,status&expand=a%20b&x=&q=%C3%A9~%27%2B%7C"
TRIES = 3
"""Requests of the check; more than one, so that a nonce used twice is noticed."""
_IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Running:
    """A target that takes requests."""

    target: Target
    url: str
    process: Process

    def settle(self) -> None:
        """Return when it is idle again: some go on with requests whose client has left."""
        deadline = time.perf_counter() + _IDLE_SECONDS
        before = self.process.cpu_seconds()
        while time.perf_counter() < deadline:
            time.sleep(0.05)
            now = self.process.cpu_seconds()
            if now == before:
                return
            before = now


class Lab:
    """Starts what is measured, and ends all of it; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._keys: dict[int, tuple[RSAPrivateKey, Path]] = {}
        self._numbers = iter(range(1_000_000))

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="bench-")))
        try:
            self._start_upstream()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def key(self, bits: int = 2048) -> tuple[RSAPrivateKey, Path]:
        """A private key, and its PKCS#8 PEM file; the same one each time."""
        if bits not in self._keys:
            key = generate_private_key(bits)
            path = self.folder / f"key-{bits}.pem"
            write_private(path, private_key_pem(key))
            self._keys[bits] = key, path
        return self._keys[bits]

    def start(self, target: Target, bits: int = 2048) -> Running:
        """Start a target in front of the upstream; it runs until the lab is left or `stop`."""
        if target.start is None:
            return Running(target, self._plain_url, self.upstream)
        upstream = self._signed_url if target.signs else self._plain_url
        running = self._launch(target, upstream, self.key(bits)[1], "benchmark-token")
        self._stack.callback(running.process.stop)
        return running

    @contextmanager
    def running(self, target: Target, bits: int = 2048) -> Iterator[Running]:
        """Start a target, and stop it again at the end."""
        running = self.start(target, bits)
        try:
            yield running
        finally:
            if running.process is not self.upstream:
                running.process.stop()

    def check(self, target: Target, bits: int = 2048) -> str:
        """Let the sandbox Jira look at a target's signatures; what is wrong, or nothing."""
        if missing := target.missing():
            return f"not built: {missing} is missing"
        if not target.signs or target.start is None:
            return ""
        key, path = self.key(bits)
        with _sandbox(key) as sandbox:
            try:
                running = self._launch(target, sandbox.url, path, sandbox.grant("alana").token)
            except RuntimeError as error:
                return f"did not start: {error}"
            try:
                for _ in range(TRIES):
                    if wrong := _asked(running.url + AWKWARD):
                        return f"its signature was not accepted: {wrong}"
            finally:
                running.process.stop()
        return ""

    def _launch(self, target: Target, upstream: str, key: Path, token: str) -> Running:
        assert target.start is not None
        port = free_port()
        folder = self.folder / f"{next(self._numbers)}-{target.name}"
        folder.mkdir()
        start = target.start(Setting(folder, port, upstream, key, token))
        process = Process(target.name, start.command, start.environ, folder / "log")
        try:
            process.wait_for(port)
        except BaseException:
            process.stop()
            raise
        return Running(target, f"http://127.0.0.1:{port}", process)

    def _start_upstream(self) -> None:
        plain, signed, origin = free_port(), free_port(), free_port()
        self._plain_url = f"http://127.0.0.1:{plain}"
        self._signed_url = f"http://127.0.0.1:{signed}"
        folder = self.folder / "upstream"
        folder.mkdir()
        folder.chmod(0o711)
        self.folder.chmod(0o711)  # nginx's worker runs as another user
        answers.write(folder / "answers", self._signed_url)
        self.bulk_file = folder / "answers" / BULK[1:]
        self._stack.callback(self._spawn_origin(folder, origin).stop)
        config = folder / "nginx.conf"
        config.write_text(
            filled(
                HERE / "upstream.conf",
                FOLDER=str(folder),
                PORT=str(plain),
                SIGNED_PORT=str(signed),
                ORIGIN_PORT=str(origin),
            )
        )
        command: list[str | Path] = ["/usr/sbin/nginx", "-p", folder, "-c", config]
        self.upstream = Process("upstream", command, {}, folder / "log")
        self._stack.callback(self.upstream.stop)
        self.upstream.wait_for(plain)

    def _spawn_origin(self, folder: Path, port: int) -> Process:
        process = Process(
            "origin",
            [sys.executable, HERE / "origin.py"],
            {"LISTEN": f"127.0.0.1:{port}"},
            folder / "origin-log",
        )
        try:
            process.wait_for(port)
        except BaseException:
            process.stop()
            raise
        return process


@contextmanager
def _sandbox(key: RSAPrivateKey) -> Iterator[Sandbox]:
    """A sandbox Jira in a thread of its own."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()
    sandbox = Sandbox(public_key=key.public_key(), consumer_key=CONSUMER_KEY)

    async def serve() -> None:
        async with sandbox:
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        if not ready.wait(10):
            raise RuntimeError("the sandbox Jira does not start")
        yield sandbox
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


def _asked(url: str) -> str:
    """What is wrong with the answer to a request for JJ-2; nothing, if it is the issue."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            issue = json.load(response)
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers.get('WWW-Authenticate', '')[:300]}"
    except (OSError, ValueError) as error:
        return str(error)
    return "" if issue.get("id") == "10300" else "the answer is not the issue"

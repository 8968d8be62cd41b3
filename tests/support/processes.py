"""The program as its user runs it: real processes, real signals, real exit codes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error line, without its prefix."""
        lines = [line for line in self.err.splitlines() if line.startswith("sidecar: error: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("sidecar: error: ")

    @property
    def hint(self) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith("sidecar: hint: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("sidecar: hint: ")


class Shell:
    """Runs commands in a folder of their own, with a home of their own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in os.environ if name.startswith(("PATH", "COV"))}
        self.environ = {**kept, "HOME": str(folder), "LC_ALL": "C.UTF-8", **environ}

    async def run(
        self, *words: str, module: str = "sidecar", stdin: bytes = b"", terminal: bool = False
    ) -> Done:
        """Run a command to its end; `terminal`: both outputs are one, as they are on a terminal."""
        process = await self._start(module, *words, terminal=terminal)
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate(stdin)
        except BaseException:
            process.kill()
            raise
        assert process.returncode is not None
        err = err or b""
        assert b"Traceback" not in err, err.decode()
        return Done(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(
        self, *words: str, until: str, module: str = "sidecar", **environ: str
    ) -> AsyncIterator[Process]:
        """Run a command in the background, from when it says `until` on, then stop it."""
        process = Process(await self._start(module, *words, environ=environ))
        try:
            await process.says(until)
            yield process
        finally:
            await process.stop()

    async def _start(
        self,
        module: str,
        *words: str,
        terminal: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *words,
            cwd=self.folder,
            env={**self.environ, **(environ or {})},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if terminal else asyncio.subprocess.PIPE,
        )


class Process:
    """A command that runs in the background."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.said: list[str] = []
        self._heard = asyncio.Condition()
        self._readers = [
            asyncio.create_task(self._read(stream)) for stream in (process.stdout, process.stderr)
        ]

    async def says(self, text: str) -> str:
        """Wait for a line with `text` in it; AssertionError where the command ends without."""
        async with asyncio.timeout(PATIENCE), self._heard:
            while True:
                for line in self.said:
                    if text in line:
                        return line
                ended = all(reader.done() for reader in self._readers)
                assert not ended, f"ended without {text!r}: {self.said}"
                await self._heard.wait()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def ends(self) -> int:
        """The exit code, once it has one."""
        async with asyncio.timeout(PATIENCE):
            code = await self._process.wait()
            await asyncio.gather(*self._readers)
            return code

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await self.ends()
        except TimeoutError:
            self._process.kill()
            raise

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        try:
            while line := await stream.readline():
                async with self._heard:
                    self.said.append(line.decode().rstrip("\n"))
                    self._heard.notify_all()
        finally:
            async with self._heard:
                self._heard.notify_all()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)

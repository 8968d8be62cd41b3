"""What SIGHUP does where there is a terminal, where it is gone, and where there never was one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.server import signals
from sidecar.server.signals import Signals
from tests.support.processes import Process, Shell, shell
from tests.support.services import port_of
from tests.support.terminals import Terminal, terminal
from tests.support.waiting import PATIENCE
from tests.support.wire import Client

__all__ = ["shell", "terminal"]

SIDECAR = [sys.executable, "-m", "sidecar", "run"]
LEADER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Makes standard input the terminal of a new session, as a terminal's program does."""


@asynccontextmanager
async def session(shell: Shell, terminal: Terminal, *command: str) -> AsyncIterator[Process]:
    """Run a command as the first of a session on the terminal, until the sidecar listens."""
    process = Process(
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", LEADER, *command,
            cwd=shell.folder, env=shell.environ, stdin=terminal.slave,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
    )  # fmt: skip
    try:
        await process.says("listening on")
        yield process
    finally:
        await process.stop()


@pytest.fixture
def config(write_config: Callable[..., Path]) -> Path:
    return write_config("http://127.0.0.1:1", '[listen]\naddresses = ["127.0.0.1:0"]\n')


@pytest.mark.usefixtures("config")
class TestTerminal:
    async def test_its_end_ends_the_run_in_order(self, shell: Shell, terminal: Terminal) -> None:
        async with session(shell, terminal, *SIDECAR) as process:
            terminal.hang_up()
            await process.says("the terminal that this was started in is gone")
            await process.says("stopping: finishing what is in flight")
            assert await process.ends() == 0

    async def test_its_end_ends_what_a_shell_runs(self, shell: Shell, terminal: Terminal) -> None:
        script = f"{' '.join(SIDECAR)}; exit $?"
        async with session(shell, terminal, "sh", "-c", script) as process:
            terminal.hang_up()
            await process.says("stopping: finishing what is in flight")
            await process.ends()

    async def test_its_end_ends_what_a_shell_runs_in_the_background(
        self, shell: Shell, terminal: Terminal
    ) -> None:
        # bash hands on the SIGHUP that it gets itself to its jobs.
        script = f"set -m; {' '.join(SIDECAR)} & trap 'kill -HUP $!; exit' HUP; wait"
        async with session(shell, terminal, "bash", "-c", script) as process:
            terminal.hang_up()
            await process.says("stopping: finishing what is in flight")
            await process.ends()

    async def test_a_shell_that_tells_of_its_own_end_beforehand_ends_it_too(
        self, shell: Shell, terminal: Terminal
    ) -> None:
        # zsh, and bash with huponexit: the terminal is there until the shell has ended.
        script = f"{' '.join(SIDECAR)} & read -r _ <fifo; kill -HUP $!"
        fifo = shell.folder / "fifo"
        os.mkfifo(fifo)
        async with session(shell, terminal, "sh", "-c", script) as process:
            fifo.write_text("\n")
            await process.says("stopping: finishing what is in flight")
            await process.ends()

    async def test_sighup_reloads_while_it_is_there(self, shell: Shell, terminal: Terminal) -> None:
        async with session(shell, terminal, *SIDECAR) as process:
            process.signal(signal.SIGHUP)
            await process.says("reloaded")

    async def test_nohup_outlives_it(self, shell: Shell, terminal: Terminal) -> None:
        async with session(shell, terminal, "nohup", *SIDECAR) as process:
            terminal.hang_up()
            await process.says("reloaded")
            client = Client("127.0.0.1", port_of(await process.says("listening on")))
            assert (await client.get("/_sidecar/health")).status == 200

    async def test_without_one_sighup_reloads(self, shell: Shell) -> None:
        process = Process(
            await asyncio.create_subprocess_exec(
                *SIDECAR, cwd=shell.folder, env=shell.environ, start_new_session=True,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )
        )  # fmt: skip
        try:
            await process.says("listening on")
            process.signal(signal.SIGHUP)
            await process.says("reloaded")
        finally:
            await process.stop()


async def test_a_terminal_that_goes_right_after_the_signal_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = [True, True, False]  # at the start, at the signal, a moment later
    monkeypatch.setattr(signals, "has_terminal", lambda: looks.pop(0))
    monkeypatch.setattr(signals, "SHELL_SECONDS", 0.001)
    told = Signals()
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(PATIENCE):
        await told.stop.wait()
    assert told.reload.is_set()
    assert not looks


async def test_one_hangup_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "end_after", lambda _: None)
    monkeypatch.setattr(signals, "has_terminal", lambda: True)
    told = Signals()
    monkeypatch.setattr(signals, "has_terminal", lambda: False)
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(PATIENCE):
        await told.stop.wait()
    os.kill(os.getpid(), signal.SIGHUP)  # the shell's, behind the kernel's
    heard = asyncio.Event()
    asyncio.get_running_loop().call_soon(heard.set)
    await heard.wait()
    assert not told.at_once.is_set()
    assert not told.reload.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        await told.at_once.wait()

"""Pseudo-terminals, as windows of a desktop or sessions of SSH have them."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.support.processes import Shell
from tests.support.waiting import PATIENCE


class Terminal:
    """A pseudo-terminal; hang_up() is what closing its window does."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        attributes = termios.tcgetattr(self.slave)
        attributes[1] &= ~termios.ONLCR  # a line ends as it was written
        termios.tcsetattr(self.slave, termios.TCSANOW, attributes)

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """Leave nothing open."""
        os.close(self.slave)
        if self._master >= 0:
            os.close(self._master)

    async def run(self, shell: Shell, *words: str, **environ: str) -> tuple[int, str]:
        """Run a command whose standard output is the terminal: its exit code, and what it shows."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidecar", *words,
            cwd=shell.folder, env={**shell.environ, "TERM": "xterm", **environ},
            stdin=asyncio.subprocess.DEVNULL, stdout=self.slave, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        shown = bytearray()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, lambda: shown.extend(_read(self._master)))
        try:
            async with asyncio.timeout(PATIENCE):
                _, err = await process.communicate()
        finally:
            loop.remove_reader(self._master)
        assert b"Traceback" not in err, err.decode()
        os.set_blocking(self._master, False)
        while piece := _read(self._master):
            shown.extend(piece)
        assert process.returncode is not None
        return process.returncode, shown.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno in (errno.EIO, errno.EAGAIN):
            return b""
        raise


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()

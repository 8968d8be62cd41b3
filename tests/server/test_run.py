"""Around the server: what the event loop reports, descriptors, and how long an end may take."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.config.load import Config, load
from sidecar.config.settings import OPTIONS
from sidecar.server import notify, run
from sidecar.server.run import report
from tests.support.processes import Shell, shell
from tests.support.services import port_of
from tests.support.wire import Client

__all__ = ["shell"]

UNITS = Path(__file__).parent.parent.parent / "systemd"


def plain_config() -> Config:
    values = {"jira.base_url": "https://jira.example.com", "jira.consumer_key": "K"}
    return load(None, {"HOME": "/nowhere"}, values)


class TestLoopTrouble:
    @pytest.mark.parametrize(
        ("error", "level"),
        [
            (ConnectionResetError("gone"), logging.DEBUG),
            (ssl.SSLError(1, "no shared cipher"), logging.DEBUG),
            (TimeoutError("handshake"), logging.DEBUG),
            (OSError(24, "Too many open files"), logging.ERROR),
        ],
    )
    async def test_what_a_client_causes_is_no_traceback(
        self, caplog: pytest.LogCaptureFixture, error: Exception, level: int
    ) -> None:
        caplog.set_level(logging.DEBUG, "sidecar.server.run")
        report(asyncio.get_running_loop(), {"message": "x", "exception": error})
        (record,) = caplog.records
        assert record.levelno == level
        assert not record.exc_info

    async def test_a_bug_is_one(self, caplog: pytest.LogCaptureFixture) -> None:
        report(asyncio.get_running_loop(), {"message": "x", "exception": KeyError("y")})
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info


class TestEnd:
    @pytest.mark.parametrize("unit", sorted(UNITS.rglob("*.service")), ids=lambda unit: unit.name)
    def test_systemd_waits_for_longer_than_an_end_takes(self, unit: Path) -> None:
        found = re.search(r"^TimeoutStopSec=(\d+)s$", unit.read_text(), re.MULTILINE)
        assert found
        shutdown = OPTIONS["timeouts.shutdown"].default
        assert isinstance(shutdown, int)
        assert int(found[1]) >= shutdown + 5
        # Where timeouts.shutdown is longer, the sidecar asks for more time itself.
        assert notify.STOP_RESERVE >= 5
        assert run.CLOSE_SECONDS < run.END_SECONDS < 5

    @pytest.mark.parametrize("uvloop", [True, False])
    async def test_a_second_signal_ends_even_a_loop_that_does_not_turn(
        self, shell: Shell, write_config: Callable[..., Path], uvloop: bool
    ) -> None:
        """As one does that waits for a file of a disk that is gone."""
        if not uvloop:
            (shell.folder / "uvloop.py").write_text("raise ImportError")
        (shell.folder / "endless.py").write_text(
            "import time\n"
            "from sidecar.server.pages import LocalPages\n"
            "def health(self):\n"
            "    print('held up', file=__import__('sys').stderr)\n"
            "    while True: time.sleep(1000)\n"
            "LocalPages._health = health\n"
            "from sidecar.cli import main\n"
            "main()\n"
        )
        write_config("http://127.0.0.1:1")
        words = ("run", "--listen", "127.0.0.1:0")
        async with shell.running(*words, until="listening on", module="endless") as process:
            client = Client("127.0.0.1", port_of(process.said[0]))
            async with await client.wire() as wire:
                await wire.send(client.message("GET", "/_sidecar/health"))
                await process.says("held up")
                # Python takes two signals that follow each other closely for one.
                ending = asyncio.create_task(process.ends())
                while not ending.done():
                    with suppress(ProcessLookupError):  # it has ended, and nobody knows yet
                        process.signal(signal.SIGTERM)
                    await asyncio.wait([ending], timeout=0.1)
                assert await ending == 0

    @pytest.mark.parametrize("stubborn", [False, True])
    async def test_an_end_that_does_not_come_is_not_waited_for(
        self, shell: Shell, write_config: Callable[..., Path], stubborn: bool
    ) -> None:
        """Not even where it does not let itself be cancelled."""
        (shell.folder / "endless.py").write_text(
            "import asyncio\n"
            "from sidecar.server import run\n"
            "from sidecar.server.server import Server\n"
            "async def stop(self, seconds):\n"
            "    while True:\n"
            "        try:\n"
            "            await asyncio.sleep(1000)\n"
            "        except asyncio.CancelledError:\n"
            f"            if not {stubborn}: raise\n"
            "Server.stop, run.CLOSE_SECONDS, run.END_SECONDS = stop, 0.1, 0.2\n"
            "from sidecar.cli import main\n"
            "main()\n"
        )
        write_config("http://127.0.0.1:1", "[timeouts]\nshutdown = 0.1\n")
        words = ("run", "--listen", "127.0.0.1:0")
        async with shell.running(*words, until="listening on", module="endless") as process:
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0

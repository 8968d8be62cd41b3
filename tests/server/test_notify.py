"""The notification protocol over real sockets; systemd itself is not needed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.server.notify import Notifier, Watchdog, watchdog_interval
from tests.support.waiting import PATIENCE


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE)
        yield sock


@pytest.fixture
def notifier(manager: socket.socket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname()})


def test_each_message_is_one_datagram(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("https://jira.example.com as alana until 2031-11-22")
    assert manager.recv(999) == (
        b"READY=1\nSTATUS=https://jira.example.com as alana until 2031-11-22"
    )
    notifier.stopping("finishing", 30)
    assert manager.recv(999) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=finishing"
    notifier.alive()
    assert manager.recv(999) == b"WATCHDOG=1"


def test_a_status_is_told_once(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("as alana")
    notifier.status("as alana")
    notifier.status("as barbara")
    assert manager.recv(999).endswith(b"STATUS=as alana")
    assert manager.recv(999) == b"STATUS=as barbara"


def test_a_user_name_says_nothing_to_systemd(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("as alana\nMAINPID=1\u2028\x00")
    assert manager.recv(999) == "READY=1\nSTATUS=as alana\ufffdMAINPID=1\ufffd\ufffd".encode()


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    for path in ("", "vsock:2:1", "relative", str(tmp_path / "nobody")):
        Notifier({"NOTIFY_SOCKET": path}).ready("fine")
    Notifier({}).ready("fine")


def test_a_full_queue_does_not_hold_us_up(manager: socket.socket, notifier: Notifier) -> None:
    for _ in range(30):  # net.unix.max_dgram_qlen is 10 by default, 512 with systemd
        manager.setblocking(False)
        notifier.alive()
        if len(_waiting(manager)) == 0:
            break


def _waiting(sock: socket.socket) -> bytes:
    try:
        return sock.recv(999)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "\u0663"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_needed(
    environ: dict[str, str], interval: float | None
) -> None:
    assert watchdog_interval(environ) == interval


@given(st.text(), st.text())
def test_no_variable_is_taken_amiss(limit: str, owner: str) -> None:
    interval = watchdog_interval({"WATCHDOG_USEC": limit, "WATCHDOG_PID": owner})
    assert interval is None or interval > 0


async def test_a_loop_that_is_stuck_feeds_nothing(
    manager: socket.socket, notifier: Notifier
) -> None:
    manager.setblocking(False)
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(notifier, {"WATCHDOG_USEC": "20000"})
    watchdog.start()
    for _ in range(3):
        assert await loop.sock_recv(manager, 999) == b"WATCHDOG=1"
    _stall(0.1)
    assert _waiting(manager) == b""
    assert await loop.sock_recv(manager, 999) == b"WATCHDOG=1"
    watchdog.stop()
    _waiting(manager)


def _stall(seconds: float) -> None:
    """Hold the event loop up, as a bug would."""
    import select

    select.select([], [], [], seconds)

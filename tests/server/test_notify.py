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


async def test_a_full_queue_holds_nobody_up_and_loses_nothing(
    manager: socket.socket, notifier: Notifier
) -> None:
    """systemd may be busy: net.unix.max_dgram_qlen is 10 by default, 512 with systemd."""
    manager.setblocking(False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        filled = 0
        while True:
            try:
                other.sendto(b"X=1", manager.getsockname())
            except BlockingIOError:
                break
            filled += 1
    notifier.ready("as alana")
    notifier.alive()
    notifier.status("as barbara")  # all of it returns: nothing was read yet
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        for _ in range(filled):
            assert await loop.sock_recv(manager, 999) == b"X=1"
        assert await loop.sock_recv(manager, 999) == b"READY=1\nSTATUS=as alana"
        assert await loop.sock_recv(manager, 999) == b"WATCHDOG=1"
        assert await loop.sock_recv(manager, 999) == b"STATUS=as barbara"


def _waiting(sock: socket.socket) -> bytes:
    try:
        return sock.recv(999)
    except BlockingIOError:
        return b""


async def test_of_too_many_messages_that_wait_the_oldest_is_given_up(
    manager: socket.socket, notifier: Notifier
) -> None:
    manager.setblocking(False)
    for number in range(1000):
        notifier.status(str(number))
    loop = asyncio.get_running_loop()
    received: list[bytes] = []
    async with asyncio.timeout(PATIENCE):
        while received[-1:] != [b"STATUS=999"]:
            received.append(await loop.sock_recv(manager, 999))
    assert received[0] == b"STATUS=0"
    assert len(received) < 1000
    assert received == sorted(received, key=lambda status: int(status.partition(b"=")[2]))


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

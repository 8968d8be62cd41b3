"""The kernel is asked to watch the peer, and what it holds for us."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator

import pytest

from sidecar.net import liveness


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as ours,
        listening.accept()[0] as theirs,
    ):
        yield ours, theirs


def test_a_silent_peer_is_asked_after_seconds_and_given_up_in_less_than_twenty(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    liveness.watch_peer(ours)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == liveness.PROBE_SECONDS
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == liveness.PROBES
    if sys.platform == "linux":
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == liveness.IDLE_SECONDS
        unconfirmed = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert unconfirmed == liveness.SECONDS * 1000
    assert liveness.SECONDS < 20


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_a_peer_that_reads_slowly_is_given_time(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    liveness.watch_peer(ours)
    liveness.set_patience(ours, patient=True)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
    liveness.set_patience(ours, patient=False)
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) > 0


@pytest.mark.parametrize("end", [False, True], ids=["a byte", "the end"])
def test_what_has_arrived_is_known_before_it_is_read(
    pair: tuple[socket.socket, socket.socket], end: bool
) -> None:
    ours, theirs = pair
    unread = liveness.Unread(ours)
    assert not unread.is_there()
    if end:
        theirs.shutdown(socket.SHUT_WR)
    else:
        theirs.sendall(b"x")
    ours.setblocking(True)
    assert ours.recv(1, socket.MSG_PEEK) == (b"" if end else b"x")  # so it has arrived
    assert unread.is_there()


def test_what_arrived_before_a_reset_is_still_read(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * 1000)
    assert ours.recv(1, socket.MSG_PEEK)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with contextlib.suppress(OSError):
        while True:
            ours.send(b"x")
    assert liveness.read_rest(ours, 600) == b"x" * 600
    assert liveness.read_rest(ours, 600) == b"x" * 400
    assert liveness.read_rest(ours, 600) == b""
    assert ours.fileno() > 0

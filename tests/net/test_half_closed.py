"""Whether a peer that has ended its side still reads: with real sockets of every family."""

from __future__ import annotations

import socket
import sys
from typing import cast

import pytest

from sidecar.net.half_closed import still_reads

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")


def pair(kind: str) -> tuple[socket.socket, socket.socket]:
    """A client's socket and ours, connected."""
    if kind == "unix":
        return socket.socketpair()
    family = socket.AF_INET if kind == "IPv4" else socket.AF_INET6
    host = {"IPv4": "127.0.0.1", "IPv6": "::1", "both": "::"}[kind]
    is_dual = kind == "both"
    with socket.create_server((host, 0), family=family, dualstack_ipv6=is_dual) as listening:
        port = listening.getsockname()[1]
        client = socket.create_connection(("127.0.0.1" if is_dual else host, port))
        return client, listening.accept()[0]


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "both", "unix"])
def test_a_peer_that_ended_its_side_reads_until_it_is_gone(kind: str) -> None:
    client, ours = pair(kind)
    with client, ours:
        client.shutdown(socket.SHUT_WR)
        assert ours.recv(1) == b""
        assert still_reads(ours)
        with socket.socket(fileno=client.detach()) as other:  # whoever has it open, reads
            assert still_reads(ours)
            other.close()
        assert not still_reads(ours)


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "both", "unix"])
def test_a_peer_that_left_at_once_does_not_read(kind: str) -> None:
    client, ours = pair(kind)
    with ours:
        client.close()
        assert ours.recv(1) == b""
        assert not still_reads(ours)


class Elsewhere:
    """Ours, where the peer is on another machine."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.1", 40_000

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 8088


def test_nothing_is_known_of_what_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    client, ours = pair("IPv4")
    with client, ours:
        assert still_reads(ours)
        assert not still_reads(cast(socket.socket, Elsewhere()))
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not still_reads(ours)
        monkeypatch.undo()
        monkeypatch.setattr(socket, "AF_NETLINK", 99)  # as where a unit forbids it
        assert not still_reads(ours)
    assert not still_reads(ours)

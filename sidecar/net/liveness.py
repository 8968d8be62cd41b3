"""What the kernel knows of a peer: that it has sent something, or that it is silently gone."""

from __future__ import annotations

import os
import select
import socket
from enum import Enum, auto

IDLE_SECONDS = 5
"""Silence after which the kernel asks the peer's kernel whether it is still there."""
PROBE_SECONDS = 3
PROBES = 3
SECONDS = IDLE_SECONDS + PROBES * PROBE_SECONDS
"""How long a peer that confirms nothing is taken for alive; Linux takes two hours by default."""

_KEEPIDLE: int | None = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
"""macOS has it under another name."""
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Linux's alone (RFC 5482)."""

_RDHUP: int = getattr(select, "POLLRDHUP", 0)
"""Linux's alone."""


def watch_peer(sock: socket.socket) -> None:
    """Have the kernel end a TCP connection whose peer confirms nothing for SECONDS."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if _KEEPIDLE is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _KEEPIDLE, IDLE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
    set_patience(sock, patient=False)


def set_patience(sock: socket.socket, *, patient: bool) -> None:
    """Let a peer, while `patient`, leave what is sent to it unread for as long as it answers.

    TCP_USER_TIMEOUT also ends a connection whose peer is alive and keeps its window closed (Linux
    takes both for no progress): a Jira that pauses in the middle of an upload does that.
    """
    if _USER_TIMEOUT is not None:
        milliseconds = 0 if patient else SECONDS * 1000
        sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, milliseconds)


class End(Enum):
    """How a connection has ended on the peer's side."""

    OPEN = auto()
    HALF = auto()
    """The peer sends nothing any more, and perhaps reads."""
    GONE = auto()


def peer_end(sock: socket.socket) -> End:
    """Whether the peer has ended its side, though there may be bytes before that end to be read.

    macOS tells of a peer that is gone alone.
    """
    poll = select.poll()
    poll.register(sock.fileno(), _RDHUP)
    events = poll.poll(0)
    if not events:
        return End.OPEN
    return End.GONE if events[0][1] & (select.POLLERR | select.POLLHUP) else End.HALF


class Unread:
    """Tells whether something has arrived at a socket, while it is open, and nobody has read it."""

    __slots__ = ("_poll",)

    def __init__(self, sock: socket.socket) -> None:
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def is_there(self) -> bool:
        """Whether there are bytes, or the connection's end."""
        return bool(self._poll.poll(0))


def read_rest(sock: socket.socket, limit: int) -> bytes:
    """What has arrived and was not read, up to `limit` bytes: the kernel keeps it after a RST, too.

    For a socket of the event loop's, which is then of no further use.
    """
    rest = b""
    with socket.socket(fileno=os.dup(sock.fileno())) as twin:
        twin.setblocking(False)
        try:
            while len(rest) < limit and (piece := twin.recv(limit - len(rest))):
                rest += piece
        except OSError:  # there is no more, or this was the error that the RST left
            pass
    return rest

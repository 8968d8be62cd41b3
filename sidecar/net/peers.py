"""Who is at the other end of a connection, for the log."""

from __future__ import annotations

import asyncio
import socket
import struct

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)
_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
"""Linux's alone."""
_MAPPED = "::ffff:"  # RFC 4291 §2.5.5.2: how a socket of both families shows IPv4


def peer_process(transport: asyncio.BaseTransport | None) -> int:
    """The process at the other end of a unix socket; 0 if it is unknown."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return 0
    return _credentials(sock)[0]


def is_loopback(address: str) -> bool:
    """Whether an address, as peer_address shows it, is this machine's own, or none at all."""
    return address.startswith(("127.", "uid:")) or address == "::1"


def peer_address(transport: asyncio.BaseTransport | None) -> str:
    """The address of a client without its port, `uid:1000` on a unix socket; "" if unknown."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if transport is None or sock is None:
        return ""
    if sock.family == socket.AF_UNIX:
        return _user(sock)
    name = transport.get_extra_info("peername")
    return str(name[0]).removeprefix(_MAPPED) if isinstance(name, tuple) else ""


def _user(sock: socket.socket) -> str:
    _, uid = _credentials(sock)
    return "" if uid is None else f"uid:{uid}"


def _credentials(sock: socket.socket) -> tuple[int, int | None]:
    """Process and user at the other end; 0 and None where they are unknown."""
    if _PEERCRED is None:
        return 0, None
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, _PEERCRED, _UCRED.size)
    except OSError:
        return 0, None  # it has ended
    pid, uid, _ = _UCRED.unpack(credentials)
    return pid, uid

"""Who is at the other end of a connection, for the log."""

from __future__ import annotations

import asyncio
import socket
import struct

_UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)
_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)
"""Linux's alone."""
_MAPPED = "::ffff:"  # RFC 4291 §2.5.5.2: how a socket of both families shows IPv4


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
    if _PEERCRED is None:
        return ""
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, _PEERCRED, _UCRED.size)
    except OSError:
        return ""  # it has ended
    return f"uid:{_UCRED.unpack(credentials)[1]}"

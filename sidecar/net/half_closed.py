"""Whether a peer that sends no more still reads: FIN says both that it waits and that it is gone.

For a client on this machine Linux tells: where its socket is closed, nobody owns it any more.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys

from sidecar.net.liveness import End, peer_end

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)  # INET_DIAG_NOCOOKIE
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_QUESTION = struct.Struct("=BBBBI")  # struct inet_diag_req_v2, up to its socket id
_PORTS = struct.Struct("!HH")  # struct inet_diag_sockid: ports, two addresses of 16 bytes,
_REST = struct.Struct("=III")  # interface and cookie
_INODE_AT = _HEADER.size + 68
"""Where struct inet_diag_msg has idiag_inode: 0 where no process has the socket open."""
_PATIENCE = 0.1
"""Seconds; the kernel answers at once."""


def still_reads(sock: socket.socket) -> bool:
    """Whether the peer is known to have its socket open, though it sends nothing any more.

    False where that cannot be known: a peer on another machine or in another network namespace,
    another system than Linux, a service that may not ask the kernel.
    """
    if sock.family == socket.AF_UNIX:
        return peer_end(sock) is not End.GONE
    if not sys.platform.startswith("linux"):
        return False
    try:
        return _is_owned(sock.getpeername()[:2], sock.getsockname()[:2])
    except (OSError, ValueError, struct.error):
        return False


def _is_owned(local: tuple[str, int], remote: tuple[str, int]) -> bool:
    """Whether a process has the TCP socket open that leads from `local` to `remote`."""
    addresses = [_plain(host) for host, _ in (local, remote)]
    family = socket.AF_INET if addresses[0].version == 4 else socket.AF_INET6
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        question = (
            _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
            + _PORTS.pack(local[1], remote[1])
            + b"".join(address.packed.ljust(16, b"\0") for address in addresses)
            + _REST.pack(0, *_NO_COOKIE)
        )
        size = _HEADER.size + len(question)
        kernel.sendto(_HEADER.pack(size, _BY_FAMILY, _REQUEST, 1, 0) + question, (0, 0))
        answer = kernel.recv(8192)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:  # there is no such socket here
        return False
    return bool(struct.unpack_from("=I", answer, _INODE_AT)[0])


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; IPv4 as such, where a socket for both has it as IPv6 (RFC 4291 §2.5.5.2)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped

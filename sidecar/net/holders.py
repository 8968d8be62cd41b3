"""Whose process holds a port that another sidecar wants, and how it is stopped."""

from __future__ import annotations

import ipaddress
import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who listens at an address, as far as /proc shows it to us."""

    user: str
    pid: int = 0
    program: str = ""
    unit: str = ""
    """The system's or the user's unit that it belongs to."""
    is_users_unit: bool = False
    is_ours: bool = False
    """Whether it is a process of the user who asks."""

    def __str__(self) -> str:
        what = f"{self.user}'s {self.unit or self.program or 'process'}"
        return f"{what} (pid {self.pid})" if self.pid else what

    @property
    def stop(self) -> str:
        """The command that stops it; "" where we do not know it."""
        if self.unit and self.is_users_unit:
            command = f"disable --now {self.unit}"
            if self.is_ours:
                return f"systemctl --user {command}"
            return f"sudo systemctl --user --machine={self.user}@ {command}"
        if self.unit:
            return f"sudo systemctl disable --now {self.unit}"
        if not self.pid:
            return ""
        return f"kill {self.pid}" if self.is_ours else f"sudo kill {self.pid}"


def holder_of(host: str, port: int) -> Holder | None:
    """Who listens on a TCP port of an address, or on that port of all addresses; None if nobody.

    None, too, where /proc is not Linux's.
    """
    return next((_holder(uid, inode) for uid, inode in _sockets_at(host, port)), None)


def users_at(host: str, port: int) -> set[int]:
    """The users whose sockets listen there; none where nobody does, or /proc is not Linux's."""
    return {uid for uid, _ in _sockets_at(host, port)}


def _sockets_at(host: str, port: int) -> Iterator[tuple[int, str]]:
    """User and inode of each socket that gets what is sent to the port of an address."""
    with suppress(ValueError):
        wanted = ipaddress.ip_address(host.partition("%")[0])
        for address, uid, inode in _listening(port):
            if address == wanted or address.is_unspecified or wanted.is_unspecified:
                yield uid, inode


def _listening(
    port: int,
) -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, str]]:
    """Address, user and inode of each socket that listens on a port: proc_net_tcp(5)."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
                where, _, number = local.partition(":")
                if state == _LISTEN and int(number, 16) == port:
                    yield _address(where), int(uid), inode


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of 32 bits in this machine's own order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return ipaddress.ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _holder(uid: int, inode: str) -> Holder:
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid {uid}"
    processes = sorted(_holding(f"socket:[{inode}]"))
    # Where systemd holds a port for a service, that service has it, too.
    pid = next((number for number in processes if number != 1), processes[0] if processes else 0)
    if not pid:
        return Holder(user)
    unit, is_users = _unit_of(pid)
    return Holder(user, pid, _program_of(pid), unit, is_users, is_ours=uid == os.geteuid())


def _holding(link: str) -> Iterator[int]:
    """The processes that have a socket open; without being root we see our own alone."""
    for folder in _PROC.glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(os.readlink(entry) == link for entry in folder.iterdir()):
                yield int(folder.parent.name)


def _program_of(pid: int) -> str:
    """`sidecar run`, rather than the Python that runs it."""
    with suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        names = [os.path.basename(word) for word in words if word and not word.startswith("-")]
        if names and names[0].startswith("python") and len(names) > 1:
            names = names[1:]
        return " ".join(names[:2]) if names[:1] == ["sidecar"] else "".join(names[:1])
    return ""


def _is_started_by_systemd(pid: int) -> bool:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, parent = line.partition(":\t")
        if name == "PPid":
            return (_PROC / parent / "comm").read_text() == "systemd\n"
    return False


def _unit_of(pid: int) -> tuple[str, bool]:
    """The unit that systemd started a process for, and whether that was a user's systemd; "" else.

    What cron or a shell started is in their unit, and is not stopped with that.
    """
    with suppress(OSError):
        if not _is_started_by_systemd(pid):
            return "", False
        for line in (_PROC / str(pid) / "cgroup").read_text().splitlines():
            parts = line.rpartition(":")[2].split("/")
            if parts[-1].endswith(".service"):
                return parts[-1], any(part.startswith("user@") for part in parts[:-1])
    return "", False

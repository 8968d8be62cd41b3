"""The sockets that the sidecar listens on: TCP, unix, or passed by systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sidecar.config import Address, TCPAddress, UnixAddress
from sidecar.errors import AddressInUse, ConfigError

BACKLOG = 1024
_FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START


class Listening(NamedTuple):
    """A listening socket and where it is reached."""

    socket: socket.socket
    unix_path: str = ""
    """Set where it is a unix socket: its own name is not the path that it was renamed to."""
    is_ours: bool = False
    """Whether we made the unix socket's file, and so remove it."""

    def url(self, scheme: str) -> str:
        """`http://127.0.0.1:8088`, or `unix:/path`."""
        if self.unix_path:
            return f"unix:{self.unix_path}"
        host, port = self.socket.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def remove(self) -> None:
        """Remove the file of a unix socket that we made."""
        if self.is_ours:
            Path(self.unix_path).unlink(missing_ok=True)


def open_sockets(
    addresses: Sequence[Address], unix_mode: int, environ: MutableMapping[str, str]
) -> list[Listening]:
    """Listening sockets: those that systemd passed, else one for each address.

    `::1` is skipped where the machine has no IPv6.  Raises AddressInUse or ConfigError, with
    what was opened so far closed again.
    """
    if passed := passed_sockets(environ):
        return passed
    opened: list[Listening] = []
    try:
        for address in addresses:
            if isinstance(address, UnixAddress):
                sock = _unix_socket(address, unix_mode)
                opened.append(Listening(sock, str(address.path), is_ours=True))
            elif (tcp := _tcp_socket(address)) is not None:
                opened.append(Listening(tcp))
    except BaseException:
        for listening in opened:
            listening.socket.close()
        raise
    if not opened:
        raise ConfigError(
            "none of listen.addresses exists on this machine", "127.0.0.1:8088 always does"
        )
    return opened


def passed_sockets(environ: MutableMapping[str, str]) -> list[Listening]:
    """The sockets of socket activation (sd_listen_fds(3)), taken out of the environment."""
    count, owner = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    environ.pop("LISTEN_FDNAMES", None)
    if not count.isdecimal() or owner != str(os.getpid()):
        return []
    sockets = []
    for fd in range(_FIRST_PASSED_FD, _FIRST_PASSED_FD + int(count)):
        try:
            sock = socket.socket(fileno=fd)
        except OSError as error:
            raise ConfigError(
                f"file descriptor {fd}, passed by systemd, is no socket: {error.strerror}",
                "LISTEN_FDS is for systemd's socket units",
            ) from None
        if sock.type != socket.SOCK_STREAM:
            raise ConfigError(
                "a socket that systemd passed is not a stream socket", "use ListenStream="
            )
        sock.setblocking(False)
        os.set_inheritable(fd, False)
        name = sock.getsockname()
        sockets.append(Listening(sock, name if sock.family == socket.AF_UNIX else ""))
    return sockets


def _tcp_socket(address: TCPAddress) -> socket.socket | None:
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(
            f"listen.addresses: {address}: no such address: {error.strerror}"
        ) from None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if family == socket.AF_INET6:
            return None
        raise
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL and address.host == "::1":
            return None
        raise _refused(str(address), error) from None
    return sock


def _refused(where: str, error: OSError) -> AddressInUse | ConfigError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"{where} is in use already",
            "is another sidecar running? --listen takes another address",
        )
    return ConfigError(
        f"cannot listen on {where}: {error.strerror}", "see listen.addresses, or --listen"
    )


def _unix_socket(address: UnixAddress, mode: int) -> socket.socket:
    """A unix socket that nobody else could connect to for a moment, in a stale one's place.

    It is bound under another name, given its mode, and only then renamed.
    """
    path = address.path
    _make_room(path)
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        sock.bind(str(temporary))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        temporary.chmod(mode)
        temporary.rename(path)
    except OSError as error:
        sock.close()
        with suppress(OSError):
            temporary.unlink()
        raise _refused(str(address), error) from None
    finally:
        os.umask(umask)
    return sock


def _make_room(path: Path) -> None:
    """Refuse to replace anything but a socket of ours that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(f"unix:{path}", error) from None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(
            f"unix:{path}: there is something else, or somebody else's",
            "name another path in listen.addresses",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise _refused(f"unix:{path}", error) from None
    raise AddressInUse(f"unix:{path} is in use already", "is another sidecar running?")

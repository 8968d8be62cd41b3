"""The sockets that the sidecar listens on: TCP, unix, or passed by systemd."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, cast

from sidecar.config.load import Address, Config, TCPAddress, UnixAddress
from sidecar.config.settings import OPTIONS
from sidecar.errors import AddressInUse, ConfigError
from sidecar.net.holders import holder_of

BACKLOG = 1024
ADMIN_NAME = "admin"
_FIRST_PASSED_FD = 3  # SD_LISTEN_FDS_START
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Listening(NamedTuple):
    """A listening socket and where it is reached."""

    socket: socket.socket
    unix_path: str = ""
    """Set where it is a unix socket: its own name is not the path that it was renamed to."""
    is_ours: bool = True
    """Whether we opened it, and so remove a unix socket's file; else systemd did."""
    is_admin: bool = False
    """Whether it serves /_sidecar/* alone."""

    def url(self, scheme: str) -> str:
        """`http://127.0.0.1:8088`, or `unix:/path`."""
        if self.unix_path:
            return f"unix:{self.unix_path}"
        host, port = self.socket.getsockname()[:2]
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.socket.family == socket.AF_UNIX:
            return True
        address = ipaddress.ip_address(self.socket.getsockname()[0].partition("%")[0])
        return address.is_loopback

    def remove(self) -> None:
        """Remove the file of a unix socket that we made."""
        if self.unix_path and self.is_ours:
            Path(self.unix_path).unlink(missing_ok=True)


def open_sockets(config: Config, environ: MutableMapping[str, str]) -> list[Listening]:
    """Listening sockets: those that systemd passed, else one for each address; admin's last.

    `::1` is skipped where the machine has no IPv6.  Raises AddressInUse or ConfigError, with
    what was opened so far closed again.
    """
    opened = passed_sockets(environ)
    mode = config.listen.unix_mode
    try:
        if all(listening.is_admin for listening in opened):
            opened += _open("listen.addresses", config.listen.addresses, mode)
        admin = config.admin.address
        if admin is not None and not any(listening.is_admin for listening in opened):
            opened += [one._replace(is_admin=True) for one in _open("admin.address", [admin], mode)]
        refuse_strangers(opened, config)
    except BaseException:
        for listening in opened:
            listening.remove()
            listening.socket.close()
        raise
    return sorted(opened, key=lambda listening: listening.is_admin)


def warnings(opened: Sequence[Listening], config: Config) -> Iterator[str]:
    """Warn about the sockets that systemd passed; Config.warnings() covers our own."""
    passed = [one for one in opened if not one.is_ours and not one.is_admin]
    configured = sorted(map(str, config.listen.addresses))
    if passed and configured not in (
        sorted(cast("list[str]", OPTIONS["listen.addresses"].default)),
        sorted(one.url("http").removeprefix("http://") for one in passed),
    ):
        yield "listen.addresses is not used: the sockets of systemd's socket unit replace it"
    for listening in passed:
        where = listening.url("https" if config.listen.tls_certificate else "http")
        if not listening.is_local:
            yield f"{where} can be reached from elsewhere; only access.key_file guards it"
            if not config.listen.tls_certificate:
                yield f"{where} is plain http: the access key can be read on the way"
        elif _others_may_connect(listening.unix_path) and not config.access.key_file:
            yield (
                f"others can use {where}, and so act as you: SocketMode=0600 in the socket unit"
                " keeps them out"
            )


def passed_sockets(environ: MutableMapping[str, str]) -> list[Listening]:
    """The sockets of socket activation (sd_listen_fds(3)), taken out of the environment.

    One named `admin` (FileDescriptorName=admin) is the admin listener.
    """
    count, owner = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    environ.pop("LISTEN_PIDFDID", None)
    if not (count.isascii() and count.isdecimal()) or owner != str(os.getpid()):
        return []
    passed: list[Listening] = []
    try:
        for index in range(int(count)):
            is_admin = index < len(names) and names[index] == ADMIN_NAME
            passed.append(Listening(_passed_socket(_FIRST_PASSED_FD + index), is_admin=is_admin))
            _check_passed(passed[-1].socket)
    except BaseException:
        for listening in passed:
            listening.socket.close()
        raise
    return [one._replace(unix_path=_unix_path(one.socket), is_ours=False) for one in passed]


def _passed_socket(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(
            f"file descriptor {fd}, passed by systemd, is no socket: {error.strerror}",
            "LISTEN_FDS is for systemd's socket units",
        ) from None
    sock.setblocking(False)
    os.set_inheritable(fd, False)
    return sock


def _check_passed(sock: socket.socket) -> None:
    if sock.type != socket.SOCK_STREAM or sock.family not in _FAMILIES:
        raise ConfigError(
            "a socket that systemd passed is no TCP or unix stream socket", "use ListenStream="
        )
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ConfigError(
            "a socket that systemd passed does not listen", "set Accept=no in the socket unit"
        )


def _unix_path(sock: socket.socket) -> str:
    """A unix socket's path, or @ and its name in the abstract namespace; empty for TCP."""
    if sock.family != socket.AF_UNIX:
        return ""
    name = sock.getsockname()
    return name if isinstance(name, str) else "@" + name[1:].decode("utf-8", "backslashreplace")


def _open(name: str, addresses: Sequence[Address], unix_mode: int) -> list[Listening]:
    """Open the addresses that the key `name` of the configuration has."""
    opened: list[Listening] = []
    try:
        for address in addresses:
            opened += _listening(name, address, unix_mode)
    except BaseException:
        for listening in opened:
            listening.remove()
            listening.socket.close()
        raise
    if not opened:
        raise ConfigError(f"{name}: there is no IPv6 on this machine", "127.0.0.1 is always there")
    return opened


def _listening(name: str, address: Address, unix_mode: int) -> list[Listening]:
    """The socket for one address; none where that is IPv6 and there is none."""
    try:
        if isinstance(address, UnixAddress):
            return [Listening(_unix_socket(address, unix_mode), str(address.path))]
        tcp = _tcp_socket(address)
    except OSError as error:
        raise _refused(name, address, error) from None
    return [] if tcp is None else [Listening(tcp)]


def refuse_strangers(opened: Sequence[Listening], config: Config) -> None:
    """Refuse sockets that other machines can reach, unless there is an access key."""
    for listening in opened:
        if not (listening.is_local or listening.is_admin or config.access.key_file):
            raise ConfigError(
                f"{listening.url('http')} can be reached from elsewhere, and there is no"
                " access.key_file",
                "whoever reaches it acts as you: listen on 127.0.0.1, or set access.key_file",
            )


def _others_may_connect(path: str) -> bool:
    if not path.startswith("/"):
        return bool(path)  # names in the abstract namespace have no permissions
    try:
        return Path(path).stat().st_mode & 0o077 != 0
    except OSError:
        return False


def _tcp_socket(address: TCPAddress) -> socket.socket | None:
    """A TCP socket; None where it is for IPv6 and there is none."""
    family, _, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
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
        raise
    return sock


def _refused(name: str, address: Address, error: OSError) -> AddressInUse | ConfigError:
    """Make the error for an address of the key `name` that cannot be listened on."""
    flag = OPTIONS[name].flag
    key = f"{name} (or {flag})" if flag else name
    if isinstance(error, socket.gaierror):
        return ConfigError(
            f"{name}: {address}: no such address: {error.strerror}",
            f"{key} must name an address of this machine, such as 127.0.0.1",
        )
    if error.errno == errno.EADDRINUSE:
        return in_use(address, f"{key} takes another address{_example_beside(address)}")
    hint = f"see {key}"
    if error.errno in (errno.EACCES, errno.EPERM):
        hint += (
            "; ports below 1024 are root's, and our systemd unit listens only by its socket unit"
        )
    return ConfigError(f"cannot listen on {address}: {error.strerror}", hint)


def _example_beside(address: Address) -> str:
    """An address like one that is taken, as an example."""
    if not isinstance(address, TCPAddress):
        return ""
    port = address.port + 1 if address.port < 65535 else 8088
    return f", such as {TCPAddress(address.host, port)}"


def in_use(address: Address, elsewhere: str) -> AddressInUse:
    """Make the error for an address that somebody listens on; it names them where we see them.

    `elsewhere` says how another address is taken.
    """
    holder = holder_of(address.host, address.port) if isinstance(address, TCPAddress) else None
    if holder is None:
        return AddressInUse(
            f"{address} is in use already", f"is another sidecar running? {elsewhere}"
        )
    stop = f"`{holder.stop}` stops it; or " if holder.stop else "is another sidecar running? "
    return AddressInUse(f"{address} is in use already, by {holder}", stop + elsewhere)


def _unix_socket(address: UnixAddress, mode: int) -> socket.socket:
    """A unix socket that nobody else could connect to for a moment, in a stale one's place.

    It has its mode from the start (a chmod could be led to another file), is bound under another
    name, and renamed once it listens.
    """
    path = address.path
    _make_room(path)
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o777 & ~mode)
    try:
        with suppress(FileNotFoundError):
            temporary.unlink()
        sock.bind(str(temporary))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        temporary.rename(path)
    except OSError:
        sock.close()
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.umask(umask)
    return sock


def _make_room(path: Path) -> None:
    """Refuse, by an OSError, to replace anything but a socket of ours that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket of ours")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

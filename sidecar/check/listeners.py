"""Where the running sidecar listens: as the file beside the token says, and as configured.

`run --listen`, a variable and systemd's sockets let it listen elsewhere than listen.addresses says;
its own file (signin/one_time_code.py) knows that.  The file may be older than what listens there
now: it says where to ask, never that what answers is the sidecar.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sidecar.config.load import Config
from sidecar.config.options import Address, TCPAddress, UnixAddress
from sidecar.errors import ConfigError
from sidecar.net.holders import users_at
from sidecar.signin.one_time_code import CodeFile, Running

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 — to connect to, not to listen on
_SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses at which one sidecar listens, the best one first."""

    addresses: tuple[Address, ...]
    is_secured: bool
    """Whether it speaks TLS."""
    is_admin: bool = False
    """Whether it is the listener for monitoring."""
    running: Running | None = None
    """What its file says; None where the configuration alone names it."""


def places(config: Config) -> Iterator[Place]:
    """Where to ask, in this order: admin.address, what files say, the rest of listen.addresses."""
    if config.admin.address is not None:
        yield Place((config.admin.address,), is_secured=False, is_admin=True)
    is_secured = config.listen.tls_certificate is not None
    rest = list(config.listen.addresses)
    for place in by_files(config)[0]:
        yield place
        if place.is_secured is is_secured:
            rest = [address for address in rest if address not in place.addresses]
    if rest:
        yield Place(tuple(rest), is_secured)


def by_files(config: Config) -> tuple[list[Place], ConfigError | None]:
    """Where the sidecars with this token listen; and why a file, if one, cannot be believed.

    A port that is configured comes before others, for several may have this token.
    """
    found, doubt = [], None
    configured = {_port(address) for address in config.listen.addresses}

    def rank(address: Address) -> tuple[bool, bool, bool]:
        return not _is_near(address), _port(address) not in configured, "[" in str(address)

    for file in CodeFile.all_beside(config.token.path):
        try:
            running = file.read()
        except ConfigError as error:
            doubt = error
            continue
        if running is not None and (listed := [one for url in running.urls if (one := _at(url))]):
            addresses = tuple(sorted((address for address, _ in listed), key=rank))
            found.append(Place(addresses, listed[0][1], running=running))
    return sorted(found, key=lambda place: rank(place.addresses[0])), doubt


def may_have_key(config: Config, place: Place, address: Address) -> bool:
    """Whether what listens there may be shown an access key, apart from any certificate.

    It may where the configuration names the address.  Where a file does, which may be an old one,
    only a socket of ours may, or one of root's: systemd opened it for us.
    """
    is_as_configured = place.is_secured is (config.listen.tls_certificate is not None)
    if is_as_configured and address in config.listen.addresses:
        return True
    if isinstance(address, TCPAddress):
        users = users_at(ANY.get(address.host, address.host), address.port)
    else:
        users = _owner(address.path)
    return bool(users) and users <= {os.geteuid(), 0}


def _owner(path: Path) -> set[int]:
    try:
        return {path.lstat().st_uid}
    except OSError:
        return set()


def _at(url: str) -> tuple[Address, bool] | None:
    """A listener's address, and whether it speaks TLS; None for what no sidecar writes."""
    if url.startswith("unix:"):
        return UnixAddress(Path(url.removeprefix("unix:"))), False
    try:
        parts = urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname and parts.port:
            return TCPAddress(parts.hostname, parts.port), parts.scheme == "https"
    except ValueError:
        pass
    return None


def _port(address: Address) -> str:
    return str(address).rpartition(":")[2]


def _is_near(address: Address) -> bool:
    """Whether it is reached without leaving this machine."""
    return address.is_local or (isinstance(address, TCPAddress) and address.host in ANY)

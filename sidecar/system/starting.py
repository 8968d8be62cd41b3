"""Starting the service, and saying why it does not start."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

from sidecar.config import options
from sidecar.config.load import Address, TCPAddress, load
from sidecar.errors import AddressInUse, ConfigError, SidecarError
from sidecar.net.holders import holder_of
from sidecar.net.sockets import in_use
from sidecar.system.programs import run
from sidecar.system.unit import Unit, passed_addresses, socket_of

_FIRST_PORT = 8090
"""For instances: 8088 is sidecar.service's, and 8089 the one for its monitoring."""
_PORT = re.compile(r':(\d+)"')


def refuse_taken(unit: Unit) -> None:
    """Raise AddressInUse where somebody else listens where the service is to."""
    if unit.is_active:
        return
    where = "listen.addresses in its configuration takes another address"
    listed = list(_socket_addresses(unit))
    if listed:
        name = unit.service.socket
        where = f"`sudo systemctl edit {name}` takes another address, by ListenStream="
    for address in listed or _configured_addresses(unit):
        if isinstance(address, TCPAddress) and holder_of(address.host, address.port) is not None:
            raise in_use(address, where)


def not_running(unit: Unit) -> list[str]:
    """Warn of a service that does not run, and of what keeps it from that."""
    if unit.is_active:
        return []
    name = unit.service.unit
    try:
        refuse_taken(unit)
    except AddressInUse as error:
        return [f"{name} does not run: {error.message}; {error.hint}"]
    return [f"{name} does not run: start it with `sudo systemctl enable --now {name}`"]


def start(unit: Unit, *, restart: bool = False) -> None:
    """Start the service, now and at every boot; raise what it says of itself where it does not.

    What runs already goes on, unless it is to `restart`.
    """
    refuse_taken(unit)
    name = unit.service.unit
    _, problem = run("systemctl", "enable", name)
    if problem:
        raise ConfigError(f"{name} cannot be enabled: {problem}", f"see `systemctl status {name}`")
    _, problem = run("systemctl", "restart" if restart else "start", name)
    if problem:
        raise _why_not_started(name, problem)


def free_port(folder: Path) -> int:
    """A port for an instance: nobody listens there, and no configuration in the folder names it."""
    named = {
        int(number)
        for file in folder.glob("*.toml")
        for number in _PORT.findall(file.read_text(errors="replace"))
    }
    for port in range(_FIRST_PORT, _FIRST_PORT + 1000):
        if port not in named and _is_free(port):
            return port
    raise ConfigError("there is no free port for the instance", "stop some that you do not need")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _socket_addresses(unit: Unit) -> Iterator[Address]:
    """Where the service's socket unit is going to listen; nowhere where it does so already."""
    found = socket_of(unit)
    if found is not None and found["ActiveState"] != "active":
        yield from map(options.address, passed_addresses(found))


def _configured_addresses(unit: Unit) -> tuple[Address, ...]:
    if socket_of(unit) is not None:
        return ()
    try:
        return load(unit.config_path, {"HOME": "/"}, {}).listen.addresses
    except SidecarError:
        return ()  # the service says so


def _why_not_started(name: str, problem: str) -> SidecarError:
    """The error that the service itself gave, else what systemctl says."""
    said, _ = run("journalctl", "--quiet", "--no-pager", "-o", "cat", "-n", "50", "-u", name)
    lines = said.splitlines()
    errors = [text for line in lines if (text := line.partition("sidecar: error: ")[2])]
    hints = [text for line in lines if (text := line.partition("sidecar: hint: ")[2])]
    message = f"{name} does not start: {errors[-1] if errors else problem.splitlines()[0]}"
    hint = hints[-1] if errors and hints else f"`journalctl -u {name} -n 20` says more"
    is_taken = bool(errors) and " is in use already" in errors[-1]
    return (AddressInUse if is_taken else ConfigError)(message, hint)

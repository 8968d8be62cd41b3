"""What systemd says of the service's unit, drop-ins included."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigError, NotAuthorized
from sidecar.system.names import Service
from sidecar.system.programs import run

BOOTED = Path("/run/systemd/system")
"""There, if systemd is the init system: sd_booted(3)."""
FOLDERS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
"""Where units are looked for, first what an administrator put there: systemd.unit(5)."""
FILES = (
    "sidecar.service",
    "sidecar@.service",
    "sidecar.socket",
    "sidecar@.socket",
    "sidecar-admin.socket",
)
_MANAGER = "org.freedesktop.systemd1"


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of the service's, loaded by systemd."""

    service: Service
    properties: Mapping[str, Any]
    """By systemd's own names, as org.freedesktop.systemd1(5) lists them."""

    @property
    def is_active(self) -> bool:
        """Whether it runs, or is about to."""
        return self.properties["ActiveState"] in ("active", "reloading", "activating")

    @property
    def config_path(self) -> Path:
        """The configuration file that the service is started with."""
        words = [str(word) for _, argv, *_ in self.properties["ExecStart"] for word in argv]
        for word, following in zip(words, [*words[1:], ""], strict=True):
            if word == "--config" and following:
                return Path(following)
            if word.startswith("--config="):
                return Path(word.removeprefix("--config="))
        return Path(f"/etc/sidecar/{self.service.instance or 'config'}.toml")

    @property
    def program(self) -> str:
        """What it runs."""
        commands = self.properties["ExecStart"]
        return str(commands[0][0]) if commands else ""

    @property
    def state_folders(self) -> list[Path]:
        """The folders below /var/lib that are the service's own."""
        return [Path("/var/lib", name) for name in self.properties["StateDirectory"]]


def find(service: Service, command: str) -> Unit:
    """Ask systemd for the service's unit, for a command that acts as it does.

    Raises NotAuthorized where we are not root, and ConfigError where there is no such unit.
    """
    if os.geteuid() != 0:
        hint = f"run `{service.command(command)}`"
        raise NotAuthorized(
            f"{service.options} needs root", hint if BOOTED.exists() else _NO_SYSTEMD
        )
    if not BOOTED.exists():
        raise ConfigError(f"{service.options}: systemd does not run here", _NO_SYSTEMD)
    unit = Unit(service, _load(service.unit))
    state, name = unit.properties["LoadState"], service.unit
    if state == "masked":
        raise ConfigError(f"{name} is masked", f"run `systemctl unmask {name}`")
    if state != "loaded":
        problem = "is not installed" if state == "not-found" else f"cannot be loaded ({state})"
        raise ConfigError(f"{name} {problem}", _NOT_INSTALLED if state == "not-found" else _SEE)
    return unit


_NO_SYSTEMD = (
    "in a container leave --system out: `sidecar run` is the container's program, and the"
    " commands run beside it as the same user"
)
_NOT_INSTALLED = (
    "install the package, or copy the units of systemd/ to /etc/systemd/system and run"
    " `systemctl daemon-reload`"
)
_SEE = "see `systemctl status sidecar` and `journalctl -b -t systemd`"


def _load(name: str) -> dict[str, Any]:
    loaded = _busctl("call", _MANAGER, "/org/freedesktop/systemd1", f"{_MANAGER}.Manager",
                     "LoadUnit", "s", name)  # fmt: skip
    path = loaded["data"][0]
    kind = name.rpartition(".")[2].capitalize()
    return _properties(path, "Unit") | _properties(path, kind)


def _properties(path: str, interface: str) -> dict[str, Any]:
    answer = _busctl("call", _MANAGER, path, "org.freedesktop.DBus.Properties", "GetAll", "s",
                     f"{_MANAGER}.{interface}")  # fmt: skip
    return {name: value["data"] for name, value in answer["data"][0].items()}


def _busctl(*words: str) -> Any:
    """Ask over D-Bus: `systemctl show` cannot print credentials."""
    answer, problem = run("busctl", "--system", "--json=short", *words)
    if not problem:
        return json.loads(answer)
    raise ConfigError(
        f"systemd cannot be asked about the service: {problem}",
        "it is asked over D-Bus: see `systemctl status dbus`, and install the package dbus",
    )


def socket_of(unit: Unit) -> dict[str, Any] | None:
    """The properties of the socket unit that holds the service's port; None where none does."""
    name = unit.service.socket
    found = _load(name)
    is_used = name in unit.properties["Requires"] or found.get("UnitFileState") == "enabled"
    return found if found["LoadState"] == "loaded" and is_used else None


def installed(folders: Iterable[str] = FOLDERS) -> bool:
    """Whether a unit of the service's is there, whether systemd runs or not."""
    return any(Path(folder, "sidecar.service").exists() for folder in folders)


def passed_addresses(socket: Mapping[str, Any] | None) -> list[str]:
    """Where a socket unit listens, as listen.addresses has it.

    Abstract and vsock addresses are left out: the sidecar itself cannot have one.
    """
    streams = [where for kind, where in socket["Listen"] if kind == "Stream"] if socket else []
    return [
        f"unix:{where}" if where.startswith("/") else where
        for where in streams
        if where.startswith(("/", "[")) or where[:1].isdigit()
    ]


def not_the_service(
    command: str, environ: Mapping[str, str], folders: Iterable[str] = FOLDERS
) -> list[str]:
    """Warn root, beside an installed unit, of a command that is not about the service."""
    if os.geteuid() != 0 or environ.get("STATE_DIRECTORY") or not installed(folders):
        return []
    does = "signs in root" if command == "auth" else "is about root's own sidecar"
    return [f"this {does}, not sidecar.service: that is `{Service().command(command)}`"]


def shadows(folders: tuple[str, ...] = FOLDERS) -> list[str]:
    """Warn of the units that stand in the way of a package's of the same name."""
    *others, packaged = folders
    return [
        f"{Path(folder, file)} stands in the way of the package's unit, and may start another"
        " installation: remove it, and run `systemctl daemon-reload`"
        for file in FILES
        for folder in others
        if Path(folder, file).exists() and Path(packaged, file).exists()
    ]

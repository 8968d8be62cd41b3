"""What the system service is called, and how the commands that look after it are written."""

from __future__ import annotations

import re
from dataclasses import dataclass

_OURS = re.compile(
    r"(?<![\w/.-])(?<!sudo )sidecar (?P<name>init|auth|check|request|status|logout|open)(?![\w-])"
)
_STARTED = re.compile(r"start it with `sidecar run`")
_UNIT = re.compile(r"sidecar(?:@(?P<instance>[^/]+))?\.service")
INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}")
"""Names that stand in a unit's name as they are: systemd.unit(5) escapes the others."""


@dataclass(frozen=True, slots=True)
class Service:
    """sidecar.service, or sidecar@INSTANCE.service."""

    instance: str = ""

    @property
    def unit(self) -> str:
        """The unit's name."""
        return f"sidecar@{self.instance}.service" if self.instance else "sidecar.service"

    @property
    def socket(self) -> str:
        """The name of the unit that may hold its port."""
        return self.unit.removesuffix(".service") + ".socket"

    @property
    def file(self) -> str:
        """The name of the unit's file; instances share a template's."""
        return "sidecar@.service" if self.instance else "sidecar.service"

    @property
    def options(self) -> str:
        """The options by which a command acts as this service."""
        return f"--system --instance {self.instance}" if self.instance else "--system"

    def command(self, name: str) -> str:
        """How a command for this service is written."""
        return f"sudo sidecar {name} {self.options}"

    def complete(self, text: str) -> str:
        """Have every command that the text names be the one for this service."""
        text = _STARTED.sub(f"start it with `sudo systemctl start {self.unit}`", text)
        return _OURS.sub(lambda found: self.command(found["name"]), text)


def own_service(cgroups: str) -> Service | None:
    """The service that a process belongs to, by its /proc/PID/cgroup; None for all others.

    A user's manager has units of the same name: those are below user@UID.service.
    """
    for line in cgroups.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy != "0" and controllers != "name=systemd":
            continue
        parts = path.split("/")
        if any(part.startswith("user@") for part in parts):
            return None
        for part in parts:
            if (match := _UNIT.fullmatch(part)) is not None:
                return Service(match["instance"] or "")
    return None

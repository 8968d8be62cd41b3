"""Which machine stored a token: of two copies the second dies when Jira renews the first.

A machine is known by a keyed hash of /etc/machine-id, as machine-id(5) asks of whoever stores it.
In a container that id may be a new one at each start, and on shared storage every machine is
right: there nobody is compared.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import socket
from pathlib import Path
from typing import Any

from sidecar.http.shown import printable

_ID = Path("/etc/machine-id")
_CONTAINERS = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/run/systemd/container"))
_CONTAINER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")
_MOUNTS = Path("/proc/self/mountinfo")
_KEY = b"jira-oauth-sidecar: the machine that stored a token"
_LOCAL = frozenset(
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "tmpfs"]
)
"""File systems that one machine has for itself; of any other nobody knows."""


def this_machine() -> dict[str, str] | None:
    """What a token file says of the machine that stores it; None where it has no lasting id."""
    if any(path.exists() for path in _CONTAINERS) or any(map(os.environ.get, _CONTAINER_VARIABLES)):
        return None
    try:
        text = _ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return None
    if not re.fullmatch("[0-9a-f]{32}", text):  # "uninitialized", or empty, in an image
        return None
    name = hmac.new(_KEY, text.encode(), hashlib.sha256).hexdigest()
    return {"id": name, "host": socket.gethostname()}


def other_machine(stored_on: Any, path: Path) -> str:
    """The name of the machine that stored the file, if it is another than this; "" if not."""
    ours = this_machine()
    if ours is None or not isinstance(stored_on, dict):
        return ""
    name, host = stored_on.get("id"), stored_on.get("host")
    if not isinstance(name, str) or name == ours["id"] or not _is_local(path):
        return ""
    return printable(host, 64) if isinstance(host, str) and host else "another machine"


def _is_local(path: Path) -> bool:
    """Whether the file lies on a file system that no other machine can have mounted, too."""
    real, found, kind = os.path.realpath(path), "", ""
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    for line in lines:  # proc_pid_mountinfo(5)
        before, _, after = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        is_above = real == place or real.startswith(place.rstrip("/") + "/")
        if is_above and len(place) >= len(found):
            found, kind = place, after.split()[0]
    return kind in _LOCAL

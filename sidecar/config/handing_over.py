"""How a file becomes one that the sidecar may read, and others may not, by where it comes from."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

_DOCKER = ("/run/secrets/", "/var/run/secrets/")


def how_to_hand_over(
    path: Path, *, user: int, is_ours: bool, environ: Mapping[str, str] | None = None
) -> str:
    """What to do so that the user with that uid, and nobody else, can read the file.

    `is_ours` says that only its mode is wrong.
    """
    environ = os.environ if environ is None else environ
    file = shlex.quote(str(path))
    if _is_of_kubernetes(path) or environ.get("KUBERNETES_SERVICE_HOST"):
        return _in_a_pod(user, _is_of_kubernetes(path), file)
    if str(path).startswith(_DOCKER):
        return (
            f'in compose.yaml or `docker service`, give the secret uid: "{user}" and mode: 0400'
            f" (podman: --secret NAME,uid={user},mode=0400); where Compose runs without Swarm,"
            f" which ignores both, `chown {user}` and `chmod 400` the file on the host"
        )
    on_host = "on the host: " if _is_read_only(path) else ""
    if is_ours:
        return f"{on_host}chmod 600 {file}"
    hint = f"{on_host}chown {user} {file}; chmod 600 {file}"
    if folder := _closed_folder(path):
        hint += f"; uid {user} must also be able to enter {folder}"
    if environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        hint += f"; or leave it root's, and LoadCredential=NAME:{path} in the unit hands it over"
    return hint


def _in_a_pod(user: int, is_volume: bool, file: str) -> str:
    """A Secret is shown to root alone and, by fsGroup, to a group, whatever a chmod says."""
    if not is_volume:
        return (
            f"chmod 600 {file}; for a Secret that is mounted with subPath, mount the whole volume,"
            " with defaultMode: 0440, and set the pod's securityContext.fsGroup"
        )
    if user == 0:
        return "set defaultMode: 0400 for the Secret's volume in the pod's manifest"
    return (
        "set defaultMode: 0440 for the Secret's volume in the pod's manifest, and"
        " securityContext.fsGroup to a group for the pod's user"
    )


def _is_of_kubernetes(path: Path) -> bool:
    """Whether the kubelet wrote the file: it links names to ..data, and that to ..2031_11_22."""
    parts = Path(os.path.realpath(path)).parts
    return any(part.startswith("..") and part != ".." for part in parts)


def _closed_folder(path: Path) -> Path | None:
    """The first folder on the way to the file that keeps us out."""
    folders = reversed(path.absolute().parents)
    return next((folder for folder in folders if not _may_enter(folder)), None)


def _may_enter(folder: Path) -> bool:
    return os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_read_only(path: Path) -> bool:
    """Whether the file is on a mount that nobody can change here, as a container's may be."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False

"""The service's user, and files that root writes and the service reads."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sidecar.errors import ConfigError, StoreError
from sidecar.system.acting import group, owner
from sidecar.system.programs import run
from sidecar.system.unit import Unit

USER = "sidecar"
_SYSUSERS = f'u {USER} - "Signs requests for Jira" /var/lib/{USER}'
_USERADD = ("useradd", "--system", "--user-group", "--home-dir", f"/var/lib/{USER}",
            "--no-create-home", "--shell", "/usr/sbin/nologin", USER)  # fmt: skip


def ensure_user(unit: Unit) -> None:
    """Make the user sidecar where the unit runs as that and there is none; ConfigError."""
    try:
        owner(unit)
    except ConfigError:
        if unit.properties["User"] != USER:
            raise
        _, problem = run("systemd-sysusers", "--inline", _SYSUSERS)
        if problem:
            _, problem = run(*_USERADD)
        if problem:
            hint = "make the user yourself, then try again"
            raise ConfigError(f"the user {USER} cannot be made: {problem}", hint) from None
    owner(unit)


def key_path(unit: Unit) -> Path:
    """Where the private key belongs: the file that systemd hands out, else beside the rest."""
    for name, _ in unit.properties.get("LoadCredentialEncrypted", ()):
        if name == "private_key":
            raise ConfigError(
                f"{unit.service.unit} takes its key from an encrypted credential",
                "take LoadCredentialEncrypted=private_key out of the unit, or write the"
                " configuration yourself",
            )
    return handed_out(unit) or unit.config_path.with_name("private_key.pem")


def handed_out(unit: Unit, name: str = "private_key") -> Path | None:
    """The file that LoadCredential= takes a credential from, if the unit names one."""
    for credential, where in unit.properties["LoadCredential"]:
        if credential == name:
            return Path(where if where.startswith("/") else f"/etc/credstore/{where}")
    return None


def make_folder(path: Path) -> None:
    """Have a folder that root alone writes to, and everybody may enter."""
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        info = path.stat()
        if info.st_uid == 0 and info.st_mode & 0o011 != 0o011:
            path.chmod(stat.S_IMODE(info.st_mode) | 0o055)
    except OSError as error:
        message = f"{path}: cannot be made: {error.strerror}"
        raise StoreError(message, "it is to be a folder of root's") from None


def hand_over(unit: Unit, config: Path, key: Path) -> None:
    """Let the service read its configuration, root's and 0640; and its key, if systemd does not.

    What belongs to somebody else, or is open to the group already, stays as it is.
    """
    number = group(unit, owner(unit))
    files = [config] if handed_out(unit) == key else [config, key]
    for file in files:
        try:
            # By the descriptor, so that what is looked at is what is changed.
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                info = os.fstat(descriptor)
                if info.st_uid == 0 and not info.st_mode & 0o077:
                    os.fchown(descriptor, 0, number)
                    os.fchmod(descriptor, 0o640)
            finally:
                os.close(descriptor)
        except OSError as error:
            message = f"{file}: cannot be given to the service: {error.strerror}"
            raise StoreError(message, f"it must be root's, mode 0640, group {number}") from None

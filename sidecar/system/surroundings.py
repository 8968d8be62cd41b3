"""The environment and the credentials that systemd gives to a unit, as systemd.exec(5) has it."""

from __future__ import annotations

import glob
import os
import pwd
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidecar.errors import ConfigError
from sidecar.files.private import CREATE, fill
from sidecar.system.programs import run

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"  # systemd's own default
_TERMINAL = re.compile(r"TERM|COLORTERM|NO_COLOR|COLUMNS|LINES|TZ|LANG|LANGUAGE|LC_[A-Z]+")
"""What a command at a terminal needs besides: nothing that changes what it does."""
_CREDENTIAL_LIMIT = 1024 * 1024  # bytes; systemd.exec(5), "Credentials"
_STORES = ("/etc/credstore", "/run/credstore", "/usr/lib/credstore")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def environment(
    properties: Mapping[str, Any],
    user: pwd.struct_passwd,
    credentials: Path,
    ours: Mapping[str, str],
) -> dict[str, str]:
    """The environment that the unit's processes have, with what our terminal needs."""
    found = {name: value for name, value in ours.items() if _TERMINAL.fullmatch(name)}
    found |= {"PATH": _PATH, "HOME": user.pw_dir, "SHELL": user.pw_shell}
    found |= {"USER": user.pw_name, "LOGNAME": user.pw_name}
    found |= dict(_assignments(properties["Environment"]))
    for pattern, may_be_missing in properties["EnvironmentFiles"]:
        found |= dict(_from_files(pattern, is_optional=may_be_missing))
    if properties["StateDirectory"]:
        folders = (f"/var/lib/{name}" for name in properties["StateDirectory"])
        found["STATE_DIRECTORY"] = ":".join(folders)
    found["CREDENTIALS_DIRECTORY"] = str(credentials)
    for name in properties["UnsetEnvironment"]:
        found.pop(name, None)
    return found


def _assignments(texts: list[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        name, sign, value = text.partition("=")
        if sign and _NAME.fullmatch(name):
            yield name, value


def _from_files(pattern: str, *, is_optional: bool) -> Iterator[tuple[str, str]]:
    """The variables of an EnvironmentFile=, which may be a pattern."""
    files = sorted(glob.glob(pattern)) or [pattern]
    for file in files:
        try:
            text = Path(file).read_text(errors="surrogateescape")
        except OSError as error:
            if is_optional:
                continue
            hint = "mend EnvironmentFile= in the unit, or the file"
            raise ConfigError(f"{file}: cannot be read: {error.strerror}", hint) from None
        yield from _assignments(list(_lines(text)))


def _lines(text: str) -> Iterator[str]:
    """The assignments in an environment file: a backslash joins lines, quotes go away."""
    for line in text.replace("\\\n", "").splitlines():
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        name, sign, value = line.partition("=")
        with suppress(ValueError):  # a quote that never ends
            value = " ".join(shlex.split(value)) if set(value) & set("\"'\\") else value
        yield f"{name.strip()}{sign}{value.strip()}"


def hand_out(properties: Mapping[str, Any], folder: Path, uid: int) -> None:
    """Write the unit's credentials into a folder that is root's alone, and give it to the user."""
    for name, data in _credentials(properties).items():
        descriptor = os.open(folder / name, CREATE, 0o400)
        try:
            fill(descriptor, data)
            os.fchown(descriptor, uid, -1)
        finally:
            os.close(descriptor)
    os.chown(folder, uid, -1)
    os.chmod(folder, 0o500)


def _credentials(properties: Mapping[str, Any]) -> dict[str, bytes]:
    """What LoadCredential= and its kind name.  What is missing is left out: the command says so.

    A key that is to follow goes with the one in use: see rotation/next_key.py.
    """
    found = {name: bytes(data) for name, data in properties.get("SetCredential", ())}
    for pattern in properties.get("ImportCredential", ()):
        for store in reversed(_STORES):
            for file in sorted(Path(store).glob(pattern)):
                found |= _load(file.name, file)
    for name, where in properties.get("LoadCredential", ()):
        place = _place(where)
        found |= _load(name, place) | _load(f"{name}.new", Path(f"{place}.new"))
    for name, where in properties.get("LoadCredentialEncrypted", ()):
        file = _place(where, ".encrypted")
        with suppress(OSError):
            found[name] = _decrypted(name, file)
    return found


def _place(where: str, kind: str = "") -> Path:
    """An absolute path, or a name that is looked for in the credential stores."""
    if where.startswith("/"):
        return Path(where)
    places = [Path(store + kind, where) for store in _STORES]
    return next(filter(Path.exists, places), places[0])


def _load(name: str, path: Path) -> dict[str, bytes]:
    """A file's content by `name`, or that of each file in a folder by `name_FILE`."""
    if path.is_dir():
        return {
            f"{name}_{file.name}": _read(file) for file in sorted(path.iterdir()) if file.is_file()
        }
    return {name: _read(path)} if path.is_file() else {}


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_CREDENTIAL_LIMIT)


def _decrypted(name: str, file: Path) -> bytes:
    if not file.exists():
        raise FileNotFoundError(file)
    content, problem = run("systemd-creds", "decrypt", f"--name={name}", str(file), "-")
    if problem:
        raise ConfigError(f"{file}: cannot be decrypted: {problem}", "see systemd-creds(1)")
    return content.encode("utf-8", "surrogateescape")

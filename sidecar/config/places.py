"""Where files are: the folders of XDG's base directory specification, and those systemd gives.

Everything is taken from the environment that is passed in, so that a test controls all of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from sidecar.errors import ConfigError

_QUOTES = ("'", '"')
SYSTEM_CONFIG = Path("/etc/sidecar/config.toml")


def user_config(environ: Mapping[str, str]) -> Path:
    """Return where `init` puts the configuration: $SIDECAR_CONFIG, else the XDG folder's file."""
    if environ.get("SIDECAR_CONFIG"):
        return Path(environ["SIDECAR_CONFIG"])
    folder = _xdg_folder(environ, "XDG_CONFIG_HOME", ".config")
    if folder is None:
        raise ConfigError("there is no home folder for the configuration", "give --config PATH")
    return folder / "sidecar" / "config.toml"


def find_config(environ: Mapping[str, str]) -> Path | None:
    """Find the configuration file where --config names none; None where there is none."""
    if environ.get("SIDECAR_CONFIG"):
        file = Path(environ["SIDECAR_CONFIG"])
        if not is_there(file):
            refuse_quotes("SIDECAR_CONFIG", environ["SIDECAR_CONFIG"])
            why = hidden(file)
            hint = f"let this user search {file.parent}" if why else "mend or unset the variable"
            raise ConfigError(f"SIDECAR_CONFIG: {file}: {why or 'no such file'}", hint)
        return file
    return next(filter(is_there, usual_configs(environ)), None)


def refuse_quotes(variable: str, text: str) -> None:
    """Raise ConfigError for a variable's value in quotes, which a shell would have removed."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        raise ConfigError(
            f"{variable}: the value stands in quotes, and they are taken for a part of it",
            f"leave the quotes out: write {variable}=VALUE. `docker run --env-file` and Kubernetes"
            " hand on a value as it is written, where a shell removes quotes",
        )


def usual_configs(environ: Mapping[str, str]) -> list[Path]:
    """List the places where a configuration file is looked for, first the user's."""
    folder = _xdg_folder(environ, "XDG_CONFIG_HOME", ".config")
    return [folder / "sidecar" / "config.toml", SYSTEM_CONFIG] if folder else [SYSTEM_CONFIG]


def state_file(environ: Mapping[str, str], name: str) -> Path | None:
    """Return where a file of state belongs: systemd's folder, else XDG's; None without a home."""
    folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd.exec(5): one or more
    if folder:
        return Path(folder, name)
    xdg = _xdg_folder(environ, "XDG_STATE_HOME", ".local/state")
    return xdg / "sidecar" / name if xdg else None


def credential(environ: Mapping[str, str], name: str) -> Path | None:
    """Find a credential that systemd passes (LoadCredential=); None where there is none."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder, name) if folder else None
    return file if file and is_there(file) else None


def home(environ: Mapping[str, str]) -> Path | None:
    """Return the home folder, by $HOME or the user database."""
    folder = environ.get("HOME") or os.path.expanduser("~")
    return Path(folder) if folder.startswith("/") else None


def is_there(file: Path) -> bool:
    """Whether a file exists; one in a folder that we may not search counts as missing."""
    try:
        file.lstat()
    except OSError:
        return False
    return True


def hidden(file: Path) -> str:
    """Why nobody can tell whether a file is there: `Permission denied`; "" if that can be told."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return error.strerror or "no access"
    return ""


def _xdg_folder(environ: Mapping[str, str], variable: str, fallback: str) -> Path | None:
    folder = environ.get(variable, "")
    if folder.startswith("/"):  # "All paths set in these environment variables must be absolute."
        return Path(folder)
    base = home(environ)
    return base / fallback if base else None

"""What `sidecar init --rotate-key` does: another key waits beside the one in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.config.load import Config
from sidecar.config.places import is_there
from sidecar.errors import SidecarError, StoreError
from sidecar.files import keys
from sidecar.http.shown import printable
from sidecar.jira.application_link import FormStep, new_public_key
from sidecar.rotation.next_key import NextKey
from sidecar.system.ownership import handed_out, key_path
from sidecar.system.unit import FOLDERS, Unit
from sidecar.upstream.pool import Upstream

_CREDENTIAL = re.compile(r"^\s*LoadCredential\s*=\s*[^:\s]+:(?P<path>/\S+)\s*$", re.MULTILINE)
_UNITS = ("sidecar.service", "sidecar@*.service", "*.service.d/*.conf")

_BY_ANOTHER = (
    "Jira accepts the new private key: another process has put it in the old one's place meanwhile"
)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of the key that is to follow."""

    path: Path
    is_new: bool
    """Whether it was made just now; else it was there already."""
    form: tuple[FormStep, ...]
    """What to enter in Jira; empty once Jira accepts the key."""
    told: str = ""
    """What came of Jira's accepting it."""
    kept: Path | None = None
    """Where a key is that waited before and was given up."""
    doubt: str = ""
    """Why Jira could not be asked."""


def of_service(config: Config, unit: Unit) -> Config:
    """The configuration with the key itself, of which the service has a copy."""
    passphrase = handed_out(unit, "passphrase")
    return replace(
        config,
        jira=replace(
            config.jira,
            private_key=key_path(unit),
            private_key_passphrase_file=config.jira.private_key_passphrase_file
            or (passphrase if passphrase and is_there(passphrase) else None),
        ),
    )


async def rotate(
    config: Config, environ: Mapping[str, str], *, bits: int | None, force: bool, offline: bool
) -> Rotation:
    """Have another private key wait, or put the one in place that waits and that Jira accepts.

    With `force` one that waits is given up, and kept.  Raises ConfigError where the key in use is
    of no use, and StoreError where no other can be stored.
    """
    jira = config.jira
    _refuse_copy(jira.private_key, environ)
    in_use = keys.load_private_key(jira.private_key, jira.private_key_passphrase_file)
    waiting = NextKey(jira.private_key, jira.private_key_passphrase_file)
    kept = waiting.put_aside() if force else None
    found = waiting.load()
    told = doubt = ""
    if found is None:
        made = keys.generate_private_key(bits or max(in_use.key_size, keys.SAFE_BITS))
        keys.verify_signing(made)
        is_new = waiting.add(made)
        found = made if is_new else waiting.load()
    else:
        is_new = False
        if not offline:
            told, doubt = await _try(config)
    if found is None or not (told or waiting.is_there()):
        told = _BY_ANOTHER
    form = (
        ()
        if told or found is None
        else new_public_key(printable(jira.consumer_key), keys.public_key_base64(found))
    )
    return Rotation(waiting.path, is_new, form, told, kept, doubt)


async def _try(config: Config) -> tuple[str, str]:
    """Ask Jira about the key that waits: what came of its being accepted, or why nobody knows."""
    upstream, told = Upstream(config), list[str]()
    try:
        seconds = config.timeouts.response
        authorizer = Authorizer(Identity(config), upstream, seconds, tell=told.append)
        is_taken = await authorizer.take_next_key()
        return (told[0], "") if is_taken and told else ("", "; ".join(told))
    except SidecarError as error:
        return "", error.message
    finally:
        await upstream.close()


def _refuse_copy(key: Path, environ: Mapping[str, str]) -> None:
    """Raise StoreError for a key that systemd hands out: it is a copy."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and Path(folder) in key.parents:
        raise StoreError(
            f"{key} is a copy that systemd has handed out: another key would go with it",
            "run `sidecar init --rotate-key` as root, where the key itself is",
        )


def handed_out_by(key: Path, folders: Iterable[str] = FOLDERS) -> list[str]:
    """The units to which systemd hands out a copy of the key (LoadCredential=)."""
    real = os.path.realpath(key)
    found = []
    for folder in folders:
        for pattern in _UNITS:
            for file in sorted(Path(folder).glob(pattern)):
                unit = file.name if file.suffix == ".service" else file.parent.name[: -len(".d")]
                paths = _CREDENTIAL.findall(_text(file))
                if any(os.path.realpath(path) == real for path in paths):
                    found.append(unit.replace("@.", "@*."))  # every instance
    return list(dict.fromkeys(found))


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""

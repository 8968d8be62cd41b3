"""Where `init` writes: for a user, or for the system service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.config.places import is_there
from sidecar.files import keys
from sidecar.system import ownership, starting
from sidecar.system.unit import Unit, socket_of


@dataclass(frozen=True, slots=True)
class Site:
    """What lies beside the configuration, as far as it is not as usual."""

    key_path: Path | None = None
    """The private key's file; None for the usual name beside the configuration."""
    key: RSAPrivateKey | None = None
    """The key that is there already, and stays."""
    values: Mapping[str, object] = field(default_factory=dict)
    """Options of the configuration besides those that `init` is told."""

    @property
    def is_service(self) -> bool:
        """Whether it is the system service's: its places are given by the unit."""
        return self.key_path is not None


def service_site(unit: Unit, *, force: bool) -> Site:
    """Prepare a place for the system service: its user, its folder, and a port that is free.

    Instances share a key: with `force`, too, only sidecar.service makes another.  Raises
    AddressInUse where somebody else has the service's port, and ConfigError.
    """
    starting.refuse_taken(unit)
    ownership.ensure_user(unit)
    ownership.make_folder(unit.config_path.parent)
    key_path = ownership.key_path(unit)
    key = None
    if is_there(key_path) and (unit.service.instance or not force):
        passphrase = ownership.handed_out(unit, "passphrase")
        if passphrase is not None and not is_there(passphrase):
            passphrase = None
        key = keys.load_private_key(key_path, passphrase)
    return Site(key_path, key, _values(unit))


def _values(unit: Unit) -> dict[str, object]:
    """An instance has a port of its own, unless its socket unit has."""
    if not unit.service.instance or socket_of(unit) is not None:
        return {}
    port = starting.free_port(unit.config_path.parent)
    return {"listen.addresses": [f"127.0.0.1:{port}", f"[::1]:{port}"]}

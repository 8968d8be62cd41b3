"""Where `init --system` writes: the unit says so, and what is there already stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.init import provision, provision_key, refuse_existing, without_key
from sidecar.commands.site import Site, service_site
from sidecar.errors import StoreError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.system import starting
from sidecar.system.names import Service
from sidecar.system.unit import Unit
from tests.support.processes import Shell, shell
from tests.support.systemd import SERVICE, SOCKET, Systemd

__all__ = ["shell"]

URL = "https://jira.example.com"


@pytest.fixture
def systemd(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    systemd = Systemd(shell)
    monkeypatch.setenv("PATH", str(systemd.folder / "bin"), prepend=":")
    monkeypatch.setattr(starting, "_is_free", lambda port: port == 8123)
    systemd.has("sidecar.socket", SOCKET, ActiveState="active")
    systemd.has("sidecar@work.socket", SOCKET)
    return systemd


def unit(folder: Path, instance: str = "", **properties: Any) -> Unit:
    config = folder / f"{instance or 'config'}.toml"
    known = {
        "ExecStart": [["/x", ["/x", "run", "--config", str(config)]]],
        "LoadCredential": [["private_key", str(folder / "key.pem")], ["passphrase", "none"]],
        "Requires": [] if instance else ["sidecar.socket"],
    }
    return Unit(Service(instance), SERVICE | known | properties)


def test_the_key_is_where_the_unit_takes_it_from(systemd: Systemd, tmp_path: Path) -> None:
    site = service_site(unit(tmp_path), force=False)
    assert (site.key_path, site.key, site.values) == (tmp_path / "key.pem", None, {})
    made = provision(tmp_path / "config.toml", URL, "k", {"HOME": "/"}, site=site, bits=1024)
    assert made.has_new_key
    keys.load_private_key(tmp_path / "key.pem", None)
    assert not (tmp_path / "private_key.pem").exists()


@pytest.mark.parametrize(
    ("instance", "force", "stays"),
    [("", False, True), ("", True, False), ("work", False, True), ("work", True, True)],
)
def test_a_key_that_is_there_stays_unless_it_is_forced_and_nobody_shares_it(
    systemd: Systemd,
    tmp_path: Path,
    private_key: RSAPrivateKey,
    instance: str,
    force: bool,
    stays: bool,
) -> None:
    write_private(tmp_path / "key.pem", keys.private_key_pem(private_key))
    site = service_site(unit(tmp_path, instance), force=force)
    assert (site.key is not None) is stays
    config = tmp_path / "x.toml"
    made = provision(config, URL, "k", {"HOME": "/"}, site=site, force=force, bits=1024)
    assert made.has_new_key is not stays
    kept = keys.load_private_key(tmp_path / "key.pem", None)
    assert (kept.key_size == 2048) is stays


def test_an_instance_gets_a_port_that_is_free(systemd: Systemd, tmp_path: Path) -> None:
    site = service_site(unit(tmp_path, "work"), force=False)
    assert site.values == {"listen.addresses": ["127.0.0.1:8123", "[::1]:8123"]}
    systemd.has("sidecar@work.socket", SOCKET, UnitFileState="enabled")
    assert service_site(unit(tmp_path, "work"), force=False).values == {}


def test_an_imported_key_takes_no_others_place(
    private_key: RSAPrivateKey, other_key: RSAPrivateKey, tmp_path: Path
) -> None:
    site = Site(tmp_path / "key.pem", private_key)
    config = tmp_path / "config.toml"
    with pytest.raises(StoreError, match="holds another key") as caught:
        provision(config, URL, "k", {"HOME": "/"}, private_key=other_key, site=site)
    assert "LoadCredential=private_key:FILE" in caught.value.hint
    made = provision(config, URL, "k", {"HOME": "/"}, private_key=private_key, site=site)
    assert not made.has_new_key


class TestWhatIsThere:
    @pytest.fixture
    def site(self, tmp_path: Path, private_key: RSAPrivateKey) -> Site:
        site = Site(tmp_path / "key.pem", private_key)
        provision(tmp_path / "config.toml", URL, "k", {"HOME": "/"}, site=site)
        return site

    def test_it_is_used_as_it_is(self, site: Site, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        before = config.read_bytes()
        found = without_key(config, {"HOME": "/"}, site)
        assert found is not None
        made = provision_key(found, config, URL, "k", site=site)
        assert (made.has_new_key, config.read_bytes()) == (False, before)
        assert not (tmp_path / "key.pem").exists()  # the key at hand was enough

    def test_another_jira_is_refused(self, site: Site, tmp_path: Path) -> None:
        config = tmp_path / "config.toml"
        found = without_key(config, {"HOME": "/"}, site)
        assert found is not None
        with pytest.raises(StoreError, match=r"its jira\.base_url is") as caught:
            provision_key(found, config, "https://other.example.com", site=site)
        assert "--config" not in caught.value.hint

    def test_only_force_overwrites_it(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="exists already") as caught:
            refuse_existing(
                tmp_path / "config.toml", {"HOME": "/"}, has_token=False, force=False, site=site
            )
        assert caught.value.hint.startswith("overwrite with --force")

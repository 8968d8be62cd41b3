"""The service's user is there, and its files have the owners and modes that it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import ConfigError, StoreError
from sidecar.system import ownership
from sidecar.system.names import Service
from sidecar.system.unit import Unit
from tests.support.processes import Shell, shell
from tests.support.systemd import SERVICE, Systemd, needs_root

__all__ = ["shell"]


@pytest.fixture
def systemd(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    systemd = Systemd(shell)
    monkeypatch.setenv("PATH", str(systemd.folder / "bin"), prepend=":")
    return systemd


def unit(**properties: Any) -> Unit:
    return Unit(Service(), SERVICE | properties)


def test_a_user_who_is_there_is_not_made(systemd: Systemd) -> None:
    ownership.ensure_user(unit())
    assert systemd.calls == []


def test_another_user_than_ours_is_not_made(systemd: Systemd) -> None:
    with pytest.raises(ConfigError, match="the user no-such, who does not exist"):
        ownership.ensure_user(unit(User="no-such"))


@pytest.mark.parametrize("sysusers", [0, 1])
def test_the_user_is_made_by_what_there_is(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, sysusers: int
) -> None:
    monkeypatch.setattr(ownership, "USER", "no-such-user")
    note = "#!/bin/sh\necho {name} >> {{folder}}/calls\nexit {code}\n"
    systemd.program("systemd-sysusers", note.format(name="sysusers", code=sysusers))
    systemd.program("useradd", note.format(name="useradd", code=1))
    with pytest.raises(ConfigError) as caught:
        ownership.ensure_user(unit(User="no-such-user"))
    assert systemd.calls == ["sysusers", "useradd"][: sysusers + 1]
    assert ("cannot be made: useradd exited with 1" in caught.value.message) is bool(sysusers)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ([["private_key", "/etc/sidecar/work.pem"]], "/etc/sidecar/work.pem"),
        ([["private_key", "work.pem"]], "/etc/credstore/work.pem"),
        ([["passphrase", "x"]], "/etc/sidecar/private_key.pem"),
    ],
)
def test_the_key_belongs_where_systemd_takes_it_from(where: list[list[str]], path: str) -> None:
    assert ownership.key_path(unit(LoadCredential=where)) == Path(path)


def test_an_encrypted_key_is_not_ours_to_make() -> None:
    with pytest.raises(ConfigError, match="encrypted"):
        ownership.key_path(unit(LoadCredentialEncrypted=[["other", "/x"], ["private_key", "/y"]]))


def test_the_folder_can_be_entered_by_the_service(tmp_path: Path) -> None:
    ownership.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755
    ownership.make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        ownership.make_folder(tmp_path / "file" / "x")


@needs_root
def test_a_folder_that_was_roots_alone_is_opened(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    ownership.make_folder(tmp_path / "private")
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o755
    (tmp_path / "others").mkdir(mode=0o700)
    os.chown(tmp_path / "others", 1, 1)
    ownership.make_folder(tmp_path / "others")
    assert (tmp_path / "others").stat().st_mode & 0o777 == 0o700


@needs_root
def test_the_configuration_is_the_groups_to_read_and_the_key_is_roots(tmp_path: Path) -> None:
    config, key = tmp_path / "config.toml", tmp_path / "private_key.pem"
    for file in (config, key):
        file.touch(0o600)
    service = unit(Group="daemon", LoadCredential=[["private_key", str(key)]])
    ownership.hand_over(service, config, key)
    assert (config.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o640, 0o600)
    assert (config.stat().st_uid, config.group()) == (0, "daemon")
    ownership.hand_over(unit(Group="daemon", LoadCredential=[]), config, key)
    assert (key.stat().st_mode & 0o777, key.group()) == (0o640, "daemon")


@needs_root
@pytest.mark.parametrize(("mode", "uid"), [(0o644, 0), (0o600, 1)])
def test_what_somebody_has_arranged_stays(tmp_path: Path, mode: int, uid: int) -> None:
    config = tmp_path / "config.toml"
    config.touch()
    config.chmod(mode)
    os.chown(config, uid, uid)
    ownership.hand_over(unit(), config, Path("/etc/sidecar/private_key.pem"))
    assert (config.stat().st_mode & 0o777, config.stat().st_uid) == (mode, uid)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="cannot be given to the service"):
        ownership.hand_over(unit(), tmp_path / "link", Path("/etc/sidecar/private_key.pem"))

"""What systemd says of the unit, and which units stand in each other's way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.errors import ConfigError, NotAuthorized
from sidecar.system import unit
from sidecar.system.names import Service
from sidecar.system.unit import FILES, Unit, find, installed, shadows
from tests.support.processes import Shell, shell
from tests.support.systemd import SERVICE, SOCKET, Systemd

__all__ = ["shell"]


@pytest.fixture
def systemd(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Systemd:
    """systemd's programs, for root."""
    systemd = Systemd(shell)
    monkeypatch.setenv("PATH", str(systemd.folder / "bin"), prepend=":")
    monkeypatch.setattr(unit, "BOOTED", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return systemd


def test_a_unit_is_found_with_its_properties(systemd: Systemd) -> None:
    found = find(Service(), "auth")
    assert found.config_path == Path("/etc/sidecar/config.toml")
    assert found.program == "/usr/bin/sidecar"
    assert found.state_folders == [Path("/var/lib/sidecar")]
    assert not found.is_active


@pytest.mark.parametrize(
    ("argv", "path"),
    [
        (["/x", "run", "--config=/srv/a b.toml"], "/srv/a b.toml"),
        (["/x", "--config", "/srv/c.toml", "run"], "/srv/c.toml"),
        (["/x", "run"], "/etc/sidecar/work.toml"),
        (["/x", "run", "--config"], "/etc/sidecar/work.toml"),
    ],
)
def test_the_configuration_is_the_one_that_it_is_started_with(argv: list[str], path: str) -> None:
    found = Unit(Service("work"), SERVICE | {"ExecStart": [["/x", argv]]})
    assert found.config_path == Path(path)


@pytest.mark.parametrize(
    ("state", "is_active"), [("active", True), ("reloading", True), ("failed", False)]
)
def test_whether_it_runs(state: str, is_active: bool) -> None:
    assert Unit(Service(), SERVICE | {"ActiveState": state}).is_active is is_active


def test_only_root_may_act_as_the_service(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotAuthorized) as caught:
        find(Service("work"), "check")
    assert caught.value.message == "--system --instance work needs root"
    assert caught.value.hint == "run `sudo sidecar check --system --instance work`"
    monkeypatch.setattr(unit, "BOOTED", tmp_path / "none")
    with pytest.raises(NotAuthorized) as caught:
        find(Service(), "check")
    assert "in a container leave --system out" in caught.value.hint


def test_without_systemd_there_is_no_service(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(unit, "BOOTED", tmp_path / "none")
    with pytest.raises(ConfigError, match="systemd does not run here") as caught:
        find(Service(), "auth")
    assert "in a container leave --system out" in caught.value.hint


@pytest.mark.parametrize(
    ("state", "message", "hint"),
    [
        ("not-found", "sidecar.service is not installed", "install the package"),
        ("masked", "sidecar.service is masked", "systemctl unmask sidecar.service"),
        ("bad-setting", "cannot be loaded (bad-setting)", "systemctl status"),
    ],
)
def test_a_unit_that_cannot_start_is_an_error(
    systemd: Systemd, state: str, message: str, hint: str
) -> None:
    systemd.has("sidecar.service", SERVICE, LoadState=state)
    with pytest.raises(ConfigError) as caught:
        find(Service(), "auth")
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("answer", ["echo no bus >&2; exit 1", "exit 1"])
def test_a_systemd_that_does_not_answer_is_an_error(systemd: Systemd, answer: str) -> None:
    (systemd.folder / "bin" / "busctl").write_text(f"#!/bin/sh\n{answer}\n")
    with pytest.raises(ConfigError, match="systemd cannot be asked") as caught:
        find(Service(), "auth")
    assert "dbus" in caught.value.hint


@pytest.mark.parametrize(
    ("socket", "requires", "is_used"),
    [
        ({}, [], False),
        ({"UnitFileState": "enabled"}, [], True),
        ({}, ["sidecar.socket"], True),
        ({"LoadState": "not-found"}, ["sidecar.socket"], False),
    ],
)
def test_a_socket_unit_is_used_where_it_is_required_or_enabled(
    systemd: Systemd, socket: dict[str, str], requires: list[str], is_used: bool
) -> None:
    systemd.has("sidecar.socket", SOCKET, **socket)
    systemd.has("sidecar.service", SERVICE, Requires=requires)
    found = unit.socket_of(find(Service(), "auth"))
    assert (found is not None) is is_used


def test_addresses_of_a_socket_unit_are_those_that_we_could_have() -> None:
    streams = ["[::1]:8088", "/run/x.sock", "@abstract", "vsock:1:2", "127.0.0.1:1"]
    listen = [["Datagram", "127.0.0.1:2"], *(["Stream", stream] for stream in streams)]
    assert unit.passed_addresses({"Listen": listen}) == [
        "[::1]:8088", "unix:/run/x.sock", "127.0.0.1:1",
    ]  # fmt: skip
    assert unit.passed_addresses(None) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("auth", "this signs in root, not sidecar.service: that is `sudo sidecar auth --system`"),
        ("check", ("this is about root's own sidecar, not sidecar.service: that is"
                  " `sudo sidecar check --system`")),
    ],
)  # fmt: skip
def test_root_is_told_that_the_service_is_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    folders = [str(tmp_path)]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert unit.not_the_service(command, {}, folders) == []
    (tmp_path / "sidecar.service").touch()
    assert unit.not_the_service(command, {}, folders) == [said]
    assert unit.not_the_service(command, {"STATE_DIRECTORY": "/var/lib/sidecar"}, folders) == []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unit.not_the_service(command, {}, folders) == []


def test_units_that_shadow_the_packages_are_named(tmp_path: Path) -> None:
    ours, local, packaged = (tmp_path / name for name in ("etc", "local", "lib"))
    for folder in (ours, local, packaged):
        folder.mkdir()
    folders = str(ours), str(local), str(packaged)
    (ours / "sidecar.service").touch()
    assert shadows(folders) == []
    assert installed(folders)
    for file in FILES:
        (packaged / file).touch()
    (local / "sidecar@.service").touch()
    assert [text.split()[0] for text in shadows(folders)] == [
        str(ours / "sidecar.service"), str(local / "sidecar@.service"),
    ]  # fmt: skip


def test_nothing_is_installed_where_nothing_is(tmp_path: Path) -> None:
    assert not installed([str(tmp_path)])

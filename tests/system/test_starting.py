"""The service is started, and what keeps it from that is said."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.options import TCPAddress, UnixAddress
from sidecar.errors import AddressInUse, ConfigError
from sidecar.system import starting
from sidecar.system.names import Service
from sidecar.system.unit import Unit
from tests.support.processes import Shell, shell
from tests.support.systemd import SERVICE, SOCKET, Systemd

__all__ = ["shell"]

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def systemd(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    systemd = Systemd(shell)
    monkeypatch.setenv("PATH", str(systemd.folder / "bin"), prepend=":")
    systemd.program("journalctl", "#!/bin/sh\ncat {folder}/journal 2> /dev/null\n")
    return systemd


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that this process has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def unit(**properties: Any) -> Unit:
    return Unit(Service(properties.pop("instance", "")), SERVICE | properties)


def systemctl_says(systemd: Systemd, text: str) -> None:
    (systemd.folder / "systemctl").write_text(text)


def test_it_is_enabled_and_started(systemd: Systemd) -> None:
    systemd.has("sidecar.socket", SOCKET, ActiveState="active")
    starting.start(unit())
    starting.start(unit(), restart=True)
    assert systemd.calls == [
        "systemctl enable sidecar.service", "systemctl start sidecar.service",
        "systemctl enable sidecar.service", "systemctl restart sidecar.service",
    ]  # fmt: skip


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this is not Linux")
def test_a_port_that_somebody_has_is_said_with_whose_it_is(systemd: Systemd, taken: str) -> None:
    systemd.has("sidecar.socket", SOCKET, Listen=[["Stream", taken]])
    with pytest.raises(AddressInUse) as caught:
        starting.start(unit())
    assert f"{taken} is in use already, by {ME}'s" in caught.value.message
    assert f"`kill {os.getpid()}` stops it" in caught.value.hint
    assert "systemctl edit sidecar.socket" in caught.value.hint
    assert systemd.calls == []


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this is not Linux")
def test_so_is_one_of_the_configuration_where_no_socket_unit_has_it(
    systemd: Systemd, taken: str, tmp_path: Path
) -> None:
    systemd.has("sidecar@work.socket", SOCKET)
    config = tmp_path / "work.toml"
    config.write_text(f'[jira]\nbase_url = "http://localhost"\nconsumer_key = "k"\n'
                      f'[listen]\naddresses = ["{taken}", "unix:/x"]\n')  # fmt: skip
    command = ["/x", ["/x", "run", "--config", str(config)]]
    instance = unit(instance="work", Requires=[], ExecStart=[command])
    with pytest.raises(AddressInUse, match=taken) as caught:
        starting.refuse_taken(instance)
    assert "listen.addresses" in caught.value.hint
    config.write_text("nonsense")
    starting.refuse_taken(instance)  # the service itself says what is wrong with it


def test_a_service_that_does_not_run_is_said_with_what_keeps_it(
    systemd: Systemd, taken: str
) -> None:
    assert starting.not_running(unit(ActiveState="active")) == []
    systemd.has("sidecar.socket", SOCKET, ActiveState="active")
    [said] = starting.not_running(unit())
    assert said.endswith("start it with `sudo systemctl enable --now sidecar.service`")
    systemd.has("sidecar.socket", SOCKET, Listen=[["Stream", taken]])
    [said] = starting.not_running(unit())
    assert said.startswith(f"sidecar.service does not run: {taken} is in use already, by {ME}'s")


def test_its_own_port_is_not_somebody_elses(systemd: Systemd, taken: str) -> None:
    systemd.has("sidecar.socket", SOCKET, Listen=[["Stream", taken]], ActiveState="active")
    starting.refuse_taken(unit())
    starting.refuse_taken(unit(ActiveState="active"))


def test_addresses_of_a_socket_unit_are_read(systemd: Systemd) -> None:
    streams = ["[::1]:8088", "/run/x.sock", "@abstract", "vsock:1:2"]
    listen = [["Datagram", "127.0.0.1:1"], *(["Stream", stream] for stream in streams)]
    systemd.has("sidecar.socket", SOCKET, Listen=listen)
    assert list(starting._socket_addresses(unit())) == [
        TCPAddress("::1", 8088), UnixAddress(Path("/run/x.sock")),
    ]  # fmt: skip


class TestFailures:
    @pytest.fixture(autouse=True)
    def _free(self, systemd: Systemd) -> None:
        systemd.has("sidecar.socket", SOCKET, ActiveState="active")

    def test_what_cannot_be_enabled_is_an_error(self, systemd: Systemd) -> None:
        systemctl_says(systemd, '[ "$1" != enable ] || { echo Read-only >&2; exit 1; }')
        with pytest.raises(ConfigError, match=r"sidecar\.service cannot be enabled: Read-only"):
            starting.start(unit())

    @pytest.mark.parametrize(
        ("journal", "kind", "message", "hint"),
        [
            (
                ("sidecar: error: old\nsidecar: hint: old\nStarting\n"
                "sidecar: error: /etc/x.toml:3: unknown key\nsidecar: hint: mend it\n"),
                ConfigError, "/etc/x.toml:3: unknown key", "mend it",
            ),
            (
                ("sidecar: error: 127.0.0.1:8090 is in use already, by x's nc (pid 5)\n"
                "sidecar: hint: stop it\n"),
                AddressInUse, "127.0.0.1:8090 is in use already", "stop it",
            ),
            ("", ConfigError, "Job failed", "`journalctl -u sidecar.service -n 20` says more"),
        ],
    )  # fmt: skip
    def test_the_services_own_words_say_why_it_does_not_start(
        self, systemd: Systemd, journal: str, kind: type[Exception], message: str, hint: str
    ) -> None:
        systemctl_says(systemd, '[ "$1" != start ] || { echo "Job failed\nmore" >&2; exit 1; }')
        (systemd.folder / "journal").write_text(journal)
        with pytest.raises((ConfigError, AddressInUse)) as caught:
            starting.start(unit())
        assert type(caught.value) is kind
        assert caught.value.message.startswith("sidecar.service does not start: ")
        assert message in caught.value.message
        assert hint in caught.value.hint
        assert "\n" not in caught.value.message


class TestFreePort:
    def test_it_is_one_that_no_configuration_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(starting, "_is_free", lambda port: port != 8091)
        (tmp_path / "a.toml").write_text('addresses = ["127.0.0.1:8090", "[::1]:8092"]')
        assert starting.free_port(tmp_path) == 8093

    def test_it_is_one_where_nobody_listens(self, taken: str) -> None:
        assert not starting._is_free(int(taken.rpartition(":")[2]))

    def test_none_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(starting, "_is_free", lambda _: False)
        with pytest.raises(ConfigError, match="no free port"):
            starting.free_port(tmp_path)

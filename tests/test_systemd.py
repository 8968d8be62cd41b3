"""The units: what systemd's own tools say of them, and what they promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.config.settings import OPTIONS
from tests.support.waiting import PATIENCE

UNITS = Path(__file__).parent.parent / "systemd"
SYSTEM = ["sidecar.service", "sidecar@.service", "sidecar.socket", "sidecar@.socket"]
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")

LEAST_EXPOSED = 1.2


def directives(name: str) -> dict[str, list[str]]:
    """A unit's directives by name, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, is_directive, value = line.partition("=")
        if is_directive and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as installed, with a program that is there."""
    for file in UNITS.rglob("*.s*"):
        target = tmp_path / file.relative_to(UNITS)
        target.parent.mkdir(exist_ok=True)
        text = file.read_text()
        target.write_text(re.sub(r"(?m)^(Exec\w+)=\S+/sidecar ", r"\1=/bin/true ", text))
    return tmp_path


def analyze(*words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, *map(str, words)],
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@needs_systemd
@pytest.mark.parametrize("name", [*SYSTEM, "sidecar-admin.socket"])
def test_systemd_finds_nothing_wrong(installed: Path, name: str) -> None:
    done = analyze("verify", installed / name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_systemd_finds_nothing_wrong_in_the_users_unit(installed: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    done = analyze(
        "verify", "--user", installed / "user" / "sidecar.service", XDG_RUNTIME_DIR=str(runtime)
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", ["sidecar.service", "sidecar@.service"])
def test_the_exposure_is_small(installed: Path, name: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", installed / name)
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    assert float(match[1]) <= LEAST_EXPOSED


def test_an_instance_differs_from_the_service_only_where_it_must() -> None:
    one, many = directives("sidecar.service"), directives("sidecar@.service")
    assert {key for key in one.keys() | many.keys() if one.get(key) != many.get(key)} == {
        "Description",
        "Requires",
        "After",
        "ExecStart",
        "ExecReload",
        "StateDirectory",
        "SocketBindAllow",
        "Also",
    }


@pytest.mark.parametrize("name", ["sidecar.service", "sidecar@.service", "user/sidecar.service"])
def test_errors_that_stay_are_not_restarted_and_everything_else_is(name: str) -> None:
    unit = directives(name)
    assert unit["Restart"] == ["on-failure"]
    assert {"2", "77", "78"} <= set(unit["RestartPreventExitStatus"][0].split())
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["30s"]


@pytest.mark.parametrize("name", ["sidecar.service", "sidecar@.service", "user/sidecar.service"])
def test_a_reload_reads_the_configuration_before_the_service_does(name: str) -> None:
    unit = directives(name)
    first, then = unit["ExecReload"]
    assert first == unit["ExecStart"][0].replace(" run", " validate --files")
    assert then == "/bin/sh -c 'kill -HUP ${MAINPID}'"  # /bin/kill is in procps


@pytest.mark.parametrize("name", ["sidecar.service", "sidecar@.service", "user/sidecar.service"])
def test_no_number_of_failures_gives_the_service_or_its_sockets_up(name: str) -> None:
    """A client on the socket starts the service again at once: the pause keeps tries apart."""
    unit = directives(name)
    assert unit["StartLimitIntervalSec"] == ["0"]
    if name.startswith("user/"):
        assert unit["RestartSec"] == ["1s"]
        return
    (pause,) = unit["ExecStopPost"]
    script = pause.removeprefix("+/bin/sh -c ").strip("'").replace("$$", "$")
    shown = script.replace("sleep 2", "echo pause")
    for result, said in (("success", ""), ("exit-code", "pause\n"), ("watchdog", "pause\n")):
        done = subprocess.run(
            ["/bin/sh", "-c", shown], env={"SERVICE_RESULT": result}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, said)


@pytest.mark.parametrize(
    ("socket", "service"),
    [("sidecar-admin.socket", "sidecar.service"), ("sidecar@.socket", "sidecar@%i.service")],
)
def test_a_restart_of_the_service_opens_a_port_that_was_lost(socket: str, service: str) -> None:
    assert service in directives(socket)["WantedBy"][0].split()


def test_the_token_can_be_stored_and_the_key_is_a_credential() -> None:
    unit = directives("sidecar.service")
    assert unit["StateDirectory"] == ["sidecar"]
    assert unit["StateDirectoryMode"] == ["0700"]
    assert unit["User"] == ["sidecar"]
    assert "DynamicUser" not in unit
    required, optional = unit["LoadCredential"]
    assert required == "private_key:/etc/sidecar/private_key.pem"
    name, _, source = optional.partition(":")
    assert name == "passphrase"
    assert not source.startswith("/"), "an absolute path that is missing makes the unit fail"


def test_the_sockets_are_the_default_addresses() -> None:
    socket = directives("sidecar.socket")
    assert socket["ListenStream"] == ["127.0.0.1:8088", "[::1]:8088"]
    assert socket["SocketMode"] == ["0600"]
    assert directives("sidecar-admin.socket")["FileDescriptorName"] == ["admin"]


def test_every_unit_says_what_it_is_for() -> None:
    for file in UNITS.rglob("*.s*"):
        assert file.read_text().startswith("# "), file


@pytest.mark.parametrize("name", ["sidecar.service", "sidecar@.service"])
def test_the_unit_has_descriptors_for_as_many_clients_as_limits_clients_allows(name: str) -> None:
    (allowed,) = directives(name)["LimitNOFILE"]
    connections = OPTIONS["limits.connections"].default
    assert isinstance(connections, int)
    assert int(allowed) >= 4096 + connections + 100  # what the process needs itself, amply

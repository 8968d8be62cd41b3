"""What packages of distributions are made from: the parts agree with the program and its units."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.config.settings import OPTIONS
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SPEC = DEPLOY / "rpm" / "jira-oauth-sidecar.spec"
RPMSPEC = shutil.which("rpmspec")
UNITS = sorted(path.name for path in (ROOT / "systemd").glob("*.s*") if path.suffix != ".sysusers")


def scripts() -> list[Path]:
    """Every shell script of packaging and of the trials."""
    found = [*DEPLOY.rglob("*"), *(ROOT / "benchmarks" / "units").iterdir()]
    names = {"postinst", "prerm", "postrm", "checks", "checking"}
    return [
        path
        for path in found
        if path.is_file()
        and (path.name in names or path.read_bytes().startswith(b"#!/usr/bin/env bash"))
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_a_script(path: Path) -> None:
    done = subprocess.run(
        ["bash", "-n", str(path)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_removal_knows_every_unit(unit: str) -> None:
    """A unit that is stopped or purged by no pattern would be left behind."""
    assert f"%{{_unitdir}}/{unit}" in SPEC.read_text()
    text = (DEPLOY / "debian" / "prerm").read_text()
    patterns = re.findall(r"'(sidecar[^']*)'", text)
    assert any(Path(unit).match(pattern) for pattern in patterns), unit
    if not unit.startswith("sidecar@"):
        drop_ins = f"/etc/systemd/system/{unit}.d"
        assert drop_ins in (DEPLOY / "debian" / "postrm").read_text()


def test_what_is_purged_is_what_the_units_read_and_write() -> None:
    text = (DEPLOY / "debian" / "postrm").read_text()
    for place in ("/etc/sidecar", "/var/lib/sidecar", "/etc/credstore/sidecar.passphrase"):
        assert f"{place} " in text or f"{place}\n" in text
    assert "oauth/users/access-tokens" in text


def test_staging_changes_every_path_that_a_unit_has_of_an_installation_by_hand() -> None:
    """/opt/sidecar is that of an installation by hand; a package has the program in /usr."""
    sed = re.findall(r"s\|([^|]+)\|([^|]*)\|", (DEPLOY / "stage").read_text())
    for unit in UNITS:
        lines = (ROOT / "systemd" / unit).read_text().splitlines()
        for line in lines:
            text = line
            for pattern, replacement in sed:
                text = re.sub(pattern, replacement, text, count=1)
            assert text.startswith("#") or "/opt/" not in text, f"{unit}: {line}"


@pytest.mark.skipif(RPMSPEC is None, reason="rpmspec is not installed")
def test_rpm_reads_the_spec() -> None:
    assert RPMSPEC is not None
    query = ["-q", "--queryformat", "%{name} %{version} %{license}\n"]
    options = ["--define", "version_of_sidecar 1.2.3"]
    done = subprocess.run(
        [RPMSPEC, *query, *options, str(SPEC)], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "jira-oauth-sidecar 1.2.3 Apache-2.0\n", done.stderr


def test_the_property_list_is_one_and_keeps_the_sidecar_running() -> None:
    (path,) = (DEPLOY / "launchd").glob("*.plist")
    read = plistlib.loads(path.read_bytes())
    assert f"{read['Label']}.plist" == path.name
    assert read["ProgramArguments"][2].startswith('exec "$HOME/.local/bin/sidecar" run ')
    assert read["KeepAlive"] == {"SuccessfulExit": False}
    assert read["Umask"] == 0o077
    shutdown = OPTIONS["timeouts.shutdown"].default
    assert isinstance(shutdown, int)
    assert read["ExitTimeOut"] > shutdown


def test_no_file_of_ours_looks_as_if_it_named_the_place_where_the_image_is_made() -> None:
    """RECORD lists them all, and deploy/stage looks through it."""
    container = (ROOT / "Containerfile").read_text()
    [folder] = re.findall(r"--program-alone (/\w+)", container)
    ends = re.findall(r'-e "\$folder([^"]*)"', (DEPLOY / "stage").read_text())
    files = [f"/{path.relative_to(ROOT)}" for path in (ROOT / "sidecar").rglob("*.py")]
    assert ends
    assert any("/programs.py" in file for file in files)
    assert not [file for file in files for end in ends if folder + end in file]

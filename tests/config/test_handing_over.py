"""What is said to do about a file that others can read, or that we cannot, by where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.config.handing_over import how_to_hand_over
from sidecar.config.tomlfile import read_toml
from sidecar.errors import ConfigError
from sidecar.files.private import read_secret


def hint(path: Path, *, user: int = 1000, is_ours: bool = False, **environ: str) -> str:
    return how_to_hand_over(path, user=user, is_ours=is_ours, environ=environ)


@pytest.fixture
def of_kubernetes(tmp_path: Path) -> Path:
    """A Secret's volume as the kubelet writes it."""
    (tmp_path / "..2031_11_22").mkdir()
    (tmp_path / "..2031_11_22" / "private_key").write_text("x")
    (tmp_path / "..data").symlink_to("..2031_11_22")
    (tmp_path / "private_key").symlink_to("..data/private_key")
    return tmp_path / "private_key"


def test_on_a_machine_it_is_a_command(tmp_path: Path) -> None:
    file = tmp_path / "my key"
    assert hint(file, is_ours=True) == f"chmod 600 '{file}'"
    assert hint(file) == f"chown 1000 '{file}'; chmod 600 '{file}'"


def test_in_a_pod_it_is_the_manifest_whatever_a_chmod_would_do(of_kubernetes: Path) -> None:
    assert "defaultMode: 0440" in hint(of_kubernetes)
    assert "securityContext.fsGroup" in hint(of_kubernetes)
    assert "defaultMode: 0400" in hint(of_kubernetes, user=0)
    assert "chmod" not in hint(of_kubernetes)
    alone = hint(of_kubernetes.parent / "alone", KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert "subPath" in alone
    assert "defaultMode: 0440" in alone


@pytest.mark.parametrize("folder", ["/run/secrets", "/var/run/secrets"])
def test_for_a_secret_of_dockers_it_is_its_long_form(folder: str) -> None:
    said = hint(Path(folder, "private_key"))
    assert 'uid: "1000"' in said
    assert "mode: 0400" in said
    assert "on the host" in said


def test_for_a_service_of_systemds_it_may_stay_roots() -> None:
    ours, others = str(os.getpid()), "1"
    assert "LoadCredential=NAME:/etc/k" in hint(Path("/etc/k"), SYSTEMD_EXEC_PID=ours)
    assert "LoadCredential" not in hint(Path("/etc/k"), SYSTEMD_EXEC_PID=others)
    assert "LoadCredential" not in hint(Path("/etc/k"), is_ours=True, SYSTEMD_EXEC_PID=ours)


def test_where_nothing_can_be_changed_here_it_is_to_be_done_on_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class ReadOnly:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly())
    assert hint(tmp_path / "key", is_ours=True).startswith("on the host: chmod 600 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_what_may_not_be_read_comes_with_the_commands_to_change_that(tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):  # with xdist one more
        folder.chmod(folder.stat().st_mode | 0o011)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for file in (tmp_path / "file", closed / "file"):
        file.touch(mode=0o600)
        os.seteuid(65534)
        try:
            for read in (read_toml, lambda path: read_secret(path, "token")):
                with pytest.raises(ConfigError, match="cannot be read: Permission") as caught:
                    read(file)
                assert caught.value.hint.startswith(f"chown 65534 {file}; chmod 600 {file}")
                assert (f"enter {closed}" in caught.value.hint) is (file.parent == closed)
        finally:
            os.seteuid(0)

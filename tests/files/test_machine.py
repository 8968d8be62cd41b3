"""Which machine stored a token: a copy elsewhere is told, and nobody else."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from sidecar.account.token_in_use import TokenInUse
from sidecar.credentials import Secret, TokenCredentials
from sidecar.files import machine
from sidecar.files.machine import other_machine, this_machine
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar
from tests.support.checking import check

ONE, TWO = "1" * 32, "2" * 32


class Machine:
    """This machine, as a test has it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.id, self.mounts, self.mark = folder / "id", folder / "mounts", folder / "mark"
        monkeypatch.setattr(machine, "_ID", self.id)
        monkeypatch.setattr(machine, "_MOUNTS", self.mounts)
        monkeypatch.setattr(machine, "_CONTAINERS", (self.mark,))
        for name in ("KUBERNETES_SERVICE_HOST", "container"):
            monkeypatch.delenv(name, raising=False)
        self.become(ONE)
        self.mount("ext4")

    def become(self, text: str) -> None:
        self.id.write_text(f"{text}\n")

    def mount(self, kind: str, at: str = "/") -> None:
        root = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        self.mounts.write_text(f"{root}22 21 0:40 / {at} rw shared:2 - {kind} server:/x rw\n")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "machine").mkdir()
    return Machine(tmp_path / "machine", monkeypatch)


def stored(folder: Path) -> TokenFile:
    file = TokenFile(folder / "token.json", BaseURL.parse("https://jira"), "OauthKey")
    file.save(TokenCredentials(Secret("t"), Secret("")))
    return file


def test_the_file_names_the_machine_and_not_its_id(here: Machine, tmp_path: Path) -> None:
    file = stored(tmp_path)
    document = json.loads(file.path.read_bytes())
    assert document["stored_on"]["host"] == socket.gethostname()
    assert len(document["stored_on"]["id"]) == 64
    assert ONE not in file.path.read_text()


def test_a_copy_on_another_machine_is_told_until_that_stores_its_own(
    here: Machine, tmp_path: Path
) -> None:
    stored(tmp_path)
    file = TokenFile(tmp_path / "token.json", BaseURL.parse("https://jira"), "OauthKey")
    token = TokenInUse(file, lambda: 0.0)
    token.current()
    assert (file.other_machine(), token.warnings()) == ("", [])
    here.become(TWO)
    (warning,) = token.warnings()
    assert f"stored on {socket.gethostname()}, which is another machine" in warning
    file.save(token.current())
    assert token.warnings() == []
    here.become(ONE)
    stored(tmp_path)
    token.current()
    assert token.warnings() == []


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "ceph", "fuse.glusterfs", "9p", "overlay"])
def test_on_storage_that_machines_may_share_nobody_is_told(
    here: Machine, tmp_path: Path, kind: str
) -> None:
    file = stored(tmp_path)
    file.load()
    here.become(TWO)
    assert file.other_machine()
    here.mount(kind, str(tmp_path))
    assert not file.other_machine()


@pytest.mark.parametrize("text", ["", "uninitialized", "\xe9", "1" * 31])
def test_where_there_is_no_lasting_id_nobody_is_told(
    here: Machine, tmp_path: Path, text: str
) -> None:
    file = stored(tmp_path)
    file.load()
    here.become(text)
    assert this_machine() is None
    assert not file.other_machine()
    assert "stored_on" not in json.loads(stored(tmp_path).path.read_bytes())


def test_in_a_container_nobody_is_told(
    here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = this_machine()
    here.become(TWO)
    assert other_machine(record, tmp_path)
    here.mark.touch()
    assert not other_machine(record, tmp_path)
    here.mark.unlink()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert not other_machine(record, tmp_path)


@pytest.mark.parametrize("record", [None, 1, [], {}, {"id": 1}, {"host": "x"}])
def test_an_older_file_and_an_odd_record_tell_nothing(
    here: Machine, tmp_path: Path, record: object
) -> None:
    assert not other_machine(record, tmp_path)


async def test_it_is_the_likely_cause_when_the_copy_dies(
    here: Machine,
    sandbox: Sandbox,
    make_sidecar: MakeSidecar,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
    here.become(TWO)
    sandbox.revoke()
    assert (await sidecar.get("/rest/api/2/myself")).status == 401
    assert "most likely a sidecar there has renewed it" in caplog.text


async def test_check_notes_it(here: Machine, sandbox: Sandbox, make_sidecar: MakeSidecar) -> None:
    sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
    assert "another machine" not in (await check(sidecar.config))["token"].message
    here.become(TWO)
    assert "another machine" in (await check(sidecar.config))["token"].message

"""The token that is kept beside the place that it could not take."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.credentials import Secret
from sidecar.errors import StoreError
from sidecar.files import private as private_files
from sidecar.files.successor import Successor, digest


@pytest.fixture
def successor(tmp_path: Path) -> Successor:
    return Successor(tmp_path / "token.json")


def test_what_is_kept_is_read_back_until_it_is_discarded(successor: Successor) -> None:
    assert successor.read() is None
    successor.keep(b"a token")
    assert successor.read() == b"a token"
    successor.keep(b"another")
    assert successor.read() == b"another"
    successor.discard()
    assert successor.read() is None
    successor.discard()


def test_it_is_private_from_the_first_moment(successor: Successor) -> None:
    os.umask(0)
    successor.reserve(100)
    assert stat.S_IMODE(successor.path.stat().st_mode) == 0o600
    successor.discard()
    successor.keep(b"x")
    assert stat.S_IMODE(successor.path.stat().st_mode) == 0o600


def test_room_that_was_reserved_is_filled_and_nothing_else_is_asked_of_the_disk(
    successor: Successor,
) -> None:
    successor.reserve(500)
    assert successor.path.stat().st_size == 500
    inode = successor.path.stat().st_ino
    successor.keep(b"t" * 450)
    assert (successor.read(), successor.path.stat().st_ino) == (b"t" * 450, inode)


def test_room_that_is_not_there_is_found_out_in_time(
    successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files, "_write_all", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        successor.reserve(500)
    assert "the disk is full" in caught.value.hint


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_somebody_put_there_is_neither_read_nor_written_to(
    successor: Successor, tmp_path: Path, is_kept: bool
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    theirs.chmod(0o644)
    os.link(theirs, successor.path)
    assert successor.read() is None
    if not is_kept:
        successor.reserve(10)
    successor.keep(b"ours")
    assert successor.read() == b"ours"
    assert theirs.read_bytes() == b"theirs"


def test_a_link_is_not_followed(successor: Successor, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    victim.chmod(0o600)
    successor.path.symlink_to(victim)
    with pytest.raises(StoreError):
        successor.keep(b"ours")
    assert victim.read_bytes() == b"victim"


def test_it_lies_beside_the_real_file_whatever_links_lead_there(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "state" / "token.json")
    assert Successor(tmp_path / "link.json").path == tmp_path / "state" / ".token.json.new"


def test_a_digest_tells_no_token() -> None:
    assert digest(Secret("token")) != digest(Secret("other"))
    assert "token" not in digest(Secret("token"))
    assert len(digest(Secret("é"))) == 64

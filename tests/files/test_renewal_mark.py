"""The note that a renewal has begun."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import StoreError
from sidecar.files.renewal_mark import RenewalMark

TOKEN = TokenCredentials(Secret("ACCESStoken"), Secret("s3cret"), session_handle=Secret("HANDLE"))
OTHER = TokenCredentials(Secret("OTHERtoken"), Secret(""))


@pytest.fixture
def mark(tmp_path: Path) -> RenewalMark:
    return RenewalMark(tmp_path / "token.json")


def test_a_mark_is_about_one_token_until_it_is_cleared(mark: RenewalMark) -> None:
    assert not mark.is_about(TOKEN)
    mark.set(TOKEN)
    assert mark.is_about(TOKEN)
    assert not mark.is_about(OTHER)
    mark.set(OTHER)
    assert not mark.is_about(TOKEN)
    mark.clear()
    assert not mark.is_about(OTHER)
    mark.clear()


def test_it_is_private_and_holds_no_secret(mark: RenewalMark) -> None:
    mark.set(TOKEN)
    assert stat.S_IMODE(mark.path.stat().st_mode) == 0o600
    content = mark.path.read_text()
    assert not any(secret in content for secret in ("ACCESStoken", "s3cret", "HANDLE"))


def test_one_that_cannot_be_read_says_nothing(mark: RenewalMark) -> None:
    mark.set(TOKEN)
    mark.path.chmod(0o644)
    assert not mark.is_about(TOKEN)
    mark.path.unlink()
    mark.path.mkdir()
    assert not mark.is_about(TOKEN)
    mark.clear()  # cannot be, and does no harm


def test_where_it_cannot_be_written_a_token_could_not_be_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        RenewalMark(tmp_path / "file" / "token.json").set(TOKEN)

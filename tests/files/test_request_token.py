"""The request token's file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TemporaryCredentials
from sidecar.errors import ConfigError, NotAuthorized, StoreError
from sidecar.files.private import write_private
from sidecar.files.request_token import RequestTokenFile
from sidecar.http.target import BaseURL

JIRA = BaseURL.parse("https://jira.example.com/jira")
ISSUED = TemporaryCredentials(Secret("REQUEST"), Secret("s3cret"), issued_at=1_700_000_000.25)


@pytest.fixture
def request_file(tmp_path: Path) -> RequestTokenFile:
    return RequestTokenFile(tmp_path / "state" / "token.json", JIRA, "OauthKey")


def test_a_request_token_is_kept_private_until_it_is_removed(
    request_file: RequestTokenFile,
) -> None:
    request_file.save(ISSUED)
    assert request_file.path == request_file.path.with_name("request_token.json")
    assert stat.S_IMODE(request_file.path.stat().st_mode) == 0o600
    assert (
        RequestTokenFile(request_file.path.with_name("token.json"), JIRA, "OauthKey").load()
        == ISSUED
    )
    request_file.remove()
    assert os.listdir(request_file.path.parent) == []
    request_file.remove()


def test_without_one_no_sign_in_has_begun(request_file: RequestTokenFile) -> None:
    with pytest.raises(NotAuthorized, match="no sign-in has begun") as caught:
        request_file.load()
    assert "sidecar auth --begin" in caught.value.hint
    assert caught.value.exit_code == 77


def test_a_second_beginning_replaces_the_first(request_file: RequestTokenFile) -> None:
    request_file.save(ISSUED)
    later = TemporaryCredentials(Secret("LATER"), Secret(""), issued_at=1_800_000_000.0)
    request_file.save(later)
    assert request_file.load() == later


def test_another_jiras_request_token_is_not_used(
    request_file: RequestTokenFile,
) -> None:
    request_file.save(ISSUED)
    other = RequestTokenFile(
        request_file.path.with_name("token.json"),
        BaseURL.parse("https://other.example.com"),
        "OauthKey",
    )
    with pytest.raises(NotAuthorized, match="the request token is for") as caught:
        other.load()
    assert "sidecar auth --begin" in caught.value.hint


def test_a_damaged_request_token_file_says_to_begin_again(request_file: RequestTokenFile) -> None:
    write_private(request_file.path, b"{}")
    with pytest.raises(ConfigError, match="damaged") as caught:
        request_file.load()
    assert caught.value.hint == "run `sidecar auth --begin` again"
    request_file.save(ISSUED)
    assert request_file.load() == ISSUED


def test_a_request_token_that_cannot_be_removed_is_reported(
    request_file: RequestTokenFile,
) -> None:
    request_file.path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be removed"):
        request_file.remove()


def test_the_proof_that_it_can_be_stored_leaves_what_is_there(
    request_file: RequestTokenFile,
) -> None:
    request_file.prove_storable()
    assert os.listdir(request_file.path.parent) == []
    request_file.save(ISSUED)
    request_file.prove_storable()
    assert request_file.load() == ISSUED


def test_one_that_we_cannot_read_is_in_nobodys_way(request_file: RequestTokenFile) -> None:
    request_file.save(ISSUED)
    request_file.path.chmod(0o644)
    request_file.prove_storable()
    request_file.save(ISSUED)
    assert request_file.load() == ISSUED


def test_what_cannot_be_replaced_is_found_before_it_has_to_be(
    request_file: RequestTokenFile,
) -> None:
    request_file.path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be written"):
        request_file.prove_storable()


def test_one_too_large_to_be_read_again_is_not_stored(request_file: RequestTokenFile) -> None:
    huge = TemporaryCredentials(Secret("R" * 65536), Secret("s3cret"), issued_at=1.0)
    with pytest.raises(StoreError, match="more than 64 KiB"):
        request_file.save(huge)
    assert not request_file.path.exists()

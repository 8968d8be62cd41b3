"""What is read of a file that holds a token, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.errors import NotAuthorized, StoreError
from sidecar.files.document import DamagedFile, NewerFile, Owner, Reader, encode, parse, read
from sidecar.files.private import SECRET_LIMIT, write_private
from sidecar.http.target import BaseURL

PATH = Path("/state/token.json")
HALVES = ["\ud800", "abc\udfff", "\udc80x"]


def test_a_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    document = {"version": 1, "token": "é\U0001f511", "expires_at": 1.5, "user": None}
    path = tmp_path / "token.json"
    assert read(path, "token") is None
    write_private(path, encode(document, path))
    assert read(path, "token") == document


@pytest.mark.parametrize("version", [True, 1.0, 0, -1, "1", None])
def test_a_version_is_a_number_from_1(version: object) -> None:
    with pytest.raises(DamagedFile, match="it is no token file of the sidecar"):
        parse(json.dumps({"version": version}).encode(), PATH, "token")


def test_a_newer_sidecars_file_is_not_called_damaged() -> None:
    with pytest.raises(NewerFile, match="has version 2"):
        parse(b'{"version": 2}', PATH, "token")


@pytest.mark.parametrize("half", HALVES)
def test_half_a_surrogate_pair_is_no_text(half: str) -> None:
    """JSON may hold one (RFC 8259 §8.2); no encoding does."""
    document = parse(json.dumps({"version": 1, "token": half}).encode(), PATH, "token")
    with pytest.raises(DamagedFile, match='"token" is no text'):
        Reader(document, PATH, "token").text("token")
    with pytest.raises(DamagedFile, match='"token" is no text'):
        Reader(document, PATH, "token").optional_text("token")


@pytest.mark.parametrize("half", HALVES)
def test_an_owner_is_text_too(half: str) -> None:
    owner = Owner(BaseURL.parse("https://jira.example.com"), "OauthKey")
    with pytest.raises(DamagedFile, match='"consumer_key" is no text'):
        owner.refuse_others({**owner.as_json(), "consumer_key": half}, PATH, "token")
    with pytest.raises(NotAuthorized, match="the token is for"):
        owner.refuse_others({**owner.as_json(), "consumer_key": "Other"}, PATH, "token")
    owner.refuse_others(dict(owner.as_json()), PATH, "token")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"consumer_key": "Other"}, "jira.consumer_key"),
        ({"base_url": "https://other.example.com"}, "jira.base_url"),
    ],
)
def test_a_slip_in_the_configuration_is_the_first_thing_to_look_for(
    changed: dict[str, str], named: str
) -> None:
    owner = Owner(BaseURL.parse("https://jira.example.com"), "OauthKey")
    with pytest.raises(NotAuthorized) as caught:
        owner.refuse_others({**owner.as_json(), **changed}, PATH, "token")
    assert caught.value.hint.startswith(f"if {named} is not what it should be, set it right;")


@pytest.mark.parametrize("half", HALVES)
def test_half_a_surrogate_pair_is_not_written_either(half: str) -> None:
    with pytest.raises(StoreError, match="half a surrogate pair"):
        encode({"version": 1, "token": half}, PATH)


def test_what_could_not_be_read_again_is_not_written() -> None:
    room = SECRET_LIMIT - len(encode({"token": ""}, PATH))
    assert len(encode({"token": "x" * room}, PATH)) == SECRET_LIMIT
    with pytest.raises(StoreError, match="more than 64 KiB") as caught:
        encode({"token": "x" * (room + 1)}, PATH)
    assert caught.value.exit_code == 73
    assert "xx" not in str(caught.value)

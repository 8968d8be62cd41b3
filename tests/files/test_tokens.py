"""The token's file, the request token's file, and the lock."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.credentials import LATEST, Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, StoreError
from sidecar.files import private as private_files
from sidecar.files.private import write_private
from sidecar.files.tokens import RequestTokenFile, TokenFile
from sidecar.http.target import BaseURL

JIRA = BaseURL.parse("https://jira.example.com/jira")
TOKEN = TokenCredentials(
    token=Secret("ACCESStoken"),
    token_secret=Secret("s3cret"),
    session_handle=Secret("HANDLE"),
    expires_at=1_950_000_000.0,
    session_expires_at=1_952_592_000.5,
    user="alana",
    display_name="Alana Éxample",
    server_url="https://jira.example.com/jira",
)
OTHER = TokenCredentials(Secret("OTHERtoken"), Secret(""))
SECRETS = ("ACCESStoken", "s3cret", "HANDLE")


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "state" / "token.json", JIRA, "OauthKey")


def another(file: TokenFile, base_url: BaseURL = JIRA, consumer_key: str = "OauthKey") -> TokenFile:
    """The same file, as another process or another sidecar sees it."""
    return TokenFile(file.path, base_url, consumer_key)


def put(file: TokenFile, content: bytes) -> None:
    write_private(file.path, content)


def refused(file: TokenFile, error: type[SidecarError]) -> SidecarError:
    """Return what load() raises, having seen that nothing can make it overwrite the file."""
    before = file.path.read_bytes(), file.path.stat().st_ino
    with pytest.raises(error) as caught:
        file.load()
    for attempt in (file.ensure_replaceable, lambda: file.save(TOKEN)):
        with pytest.raises(SidecarError) as refusal:
            attempt()
        assert refusal.value.hint
    assert (file.path.read_bytes(), file.path.stat().st_ino) == before
    assert caught.value.hint
    shown = f"{caught.value}{caught.value.hint}{refusal.value}{refusal.value.hint}"
    assert not any(secret in shown for secret in SECRETS)
    return caught.value


# --- load and save ---


def test_a_token_is_read_back_as_it_was_stored(file: TokenFile) -> None:
    file.save(TOKEN)
    assert file.load() == TOKEN
    assert another(file).load() == TOKEN


def test_a_token_with_the_least_there_is_is_read_back(file: TokenFile) -> None:
    file.save(OTHER)
    assert file.load() == OTHER


TEXT = st.text(min_size=1)
TIME = st.none() | st.floats(0, LATEST, exclude_max=True)
TOKENS = st.builds(
    TokenCredentials,
    token=TEXT.map(Secret),
    token_secret=st.text().map(Secret),
    session_handle=st.none() | TEXT.map(Secret),
    expires_at=TIME,
    session_expires_at=TIME,
    user=st.none() | TEXT,
    display_name=st.none() | TEXT,
    server_url=st.none() | TEXT,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(TOKENS)
def test_any_token_is_read_back_as_it_was_stored(
    file: TokenFile, credentials: TokenCredentials
) -> None:
    file.save(credentials)
    assert file.load() == credentials


@pytest.mark.parametrize("end", [LATEST, 1_950_000_000_000, 2**53 - 1])
def test_an_end_that_no_calendar_has_is_none(file: TokenFile, end: float) -> None:
    """Milliseconds in place of seconds, say: every line that shows a date would fail."""
    file.save(replace(TOKEN, expires_at=end, session_expires_at=end))
    assert file.load() == replace(TOKEN, expires_at=None, session_expires_at=None)


def test_no_file_is_no_token(file: TokenFile) -> None:
    assert file.load() is None
    file.ensure_replaceable()


def test_the_file_is_private_and_says_whose_it_is(file: TokenFile) -> None:
    os.umask(0)
    file.save(TOKEN)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert json.loads(file.path.read_text()) == {
        "version": 1,
        "base_url": "https://jira.example.com/jira",
        "consumer_key": "OauthKey",
        "token": "ACCESStoken",
        "token_secret": "s3cret",
        "session_handle": "HANDLE",
        "expires_at": 1_950_000_000.0,
        "session_expires_at": 1_952_592_000.5,
        "user": "alana",
        "display_name": "Alana Éxample",
        "server_url": "https://jira.example.com/jira",
    }


def test_a_token_that_others_can_read_is_refused(file: TokenFile) -> None:
    file.save(TOKEN)
    file.path.chmod(0o644)
    error = refused(file, ConfigError)
    assert "the token file is open to others (mode 0644)" in str(error)
    assert error.hint == f"chmod 600 {file.path}"


@pytest.mark.parametrize(
    ("base_url", "consumer_key"),
    [
        ("https://other.example.com/jira", "OauthKey"),
        ("http://jira.example.com/jira", "OauthKey"),
        ("https://jira.example.com", "OauthKey"),
        ("https://jira.example.com/jira", "oauthkey"),
    ],
)
def test_a_token_of_another_jira_or_consumer_is_neither_used_nor_replaced(
    file: TokenFile, base_url: str, consumer_key: str
) -> None:
    file.save(TOKEN)
    ours = another(file, BaseURL.parse(base_url), consumer_key)
    error = refused(ours, NotAuthorized)
    assert 'is for "https://jira.example.com/jira" (consumer key "OauthKey"), not for' in str(error)
    assert "token.path" in error.hint
    with pytest.raises(StoreError, match="it is not replaced") as caught:
        ours.ensure_replaceable()
    assert caught.value.exit_code == 73
    assert "token.path" in caught.value.hint
    assert file.load() == TOKEN


DAMAGED = {
    "empty": b"",
    "no JSON": b"hello",
    "not UTF-8": b'{"version": 1, "user": "\xff"}',
    "deep": b"[" * 60_000,
    "a list": b"[1]",
    "no version": b'{"token": "x"}',
    "version 0": b'{"version": 0}',
    "a version that is text": b'{"version": "1"}',
    "a JSON of somebody else's": b'{"version": 1, "name": "package"}',
    "binary": b"\x00" * 100,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_file_that_is_no_token_file_is_refused_and_left_alone(file: TokenFile, name: str) -> None:
    put(file, DAMAGED[name])
    error = refused(file, ConfigError)
    assert str(error).startswith(f"{file.path}: the token file is damaged: ")
    assert f"move {file.path} away" in error.hint


def test_a_truncated_file_is_refused_wherever_it_ends(file: TokenFile) -> None:
    whole = file.encode(TOKEN)
    for end in range(0, len(whole) - 2, 11):
        put(file, whole[:end])
        refused(file, ConfigError)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", ""),
        ("token", None),
        ("token", 7),
        ("token_secret", None),
        ("session_handle", ""),
        ("session_handle", []),
        ("expires_at", "tomorrow"),
        ("expires_at", True),
        ("expires_at", -1),
        ("expires_at", 10**400),
        ("session_expires_at", float("nan")),
        ("session_expires_at", float("inf")),
        ("user", {}),
        ("base_url", None),
        ("consumer_key", 1),
    ],
)
def test_a_field_that_does_not_fit_is_named(file: TokenFile, field: str, value: Any) -> None:
    document = json.loads(file.encode(TOKEN))
    put(file, json.dumps({**document, field: value}).encode())
    assert f'the token file is damaged: "{field}" is' in str(refused(file, ConfigError))


def test_a_newer_sidecars_file_is_left_alone(file: TokenFile) -> None:
    put(file, b'{"version": 2, "tokens": []}')
    error = refused(file, ConfigError)
    assert "the token file has version 2, and this sidecar knows 1" in str(error)
    assert "a newer sidecar wrote it" in error.hint


def test_fields_that_a_later_version_adds_do_no_harm(file: TokenFile) -> None:
    put(file, json.dumps({**json.loads(file.encode(TOKEN)), "note": "x"}).encode())
    assert file.load() == TOKEN


def test_when_the_token_cannot_be_stored_the_old_one_stays(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.save(TOKEN)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_files, "_write_all", full)
    with pytest.raises(StoreError, match="No space left"):
        file.save(OTHER)
    assert file.load() == TOKEN


def test_nothing_secret_is_in_a_repr(file: TokenFile) -> None:
    file.save(TOKEN)
    assert not any(secret in f"{file!r}{file.load()!r}" for secret in SECRETS)


# --- noticing changes ---


def test_a_token_stored_by_another_process_is_noticed_once(file: TokenFile) -> None:
    assert not file.changed()
    another(file).save(TOKEN)
    assert file.changed()
    assert file.load() == TOKEN
    assert not file.changed()
    another(file).save(TOKEN)  # same content, another file
    assert file.changed()


def test_what_we_store_ourselves_is_no_change_and_what_others_store_after_it_is(
    file: TokenFile,
) -> None:
    file.save(TOKEN)
    assert not file.changed()
    another(file).save(OTHER)
    assert file.changed()


def test_a_file_that_vanishes_or_becomes_acceptable_has_changed(file: TokenFile) -> None:
    file.save(TOKEN)
    file.path.chmod(0o644)
    assert file.changed()
    with pytest.raises(ConfigError):
        file.load()
    assert not file.changed()
    file.path.chmod(0o600)
    assert file.changed()
    assert file.load() == TOKEN
    file.path.unlink()
    assert file.changed()
    assert file.load() is None


def test_asking_whether_it_is_replaceable_does_not_count_as_reading(file: TokenFile) -> None:
    another(file).save(TOKEN)
    file.ensure_replaceable()
    assert file.changed()


# --- the request token ---

ISSUED = TemporaryCredentials(Secret("REQUEST"), Secret("s3cret"), issued_at=1_700_000_000.25)


@pytest.fixture
def request_file(file: TokenFile) -> RequestTokenFile:
    return RequestTokenFile(file.path, JIRA, "OauthKey")


def test_a_request_token_is_kept_private_until_it_is_removed(
    file: TokenFile, request_file: RequestTokenFile
) -> None:
    request_file.save(ISSUED)
    assert request_file.path == file.path.with_name("request_token.json")
    assert stat.S_IMODE(request_file.path.stat().st_mode) == 0o600
    assert RequestTokenFile(file.path, JIRA, "OauthKey").load() == ISSUED
    request_file.remove()
    assert os.listdir(file.path.parent) == []
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
    file: TokenFile, request_file: RequestTokenFile
) -> None:
    request_file.save(ISSUED)
    other = RequestTokenFile(file.path, BaseURL.parse("https://other.example.com"), "OauthKey")
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


# --- the lock ---

HOLDER = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold the lock."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield holder
        if holder.stdin and not holder.stdin.closed:
            holder.stdin.close()


def lock_path(file: TokenFile) -> Path:
    return file.path.with_name(f".{file.path.name}.lock")


async def test_one_task_at_a_time_holds_the_lock(file: TokenFile) -> None:
    file.save(TOKEN)
    inside = 0

    async def hold() -> None:
        nonlocal inside
        async with another(file).locked():
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(3)))
    assert stat.S_IMODE(lock_path(file).stat().st_mode) == 0o600


async def test_a_lock_that_another_process_holds_is_waited_for(file: TokenFile) -> None:
    file.save(TOKEN)
    entered = asyncio.Event()

    async def wait() -> None:
        async with file.locked():
            entered.set()

    with held_elsewhere(lock_path(file)) as holder:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert not entered.is_set()
        assert holder.stdin
        holder.stdin.close()
        await asyncio.wait_for(waiting, 10)
    assert entered.is_set()


async def test_waiting_for_the_lock_ends_with_patience(file: TokenFile) -> None:
    file.save(TOKEN)
    with (
        held_elsewhere(lock_path(file)),
        pytest.raises(StoreError, match=r"has held the lock for 0 s") as caught,
    ):
        async with file.locked(patience=0):
            pytest.fail("it is held elsewhere")
    assert caught.value.hint


async def test_a_killed_process_holds_no_lock(file: TokenFile) -> None:
    file.save(TOKEN)
    with held_elsewhere(lock_path(file)) as holder:
        holder.kill()
        holder.wait()
        async with file.locked(patience=0):
            pass


async def test_the_lock_is_given_up_whatever_happens(file: TokenFile) -> None:
    file.save(TOKEN)
    with pytest.raises(ZeroDivisionError):
        async with file.locked():
            raise ZeroDivisionError
    async with file.locked(patience=0):
        pass


async def test_a_folder_that_is_missing_or_does_not_lock_is_a_store_error(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="cannot be written: No such file"):
        await file.locked().__aenter__()
    file.save(TOKEN)

    def unsupported(*_: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StoreError, match="cannot be locked: No locks available"):
        await file.locked().__aenter__()

"""The token's file: read, stored whole, and proved to be replaceable before Jira is asked."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.credentials import LATEST, Secret, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized, SidecarError, StoreError
from sidecar.files import private as private_files
from sidecar.files import tokens
from sidecar.files.lock import locked_if_free
from sidecar.files.private import write_private
from sidecar.files.tokens import KeptBeside, TokenFile
from sidecar.http.target import BaseURL
from tests.support.disks import unplaceable

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


@pytest.mark.parametrize("machine", [{"id": "1" * 64, "host": "here"}, None])
def test_the_file_says_which_machine_stored_it_where_that_is_known(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch, machine: dict[str, str] | None
) -> None:
    monkeypatch.setattr(tokens, "this_machine", lambda: machine)
    file.save(TOKEN)
    document = json.loads(file.path.read_bytes())
    assert document.get("stored_on", None) == machine
    assert ("stored_on" in document) == (machine is not None)
    assert file.load() == TOKEN


def test_the_machine_of_the_last_token_that_was_read_is_compared_with_ours(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[object] = []

    def other(stored_on: object, path: Path) -> str:
        compared.append((stored_on, path))
        return "there"

    monkeypatch.setattr(tokens, "other_machine", other)
    assert file.other_machine() == "there"
    put(file, json.dumps({**json.loads(file.encode(TOKEN)), "stored_on": {"id": "x"}}).encode())
    file.load()
    file.other_machine()
    assert compared == [(None, file.path), ({"id": "x"}, file.path)]


def test_the_folder_is_opened_and_closed_again_and_a_missing_one_does_no_harm(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.open_folder()
    file.save(TOKEN)
    opened: list[tuple[Path, int]] = []
    real = os.open

    def opening(path: Path, flags: int) -> int:
        opened.append((path, real(path, flags)))
        return opened[-1][1]

    monkeypatch.setattr(os, "open", opening)
    file.open_folder()
    ((folder, descriptor),) = opened
    assert folder == Path(os.path.realpath(file.path.parent))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


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
    document = json.loads(file.path.read_text())
    document.pop("stored_on", None)
    assert document == {
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
        ("token", "\ud800abc"),
        ("display_name", "\udfff"),
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


# --- proved before Jira is asked ---


def names(file: TokenFile) -> set[str]:
    return set(os.listdir(file.path.parent)) - {f".{file.path.name}.lock"}


def test_the_proof_leaves_the_token_as_it_is_and_nothing_beside_it(file: TokenFile) -> None:
    file.save(TOKEN)
    before = file.path.read_bytes(), file.path.stat().st_ino
    file.prove_storable()
    assert file.path.read_bytes() == before[0]
    assert file.path.stat().st_ino != before[1], "it did not take its own place"
    assert names(file) == {"token.json"}
    assert file.store_error() is None


def test_the_proof_where_there_is_no_token_yet_leaves_none(file: TokenFile) -> None:
    file.make_folder()
    file.prove_storable()
    assert names(file) == set()


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EBUSY, "mounted by itself"),
        (errno.EXDEV, "mounted by itself"),
        (errno.EPERM, "immutable"),
        (errno.EACCES, "a folder that you can write to"),
        (errno.EROFS, "a folder that you can write to"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EFBIG, "the disk is full"),
    ],
)
def test_a_token_that_cannot_be_renamed_over_is_found_by_doing_it(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    file.save(TOKEN)
    unplaceable(monkeypatch, number)
    for error in (raised(file.prove_replaceable), raised(file.prove_storable), file.store_error()):
        assert isinstance(error, StoreError)
        assert str(error) == f"{file.path}: cannot be written: {os.strerror(number)}"
        assert hint in error.hint
    assert file.load() == TOKEN
    assert names(file) == {"token.json"}


def test_a_damaged_file_that_is_mounted_by_itself_is_said_to_be_that(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file is what people mount; moving it away cannot help them."""
    put(file, b"")
    with monkeypatch.context() as patch:
        unplaceable(patch)
        assert "mounted by itself" in raised(file.prove_replaceable).hint
    assert "it is not replaced" in str(raised(file.prove_replaceable))
    assert file.path.read_bytes() == b""


def test_the_proof_leaves_another_jiras_token_where_it_is(file: TokenFile) -> None:
    file.save(TOKEN)
    inode = file.path.stat().st_ino
    ours = another(file, BaseURL.parse("https://other.example.com"))
    assert "it is not replaced" in str(raised(ours.prove_storable))
    assert file.path.stat().st_ino == inode


def test_a_token_that_is_stored_during_the_proof_stays(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who copies a file and knows nothing of the lock."""
    file.save(TOKEN)
    fill = private_files.fill

    def late(*arguments: Any) -> None:
        monkeypatch.undo()
        another(file).save(OTHER)
        fill(*arguments)

    monkeypatch.setattr(private_files, "fill", late)
    file.prove_replaceable()
    assert file.load() == OTHER
    assert names(file) == {"token.json"}


@pytest.mark.parametrize("name", [".token.json.lock", ".token.json.renewal", ".token.json.new"])
def test_what_a_renewal_needs_beside_the_token_is_proved_too(file: TokenFile, name: str) -> None:
    file.save(TOKEN)
    obstacle = file.path.with_name(name)
    obstacle.unlink(missing_ok=True)
    obstacle.mkdir()
    error = file.store_error()
    assert isinstance(error, StoreError)
    assert str(obstacle) in str(error)


def test_a_mark_that_another_user_left_is_replaced(file: TokenFile) -> None:
    file.save(TOKEN)
    file.renewal_mark.set(TOKEN)
    file.renewal_mark.path.chmod(0o644)
    assert file.store_error() is None
    assert not file.renewal_mark.is_about(TOKEN)


def test_the_proof_keeps_a_mark_that_is_about_the_token(file: TokenFile) -> None:
    file.save(TOKEN)
    file.renewal_mark.set(TOKEN)
    assert file.store_error() is None
    assert file.renewal_mark.is_about(TOKEN)


def test_while_another_renews_nothing_is_proved(file: TokenFile) -> None:
    file.save(TOKEN)
    inode = file.path.stat().st_ino
    with locked_if_free(file.path):
        assert file.store_error() is None
    assert file.path.stat().st_ino == inode


def test_a_renewed_token_finds_the_room_that_was_proved(file: TokenFile) -> None:
    """And no more is asked of a disk that is nearly full."""
    file.save(TOKEN)
    longer = replace(TOKEN, token=Secret("t" * (len(TOKEN.token.reveal()) + 40)))
    with file.reserved():
        room = file.path.with_name(".token.json.new").stat().st_size
    assert len(file.encode(longer)) < room < len(file.encode(TOKEN)) + 300


# --- kept beside its place ---


def raised(call: Callable[[], object]) -> SidecarError:
    with pytest.raises(SidecarError) as caught:
        call()
    return caught.value


def keep_beside(file: TokenFile, token: TokenCredentials, number: int = errno.EBUSY) -> None:
    """Store a token that cannot be put in place."""
    with pytest.MonkeyPatch.context() as patch:
        unplaceable(patch, number)
        with pytest.raises(KeptBeside) as caught:
            file.save(token)
    assert ".token.json.new" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("before", [None, OTHER])
def test_a_token_that_cannot_be_put_in_place_counts_beside_it(
    file: TokenFile, before: TokenCredentials | None
) -> None:
    file.make_folder()
    if before is not None:
        file.save(before)
    running = another(file)
    running.load()
    keep_beside(file, TOKEN)
    kept = file.path.with_name(".token.json.new")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert running.changed()
    for reader in (file, running, another(file)):
        assert reader.load() == TOKEN
        assert not reader.changed()
    another(file).put_in_place()
    assert names(file) == {"token.json"}
    assert running.changed()
    assert running.load() == TOKEN
    assert file.path.read_bytes() == file.encode(TOKEN)


def test_the_next_proof_puts_it_in_place(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    with pytest.MonkeyPatch.context() as patch:
        unplaceable(patch)
        assert "mounted by itself" in raised(file.prove_replaceable).hint
    assert file.load() == TOKEN
    file.prove_replaceable()
    assert file.path.read_bytes() == file.encode(TOKEN)
    assert names(file) == {"token.json"}


def test_a_sign_in_since_then_counts_more(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    newest = replace(TOKEN, token=Secret("NEWEST"))
    write_private(file.path, file.encode(newest))  # by hand: it stays beside
    assert file.load() == newest
    file.put_in_place()
    assert file.load() == newest


def test_a_token_that_was_removed_is_not_brought_back_by_its_successor(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    file.path.unlink()
    assert file.load() is None
    file.put_in_place()
    assert file.load() is None


def test_whichever_is_whole_counts(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    put(file, b'{"version": 1, "tok')
    assert file.load() == TOKEN
    file.put_in_place()
    assert file.path.read_bytes() == file.encode(TOKEN)


def test_half_a_successor_counts_for_nothing(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    kept = file.path.with_name(".token.json.new")
    whole = kept.read_bytes()
    for end in range(0, len(whole) - 2, 17):
        kept.write_bytes(whole[:end] + bytes(600 - end))  # in the room that was reserved
        assert file.load() == OTHER


@pytest.mark.parametrize("content", [b'{"version": 2}', b'{"version": 1, "base_url": "http://x"}'])
def test_what_is_not_ours_is_not_replaced_by_a_successor(file: TokenFile, content: bytes) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    foreign = {**json.loads(file.encode(OTHER)), **json.loads(content)}
    put(file, json.dumps(foreign).encode())
    before = file.path.read_bytes()
    raised(file.load)
    with suppress(SidecarError):
        file.put_in_place()
    assert file.path.read_bytes() == before


def test_one_that_others_can_read_or_of_another_jira_counts_for_nothing(file: TokenFile) -> None:
    file.save(OTHER)
    keep_beside(file, TOKEN)
    kept = file.path.with_name(".token.json.new")
    kept.chmod(0o644)
    assert file.load() == OTHER
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes().replace(b"OauthKey", b"OtherKey"))
    assert file.load() == OTHER


def test_a_disk_that_fills_while_jira_is_asked_does_not_cost_the_token(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reserved is there; everything else fails."""
    file.save(OTHER)
    with file.reserved():
        pass
    create = os.open

    def full(path: Any, flags: int, *arguments: Any, **folders: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path, flags, *arguments, **folders)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(KeptBeside, match="No space left"):
            file.save(TOKEN)
    assert another(file).load() == TOKEN


def test_a_token_of_more_than_64_kib_is_refused_before_it_is_stored(file: TokenFile) -> None:
    file.save(OTHER)
    huge = replace(TOKEN, token=Secret("x" * 65536))
    error = raised(lambda: file.save(huge))
    assert "more than 64 KiB" in str(error)
    assert file.load() == OTHER
    assert names(file) == {"token.json"}


# --- replaced and removed ---


def test_whatever_is_replaced_is_kept_whole_and_private(file: TokenFile) -> None:
    old = another(file, BaseURL.parse("https://old.example.com"))
    old.save(OTHER)
    before = file.path.read_bytes()
    file.prove_storable(replace=True)
    assert file.path.read_bytes() == before
    assert not file.former.exists()
    file.replace(TOKEN)
    assert file.load() == TOKEN
    assert not file.changed()
    assert file.former.read_bytes() == before
    assert stat.S_IMODE(file.former.stat().st_mode) == 0o600


@pytest.mark.parametrize("failing", ["token.json", "token.json.bak"])
def test_a_replacement_that_fails_loses_nothing(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    old = another(file, BaseURL.parse("https://old.example.com"))
    old.save(OTHER)

    def write(path: Path, data: bytes, **more: Any) -> Any:
        if path.name == failing:
            raise StoreError(f"{path}: cannot be written: No space left on device", "free some")
        return write_private(path, data, **more)

    monkeypatch.setattr(tokens, "write_private", write)
    with pytest.raises(StoreError, match="No space left"):
        file.replace(TOKEN)
    assert old.load() == OTHER


def test_a_file_that_cannot_be_removed_is_named_with_the_command(file: TokenFile) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(StoreError, match=f"{file.path}: cannot be removed") as caught:
        file.remove()
    assert caught.value.hint == f"remove it yourself: rm {file.path}"

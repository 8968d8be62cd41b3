"""The token that requests are signed with: as it is on disk, and what is said of its end."""

from __future__ import annotations

import errno
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sidecar.account.token_in_use import LinkItself, TokenInUse, unused_token
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import ConfigError, NotAuthorized
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from tests.support.disks import unplaceable

DAY = 86400
NOW = 1_763_000_000.0
HANDLE = Secret("HANDLE")


class Desk:
    """A token file, and who uses the token in it."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.file = TokenFile(folder / "token.json", BaseURL.parse("https://jira"), "OauthKey")
        self.token = TokenInUse(self.file, lambda: self.now)

    def store(self, name: str, **facts: Any) -> TokenCredentials:
        """Store a token as another process does."""
        token = TokenCredentials(Secret(name), Secret(""), **facts)
        other = TokenFile(self.file.path, BaseURL.parse("https://jira"), "OauthKey")
        other.save(token)
        return token

    def restarted(self) -> TokenInUse:
        """As the next process reads it."""
        return Desk(self.file.path.parent).token


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_it_is_the_one_on_disk(desk: Desk) -> None:
    with pytest.raises(NotAuthorized, match="no access token"):
        desk.token.current()
    assert desk.token.last_read is None
    for name in ("FIRST", "SECOND"):
        stored = desk.store(name)
        assert desk.token.current() == desk.token.last_read == stored
        assert desk.token.unsaved() is None


def test_one_that_is_broken_from_the_start_is_refused(desk: Desk) -> None:
    write_private(desk.file.path, b"{}")
    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged"):
            desk.token.current()


def test_one_that_breaks_leaves_the_one_from_before(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    stored = desk.store("FIRST")
    desk.token.current()
    write_private(desk.file.path, b"{}")
    for _ in range(3):
        assert desk.token.current() == stored
    (record,) = caplog.records
    with pytest.raises(ConfigError) as caught:
        desk.file.load()
    why = caught.value
    assert why.message in record.getMessage()
    assert why.hint in record.getMessage()
    assert "going on with the token from before" in record.getMessage()


def test_one_that_somebody_has_waited_for_is_told(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name in ("FIRST", "SECOND"):
        with pytest.raises(NotAuthorized):
            desk.token.current()
        caplog.clear()
        desk.store(name)
        for _ in range(2):
            desk.token.current()
        (record,) = caplog.records
        path = desk.file.path
        assert record.getMessage() == (
            f"an access token was found in {path}: requests are signed now"
        )
        path.unlink()


def test_whoever_listens_hears_of_each_other_token(desk: Desk) -> None:
    heard: list[TokenCredentials | None] = []
    desk.token.on_change = lambda: heard.append(desk.token.last_read)
    stored = [desk.store("FIRST"), desk.store("SECOND")]
    desk.token.use(stored[0])
    desk.token.use(stored[0])
    desk.token.reload()
    assert heard == stored


def test_one_in_memory_is_used_in_place_of_the_dead_one_on_disk(desk: Desk) -> None:
    dead = desk.store("DEAD")
    desk.token.current()
    new = TokenCredentials(Secret("NEW"), Secret(""))
    desk.token.use(new, instead_of=dead)
    assert desk.token.unsaved() == desk.token.current() == new
    os.utime(desk.file.path)
    assert desk.token.current() == new
    desk.file.path.unlink()
    assert desk.token.current() == new
    signed_in = desk.store("FROM-AUTH")
    assert desk.token.current() == signed_in
    assert desk.token.unsaved() is None


def test_one_that_was_stored_is_not_called_another(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk.token.use(desk.store("NEW"))
    desk.token.reload()
    assert not caplog.records


def test_what_becomes_of_the_file_is_logged_once_and_nothing_of_the_token(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk.store("FIRST")
    desk.token.current()
    assert not caplog.records
    desk.store("SECOND")
    desk.token.current()
    desk.file.path.unlink()
    for _ in range(2):
        with pytest.raises(NotAuthorized, match="no access token") as caught:
            desk.token.current()
        assert caught.value.hint == "run `sidecar auth`"
    another, gone = caplog.records
    path = desk.file.path
    assert (another.levelno, gone.levelno) == (logging.INFO, logging.ERROR)
    assert another.getMessage() == f"another access token was found in {path} and is used now"
    assert gone.getMessage().startswith(f"{path} is gone: every request is answered with 503")


def test_a_file_that_breaks_in_another_way_is_told_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.store("FIRST")
    desk.token.current()
    for content in (b"{}", b"{}", b"no JSON", b"no JSON"):
        write_private(desk.file.path, content)
        desk.token.current()
    assert len(caplog.records) == 2


def test_after_a_refusal_the_file_is_read_though_it_looks_as_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS shows times that are up to a minute old, until the folder is opened."""
    first = desk.store("FIRST")
    desk.token.current()
    monkeypatch.setattr(desk.file, "changed", lambda: False)
    opened: list[bool] = []
    monkeypatch.setattr(desk.file, "open_folder", lambda: opened.append(True))
    second = desk.store("SECOND")
    assert desk.token.current() == first
    desk.token.look_again()
    assert opened == [True]
    assert desk.token.current() == second


# ── its life ────────────────────────────────────────────────────────────────────────────────


def test_lifetime_is_what_is_left_and_what_was_left_when_the_token_came(desk: Desk) -> None:
    desk.store("FIRST", expires_at=NOW + 100)
    assert desk.token.lifetime() is None  # not read yet
    desk.token.current()
    desk.now += 30
    assert desk.token.lifetime() == (70, 100)
    desk.store("SECOND", expires_at=NOW + 1000)
    desk.token.current()
    assert desk.token.lifetime() == (970, 970)


def test_the_same_token_read_again_has_lived_as_long_as_before(desk: Desk) -> None:
    """The proof that it can be stored makes another file of it."""
    desk.store("FIRST", expires_at=NOW + 100, session_handle=HANDLE)
    desk.token.current()
    desk.now += 30
    assert desk.file.store_error() is None
    assert desk.file.changed()
    desk.token.current()
    assert desk.token.lifetime() == (70, 100)


def test_a_token_without_an_end_has_no_lifetime(desk: Desk) -> None:
    desk.store("FIRST")
    desk.token.current()
    assert desk.token.lifetime() is None
    assert desk.token.expiry_warning() is None


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (31, None),
        (30 + 1 / DAY, None),
        (30, "ends on"),
        (29, "ends on"),
        (0.5 / DAY, "ends on"),
        (0, "ended on"),
        (-1, "ended on"),
    ],
)
@pytest.mark.parametrize("handle", [None, HANDLE], ids=["for ever", "renewable"])
def test_an_end_is_warned_of_from_30_days_before(
    desk: Desk, days: float, said: str | None, handle: Secret | None
) -> None:
    desk.now = NOW - 100 * DAY
    desk.store("FIRST", expires_at=NOW + days * DAY, session_handle=handle)
    desk.token.current()
    assert desk.token.expiry_warning() is None
    desk.now = NOW
    warning = desk.token.expiry_warning()
    if said is None:
        assert warning is None
        return
    assert warning is not None
    when = "before that" if days > 0 else "now"
    assert warning.startswith(f"The access token {said} 2025-")
    if handle is None:
        assert warning.endswith(
            f", and Jira gave nothing to renew it with: run `sidecar auth` {when}."
        )
    else:
        assert warning.endswith(f"; it is renewed {when}.")


def test_an_end_that_no_renewal_can_put_off_is_said_to_be_that(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store("FIRST", expires_at=NOW + 10 * DAY, session_handle=HANDLE)
    desk.token.current()
    unplaceable(monkeypatch)
    warning = desk.token.expiry_warning() or ""
    assert ", and cannot be renewed: no new one could be stored. /" in warning
    assert "Device or resource busy. What to do: " in warning
    assert "mounted by itself" in warning


# ── what is said at the start ───────────────────────────────────────────────────────────────


def test_a_renewal_that_was_cut_short_is_said_plainly(desk: Desk) -> None:
    desk.file.renewal_mark.set(desk.store("FIRST"))
    token = desk.restarted()
    token.current()
    (warning,) = token.warnings()
    assert "was cut short" in warning
    assert "sidecar auth" in warning
    desk.store("SECOND")
    token.current()
    assert token.warnings() == []


def test_a_token_that_another_machine_stored_is_told_at_the_start(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.file, "other_machine", lambda: "there")
    assert desk.token.warnings() == []
    desk.store("FIRST")
    desk.token.current()
    (warning,) = desk.token.warnings()
    assert "stored on there, which is another machine" in warning
    assert "run `sidecar auth` here" in warning


@pytest.mark.parametrize(("handle", "number"), [(HANDLE, 1), (None, 0)])
def test_a_token_that_no_other_can_replace_is_told_at_the_start_and_serves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, handle: Secret | None, number: int
) -> None:
    """With years left, too; one that nobody renews needs no room."""
    stored = desk.store("FIRST", expires_at=NOW + 1000 * DAY, session_handle=handle)
    unplaceable(monkeypatch, errno.EROFS)
    token = desk.restarted()
    assert token.current() == stored
    warnings = token.warnings()
    assert len(warnings) == number
    for warning in warnings:
        assert "no new one could be stored" in warning
        assert "Read-only file system" in warning
        assert str(desk.file.path.parent) in warning


# ── two-legged OAuth ──────────────────────────────────────────────────────────────────────────


def token_file(path: Path) -> TokenFile:
    return TokenFile(path, BaseURL.parse("https://jira.example.com"), "OauthKey")


def test_there_is_nothing_to_read_to_renew_or_to_store(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    path.write_text("somebody else's")
    link = LinkItself(token_file(path), time.time)
    link.reload()
    credentials = link.current()
    assert credentials.is_two_legged
    assert not credentials.is_renewable(0.0)
    assert (link.last_read, link.unsaved()) == (credentials, None)
    assert (link.lifetime(), link.expiry_warning()) == (None, None)
    assert [file.name for file in tmp_path.iterdir()] == ["token.json"]


def test_what_jira_says_of_it_is_known_from_then_on(tmp_path: Path) -> None:
    link = LinkItself(token_file(tmp_path / "token.json"), time.time)
    assert link.current().user is None
    link.introduce("builds", "Build Robot", "https://jira.example.com")
    for known in (link.current(), link.last_read):
        assert known is not None
        assert known.is_two_legged
        assert (known.user, known.display_name) == ("builds", "Build Robot")
        assert known.server_url == "https://jira.example.com"


def test_a_token_file_that_is_there_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    assert unused_token(token_file(path)) == []
    path.symlink_to(tmp_path / "nowhere")
    (warning,) = unused_token(token_file(path))
    assert f"{path} is not used, and left alone" in warning
    assert LinkItself(token_file(path), time.time).warnings() == [warning]

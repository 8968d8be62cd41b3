"""What stands in for the access token where the application link itself signs."""

from __future__ import annotations

import time
from pathlib import Path

from sidecar.account.link_itself import LinkItself, unused_token
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL


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

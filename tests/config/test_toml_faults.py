"""Slips in a TOML file: each is named with its line, and no value is quoted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.tomlfile import read_toml
from sidecar.errors import ConfigError

NO_VALUES = ("hush", "https", "8088")


def fault(tmp_path: Path, text: str) -> tuple[str, str]:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    assert not any(value in str(caught.value) + caught.value.hint for value in NO_VALUES)
    return str(caught.value).removeprefix(f"{file}:"), caught.value.hint


@pytest.mark.parametrize(
    ("text", "line", "first"),
    [
        ("[jira]\na = 1\n[log]\n[jira]\nb = 2\n", 4, 1),
        ('\n[jira]\na = """\n[log]\n"""\n  [ jira ] # again\n', 6, 2),
        ("jira.a = 1\n[jira]\n", 2, 1),
        ("[[jira]]\n[jira]\n", 2, 1),
    ],
)
def test_a_table_that_is_there_twice_names_both_lines(
    tmp_path: Path, text: str, line: int, first: int
) -> None:
    said = f"{line}: the table [jira] is there twice, here and in line {first}"
    assert fault(tmp_path, text) == (said, "put all its keys below one line [jira]")


@pytest.mark.parametrize(
    ("text", "line", "first"),
    [
        ('[jira]\r\na = "x"\r\nb = 2\r\na = "y"\r\n', 4, 2),
        ('[jira]\na.b = 1\na = "x"\n', 3, 2),
        ("jira.a = 1\njira.a = 1\n", 2, 1),
    ],
)
def test_a_key_that_is_set_twice_names_both_lines(
    tmp_path: Path, text: str, line: int, first: int
) -> None:
    said = f"{line}: jira.a: is set twice, here and in line {first}"
    assert fault(tmp_path, text) == (said, "remove one of the two")


QUOTES = "must stand in quotes"
ITEMS = "must be a list whose items stand in quotes"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[jira]\nbase_url = https://hush\n", f"2: jira.base_url: {QUOTES}", 'base_url = "…"'),
        ("[jira]\nprivate_key = ~/hush\n", f"2: jira.private_key: {QUOTES}", '"…"'),
        ("[jira]\nconsumer_key = infohush # x\n", f"2: jira.consumer_key: {QUOTES}", '"…"'),
        ("[listen]\nunix_mode = 0600\n", f"2: listen.unix_mode: {QUOTES}", '"…"'),
        ("[log]\n[jira]\nproxy=http://u:hush@p\r\n", f"3: jira.proxy: {QUOTES}", '"…"'),
        ("[jira]\nproxy = “hush”\n", "2: jira.proxy: has curly quotes", 'proxy = "…"'),
        ('[jira]\nproxy = "hush\n', "2: jira.proxy: lacks the quote at its end", 'proxy = "…"'),
        ("[jira]\nproxy = 'hush\n\n\n", "2: jira.proxy: lacks the quote at its end", '= "…"'),
        ("[jira]\nproxy =\n[log]\n", "2: jira.proxy: has no value", "remove the line"),
        ("[access]\nread_only = True\n", "2: access.read_only: must be true or false", "= true"),
        ("[access]\nread_only = yes\n", "2: access.read_only: must be true or false", "lower"),
        ("[timeouts]\nconnect = 10s\n", "2: timeouts.connect: must be a number", "connect = 10"),
        ("[limits]\nwaiting = 1k\n", "2: limits.waiting: must be an integer", "waiting = 10"),
        ("[listen]\naddresses = [127.0.0.1:8088]\n", f"2: listen.addresses: {ITEMS}", '["…", "…"]'),
        ('[listen]\naddresses = ["a:1", ::1]\n', f"2: listen.addresses: {ITEMS}", '["…", "…"]'),
    ],
)  # fmt: skip
def test_a_value_that_lacks_something_is_said_to(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    said = fault(tmp_path, text)
    assert said[0] == message
    assert hint in said[1]


@given(st.text(alphabet="[]=\"'#\n\r .,jiraproxy{}\\“1"))
def test_whatever_the_text_is_it_is_read_or_refused_with_a_line(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, newline="")
    refused = None
    try:
        read_toml(file)
    except ConfigError as error:
        refused = error
    assert not refused or re.match(re.escape(f"{file}:") + "[0-9]+: ", str(refused))
    assert not refused or refused.hint

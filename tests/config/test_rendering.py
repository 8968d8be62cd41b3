"""The configuration file that is written explains every option, and means the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from sidecar.config.load import load
from sidecar.config.rendering import example, render, rewritten
from sidecar.config.settings import OPTIONS

REQUIRED = {"jira.base_url": "https://jira.example.com", "jira.consumer_key": "OauthKey"}


def test_every_option_stands_in_it_once() -> None:
    lines = example().splitlines()
    for name in OPTIONS:
        key = name.partition(".")[2]
        table = lines.index(f"[{name.partition('.')[0]}]")
        rest = lines[table + 1 :]
        end = next((i for i, line in enumerate(rest) if line.startswith("[")), len(rest))
        found = [line for line in rest[:end] if line.lstrip("#").startswith(f"{key} = ")]
        assert len(found) == 1, name


def test_it_says_only_what_is_set(tmp_path: Path) -> None:
    text = render({**REQUIRED, "access.read_only": True})
    document = tomli.loads(text)
    assert document["access"] == {"read_only": True}
    assert document["log"] == {}
    file = tmp_path / "config.toml"
    file.write_text(render(REQUIRED))
    overrides = {"token.path": "/t", **REQUIRED}
    assert load(file, {}, {"token.path": "/t"}).log == load(None, {}, overrides, finds=False).log


def test_values_are_written_into_what_is_there_and_defaults_where_nothing_is() -> None:
    text = '# mine\n[access]\nread_only = true\n[log]\nlevel = "debug"\n'
    defaults = {"log.level": "info", "log.format": "json"}
    new, doubts = rewritten(text.encode(), REQUIRED, defaults)
    assert doubts == []
    assert new.startswith("# mine\n[access]\nread_only = true\n")
    document = tomli.loads(new)
    assert document["log"] == {"level": "debug", "format": "json"}
    assert document["jira"] == {"base_url": "https://jira.example.com", "consumer_key": "OauthKey"}


@pytest.mark.parametrize(
    "data", [b"nonsense", b"\xff", b'jira = {act_as = "x"}\n', b"a=" + b"[" * 9999]
)
def test_what_cannot_be_understood_is_written_anew_and_that_is_said(data: bytes) -> None:
    new, (doubt,) = rewritten(data, REQUIRED, {})
    assert new == render(REQUIRED)
    assert "without the settings that it had" in doubt


def test_what_is_not_there_is_written() -> None:
    assert rewritten(None, REQUIRED, {"log.level": "info"}) == (
        render({**REQUIRED, "log.level": "info"}),
        [],
    )

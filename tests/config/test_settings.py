"""The option table: what every option says of itself, and what is allowed but unwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.config import options
from sidecar.config.load import Config, load
from sidecar.config.options import Kind, TCPAddress, UnixAddress
from sidecar.config.settings import OPTIONS, TABLES

BASE = '[jira]\nbase_url = "https://jira.example.com"\nconsumer_key = "OauthKey"\n'


def loaded(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file.write_text(BASE + text)
    return load(file, environ or {"HOME": "/home/alana"}, {})


def warned(file: Path, text: str) -> str:
    return " / ".join(loaded(file, text).warnings())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_the_tables_are_those_of_the_configuration() -> None:
    assert [*TABLES, "path"] == [one.name for one in fields(Config)]
    assert {name.partition(".")[0] for name in OPTIONS} == set(TABLES)


def test_what_a_configuration_holds_is_what_its_option_reads() -> None:
    base = {"jira.base_url": "https://jira.example.com", "jira.consumer_key": "k"}
    config = load(None, {"HOME": "/home/alana"}, base)
    for name, one in OPTIONS.items():
        table, _, key = name.partition(".")
        value = getattr(getattr(config, table), key)
        if one.kind in (Kind.WHOLE, Kind.NUMBER, Kind.SWITCH) and one.default is not None:
            assert value == one.default, name
    assert config.listen.addresses == (TCPAddress("127.0.0.1", 8088), TCPAddress("::1", 8088))
    assert config.jira.signing_url == config.jira.base_url
    assert isinstance(options.address("unix:/run/s"), UnixAddress)


def test_plain_http_is_warned_about_unless_it_stays_on_the_machine(file: Path) -> None:
    for url, is_warned in {
        "http://jira.example.com": True,
        "http://10.1.1.1": True,
        "http://localhost:2990/jira": False,
        "http://127.0.0.1": False,
        "http://[::1]:8080": False,
        "https://jira.example.com": False,
    }.items():
        environ = {"HOME": "/h", "SIDECAR_JIRA_BASE_URL": url}
        assert bool(loaded(file, "", environ).warnings()) is is_warned, url


def test_a_password_in_a_file_that_others_can_read_is_warned_about(file: Path) -> None:
    text = 'proxy = "http://u:hunter2@proxy:3128"'
    loaded(file, text)
    file.chmod(0o644)
    assert f"{file} holds the proxy's password" in warned(file, text)
    assert "hunter2" not in warned(file, text)
    file.chmod(0o600)
    assert warned(file, text) == ""
    file.chmod(0o644)
    assert warned(file, 'proxy = "http://proxy:3128"') == ""


def test_listeners_that_others_reach_are_warned_about(file: Path) -> None:
    open_to_all = '[listen]\naddresses = ["0.0.0.0:80"]\n[access]\nkey_file = "k"\n'
    assert "0.0.0.0:80 can be reached from elsewhere" in warned(file, open_to_all)
    assert "access key can be read on the way" in warned(file, open_to_all)
    socket = '[listen]\naddresses = ["unix:/run/s"]\nunix_mode = "0666"\n'
    assert "listen.unix_mode 0666" in warned(file, socket)
    assert warned(file, socket.replace("0666", "0600")) == ""


def test_names_that_web_pages_can_reach_are_warned_about(file: Path) -> None:
    hosts = '[access]\nhosts = ["sidecar.internal"]\n'
    assert "access.hosts" in warned(file, hosts)
    assert warned(file, hosts + 'key_file = "k"\n') == ""


def test_a_file_that_has_vanished_meanwhile_is_not_warned_about(file: Path) -> None:
    found = loaded(file, 'proxy = "http://u:hunter2@proxy:3128"')
    file.unlink()
    assert found.warnings() == []


@pytest.mark.parametrize("pattern", ["*", "build: *", " build:*"])
def test_a_pattern_that_lets_callers_act_as_anybody_is_warned_about(
    file: Path, pattern: str
) -> None:
    text = f'two_legged = true\n[access]\nkey_file = "keys"\nact_as = ["ci-*", "{pattern}"]'
    assert warned(file, text).count("act as anybody") == 1
    assert warned(file, text.replace(f', "{pattern}"', "")) == ""

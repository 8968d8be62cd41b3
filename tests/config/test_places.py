"""Where configuration, token and credentials are looked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from sidecar.config import places
from sidecar.errors import ConfigError


def put(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_the_configuration_is_the_variables_then_the_users_then_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SYSTEM_CONFIG", put(tmp_path / "etc" / "config.toml"))
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert places.find_config(environ) == tmp_path / "etc" / "config.toml"
    put(tmp_path / ".config" / "sidecar" / "config.toml")
    assert places.find_config(environ) == tmp_path / "etc" / "config.toml"
    users = put(tmp_path / "xdg" / "sidecar" / "config.toml")
    assert places.find_config(environ) == users
    named = put(tmp_path / "named.toml")
    assert places.find_config({**environ, "SIDECAR_CONFIG": str(named)}) == named


def test_without_a_file_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SYSTEM_CONFIG", tmp_path / "none")
    assert places.find_config({"HOME": str(tmp_path)}) is None


def test_a_file_that_the_variable_names_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^SIDECAR_CONFIG: .*/no\.toml: no such file$"):
        places.find_config({"SIDECAR_CONFIG": f"{tmp_path}/no.toml"})


def test_a_relative_xdg_folder_is_ignored(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "relative"}
    assert places.user_config(environ) == tmp_path / ".config" / "sidecar" / "config.toml"
    state = tmp_path / ".local" / "state" / "sidecar" / "token.json"
    assert places.state_file(environ, "token.json") == state


def test_init_writes_where_the_variable_says(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "SIDECAR_CONFIG": "/x/y.toml"}
    assert places.user_config(environ) == Path("/x/y.toml")


def test_systemds_state_folder_wins_and_is_the_first_of_several(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path), "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
    assert places.state_file(environ, "token.json") == Path("/var/lib/a/token.json")
    del environ["STATE_DIRECTORY"]
    assert places.state_file(environ, "token.json") == tmp_path / "sidecar" / "token.json"


def test_a_credential_is_found_only_if_it_is_there(tmp_path: Path) -> None:
    assert places.credential({}, "private_key") is None
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert places.credential(environ, "private_key") is None
    put(tmp_path / "private_key")
    assert places.credential(environ, "private_key") == tmp_path / "private_key"


def test_without_a_home_there_is_no_place_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert places.usual_configs({}) == [places.SYSTEM_CONFIG]
    assert places.state_file({}, "token.json") is None
    with pytest.raises(ConfigError, match="no home folder"):
        places.user_config({})


def test_a_file_that_cannot_be_looked_at_is_told_from_one_that_is_missing(tmp_path: Path) -> None:
    """Mostly the folder may not be searched; a loop of links fails for root, too."""
    assert places.hidden(tmp_path / "none" / "config.toml") == ""
    assert places.hidden(put(tmp_path / "there" / "config.toml")) == ""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    file = tmp_path / "loop" / "config.toml"
    assert places.hidden(file) == os.strerror(errno.ELOOP)
    with pytest.raises(ConfigError, match=os.strerror(errno.ELOOP)) as caught:
        places.find_config({"SIDECAR_CONFIG": str(file)})
    assert str(file.parent) in caught.value.hint


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_around_the_files_name_are_pointed_out(tmp_path: Path, quote: str) -> None:
    named = put(tmp_path / "named.toml")
    with pytest.raises(ConfigError, match="SIDECAR_CONFIG: the value stands in quotes"):
        places.find_config({"SIDECAR_CONFIG": f"{quote}{named}{quote}"})

"""The environment and the credentials of a unit are what systemd would give it."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ConfigError
from sidecar.system import surroundings
from sidecar.system.surroundings import environment, hand_out
from tests.support.systemd import SERVICE

HERE = pwd.getpwuid(os.getuid())
VALUES = st.text(st.characters(blacklist_characters="\0\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029",
                               blacklist_categories=["Cs"]))  # fmt: skip


def given_to(ours: dict[str, str] | None = None, **properties: object) -> dict[str, str]:
    return environment(SERVICE | properties, HERE, Path("/run/creds"), ours or {})


def test_state_credentials_and_user_are_named() -> None:
    found = given_to(StateDirectory=["sidecar/work", "more"])
    assert found["STATE_DIRECTORY"] == "/var/lib/sidecar/work:/var/lib/more"
    assert found["CREDENTIALS_DIRECTORY"] == "/run/creds"
    assert (found["USER"], found["HOME"]) == (HERE.pw_name, HERE.pw_dir)


def test_nothing_of_ours_counts_but_for_the_terminal() -> None:
    ours = {
        "SIDECAR_CONFIG": "/root/x", "XDG_STATE_HOME": "/root", "STATE_DIRECTORY": "/root",
        "PATH": "/root/bin", "SSLKEYLOGFILE": "/root/k", "LC_ALL": "C.UTF-8", "TERM": "xterm",
    }  # fmt: skip
    found = given_to(ours, StateDirectory=[])
    assert {name for name in found if ours.get(name) == found[name]} == {"LC_ALL", "TERM"}
    assert not found.keys() & {"SIDECAR_CONFIG", "XDG_STATE_HOME", "STATE_DIRECTORY"}


def test_the_units_variables_count_and_what_it_unsets_does_not(tmp_path: Path) -> None:
    file = tmp_path / "one.env"
    file.write_text("# a comment\n; another\n\nA = from file\nB='two words'\nC=a\\\nb\nX Y=1\nno\n")
    found = given_to(
        Environment=["A=unit", "D=x=y", "OPENSSL_CONF=/x"],
        EnvironmentFiles=[[str(tmp_path / "*.env"), False], ["/no/such", True]],
    )
    assert (found["A"], found["B"], found["C"], found["D"]) == (
        "from file", "two words", "ab", "x=y",
    )  # fmt: skip
    assert not found.keys() & {"OPENSSL_CONF", "X Y", "no"}


def test_an_environment_file_that_is_missing_is_an_error() -> None:
    with pytest.raises(ConfigError, match="/no/such: cannot be read"):
        given_to(EnvironmentFiles=[["/no/such", False]])


@given(VALUES)
def test_a_quoted_value_comes_back_as_it_was(tmp_path_factory: object, value: str) -> None:
    lines = list(surroundings._lines(f"A={shlex.quote(value)}"))
    assert lines == [f"A={value}"] or value != value.strip()


class TestCredentials:
    @pytest.fixture(autouse=True)
    def _stores(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stores = [tmp_path / "etc", tmp_path / "run"]
        for store in self.stores:
            store.mkdir()
        monkeypatch.setattr(surroundings, "_STORES", tuple(map(str, self.stores)))
        self.folder = tmp_path / "given"
        self.folder.mkdir(mode=0o700)

    def given(self, **properties: object) -> dict[str, bytes]:
        hand_out({"LoadCredential": [], **properties}, self.folder, os.getuid())
        return {file.name: file.read_bytes() for file in self.folder.iterdir()}

    def test_files_are_handed_out_to_the_user_alone(self, tmp_path: Path) -> None:
        key = tmp_path / "key.pem"
        key.write_bytes(b"KEY")
        assert self.given(LoadCredential=[["private_key", str(key)]]) == {"private_key": b"KEY"}
        assert self.folder.stat().st_mode & 0o777 == 0o500
        assert (self.folder / "private_key").stat().st_mode & 0o777 == 0o400

    def test_a_bare_name_is_looked_for_in_the_stores(self) -> None:
        (self.stores[1] / "sidecar.passphrase").write_bytes(b"RUN")
        assert self.given(LoadCredential=[["passphrase", "sidecar.passphrase"]]) == {
            "passphrase": b"RUN"
        }

    def test_the_first_store_counts(self) -> None:
        for store, text in zip(self.stores, (b"ETC", b"RUN"), strict=True):
            (store / "x").write_bytes(text)
        assert self.given(LoadCredential=[["x", "x"]]) == {"x": b"ETC"}
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.chmod(0o700)
        assert self.given(ImportCredential=["x*"]) == {"x": b"ETC"}

    def test_what_is_missing_is_left_out(self) -> None:
        assert self.given(LoadCredential=[["private_key", "/no/such"], ["p", "none"]],
                          LoadCredentialEncrypted=[["e", "none"]]) == {}  # fmt: skip

    def test_a_folder_is_handed_out_file_by_file(self, tmp_path: Path) -> None:
        (tmp_path / "keys" / "inner").mkdir(parents=True)
        (tmp_path / "keys" / "build").write_bytes(b"1")
        given = self.given(LoadCredential=[["keys", str(tmp_path / "keys")]])
        assert given == {"keys_build": b"1"}

    def test_what_the_unit_itself_says_comes_last(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"FILE")
        given = self.given(SetCredential=[["a", [97]], ["b", [98]]],
                           LoadCredential=[["b", str(tmp_path / "x")]])  # fmt: skip
        assert given == {"a": b"a", "b": b"FILE"}

    def test_encrypted_ones_are_decrypted_by_systemd(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "systemd-creds"
        program.write_text('#!/bin/sh\n[ "$2 $4" = "--name=k -" ] && tr a-z A-Z < "$3"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        (tmp_path / "k.cred").write_bytes(b"key")
        given = self.given(LoadCredentialEncrypted=[["k", str(tmp_path / "k.cred")]])
        assert given == {"k": b"KEY"}

    def test_one_that_cannot_be_decrypted_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "systemd-creds"
        program.write_text("#!/bin/sh\necho wrong key >&2\nexit 1\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        (tmp_path / "k.cred").write_bytes(b"key")
        with pytest.raises(ConfigError, match=r"k\.cred: cannot be decrypted: wrong key"):
            self.given(LoadCredentialEncrypted=[["k", str(tmp_path / "k.cred")]])

    def test_a_key_that_is_to_follow_goes_with_the_one_in_use(self, tmp_path: Path) -> None:
        key = tmp_path / "key.pem"
        key.write_bytes(b"in use")
        (tmp_path / "key.pem.new").write_bytes(b"next")
        found = self.given(LoadCredential=[["private_key", str(key)]])
        assert found == {"private_key": b"in use", "private_key.new": b"next"}

"""What `sidecar init` writes, and that it is all or nothing."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands import init
from sidecar.commands.init import Provisioned
from sidecar.config import options
from sidecar.config.load import load, token_path
from sidecar.config.rendering import render
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import ConfigError, SidecarError, StoreError, UsageError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL

URL = "https://jira.example.com/jira"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sidecar"


def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder.parent / "home")}


def provide(folder: Path, key: RSAPrivateKey | None, **more: Any) -> Provisioned:
    arguments: dict[str, Any] = {
        "base_url": URL,
        "consumer_key": "OauthKey",
        "environ": environ(folder),
        "private_key": key,
        **more,
    }
    return init.provision(folder / "config.toml", **arguments)


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.exists()}


def token_file(folder: Path, url: str = URL) -> TokenFile:
    return TokenFile(token_path(environ(folder)), BaseURL.parse(url), "OauthKey")


def refusal(folder: Path, key: RSAPrivateKey, **more: Any) -> SidecarError:
    """Return what provide() raises, having seen that it changed nothing."""
    before = contents(folder), contents(token_file(folder).path.parent)
    with pytest.raises(SidecarError) as caught:
        provide(folder, key, **more)
    assert (contents(folder), contents(token_file(folder).path.parent)) == before
    assert caught.value.hint
    return caught.value


def test_a_configuration_and_a_new_key_are_written_that_work_together(folder: Path) -> None:
    made = provide(folder, None, bits=1024)
    found = load(made.config_path, environ(folder), {})
    assert (str(found.jira.base_url), found.jira.consumer_key) == (URL, "OauthKey")
    assert found.jira.private_key == made.key_path
    key = keys.load_private_key(found.jira.private_key)
    assert key.key_size == 1024
    assert made.token_path is None
    assert "1024 bits" in made.warnings[0]


def test_both_files_are_private_from_the_start(folder: Path, private_key: RSAPrivateKey) -> None:
    os.umask(0)
    made = provide(folder, private_key)
    assert made.warnings == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert sorted(contents(folder)) == ["config.toml", "private_key.pem"]


def test_the_form_has_what_jira_asks_for(folder: Path, private_key: RSAPrivateKey) -> None:
    form = provide(folder, private_key).form
    fields = {field.name: field.value for step in form for field in step.fields}
    assert fields["Consumer Key"] == "OauthKey"
    assert fields["Public Key"] == keys.public_key_base64(private_key)
    assert base64.b64decode(fields["Public Key"], validate=True)
    assert fields["Consumer Callback URL"] == ""
    assert fields["Application Type"] == "Generic Application"
    text = " ".join(step.instruction for step in form)
    for words in ("Atlassian product", "not", "External application", "Create incoming link"):
        assert words in text


@pytest.mark.parametrize("name", ["config.toml", "private_key.pem"])
def test_what_is_there_is_not_overwritten(
    folder: Path, private_key: RSAPrivateKey, name: str
) -> None:
    folder.mkdir()
    (folder / name).write_text("mine")
    error = refusal(folder, private_key)
    assert str(error) == f"{folder / name} exists already"
    assert "--force" in error.hint
    assert error.exit_code == 73


def test_a_link_to_nowhere_is_there_too(folder: Path, private_key: RSAPrivateKey) -> None:
    folder.mkdir()
    (folder / "private_key.pem").symlink_to(folder / "usb-stick")
    assert "exists already" in str(refusal(folder, private_key))


def test_force_overwrites_both(folder: Path, private_key: RSAPrivateKey) -> None:
    provide(folder, None, bits=1024)
    both = refusal(folder, private_key)
    assert "config.toml and " in str(both)
    assert "exist already" in str(both)
    made = provide(folder, private_key, consumer_key="another", force=True)
    found = load(made.config_path, environ(folder), {})
    assert found.jira.consumer_key == "another"
    assert keys.load_private_key(made.key_path).key_size == 2048


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base_url": "jira.example.com"}, "--base-url: the URL must begin with"),
        ({"base_url": "https://u:hunter2@jira"}, "--base-url: the URL must hold no user name"),
        ({"consumer_key": ""}, "--consumer-key: must not be empty"),
        ({"consumer_key": "a\n"}, "--consumer-key: must have no control character"),
        ({"bits": 512}, "--bits: must be from 1024 to 8192"),
        ({"bits": 1_000_000}, "--bits: must be from 1024 to 8192"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    folder: Path, private_key: RSAPrivateKey, wrong: dict[str, Any], message: str
) -> None:
    error = refusal(folder, private_key, **wrong)
    assert isinstance(error, UsageError)
    assert str(error).startswith(message)
    assert "hunter2" not in str(error)


def test_the_configuration_cannot_have_the_keys_name(folder: Path) -> None:
    with pytest.raises(UsageError, match="the private key's name"):
        init.provision(folder / "private_key.pem", URL, "k", environ(folder))


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("failing", ["config.toml", "token.json", "private_key.pem"])
def test_when_one_file_cannot_be_written_all_are_as_before(
    folder: Path,
    private_key: RSAPrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    force: bool,
) -> None:
    token_file(folder).save(TokenCredentials(Secret("OLD"), Secret("")))
    if force:
        provide(folder, None, bits=1024)
    else:
        token_file(folder).path.unlink()

    def write(path: Path, data: bytes, **more: Any) -> None:
        if path.name == failing:
            raise StoreError(f"{path}: cannot be written: No space left on device", "free some")
        write_private(path, data, **more)

    monkeypatch.setattr(init, "write_private", write)
    error = refusal(folder, private_key, access_token=Secret("NEW"), force=force)
    assert failing in str(error)


def test_a_former_token_is_kept_too(folder: Path, private_key: RSAPrivateKey) -> None:
    token_file(folder).save(TokenCredentials(Secret("OLD"), Secret("")))
    made = provide(folder, private_key, access_token=Secret("NEW"), force=True)
    assert b"OLD" in made.kept[token_file(folder).path].read_bytes()


def test_a_backup_is_private_whatever_the_file_was(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, private_key)
    made.config_path.chmod(0o644)
    again = provide(folder, private_key, force=True)
    assert stat.S_IMODE(again.kept[made.config_path].stat().st_mode) == 0o600


def test_a_huge_file_is_not_replaced(folder: Path, private_key: RSAPrivateKey) -> None:
    folder.mkdir()
    with (folder / "config.toml").open("wb") as stream:
        os.truncate(stream.fileno(), 2**40)
    with pytest.raises(StoreError, match="larger than 1 MiB"):
        provide(folder, private_key, force=True)
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_regular_file_is_not_replaced(private_key: RSAPrivateKey, force: bool) -> None:
    with pytest.raises(StoreError, match="/dev/zero: not a regular file"):
        init.provision(Path("/dev/zero"), URL, "k", {}, private_key=private_key, force=force)


def test_the_key_is_made_where_the_configuration_wants_it(folder: Path) -> None:
    folder.mkdir()
    file = folder / "config.toml"
    file.write_text(f'[jira]\nbase_url = "{URL}"\nconsumer_key = "k"\nprivate_key = "../my.pem"\n')
    found = init.without_key(file, environ(folder))
    assert found is not None
    made = init.provision_key(found, file, bits=1024)
    assert made.key_path.samefile(folder.parent / "my.pem")
    assert "1024 bits" in made.warnings[0]
    assert init.without_key(file, environ(folder)) is None


def test_a_configuration_that_makes_no_sense_is_not_given_a_key(folder: Path) -> None:
    assert init.without_key(folder / "config.toml", environ(folder)) is None
    folder.mkdir()
    (folder / "config.toml").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"config\.toml:1"):
        init.without_key(folder / "config.toml", environ(folder))


def test_a_folder_that_cannot_be_made_is_a_store_error(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    (tmp_path / "sidecar").touch()
    with pytest.raises(StoreError, match="Not a directory"):
        provide(tmp_path / "sidecar", private_key)


# --- an imported token ---


def test_an_imported_token_is_stored_where_run_looks_for_it(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, private_key, access_token=Secret("ACCESS"))
    found = load(made.config_path, environ(folder), {})
    assert made.token_path == found.token.path
    assert token_file(folder).load() == TokenCredentials(Secret("ACCESS"), Secret(""))
    assert "ACCESS" not in repr(made)


def test_a_token_that_is_there_is_not_overwritten(folder: Path, private_key: RSAPrivateKey) -> None:
    token_file(folder).save(TokenCredentials(Secret("OLD"), Secret("")))
    error = refusal(folder, private_key, access_token=Secret("NEW"))
    assert "token.json exists already" in str(error)
    assert "token.path with SIDECAR_TOKEN_PATH" in error.hint
    assert "--config" not in error.hint
    provide(folder, private_key, access_token=Secret("NEW"), force=True)
    assert token_file(folder).load() == TokenCredentials(Secret("NEW"), Secret(""))


def test_not_even_force_overwrites_another_jiras_token(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    other = token_file(folder, "https://other.example.com")
    other.save(TokenCredentials(Secret("OLD"), Secret("")))
    error = refusal(folder, private_key, access_token=Secret("NEW"), force=True)
    assert error.exit_code == 73
    assert "token.path" in error.hint


# --- the file's text ---

PRINTABLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(PRINTABLE, PRINTABLE)
def test_any_text_survives_being_written_into_the_file(url: str, consumer_key: str) -> None:
    text = render({"jira.base_url": url, "jira.consumer_key": consumer_key})
    jira = tomli.loads(text)["jira"]
    assert jira == {"base_url": url, "consumer_key": consumer_key}


def acceptable(text: str) -> bool:
    try:
        return bool(options.consumer_key(text))
    except ValueError:
        return False


@given(PRINTABLE.filter(acceptable))
def test_any_consumer_key_that_is_accepted_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, consumer_key: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "round-trip.toml"
    file.write_text(render({"jira.base_url": URL, "jira.consumer_key": consumer_key}))
    assert load(file, {"HOME": "/h"}, {}).jira.consumer_key == consumer_key


def test_an_idn_host_is_written_as_it_is_sent(folder: Path, private_key: RSAPrivateKey) -> None:
    made = provide(folder, private_key, base_url="HTTPS://JIRA.Bücher.Example:443/jira/")
    assert 'base_url = "https://jira.xn--bcher-kva.example/jira"\n' in made.config_path.read_text()


# --- what force changes, and what it does not ---


def test_force_keeps_every_other_setting_and_the_comments(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, None, bits=1024)
    text = made.config_path.read_text() + "# mine\n"
    text = text.replace("#read_only = false", "read_only = true  # never writes")
    made.config_path.write_text(text)
    again = provide(folder, private_key, consumer_key="another", force=True)
    assert again.is_edited
    new = again.config_path.read_text()
    assert new == text.replace('"OauthKey"', '"another"')
    found = load(again.config_path, environ(folder), {})
    assert (found.access.read_only, found.jira.consumer_key) == (True, "another")
    assert again.kept[made.config_path].read_text() == text


def test_force_does_not_make_a_two_legged_configuration_three_legged(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    provide(folder, private_key, two_legged=True)
    again = provide(folder, private_key, force=True)
    assert again.two_legged
    assert "Execute as" in str(again.form)


def test_force_puts_the_key_where_the_configuration_has_it(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, None, bits=1024)
    with made.config_path.open("a") as stream:
        stream.write("\n")
    text = made.config_path.read_text()
    made.config_path.write_text(
        text.replace('#private_key = "private_key.pem"', 'private_key = "own.pem"')
    )
    again = provide(folder, private_key, force=True)
    assert again.key_path == folder / "own.pem"
    assert again.key_path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o600])
def test_force_keeps_owner_and_mode(folder: Path, private_key: RSAPrivateKey, mode: int) -> None:
    made = provide(folder, private_key)
    made.config_path.chmod(mode)
    made.key_path.chmod(0o640 if os.geteuid() == 0 else 0o600)
    if os.geteuid() == 0:
        for path in (made.config_path, made.key_path):
            os.chown(path, 0, 4321)
    before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid)
              for path in (made.config_path, made.key_path)]  # fmt: skip
    provide(folder, private_key, force=True)
    after = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid)
             for path in (made.config_path, made.key_path)]  # fmt: skip
    assert after == before


def test_a_key_that_was_open_to_others_is_not_open_again(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, private_key)
    made.key_path.chmod(0o644)
    provide(folder, private_key, force=True)
    assert stat.S_IMODE(made.key_path.stat().st_mode) == 0o600


def test_a_setting_that_makes_no_sense_is_named_and_nothing_is_changed(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, private_key)
    made.config_path.write_text(f'[jira]\nbase_url = "{URL}"\nconsumer_key = "k"\nunknown = 1\n')
    error = refusal(folder, private_key, force=True)
    assert isinstance(error, ConfigError)
    assert 'config.toml:4: unknown key "jira.unknown"' in str(error)


def test_what_cannot_be_understood_at_all_is_written_anew_and_kept(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    made = provide(folder, private_key)
    made.config_path.write_text("nonsense")
    again = provide(folder, private_key, force=True)
    assert not again.is_edited
    assert "without the settings that it had" in again.warnings[0]
    assert again.kept[made.config_path].read_text() == "nonsense"
    assert load(again.config_path, environ(folder), {}).jira.consumer_key == "OauthKey"


def test_the_url_and_the_consumer_key_that_are_there_are_known(
    folder: Path, private_key: RSAPrivateKey
) -> None:
    assert init.known_values(folder / "config.toml") == {}
    made = provide(folder, private_key)
    assert init.known_values(made.config_path) == {"base_url": URL, "consumer_key": "OauthKey"}
    for text in ("nonsense", "jira = 1", "[jira]\n", '[jira]\nbase_url = "x"\n'):
        made.config_path.write_text(text)
        assert init.known_values(made.config_path).keys() <= {"base_url"}


def test_an_interruption_leaves_everything_as_it_was(
    folder: Path, private_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, data: bytes, **more: Any) -> None:
        if path.name == "config.toml":
            raise KeyboardInterrupt
        write_private(path, data, **more)

    monkeypatch.setattr(init, "write_private", write)
    with pytest.raises(KeyboardInterrupt):
        provide(folder, private_key)
    assert contents(folder) == {}

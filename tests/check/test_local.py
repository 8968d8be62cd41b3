"""What is looked at without Jira: configuration, key, file modes, token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check import local
from sidecar.check.diagnosis import Check
from sidecar.check.step import exit_code
from sidecar.config.load import Config, load
from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import make_config, store_token
from tests.support.checking import TLS, Diagnose, Result, always, certificates, check, diagnose
from tests.support.disks import unplaceable
from tests.support.raw_server import RawServer

__all__ = ["certificates", "diagnose"]


async def test_without_a_configuration_nothing_else_can_be_tried(tmp_path: Path) -> None:
    steps = await Check(lambda: _refused(tmp_path)).run(lambda _: None)
    assert [step.status for step in steps] == ["fail"] + ["skipped"] * 12
    assert exit_code(steps) == 78
    assert "unknown key" in steps[0].message
    assert all("that needs a configuration" in step.message for step in steps[1:4])


def _refused(folder: Path) -> Config:
    file = folder / "config.toml"
    file.write_text('[jira]\nbase_ur = "x"\n')
    return load(file, {"HOME": str(folder)}, {})


@pytest.mark.parametrize("host", ["acme.atlassian.net", "ACME.Atlassian.NET", "acme.jira.com"])
async def test_jira_cloud_is_known_by_its_name(
    tmp_path: Path, private_key: RSAPrivateKey, host: str
) -> None:
    with pytest.raises(ConfigError, match="Jira Cloud"):
        local.configuration(make_config(f"https://{host}", tmp_path, private_key))
    fine = make_config("https://notatlassian.net", tmp_path, private_key)
    assert local.configuration(fine)


async def test_unwise_settings_are_notes(diagnose: Diagnose) -> None:
    result = await diagnose("http://jira.invalid")
    assert result["configuration"].status == "pass"
    assert "plain http" in result["configuration"].message


async def test_a_rule_that_run_would_refuse_is_found(
    private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    options = {"access__allow": ["GET /a/**b"]}
    steps = await Check(
        lambda: make_config("http://127.0.0.1:1", tmp_path, private_key, **options)
    ).run(lambda _: None)
    assert (steps[0].status, exit_code(steps)) == ("fail", 78)
    assert "access.allow: " in steps[0].message


async def test_a_short_key_is_a_note(sandbox: Sandbox, diagnose: Diagnose) -> None:
    key = keys.generate_private_key(1024)
    sandbox.public_key = key.public_key()
    result = await diagnose(sandbox.url, key=key, token=sandbox.grant().token)
    assert result.code == 0
    assert "1024 bits" in result["private_key"].message
    assert "too few" in result["private_key"].message


async def test_a_broken_key_leaves_all_unsigned_steps_to_be_tried(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token)
    write_private(config.jira.private_key, b"-----BEGIN PRIVATE KEY-----\nMIIB")
    result = await check(config)
    assert result.failed == ["private_key"]
    assert result.of("skipped") == ["signature", "user", "anonymous"]
    assert result["clock"].status == "pass"


async def test_every_file_that_others_can_read_is_named_at_once(
    private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    key_file, passphrase = tmp_path / "access_key", tmp_path / "passphrase"
    write_private(key_file, b"k" * 32)
    write_private(passphrase, b"p")
    config = make_config(
        "http://127.0.0.1:1",
        tmp_path,
        private_key,
        access__key_file=str(key_file),
        jira__private_key_passphrase_file=str(passphrase),
    )
    store_token(config, "T" * 32)
    assert (
        "private key, token, passphrase, access key" in (await check(config))["file_modes"].message
    )
    for path in (config.jira.private_key, config.token.path, key_file, passphrase):
        path.chmod(0o644)
        result = await check(config)
        assert "file_modes" in result.failed
        assert str(path) in result["file_modes"].message
        assert f"chmod 600 {path}" in result["file_modes"].hint
        assert result.code == 78
    assert result["file_modes"].hint.count("chmod") == 4


async def test_an_access_key_that_is_missing_is_found(diagnose: Diagnose, tmp_path: Path) -> None:
    result = await diagnose("http://127.0.0.1:1", access__key_file=str(tmp_path / "none"))
    assert "access key file does not exist" in result["file_modes"].message
    assert "access.key_file" in result["file_modes"].hint


async def test_an_access_key_that_no_client_can_send_is_found(
    diagnose: Diagnose, tmp_path: Path
) -> None:
    write_private(tmp_path / "key", b"two\nlines\n")
    result = await diagnose("http://127.0.0.1:1", access__key_file=str(tmp_path / "key"))
    assert "not one line of text" in result["file_modes"].message
    assert "access.key_file" in result["file_modes"].hint


async def test_a_client_certificate_is_a_secret_only_if_its_key_is_with_it(
    diagnose: Diagnose, certificates: TLS
) -> None:
    alone, both = certificates.open_client_files()
    async with RawServer(always(b"")) as server:
        url = server.url.replace("http:", "https:")
        missing = await diagnose(url, token="T" * 32, jira__client_certificate="/missing")
        result = await diagnose(url, token="T" * 32, jira__client_certificate=alone)
    assert (missing.failed, missing.code) == (["tls"], 78)
    assert "jira.client_certificate cannot be read: No such" in missing["tls"].message
    assert (result.failed, result.code) == (["tls"], 78)
    assert "there is no private key in it" in result["tls"].message
    assert "jira.client_key" in result["tls"].hint
    result = await diagnose("http://127.0.0.1:1", jira__client_certificate=both)
    assert f"chmod 600 {both}" in result["file_modes"].hint


async def test_a_link_that_leads_nowhere_and_a_folder_that_cannot_be_written(
    tmp_path: Path, private_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config("http://127.0.0.1:1", tmp_path, private_key)
    config.token.path.parent.mkdir()
    config.token.path.symlink_to(tmp_path / "nowhere")
    assert (
        "cannot be looked at"
        in Result(await Check(lambda: config).run(lambda _: None))["file_modes"].message
    )
    config.token.path.unlink()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "no renewed token could be stored" in (await check(config))["file_modes"].message


@pytest.mark.parametrize(
    ("facts", "about"),
    [
        ({}, "There is an access token; Jira named no end of it. A renewed one could not"),
        ({"expires_at": 1.0}, "The access token came to its end on 1970-01-01. A renewed one"),
    ],
)
async def test_a_token_that_no_other_can_replace_is_found_years_before(
    sandbox: Sandbox,
    private_key: RSAPrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    about: str,
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token, session_handle=Secret("HANDLE"), **facts)
    result = Result(await Check(lambda: config).run(lambda _: None))
    assert (result["token"].status == "pass") != bool(facts)
    unplaceable(monkeypatch)
    result = Result(await Check(lambda: config).run(lambda _: None))
    assert result.failed[0] == "token"
    assert result.code == 73
    assert result["token"].message.startswith(about)
    assert str(config.token.path) in result["token"].message
    assert "mount the folder" in result["token"].hint
    assert facts or result.failed == ["token"]


async def test_a_token_that_nobody_renews_needs_no_room(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(sandbox.url, tmp_path, private_key)
    store_token(config, sandbox.grant().token)
    unplaceable(monkeypatch)
    assert (await check(config)).code == 0


async def test_a_token_of_another_jira_is_not_ours(
    sandbox: Sandbox, private_key: RSAPrivateKey, tmp_path: Path
) -> None:
    other = make_config("https://other.example", tmp_path, private_key)
    store_token(other, "T" * 32)
    result = Result(
        await Check(lambda: make_config(sandbox.url, tmp_path, private_key)).run(lambda _: None)
    )
    assert result.failed == ["token"]
    assert "https://other.example" in result["token"].message
    assert result.code == 77

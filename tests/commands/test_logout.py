"""What `sidecar logout` removes, what it leaves, and what it says of Jira."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.commands.logout import ACCESS_TOKENS, Logout
from sidecar.config.load import Config
from sidecar.credentials import Secret, TemporaryCredentials, TokenCredentials
from sidecar.errors import NotAuthorized, StoreError
from sidecar.files.private import write_private
from sidecar.files.request_token import RequestTokenFile
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY, Running, make_config
from tests.support.processes import Shell, shell
from tests.support.waiting import until

__all__ = ["shell"]

OLD = TokenCredentials(Secret("OLDTOKEN"), Secret(""), user="alana", display_name="Alana Example")
NEW = TokenCredentials(Secret("NEWTOKEN"), Secret(""), user="bob")
OLD_JIRA = "https://old.example.com/jira"
JIRA = "https://jira.example.com"


@pytest.fixture
def config(tmp_path: Path, private_key: RSAPrivateKey) -> Config:
    return make_config(JIRA, tmp_path, private_key)


def file_at(config: Config, url: str = JIRA) -> TokenFile:
    return TokenFile(config.token.path, BaseURL.parse(url), CONSUMER_KEY)


async def test_nothing_but_the_lock_is_left(config: Config) -> None:
    state = config.token.path.parent
    file_at(config, OLD_JIRA).save(OLD)
    file_at(config).replace(NEW)
    file_at(config).renewal_mark.set(NEW)
    for name in (".token.json.new", ".token.json.12ab.tmp", "..token.json.renewal.12ab.tmp"):
        (state / name).write_text("SECRET")
    RequestTokenFile(config.token.path, config.jira.base_url, CONSUMER_KEY).save(
        TemporaryCredentials(Secret("t"), Secret("s"), 1.0)
    )
    before = {path.name for path in state.iterdir()} - {".token.json.lock"}
    assert len(before) == 7
    removed = await Logout(config).remove()
    assert {path.name for path in removed} == before
    assert [path.name for path in state.iterdir()] == [".token.json.lock"]
    assert await Logout(config).remove() == []


def test_each_token_is_said_where_it_is_revoked_and_by_whom(config: Config) -> None:
    file_at(config, OLD_JIRA).save(OLD)
    file_at(config).replace(NEW)
    new, old = Logout(config).kept()
    assert new.path == config.token.path
    assert f"log in as bob, and open {JIRA}{ACCESS_TOKENS}" in new.advice
    assert old.path.name == "token.json.bak"
    assert f"as Alana Example (alana), and open {OLD_JIRA}{ACCESS_TOKENS}" in old.advice
    assert "TOKEN" not in repr([new, old])


async def test_another_jiras_token_stays(config: Config) -> None:
    file_at(config, OLD_JIRA).save(OLD)
    for attempt in (lambda: asyncio.sleep(0, Logout(config).kept()), Logout(config).remove):
        with pytest.raises(StoreError, match="not removed") as caught:
            await attempt()
        assert "sidecar logout" in caught.value.hint
    assert file_at(config, OLD_JIRA).load() == OLD


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 99}'])
async def test_a_file_that_makes_no_sense_goes(config: Config, content: bytes) -> None:
    write_private(config.token.path, content)
    assert Logout(config).kept() == []
    assert await Logout(config).remove() == [config.token.path]


@pytest.mark.parametrize("what", ["a pipe", "a folder", "a configuration", "a key"])
async def test_what_cannot_be_a_token_stays(config: Config, what: str) -> None:
    path = config.token.path
    path.parent.mkdir()
    match what:
        case "a pipe":
            os.mkfifo(path, 0o600)
        case "a folder":
            path.mkdir()
        case "a configuration":
            write_private(path, b"[jira]\n")
        case "a key":
            write_private(path, b"-----BEGIN PRIVATE KEY-----\n")
    before = path.lstat().st_ino
    for attempt in (lambda: asyncio.sleep(0, Logout(config).kept()), Logout(config).remove):
        with pytest.raises(StoreError, match="not removed"):
            await attempt()
    assert path.lstat().st_ino == before


async def test_a_link_goes_with_what_it_leads_to(config: Config, tmp_path: Path) -> None:
    real = tmp_path / "real" / "t.json"
    config.token.path.parent.mkdir()
    real.parent.mkdir()
    config.token.path.symlink_to(real)
    file_at(config).save(NEW)
    await Logout(config).remove()
    assert not config.token.path.is_symlink()
    assert not real.exists()


async def test_it_waits_for_a_renewal_and_takes_what_that_stores(config: Config) -> None:
    file = file_at(config)
    file.save(OLD)
    async with file.locked():
        removing = asyncio.create_task(Logout(config).remove())
        await asyncio.wait([removing], timeout=0.1)
        assert not removing.done()
        file.save(NEW)
    assert await removing == [config.token.path]
    assert file.load() is None


async def test_a_running_sidecar_notices(sidecar: Running) -> None:
    assert (await sidecar.get("/rest/api/2/myself")).status == 200
    await Logout(sidecar.config).remove()
    answer = await sidecar.get("/rest/api/2/myself")
    assert answer.status == 503
    assert "sidecar auth" in answer.message
    assert (await sidecar.get("/_sidecar/ready")).status == 503


async def test_a_renewal_that_waits_for_it_brings_nothing_back(
    sidecar: Running, sandbox: Sandbox
) -> None:
    identity = sidecar.server.identity
    renewal = sidecar.server.generations[-1]._healer.renewal
    token = identity.token.current()
    async with sidecar.token_file.locked():
        renewing = asyncio.create_task(renewal.replace(token))
        await until(renewal._is_running)
        sidecar.token_file.remove()
    await renewing
    with pytest.raises(NotAuthorized):
        identity.token.current()
    assert not sidecar.config.token.path.exists()
    assert not [one for one in sandbox.log if "access-token" in one.target]


# ── as its user meets it ────────────────────────────────────────────────────────────────────


async def test_it_says_where_to_revoke_and_then_what_it_removed(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config(JIRA)
    path = shell.folder / ".local/state/sidecar/token.json"
    TokenFile(path, BaseURL.parse(JIRA), CONSUMER_KEY).save(OLD)
    done = await shell.run("logout")
    assert (done.code, done.out) == (0, f"Signed out: removed {path}\n")
    assert f"log in as Alana Example (alana), and open {JIRA}{ACCESS_TOKENS}" in done.err
    assert not path.exists()
    again = await shell.run("logout")
    assert (again.code, again.err) == (0, "")
    assert again.out == f"Nothing to remove: there is no access token at {path}\n"


async def test_where_there_was_never_a_token_no_folder_is_made(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config(JIRA)
    done = await shell.run("logout")
    assert done.code == 0
    assert done.out.startswith("Nothing to remove")
    assert not (shell.folder / ".local").exists()


async def test_as_the_link_itself_it_says_what_else_lets_the_sidecar_in(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config(JIRA, "two_legged = true\n")
    done = await shell.run("logout")
    assert done.code == 0
    assert "private key alone lets the sidecar in" in done.err


async def test_without_a_configuration_it_is_78(shell: Shell) -> None:
    done = await shell.run("logout")
    assert done.code == 78
    assert "sidecar init" in done.hint

"""Another key by `init --rotate-key`: who tries it, when it counts, and what is said."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sidecar.account.identity import Identity
from sidecar.commands import rotate as rotating
from sidecar.commands.rotate import handed_out_by, of_service
from sidecar.config.load import Config
from sidecar.credentials import Secret, TokenCredentials
from sidecar.errors import StoreError
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.rotation.next_key import NextKey
from sidecar.sandbox import Sandbox
from sidecar.system.names import Service
from sidecar.system.unit import Unit
from tests.conftest import CONSUMER_KEY, MakeSidecar, Running, make_config
from tests.support.dancing import seen
from tests.support.processes import Done, Shell, shell
from tests.support.systemd import SERVICE

__all__ = ["shell"]

WriteConfig = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".config" / "sidecar"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_ino)
        for path in folder.iterdir()
    }


def public_key(done: Done) -> RSAPublicKey:
    """The key that is to be entered in Jira, as a command says it."""
    line = next(line for line in done.out.splitlines() if "Public Key:" in line)
    found = load_der_public_key(base64.b64decode(line.split()[-1]))
    assert isinstance(found, RSAPublicKey)
    return found


def store_token(shell: Shell, sandbox: Sandbox) -> None:
    path = shell.folder / ".local" / "state" / "sidecar" / "token.json"
    file = TokenFile(path, BaseURL.parse(sandbox.url), CONSUMER_KEY)
    file.save(TokenCredentials(Secret(sandbox.grant().token), Secret("")))


# ── the command ─────────────────────────────────────────────────────────────────────────────


async def test_nothing_but_a_new_key_that_waits_is_made(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, folder: Path
) -> None:
    config = write_config(sandbox.url, "# a comment\n[access]\nread_only = true\n")
    config.chmod(0o640)
    before = state(folder)
    done = await shell.run("init", "--rotate-key")
    assert done.code == 0
    new = folder / "private_key.pem.new"
    assert f"wrote {new}\n" in done.err
    assert f'Edit the link whose Consumer Key is "{CONSUMER_KEY}"' in done.out
    assert public_key(done) == keys.load_private_key(new).public_key()
    assert "the old key signs" in done.err
    assert "notice when Jira accepts the new one" in done.err
    assert names(folder) == ["config.toml", "private_key.pem", "private_key.pem.new"]
    assert before.items() <= state(folder).items()


async def test_once_more_it_says_the_same_and_then_that_jira_accepts_it(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, folder: Path
) -> None:
    write_config(sandbox.url)
    first = await shell.run("init", "--rotate-key")
    again = await shell.run("init", "--rotate-key")
    assert again.out == first.out
    assert "private_key.pem.new waits already" in again.err
    sandbox.public_key = public_key(first)
    offline = await shell.run("init", "--rotate-key", "--offline")
    assert offline.out == first.out
    done = await shell.run("init", "--rotate-key")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Jira accepts the new private key: it has taken the old one's place")
    assert names(folder) == ["config.toml", "private_key.pem", "private_key.pem.bak"]
    assert keys.load_private_key(folder / "private_key.pem").public_key() == sandbox.public_key


async def test_of_two_at_once_both_say_the_same_key(
    shell: Shell, write_config: WriteConfig, folder: Path
) -> None:
    write_config("http://127.0.0.1:1")
    both = await asyncio.gather(*(shell.run("init", "--rotate-key") for _ in range(2)))
    assert [done.code for done in both] == [0, 0]
    assert both[0].out == both[1].out
    assert names(folder) == ["config.toml", "private_key.pem", "private_key.pem.new"]


@pytest.mark.parametrize("moment", ["before it is read", "after it is read", "as one is made"])
async def test_a_key_that_another_process_puts_in_place_meanwhile_is_no_fault(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    config = make_config(sandbox.url, tmp_path, keys.generate_private_key(2048))
    other = keys.generate_private_key(2048)
    sandbox.public_key = other.public_key()
    waiting, add = NextKey(config.jira.private_key, None), NextKey.add

    def identity(config: Config) -> Identity:
        if moment == "before it is read":
            waiting.take_place(other)
        made = Identity(config)
        if moment == "after it is read":
            waiting.take_place(other)
        return made

    def add_second(self: NextKey, key: RSAPrivateKey) -> bool:
        is_new = add(waiting, other) and add(self, key)
        waiting.take_place(other)
        return is_new

    if moment == "as one is made":
        monkeypatch.setattr(NextKey, "add", add_second)
    else:
        waiting.add(other)
        monkeypatch.setattr(rotating, "Identity", identity)
    done = await rotating.rotate(config, {}, bits=2048, force=False, offline=False)
    assert done.told.startswith("Jira accepts the new private key: another process has")
    assert (done.form, done.is_new) == ((), False)
    in_use = keys.load_private_key(config.jira.private_key)
    assert keys.fingerprint(in_use) == keys.fingerprint(other)


async def test_force_makes_another_and_keeps_the_one_that_waited(
    shell: Shell, write_config: WriteConfig, folder: Path
) -> None:
    write_config("http://127.0.0.1:1")
    first = await shell.run("init", "--rotate-key")
    done = await shell.run("init", "--rotate-key", "--force", "--bits", "3072")
    assert public_key(done) != public_key(first)
    assert public_key(done).key_size == 3072
    kept = folder / "private_key.pem.new.bak"
    assert f"kept the key that waited before as {kept}\n" in done.err
    assert keys.load_private_key(kept).public_key() == public_key(first)


async def test_an_unreachable_jira_is_no_reason_to_fail(
    shell: Shell, write_config: WriteConfig
) -> None:
    write_config("http://127.0.0.1:1")
    await shell.run("init", "--rotate-key")
    done = await shell.run("init", "--rotate-key")
    assert done.code == 0
    assert "sidecar: warning: whether Jira accepts it could not be asked" in done.err
    assert "Public Key:" in done.out


@pytest.mark.parametrize(
    "more",
    [["--base-url", "https://x"], ["--consumer-key", "k"], ["--two-legged"], ["--bits", "12"]],
)
async def test_what_changes_more_than_the_key_is_a_usage_error(
    shell: Shell, write_config: WriteConfig, folder: Path, more: list[str]
) -> None:
    write_config("http://127.0.0.1:1")
    done = await shell.run("init", "--rotate-key", *more)
    assert done.code == 2
    assert more[0] in done.error
    assert names(folder) == ["config.toml", "private_key.pem"]


async def test_without_a_key_in_use_there_is_nothing_to_rotate(
    shell: Shell, write_config: WriteConfig, folder: Path
) -> None:
    write_config("http://127.0.0.1:1")
    (folder / "private_key.pem").unlink()
    done = await shell.run("init", "--rotate-key")
    assert (done.code, done.hint) == (78, "run `sidecar init` to make one")


async def test_a_copy_that_systemd_hands_out_is_not_rotated(
    shell: Shell, write_config: WriteConfig, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    write_config("http://127.0.0.1:1")
    shell.environ["CREDENTIALS_DIRECTORY"] = str(tmp_path / "credentials")
    write_private(tmp_path / "credentials" / "private_key", keys.private_key_pem(private_key))
    done = await shell.run("init", "--rotate-key")
    assert done.code == 73
    assert "systemd has handed out" in done.error


@pytest.mark.parametrize(
    ("file", "unit"),
    [
        ("sidecar.service", "sidecar.service"),
        ("sidecar@.service", "sidecar@*.service"),
        ("sidecar@work.service.d/key.conf", "sidecar@work.service"),
    ],
)
def test_a_unit_that_has_a_copy_is_found(tmp_path: Path, file: str, unit: str) -> None:
    key = tmp_path / "key.pem"
    path = tmp_path / "system" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"[Service]\nLoadCredential=private_key:{key}\nLoadCredential=x:y\n")
    folders = [str(tmp_path / "none"), str(tmp_path / "system")]
    assert handed_out_by(key, folders) == [unit]
    assert handed_out_by(tmp_path / "other.pem", folders) == []


async def test_where_a_unit_has_a_copy_a_restart_is_named(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, tmp_path: Path
) -> None:
    config = write_config(sandbox.url)
    key = config.with_name("private_key.pem")
    (tmp_path / "sidecar.service").write_text(f"[Service]\nLoadCredential=private_key:{key}\n")
    (tmp_path / "elsewhere.py").write_text(
        "from sidecar.commands import rotate\n"
        f"rotate.handed_out_by.__defaults__ = ([{str(tmp_path)!r}],)\n"
        "from sidecar.cli import main\nmain()\n"
    )
    words = ["--config", str(config), "init", "--rotate-key"]
    done = await shell.run(*words, module="elsewhere")
    assert f"run `sidecar --config {config} init --rotate-key` again" in done.err
    assert "notice when Jira accepts" not in done.err
    assert "`sudo systemctl restart sidecar.service`" in done.err
    sandbox.public_key = public_key(done)
    again = await shell.run(*words, module="elsewhere")
    assert again.code == 0
    assert "`sudo systemctl restart sidecar.service`" in again.err


def test_for_the_service_it_is_the_key_itself_that_is_exchanged(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    config = make_config("http://127.0.0.1:1", tmp_path, private_key)
    passphrase = tmp_path / "passphrase"
    handed = [["private_key", "/etc/sidecar/own.pem"], ["passphrase", str(passphrase)]]
    unit = Unit(Service(), SERVICE | {"LoadCredential": handed})
    found = of_service(config, unit).jira
    assert str(found.private_key) == "/etc/sidecar/own.pem"
    assert found.private_key_passphrase_file is None
    write_private(passphrase, b"open sesame\n")
    assert of_service(config, unit).jira.private_key_passphrase_file == passphrase


# ── who tries it ────────────────────────────────────────────────────────────────────────────


async def rotated(shell: Shell, sandbox: Sandbox, *, size: str = "2048") -> None:
    """A new key that Jira has already."""
    done = await shell.run("init", "--rotate-key", "--bits", size)
    sandbox.public_key = public_key(done)


@pytest.mark.parametrize("size", ["2048", "3072"])
async def test_check_tries_it_and_says_so(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, folder: Path, size: str
) -> None:
    write_config(sandbox.url)
    store_token(shell, sandbox)
    await rotated(shell, sandbox, size=size)
    done = await shell.run("check")
    assert done.code == 0, done.out
    assert (
        f"The new private key has taken the old one's place, which is kept as {folder}" in done.out
    )
    assert names(folder) == ["config.toml", "private_key.pem", "private_key.pem.bak"]
    again = await shell.run("check")
    assert again.code == 0
    assert "new private key" not in again.out


async def test_check_leaves_it_where_jira_accepts_the_old_one(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, folder: Path
) -> None:
    write_config(sandbox.url)
    store_token(shell, sandbox)
    await shell.run("init", "--rotate-key")
    done = await shell.run("check")
    assert done.code == 0
    assert "But note: another waits in" in done.out
    assert "private_key.pem.new" in names(folder)


@pytest.mark.parametrize("size", ["2048", "3072"])
async def test_auth_tries_it(
    shell: Shell, sandbox: Sandbox, write_config: WriteConfig, folder: Path, size: str
) -> None:
    write_config(sandbox.url)
    await rotated(shell, sandbox, size=size)
    done = await shell.run("auth", "--begin")
    assert done.code == 0, done.err
    assert done.out.startswith(sandbox.url)
    assert done.err.count("Jira accepts the new private key") == 1
    assert names(folder) == ["config.toml", "private_key.pem", "private_key.pem.bak"]


async def test_auth_as_the_link_itself_tries_it(
    shell: Shell, make_sandbox: Callable[..., asyncio.Future[Sandbox]], write_config: WriteConfig
) -> None:
    link = await make_sandbox(two_legged=True)
    write_config(link.url, "two_legged = true\n")
    await rotated(shell, link)
    done = await shell.run("auth")
    assert done.out == "Two-legged: acts as Build Robot (builds)\n"


def make_wait(sidecar: Running, key: RSAPrivateKey) -> NextKey:
    jira = sidecar.config.jira
    next_key = NextKey(jira.private_key, jira.private_key_passphrase_file)
    assert next_key.add(key)
    return next_key


@pytest.mark.parametrize("bits", [2048, 1024])
async def test_run_goes_on_without_a_failure_when_jira_gets_the_new_key(
    sidecar: Running, sandbox: Sandbox, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    caplog.set_level(logging.INFO)
    key = keys.generate_private_key(bits)
    next_key = make_wait(sidecar, key)
    assert (await sidecar.get("/rest/api/2/myself")).status == 200
    assert next_key.is_there(), "the old key signs until Jira accepts the new one"
    sandbox.public_key = key.public_key()
    answers = await asyncio.gather(*(sidecar.get("/rest/api/2/myself") for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    created = await sidecar.post_json("/rest/api/2/search", {"jql": ""})
    assert created.status == 200
    assert seen(sandbox).count("POST request-token") == 1, "one question for all of them"
    found = keys.load_private_key(sidecar.config.jira.private_key)
    assert keys.fingerprint(found) == keys.fingerprint(key)
    assert not next_key.is_there()
    said = [r.getMessage() for r in caplog.records if "new private key" in r.getMessage()]
    assert len(said) == 1
    assert "has taken the old one's place" in said[0]


async def test_a_post_is_sent_again_too_for_jira_has_not_acted_on_it(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    make_wait(sidecar, other_key)
    sandbox.public_key = other_key.public_key()
    answer = await sidecar.post_json("/rest/api/2/search", {"jql": ""})
    assert answer.status == 200


async def test_a_long_query_whose_refusal_says_nothing_is_healed_by_it(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    make_wait(sidecar, other_key)
    sandbox.public_key = other_key.public_key()
    answer = await sidecar.get(f"/rest/api/2/myself?x={'%25' * 1600}")
    assert answer.status == 200
    assert "GET myself" in seen(sandbox)[1:-1], "a short request told what is wrong"


async def test_a_key_that_jira_does_not_accept_is_asked_about_now_and_then_alone(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    next_key = make_wait(sidecar, other_key)
    sandbox.public_key = keys.generate_private_key(2048).public_key()
    answers = await asyncio.gather(*(sidecar.get("/rest/api/2/myself") for _ in range(5)))
    assert {answer.status for answer in answers} == {401}
    assert seen(sandbox).count("POST request-token") == 1
    assert next_key.is_there()


async def test_a_new_key_is_used_though_it_cannot_take_its_place(
    make_sidecar: MakeSidecar,
    sandbox: Sandbox,
    other_key: RSAPrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where the folder is root's."""
    sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
    next_key = make_wait(sidecar, other_key)

    def refuse(*_: object) -> Path:
        raise StoreError("/etc/sidecar: cannot be written: Permission denied", "…")

    monkeypatch.setattr(NextKey, "take_place", refuse)
    sandbox.public_key = other_key.public_key()
    for _ in range(2):
        assert (await sidecar.get("/rest/api/2/myself")).status == 200
    assert next_key.is_there()
    (said,) = [r.getMessage() for r in caplog.records if "Permission denied" in r.getMessage()]
    assert "sidecar init --rotate-key" in said
    monkeypatch.undo()
    sidecar.server.reload(sidecar.config)  # it reads the old key again
    assert (await sidecar.get("/rest/api/2/myself")).status == 200


async def test_a_key_that_makes_no_sense_changes_nothing(
    sidecar: Running, sandbox: Sandbox, other_key: RSAPrivateKey
) -> None:
    next_key = make_wait(sidecar, other_key)
    write_private(next_key.path, b"nonsense")
    sandbox.public_key = other_key.public_key()
    assert (await sidecar.get("/rest/api/2/myself")).status == 401

"""`sidecar init` as its user meets it: what is asked, what is kept, what comes next."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files import keys
from sidecar.sandbox import Sandbox
from tests.support.processes import Done, Shell, shell

__all__ = ["shell"]

ARGUMENTS = ["--base-url", "https://jira.example.com", "--consumer-key", "OauthKey"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command puts its files."""
    return tmp_path / ".config" / "sidecar"


@pytest.fixture
def sample(tmp_path: Path, private_key: RSAPrivateKey) -> Path:
    """The sample client's state, with a token."""
    one_line = "".join(keys.private_key_pem(private_key).decode().splitlines()[1:-1])
    file = tmp_path / "config.properties"
    file.write_text(
        "jira_home=https://jira.example.com\nconsumer_key=OauthKey\naccess_token=ACCESS\n"
        f"private_key={one_line}\n"
    )
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


async def run_at_terminal(shell: Shell, typed: bytes, *words: str) -> Done:
    """Run the program with a terminal for its input, on which everything is typed in advance."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, typed)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidecar", *words,
            cwd=shell.folder, env=shell.environ,
            stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def test_a_configuration_without_its_key_gets_just_the_key(
    shell: Shell, folder: Path
) -> None:
    await shell.run("init", *ARGUMENTS)
    config, key = folder / "config.toml", folder / "private_key.pem"
    config.write_text(config.read_text() + "\n# mine\n")
    before, old_key = config.read_bytes(), key.read_bytes()
    key.unlink()
    missing = await shell.run("run")
    assert (missing.code, missing.hint) == (78, "run `sidecar init` to make one")
    done = await shell.run("init")
    assert done.code == 0
    assert f"{config} is there and stays as it is" in done.err
    assert f"wrote {key}\n" in done.err
    assert "Consumer Key:          OauthKey" in done.out
    assert config.read_bytes() == before
    assert key.read_bytes() != old_key
    assert sorted(contents(folder)) == ["config.toml", "private_key.pem"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--base-url", "https://other.example.com"], "jira.base_url"),
        (["--consumer-key", "other"], "jira.consumer_key"),
    ],
)
async def test_a_key_is_not_made_for_another_configuration_than_is_there(
    shell: Shell, folder: Path, given: list[str], said: str
) -> None:
    await shell.run("init", *ARGUMENTS)
    (folder / "private_key.pem").unlink()
    done = await shell.run("init", *given)
    assert done.code == 73
    assert said in done.error
    assert given[0] in done.hint
    assert not (folder / "private_key.pem").exists()


async def test_force_keeps_what_it_replaces_and_says_where(shell: Shell, folder: Path) -> None:
    formers = []
    for number in range(3):
        formers.append(contents(folder))
        done = await shell.run("init", *ARGUMENTS, "--force", "--consumer-key", f"key {number}")
        assert done.code == 0
    assert (
        f"kept the former {folder}/private_key.pem as {folder}/private_key.pem.bak2\n" in done.err
    )
    for name in ("config.toml", "private_key.pem"):
        for suffix, former in (("bak", formers[1]), ("bak2", formers[2])):
            backup = folder / f"{name}.{suffix}"
            assert backup.read_bytes() == former[name]
            assert backup.stat().st_mode & 0o777 == 0o600


async def test_a_path_that_is_no_regular_file_is_refused_at_once(
    shell: Shell, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("/dev/full", str(tmp_path / "fifo"), str(tmp_path)):
        for more in ([], ["--force"]):
            done = await shell.run("init", "--config", path, *ARGUMENTS, *more)
            assert (done.code, done.error) == (73, f"{path}: not a regular file")
            assert done.hint


async def test_after_an_import_with_a_token_nobody_has_to_sign_in(
    shell: Shell, sample: Path
) -> None:
    done = await shell.run("init", "--from", str(sample))
    assert done.code == 0
    assert done.err.endswith("\nThen run: sidecar check\n")


async def test_two_legged_oauth_needs_no_sign_in(shell: Shell, folder: Path, sample: Path) -> None:
    done = await shell.run("init", "--two-legged", *ARGUMENTS)
    assert (done.code, done.err.splitlines()[-1]) == (0, "Then run: sidecar check")
    assert "Allow 2-Legged OAuth:  (tick)" in done.out
    assert "Execute as:" in done.out
    assert "Allow user impersonation through 2-Legged OAuth:" in done.out
    assert "\ntwo_legged = true\n" in (folder / "config.toml").read_text()
    assert "\n#act_as = " in (folder / "config.toml").read_text()
    (folder / "private_key.pem").unlink()
    again = await shell.run("init")
    assert (again.code, again.err.splitlines()[-1]) == (0, "Then run: sidecar check")
    assert "Execute as:" in again.out
    imported = await shell.run("init", "--two-legged", "--force", "--from", str(sample))
    assert imported.code == 0
    assert "token.json" not in imported.err


async def test_an_existing_configuration_does_not_become_two_legged(
    shell: Shell, folder: Path
) -> None:
    await shell.run("init", *ARGUMENTS)
    (folder / "private_key.pem").unlink()
    refused = await shell.run("init", "--two-legged")
    assert (refused.code, list(contents(folder))) == (73, ["config.toml"])
    assert "two_legged = true" in refused.hint


async def test_a_token_that_is_there_is_no_matter_of_config(shell: Shell, sample: Path) -> None:
    await shell.run("init", "--from", str(sample))
    done = await shell.run("init", "--from", str(sample), "--config", "elsewhere/c.toml")
    assert done.code == 73
    assert "token.json exists already" in done.error
    assert "token.path" in done.hint
    assert "--force" in done.hint
    assert "--config" not in done.hint


async def test_a_size_for_a_key_that_is_imported_is_a_usage_error(
    shell: Shell, sample: Path, folder: Path
) -> None:
    done = await shell.run("init", "--from", str(sample), "--bits", "4096")
    assert done.code == 2
    assert "--bits" in done.error
    assert done.hint
    assert not contents(folder)


async def test_plain_http_to_another_machine_is_warned_about(shell: Shell) -> None:
    done = await shell.run("init", *ARGUMENTS, "--base-url", "http://jira.example.com")
    assert "sidecar: warning: http://jira.example.com is plain http" in done.err


async def test_the_next_step_names_the_configuration_that_was_given(shell: Shell) -> None:
    done = await shell.run("--config", "my t9/c.toml", "init", *ARGUMENTS)
    assert done.err.endswith("\nThen run: sidecar --config 'my t9/c.toml' auth\n")


async def test_a_wrong_answer_is_asked_again_at_once(shell: Shell, folder: Path) -> None:
    done = await run_at_terminal(shell, b"jira.example.com\n https://jira.example.com \n\n", "init")
    assert done.code == 0
    _, first, *others = done.err.split("Jira's URL")
    assert "must begin with http:// or https://" in first
    assert len(others) == 1
    assert "--base-url" not in done.err
    text = (folder / "config.toml").read_text()
    assert 'base_url = "https://jira.example.com"\n' in text
    assert 'consumer_key = "OauthKey"\n' in text


async def test_nothing_is_asked_where_files_are_in_the_way(shell: Shell) -> None:
    await shell.run("init", *ARGUMENTS)
    done = await run_at_terminal(shell, b"", "init")
    assert done.code == 73
    assert "Jira's URL" not in done.err


# ── looking at the URL ──────────────────────────────────────────────────────────────────────

KEY = ["--consumer-key", "OauthKey"]


def base_url(folder: Path) -> str:
    text = (folder / "config.toml").read_text()
    return next(line for line in text.splitlines() if line.startswith("base_url"))


async def test_what_is_missing_is_named_at_once(shell: Shell) -> None:
    done = await shell.run("init")
    assert (done.code, done.error) == (2, "--base-url and --consumer-key are missing")
    done = await shell.run("init", "--base-url", "https://jira.example.com")
    assert (done.code, done.error) == (2, "--consumer-key is missing")
    example = "--base-url https://jira.example.com --consumer-key OauthKey"
    assert done.hint == f"give it, for example {example}; there is no terminal to ask on"
    mended = await shell.run("init", "--offline", *example.split())
    assert mended.code == 0, "what the hint names works when pasted"


async def test_the_right_url_is_taken_in_place_of_a_pages(
    shell: Shell, sandbox: Sandbox, folder: Path
) -> None:
    text = sandbox.url.removeprefix("http://").removesuffix("/jira") + "/login.jsp"
    done = await shell.run("init", "--base-url", text, *KEY)
    assert done.code == 0
    assert f"Jira 9.12.0 answers at {sandbox.url}: taken in place of" in done.err
    assert base_url(folder) == f'base_url = "{sandbox.url}"'


async def test_offline_nobody_is_asked(shell: Shell, sandbox: Sandbox, folder: Path) -> None:
    done = await shell.run("init", "--base-url", sandbox.url, *KEY, "--offline")
    assert done.code == 0
    assert not sandbox.log
    assert "answers at" not in done.err


async def test_at_a_terminal_the_right_url_is_offered(
    shell: Shell, sandbox: Sandbox, folder: Path
) -> None:
    text = f"{sandbox.url}/browse/X-1\n".encode()
    done = await run_at_terminal(shell, text + b"n\n" + text + b"\n\n", "init")
    assert done.code == 0
    assert done.err.count(f"answers at {sandbox.url}. Take that? [Y/n]") == 2
    assert base_url(folder) == f'base_url = "{sandbox.url}"'


async def test_at_a_terminal_a_missing_scheme_is_offered_with_the_next_question(
    shell: Shell, folder: Path
) -> None:
    done = await run_at_terminal(shell, b"jira.example.com/jira\n\n\n", "init", "--offline")
    assert done.code == 0
    assert "Jira's URL [https://jira.example.com/jira]" in done.err
    assert base_url(folder) == 'base_url = "https://jira.example.com/jira"'


async def test_who_aborts_leaves_nothing(shell: Shell, sandbox: Sandbox, folder: Path) -> None:
    end_of_input = b"\x04"
    done = await run_at_terminal(shell, sandbox.url.encode() + b"\n" + end_of_input, "init")
    assert done.code == 130
    assert contents(folder) == {}


async def test_force_needs_to_be_told_only_what_changes(shell: Shell, folder: Path) -> None:
    await shell.run("init", *ARGUMENTS)
    config = folder / "config.toml"
    config.write_text(config.read_text().replace("#read_only = false", "read_only = true"))
    key = (folder / "private_key.pem").read_bytes()
    done = await shell.run("init", "--force", "--consumer-key", "another")
    assert done.code == 0
    assert f"all other settings of {config} stay as they were" in done.err
    assert "\nread_only = true\n" in config.read_text()
    assert 'base_url = "https://jira.example.com"' in config.read_text()
    assert "Consumer Key:          another" in done.out
    assert (folder / "private_key.pem").read_bytes() != key
    assert (folder / "private_key.pem.bak").read_bytes() == key

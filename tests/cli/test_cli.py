"""The command line as its user meets it: output, errors in two lines, exit codes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import pytest

from sidecar.cli import cli
from sidecar.files import keys
from sidecar.files.private import read_secret, write_private
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY
from tests.support.dancing import approve
from tests.support.processes import Done, Shell, shell
from tests.support.wire import Client

__all__ = ["shell"]

MakeSandbox = Callable[..., Awaitable[Sandbox]]


COMMANDS = ["init", "public-key", "auth", "run", "request", "check", "validate", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_help_ends_with_an_example(shell: Shell, command: str) -> None:
    done = await shell.run(command, "--help")
    assert done.code == 0
    assert done.out.rstrip().splitlines()[-1].lstrip().startswith(f"sidecar {command}")


async def test_version_and_help(shell: Shell) -> None:
    assert (await shell.run("--version")).out.startswith("sidecar 0.")
    done = await shell.run("--help")
    for command in COMMANDS:
        assert f"\n  {command}" in done.out


@pytest.mark.parametrize(
    "words", [["nonsense"], ["run", "--nonsense"], ["request"], ["auth", "--begin", "--verifier=x"]]
)
async def test_a_senseless_command_line_exits_2(shell: Shell, words: list[str]) -> None:
    done = await shell.run(*words)
    assert done.code == 2
    assert done.error
    assert done.hint


@pytest.mark.parametrize("words", [[], ["-v"], ["--config", "nowhere.toml"]])
async def test_no_command_at_all_prints_help(shell: Shell, words: list[str]) -> None:
    done = await shell.run(*words)
    assert done == Done(2, (await shell.run("--help")).out, "")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_summaries_are_whole_whatever_the_width(width: int) -> None:
    context = click.Context(cli, info_name="sidecar", terminal_width=width)
    shown = " ".join(cli.get_help(context).split())
    for command in cli.commands.values():
        summary = (command.help or "").partition("\n\n")[0]
        assert summary.endswith(".")
        assert summary in shown


async def test_from_an_empty_folder_to_a_signed_request(
    shell: Shell, tmp_path: Path, make_sandbox: MakeSandbox
) -> None:
    sandbox = await make_sandbox(context_path="/jira")
    made = await shell.run("init", "--base-url", sandbox.url, "--consumer-key", CONSUMER_KEY)
    assert made.code == 0
    assert "Consumer Key:" in made.out
    assert (tmp_path / ".config/sidecar/private_key.pem").stat().st_mode & 0o777 == 0o600
    again = await shell.run("init", "--base-url", sandbox.url, "--consumer-key", "x")
    assert again.code == 73
    assert "--force" in again.hint
    public = await shell.run("public-key")
    assert public.out.startswith("-----BEGIN PUBLIC KEY-----\n")
    key_file = tmp_path / ".config/sidecar/private_key.pem"
    sandbox.public_key = keys.load_private_key(key_file).public_key()

    early = await shell.run("request", "/rest/api/2/myself")
    assert (early.code, early.hint) == (77, "run `sidecar auth`")
    url = (await shell.run("auth", "--begin")).out.strip()
    wrong = await shell.run("auth", "--verifier", "XXXXXX")
    assert wrong.code == 77
    code = await approve(url)
    finished = await shell.run("auth", "--verifier", "-", stdin=code.encode() + b"\n")
    assert (finished.code, finished.err) == (0, "")
    assert finished.out.startswith("Signed in as Alana Example (alana) until 20")

    one = await shell.run("request", "-i", "/rest/api/2/myself")
    assert one.code == 0
    assert one.out.startswith("HTTP/1.1 200")
    missing = await shell.run("request", "/rest/api/2/issue/NO-1")
    assert (missing.code, missing.error) == (22, "Jira answered 404")
    async with shell.running("run", "--listen", "127.0.0.1:0", until="listening on") as process:
        port = int(process.said[0].rpartition(":")[2])
        answer = await Client("127.0.0.1", port).get("/rest/api/2/issue/JJ-2")
        assert answer.json()["key"] == "JJ-2"
        process.signal(signal.SIGTERM)
        assert await process.ends() == 0
    assert all(request.verdict != "signature_invalid" for request in sandbox.log)


async def test_an_address_in_use_exits_75(shell: Shell, write_config: Callable[..., None]) -> None:
    write_config("http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = await shell.run("run", "--listen", f"127.0.0.1:{port}")
    assert done.code == 75
    assert f"127.0.0.1:{port} is in use" in done.error


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ("[jira2]\nx = 1\n", 78, "unknown"),
        ("[listen]\naddresses = ['0.0.0.0:8088']\n", 78, "access.key_file"),
        ("[limits]\nconnections = 0\n", 78, "limits.connections"),
        ("= nonsense", 78, "TOML"),
    ],
)
async def test_a_wrong_configuration_exits_78_with_file_and_line(
    shell: Shell, write_config: Callable[..., None], more: str, code: int, said: str
) -> None:
    write_config("http://127.0.0.1:1", more)
    done = await shell.run("run")
    assert done.code == code
    assert "config.toml:" in done.error
    assert said in done.error
    assert done.hint


async def test_a_key_that_cannot_be_used_exits_78(
    shell: Shell, write_config: Callable[..., None], tmp_path: Path
) -> None:
    write_config("http://127.0.0.1:1")
    key = tmp_path / ".config/sidecar/private_key.pem"
    whole = read_secret(key, "private key")
    for content in (
        b"",
        whole[:200],
        b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----",
    ):
        key.write_bytes(content)
        done = await shell.run("run")
        assert done.code == 78
        assert str(key) in done.error
        assert done.hint
    write_private(key, whole)
    key.chmod(0o644)
    done = await shell.run("run")
    assert done.code == 78
    assert "chmod" in done.hint


async def test_an_unreachable_jira_exits_69(
    shell: Shell, write_config: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write_config(f"http://127.0.0.1:{port}")
    done = await shell.run("auth", "--begin")
    assert done.code == 69
    assert "connection refused" in done.error

"""`sidecar auth` as its user meets it: interrupted, with a browser that talks, over plain http."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY
from tests.support.dancing import approve, decide, visit
from tests.support.processes import Done, Shell, shell
from tests.support.waiting import PATIENCE

__all__ = ["shell"]


@asynccontextmanager
async def started(shell: Shell, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command whose outputs are apart; it is ended with the test."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *words,
        cwd=shell.folder, env=shell.environ, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def wait_until_read(pipe: int) -> None:
    """Wait until the other end has read everything: then it waits for more."""
    deadline = time.monotonic() + PATIENCE
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_while_it_reads_the_code_it_says_so(
    shell: Shell, write_config: Callable[..., None], number: signal.Signals
) -> None:
    write_config("http://127.0.0.1:1")
    async with started(shell, "auth", "--verifier", "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"half a co")
        pipe = process.stdin.get_extra_info("pipe").fileno()
        await asyncio.to_thread(wait_until_read, pipe)
        process.send_signal(number)
        out, err = await process.communicate()
    done = Done(process.returncode or 0, out.decode(), err.decode())
    assert (done.code, done.error) == (77, "The sign-in was interrupted.")
    assert done.hint == "run `sidecar auth` again"


async def test_without_buffering_the_url_is_shown_before_the_code_is_read(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., None]
) -> None:
    """PYTHONUNBUFFERED is usual in containers."""
    write_config(sandbox.url)
    shell.environ["PYTHONUNBUFFERED"] = "1"
    async with started(shell, "auth", "--no-browser") as process:
        assert process.stderr
        shown = await process.stderr.readuntil(b"/authorize?oauth_token=")
        assert sandbox.url.encode() in shown


async def test_a_code_is_read_from_nowhere_as_an_empty_one(
    shell: Shell, write_config: Callable[..., None], sandbox: Sandbox
) -> None:
    write_config(sandbox.url)
    await shell.run("auth", "--begin")
    done = await shell.run("auth", "--verifier", "-", stdin=b"\xff\n")
    assert done.code == 77
    assert "neither a verification code nor a URL" in done.error


async def test_what_the_browser_says_is_no_result_of_ours(
    shell: Shell, write_config: Callable[..., None], sandbox: Sandbox, tmp_path: Path
) -> None:
    write_config(sandbox.url)
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "browser opens $1"\n')
    browser.chmod(0o755)
    shell.environ["BROWSER"] = str(browser)
    async with started(shell, "auth") as process:
        assert process.stderr is not None
        line = b""
        while not line.startswith(b"browser opens "):
            line = await process.stderr.readline()
            assert line, "ended without a browser"
        await visit((await decide(line.decode().split()[-1]))["Location"])
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().startswith("Signed in as Alana Example (alana) until ")
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("words", [["--begin"], ["--verifier", "abc"], ["--no-browser"]])
async def test_plain_http_to_another_machine_is_warned_about(
    shell: Shell, write_config: Callable[..., None], words: list[str]
) -> None:
    write_config("http://jira.example.com", 'proxy = "http://127.0.0.1:1"\n')
    done = await shell.run("auth", *words)
    assert done.code in (69, 77)
    assert done.err.startswith("sidecar: warning: http://jira.example.com is plain http")


async def test_hints_name_the_configuration_that_was_given(
    shell: Shell, write_config: Callable[..., None], tmp_path: Path
) -> None:
    write_config("http://127.0.0.1:1")
    (tmp_path / ".config/sidecar").rename(tmp_path / "my t9")
    named = ["--config", "my t9/config.toml"]
    done = await shell.run("auth", "--verifier", "abc", *named)
    assert done.hint == "run `sidecar --config 'my t9/config.toml' auth --begin` first"
    checked = await shell.run("check", *named)
    assert "    run `sidecar --config 'my t9/config.toml' auth`\n" in checked.out
    as_json = await shell.run("check", "--json", *named)
    assert "run `sidecar --config 'my t9/config.toml' auth`" in as_json.out


# ── real mounts ─────────────────────────────────────────────────────────────────────────────

ALONE = "mount --bind {state}/copy.json {state}/token.json"
READ_ONLY = "mount --bind {state} {state} && mount -o remount,bind,ro {state}"
NAMESPACE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


def may_mount() -> bool:
    """Whether this machine lets us have mounts of our own."""
    try:
        return (
            subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
        )
    except OSError:
        return False


async def mounted(shell: Shell, mount: str, *words: str) -> Done:
    """Run a command where something is mounted that nobody else sees."""
    state = shell.folder / ".local" / "state" / "sidecar"
    program = f'{mount.format(state=state)} && exec "$0" -m sidecar "$@"'
    process = await asyncio.create_subprocess_exec(
        *NAMESPACE, "sh", "-c", program, sys.executable, *words,
        cwd=shell.folder, env=shell.environ, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody have mounts of their own")
@pytest.mark.parametrize(
    ("mount", "said"),
    [(ALONE, "Device or resource busy"), (READ_ONLY, "Read-only file system")],
    ids=["mounted by itself", "read-only"],
)
async def test_a_mount_that_takes_no_new_token_is_found_before_jira_is_asked(
    shell: Shell,
    sandbox: Sandbox,
    write_config: Callable[..., Path],
    mount: str,
    said: str,
) -> None:
    write_config(sandbox.url)
    state = shell.folder / ".local" / "state" / "sidecar"
    file = TokenFile(state / "token.json", BaseURL.parse(sandbox.url), CONSUMER_KEY)
    file.save(TokenCredentials(Secret(sandbox.grant().token), Secret(""), Secret("HANDLE")))
    write_private(state / "copy.json", file.path.read_bytes())
    done = await mounted(shell, mount, "auth", "--begin")
    assert (done.code, done.out) == (73, "")
    assert said in done.error
    assert str(state) in done.hint
    assert not sandbox.log
    done = await mounted(shell, mount, "check")
    assert done.code == 73
    assert f"A renewed one could not be stored: {state}" in done.out
    assert "Jira takes us for Alana Example (alana)." in done.out, "and yet it serves"
    assert file.load() is not None


TWO_LEGGED = "two_legged = true\n"


@pytest.fixture
async def link(make_sandbox: Callable[..., Awaitable[Sandbox]]) -> Sandbox:
    """A Jira whose application link may act by itself."""
    return await make_sandbox(context_path="/jira", two_legged=True)


async def test_as_the_link_itself_it_only_asks_who_that_is(
    shell: Shell, link: Sandbox, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    write_config(link.url, TWO_LEGGED)
    done = await shell.run("auth")
    assert (done.code, done.out, done.err) == (0, "Two-legged: acts as Build Robot (builds)\n", "")
    assert [request.target for request in link.log] == ["/jira/rest/api/2/myself"]
    assert not (tmp_path / ".local").exists(), "nothing is stored"
    token = tmp_path / ".local" / "state" / "sidecar" / "token.json"
    write_private(token, b"left alone")
    again = await shell.run("auth", "--no-browser")
    assert (again.code, again.out) == (0, done.out)
    assert again.err.startswith(f"sidecar: warning: {token} is not used, and left alone")
    assert [file.read_bytes() for file in token.parent.iterdir()] == [b"left alone"]


@pytest.mark.parametrize("words", [["--begin"], ["--replace"], ["--verifier", "qTJkPi"]])
async def test_as_the_link_itself_there_is_no_dance_to_begin_or_to_end(
    shell: Shell, link: Sandbox, write_config: Callable[..., Path], words: list[str]
) -> None:
    write_config(link.url, TWO_LEGGED)
    done = await shell.run("auth", *words)
    assert (done.code, done.hint) == (2, "run `sidecar auth` alone, which asks Jira whom we act as")
    assert "jira.two_legged is set" in done.error
    assert not link.log


@pytest.mark.parametrize(
    ("more", "switches", "message", "hint"),
    [
        (TWO_LEGGED, {"two_legged": False}, "does not let us in", "tick Allow 2-Legged OAuth"),
        (TWO_LEGGED, {"execute_as": ""}, "answered as nobody", "as Execute as"),
        (TWO_LEGGED, {"link_gone": True}, "no application link", "Consumer key"),
        (TWO_LEGGED, {"perceived_scheme": "https"}, "Jira believes", "jira.signing_url"),
        (
            TWO_LEGGED + 'act_as = "ci-deploy"\n', {}, "does not let us act as the user",
            "tick Allow user impersonation",
        ),
        ("", {"three_legged": False}, "does not allow our consumer", "jira.two_legged = true"),
    ],
)  # fmt: skip
async def test_a_link_that_does_not_fit_is_78_in_two_lines(
    shell: Shell,
    link: Sandbox,
    write_config: Callable[..., Path],
    more: str,
    switches: dict[str, object],
    message: str,
    hint: str,
) -> None:
    write_config(link.url, more)
    link.faults.throw(switches)
    done = await shell.run("auth", "--no-browser")
    assert (done.code, done.out) == (78, "")
    assert message in done.error
    assert hint in done.hint
    assert "press Allow" not in done.err


@pytest.mark.parametrize("more", ["", TWO_LEGGED])
@pytest.mark.parametrize("is_there", [True, False])
async def test_a_key_of_another_size_or_none_is_78_in_two_lines(
    shell: Shell, link: Sandbox, write_config: Callable[..., Path], more: str, is_there: bool
) -> None:
    write_config(link.url, more)
    link.public_key = keys.generate_private_key(1024).public_key() if is_there else None
    done = await shell.run("auth", "--no-browser")
    assert done.code == 78
    assert "another size than our private key" in done.error
    if is_there and not more:
        assert "1024 bits there, 2048 here" in done.error
    assert "sidecar public-key" in done.hint


# ── moving, and what comes next ─────────────────────────────────────────────────────────────


async def test_beginning_names_the_next_command_beside_the_url(
    shell: Shell, write_config: Callable[..., Path], sandbox: Sandbox
) -> None:
    config = write_config(sandbox.url)
    done = await shell.run("auth", "--begin")
    assert len(done.out.splitlines()) == 1
    assert done.err == "Then run: sidecar auth --verifier CODE_OR_URL\n"
    done = await shell.run("auth", "--begin", "--replace", "--config", str(config))
    assert (
        done.err == f"Then run: sidecar --config {config} auth --replace --verifier CODE_OR_URL\n"
    )


async def test_a_rejected_code_names_the_commands(
    shell: Shell, write_config: Callable[..., Path], sandbox: Sandbox
) -> None:
    write_config(sandbox.url)
    begun = await shell.run("auth", "--begin")
    await approve(begun.out.strip())
    for code in ("wrong1", "no code at all"):
        done = await shell.run("auth", "--verifier", code)
        assert done.code == 77
        assert "`sidecar auth --verifier CODE`" in done.hint
        assert "`sidecar auth --begin`" in done.hint
        assert done.hint.count("begin") == 2, "begin anew with `sidecar auth --begin`, said once"


async def test_a_wrong_context_path_names_a_command(
    shell: Shell, write_config: Callable[..., Path], sandbox: Sandbox
) -> None:
    write_config(sandbox.url.removesuffix("/jira"))
    done = await shell.run("auth", "--no-browser")
    assert done.code == 69
    assert "`sidecar check`" in done.hint


async def test_a_token_of_the_jira_before_is_replaced_on_demand(
    shell: Shell, write_config: Callable[..., Path], sandbox: Sandbox
) -> None:
    write_config(sandbox.url)
    path = shell.folder / ".local" / "state" / "sidecar" / "token.json"
    old = TokenFile(path, BaseURL.parse("https://old.example.com"), CONSUMER_KEY)
    old.save(TokenCredentials(Secret("OLD"), Secret("")))
    refused = await shell.run("auth", "--begin")
    assert refused.code == 73
    assert "token.path" in refused.hint
    assert "`sidecar auth --replace`" in refused.hint
    begun = await shell.run("auth", "--begin", "--replace")
    done = await shell.run("auth", "--replace", "--verifier", await approve(begun.out.strip()))
    assert (done.code, done.out.partition(" until")[0]) == (0, "Signed in as Alana Example (alana)")
    assert b"OLD" in path.with_name("token.json.bak").read_bytes()


async def test_over_ssh_no_browser_is_opened_and_one_line_says_so(
    shell: Shell, write_config: Callable[..., Path], sandbox: Sandbox, tmp_path: Path
) -> None:
    write_config(sandbox.url)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("w3m", "xdg-open", "www-browser", "firefox"):
        (folder / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/opened\n")
        (folder / name).chmod(0o755)
    shell.environ |= {
        "PATH": f"{folder}:{shell.environ['PATH']}",
        "SSH_CONNECTION": "192.0.2.7 51000 192.0.2.8 22",
        "TERM": "xterm",
    }
    async with started(shell, "auth") as process:
        assert process.stderr is not None
        assert await process.stderr.readline() == b"No browser is opened over SSH.\n"
        assert (await process.stderr.readline()).startswith(b"Open this page, log in to Jira")
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert not (tmp_path / "opened").exists()

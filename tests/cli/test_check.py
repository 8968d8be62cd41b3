"""`sidecar check` as the command line shows it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.config.load import load
from sidecar.sandbox import Sandbox
from tests.conftest import store_token
from tests.support.checking import NAMES
from tests.support.processes import Shell, shell
from tests.support.terminals import Terminal, terminal

__all__ = ["shell", "terminal"]


async def test_the_command_prints_a_line_for_each_step_and_exits_with_the_first_fault(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url)
    done = await shell.run("check")
    lines = done.out.splitlines()
    assert [line[0] for line in lines if line[0] != " "] == [*"✓✓✓✓✓✓✓✓✓✗✓–1"]
    at = next(index for index, line in enumerate(lines) if line.startswith("✗"))
    assert lines[at + 1] == "    run `sidecar auth`"
    assert lines[-2] == "– Not tried before that is mended: user, anonymous."
    assert lines[-1] == f"1 problem: {lines[at].removeprefix('✗ ')}"
    assert (done.code, done.err) == (77, "")


async def test_what_stands_first_in_the_way_comes_first(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1")
    done = await shell.run("check")
    marks = [line for line in done.out.splitlines() if line[0] != " "]
    assert [line[0] for line in marks] == [*"✓✓✓✓✗✗–2"]
    assert "Cannot connect to 127.0.0.1:1" in marks[4]
    assert marks[-1] == f"2 problems, first of all: {marks[4].removeprefix('✗ ')}"
    assert done.code == 69


async def test_colours_are_for_terminals_whose_user_does_not_mind(
    shell: Shell, terminal: Terminal, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1")
    code, shown = await terminal.run(shell, "check")
    assert code == 69
    lines = shown.splitlines()
    assert lines[0].startswith("\x1b[32m✓\x1b[m The configuration")
    assert any(line.startswith("\x1b[31m✗\x1b[m Cannot connect") for line in lines)
    assert lines[-2].startswith("\x1b[2m–\x1b[m Not tried")
    assert lines[-1].startswith("\x1b[31m2 problems")
    plain = (await shell.run("check", "--json")).out
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        code, shown = await terminal.run(shell, "check", **environ)
        assert "\x1b" not in shown
    code, shown = await terminal.run(shell, "check", NO_COLOR="")
    assert "\x1b" in shown
    code, shown = await terminal.run(shell, "check", "--json")
    assert (code, shown) == (69, plain)


async def test_the_command_speaks_json(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url)
    done = await shell.run("check", "--json")
    said = json.loads(done.out)
    assert said["ok"] is False
    assert [step["name"] for step in said["steps"]] == NAMES
    assert all(list(step) == ["name", "status", "message", "hint"] for step in said["steps"])
    assert {step["status"] for step in said["steps"]} == {"pass", "fail", "skipped"}
    assert (done.code, done.err) == (77, "")


async def test_the_command_exits_0_only_if_all_is_well(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_config(sandbox.url)
    store_token(load(file, {"HOME": str(tmp_path)}, {}), sandbox.grant().token)
    done = await shell.run("check", "--json")
    assert (done.code, json.loads(done.out)["ok"]) == (0, True)
    assert (await shell.run("check")).out.endswith("\nAll is well.\n")


async def test_the_command_says_without_symbols_where_the_terminal_has_none(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1")
    shell.environ["PYTHONIOENCODING"] = "ascii"
    done = await shell.run("check")
    assert done.out.startswith("ok   ")
    assert "\nFAIL " in done.out


async def test_the_command_asks_whether_the_sidecar_is_ready(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    write_config("http://127.0.0.1:1", f'[listen]\naddresses = ["127.0.0.1:{port}"]\n')
    down = await shell.run("check", "--ready")
    assert (down.code, down.out[0]) == (69, "✗")
    async with shell.running("run", until="listening on"):
        early = await shell.run("check", "--ready", "--json")
        assert early.code == 77
        assert json.loads(early.out)["steps"][0]["name"] == "ready"
    broken = write_config("http://127.0.0.1:1", "= nonsense")
    assert (await shell.run("check", "--ready")).code == 78
    assert (await shell.run("check")).out.startswith(f"✗ {broken}:")


async def test_a_probe_does_not_wait_for_what_it_does_not_need(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1", '[listen]\naddresses = ["127.0.0.1:1"]\n')
    shell.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    done = await shell.run("check", "--ready")
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert {"sidecar.check.ready", "sidecar.check.running"} <= imported
    assert not {"aiohttp", "cryptography", "sidecar.check.diagnosis"} & imported


POLICY = """
openssl_conf = init
[init]
alg_section = evp
[evp]
default_properties = "fips=yes"
"""


async def test_a_policy_that_forbids_sha1_is_recognised(
    shell: Shell, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    write_config("http://127.0.0.1:1")
    (tmp_path / "openssl.cnf").write_text(POLICY)
    shell.environ["OPENSSL_CONF"] = str(tmp_path / "openssl.cnf")
    done = await shell.run("check", "--json")
    step = json.loads(done.out)["steps"][1]
    if step["status"] == "pass":
        pytest.skip("this OpenSSL does not mind the policy")
    assert "SHA-1" in step["message"]
    assert "policy" in step["hint"]
    assert done.code == 78

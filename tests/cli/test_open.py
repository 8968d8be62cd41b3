"""`sidecar open` as its user meets it: real processes, a browser that notes what it is given."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.sandbox import Sandbox
from tests.support.processes import Shell, shell

__all__ = ["shell"]

ADDRESS = r"http://127\.0\.0\.1:[0-9]+/_sidecar/#code=[0-9a-f]+-[0-9a-f]{32}"
LISTEN = ("--listen", "127.0.0.1:0")


async def test_it_prints_the_address_alone(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    """Though only `run` knows its port: the file says it."""
    write_config(sandbox.url)
    async with shell.running("run", *LISTEN, until="listening on"):
        (file,) = (shell.folder / ".local/state/sidecar").glob("open_*.json")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        done = await shell.run("open", "--print")
        assert (done.code, done.err) == (0, "")
        assert re.fullmatch(ADDRESS + "\n", done.out)
    assert not file.exists()


@pytest.mark.parametrize("works", [True, False])
async def test_it_opens_the_browser_or_says_what_to_open(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path], works: bool
) -> None:
    write_config(sandbox.url)
    browser = shell.folder / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {shell.folder}/opened\nexit {0 if works else 1}\n')
    browser.chmod(0o755)
    shell.environ["BROWSER"] = f"{browser} %s"
    async with shell.running("run", *LISTEN, until="listening on"):
        done = await shell.run("open")
    assert done.code == 0
    assert re.fullmatch(ADDRESS + "\n", (shell.folder / "opened").read_text())
    if works:
        assert done.out == ""
    else:
        assert "No browser could be opened" in done.err
        assert re.fullmatch(ADDRESS + "\n", done.out)


async def test_where_no_sidecar_runs(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url)
    done = await shell.run("open")
    assert done.code == 69
    assert "No running sidecar" in done.error
    assert "sidecar run" in done.hint

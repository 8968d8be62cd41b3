"""`sidecar status`, as it is typed."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

from sidecar.config.load import load
from sidecar.sandbox import Sandbox
from tests.conftest import store_token
from tests.support.processes import Shell, shell

__all__ = ["shell"]


async def test_it_says_how_the_sidecar_fares_and_exits_with_what_is_wrong(
    shell: Shell,
    sandbox: Sandbox,
    write_config: Callable[..., Path],
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    file = write_config(sandbox.url, f'[listen]\naddresses = ["127.0.0.1:{port}"]\n')
    down = await shell.run("status")
    assert (down.code, down.out) == (69, "")
    assert down.error.startswith("No sidecar listens at")
    assert down.hint == "start it with `sidecar run`"
    async with shell.running("run", until="listening on"):
        early = await shell.run("status", "--config", str(file))
        assert early.code == 77
        assert early.out.startswith("Ready     no (no_token)\n")
        assert f"sidecar --config {file} auth" in early.out
        store_token(load(file, {"HOME": str(tmp_path)}, {}), sandbox.grant().token, user="alana")
        ready = await shell.run("status")
        assert (ready.code, ready.err) == (0, "")
        assert "; 0 in flight, 0 waiting" in ready.out  # its own question is none
        assert ready.out.startswith(f"Ready     yes\nJira      {sandbox.url}\nAs        alana\n")
        listed = await shell.run("status", "--json")
        assert listed.code == 0
        assert json.loads(listed.out)["user"] == "alana"


async def test_it_and_the_probe_find_one_that_listens_elsewhere_than_configured(
    shell: Shell, sandbox: Sandbox, write_config: Callable[..., Path]
) -> None:
    write_config(sandbox.url, '[listen]\naddresses = ["127.0.0.1:1"]\n')
    async with shell.running("run", "--listen", "127.0.0.1:0", until="listening on"):
        page = await shell.run("open", "--print")
        where = page.out.removeprefix("http://").partition("/")[0]
        assert (await shell.run("status")).out.startswith("Ready     no (no_token)\n")
        probed = await shell.run("check", "--ready")
        assert (probed.code, f"The sidecar at {where} is not ready" in probed.out) == (77, True)
        asked = await shell.run("request", f"http://{where}/rest/api/2/myself")
        assert (asked.code, "no access token" in asked.error) == (77, True)

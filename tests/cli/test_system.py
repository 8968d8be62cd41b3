"""`--system`: commands that act as the system service does."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import CONSUMER_KEY
from tests.support.dancing import approve
from tests.support.processes import Shell, shell
from tests.support.systemd import Systemd, needs_root, uid

__all__ = ["shell"]


@pytest.fixture
def systemd(shell: Shell) -> Systemd:
    return Systemd(shell)


@pytest.fixture
def configured(systemd: Systemd, sandbox: Sandbox, private_key: RSAPrivateKey) -> Systemd:
    """A service for the sandbox Jira: the key is root's, and the configuration its group's."""
    folder = systemd.folder / "sidecar"
    write_private(folder / "private_key.pem", keys.private_key_pem(private_key))
    config = folder / "config.toml"
    config.write_text(f'[jira]\nbase_url = "{sandbox.url}"\nconsumer_key = "{CONSUMER_KEY}"\n')
    return systemd


@needs_root
async def test_three_commands_sign_in_the_service(configured: Systemd, sandbox: Sandbox) -> None:
    begun = await configured.run("auth", "--system", "--begin")
    assert begun.code == 0, begun.err
    code = await approve(begun.out.strip())
    finished = await configured.run("auth", "--system", "--verifier", code)
    assert finished.code == 0, finished.err
    token = configured.folder / "lib" / "sidecar" / "token.json"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (uid(), 0o600)
    assert (token.parent.stat().st_uid, token.parent.stat().st_mode & 0o777) == (uid(), 0o700)
    done = await configured.run("request", "/rest/api/2/myself", "--system")
    assert (done.code, json.loads(done.out)["name"]) == (0, "alana")
    done = await configured.run("check", "--system", "--json")
    assert done.code == 0, done.out

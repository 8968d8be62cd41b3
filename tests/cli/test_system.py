"""`--system`: commands that act as the system service does."""

from __future__ import annotations

import json
import os
import pwd
import socket
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from sidecar.signin.one_time_code import CodeFile
from tests.conftest import CONSUMER_KEY, MakeSidecar
from tests.support.dancing import approve
from tests.support.processes import Shell, shell
from tests.support.systemd import SERVICE, SOCKET, USER, Systemd, needs_root, uid

__all__ = ["shell"]


@pytest.fixture
def systemd(shell: Shell) -> Systemd:
    systemd = Systemd(shell)
    systemd.has("sidecar.socket", SOCKET, ActiveState="active")
    return systemd


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def configured(systemd: Systemd, sandbox: Sandbox, private_key: RSAPrivateKey) -> Systemd:
    """A service for the sandbox Jira: the key is root's, and the configuration its group's."""
    folder = systemd.folder / "sidecar"
    write_private(folder / "private_key.pem", keys.private_key_pem(private_key))
    config = folder / "config.toml"
    config.write_text(f'[jira]\nbase_url = "{sandbox.url}"\nconsumer_key = "{CONSUMER_KEY}"\n')
    return systemd


@needs_root
@pytest.mark.parametrize("user", [USER, "root"])
async def test_three_commands_sign_in_the_service(
    configured: Systemd, sandbox: Sandbox, user: str
) -> None:
    configured.has("sidecar.service", SERVICE, User=user)
    uid = pwd.getpwnam(user).pw_uid
    begun = await configured.run("auth", "--system", "--begin")
    assert begun.code == 0, begun.err
    code = await approve(begun.out.strip())
    finished = await configured.run("auth", "--system", "--verifier", code)
    assert finished.code == 0, finished.err
    token = configured.folder / "lib" / "sidecar" / "token.json"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (uid, 0o600)
    assert (token.parent.stat().st_uid, token.parent.stat().st_mode & 0o777) == (uid, 0o700)
    done = await configured.run("request", "/rest/api/2/myself", "--system")
    assert (done.code, json.loads(done.out)["name"]) == (0, "alana")
    done = await configured.run("check", "--system", "--json")
    assert done.code == 0, done.out
    assert "warning: sidecar.service does not run" in done.err  # this systemd starts nothing


INIT = ("init", "--system", "--consumer-key", CONSUMER_KEY, "--base-url")


@needs_root
async def test_init_and_auth_start_the_service(systemd: Systemd, sandbox: Sandbox) -> None:
    """A first time, and again: what is there stays."""
    for _ in range(2):
        done = await systemd.run(*INIT, sandbox.url, SIDECAR_JIRA_BASE_URL="http://nobody.invalid")
        assert done.code == 0, done.err
        assert "Public Key" in done.out
        assert done.err.endswith("\nThen run: sudo sidecar auth --system\n")
    assert "config.toml is there and stays as it is\n" in done.err
    assert systemd.calls[:2] == [
        "systemctl enable sidecar.service",
        "systemctl restart sidecar.service",
    ]
    folder = systemd.folder / "sidecar"
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {"config.toml": 0o640, "private_key.pem": 0o600}
    assert folder.joinpath("config.toml").stat().st_gid == pwd.getpwuid(uid()).pw_gid


@needs_root
async def test_another_jira_is_refused_without_force(systemd: Systemd) -> None:
    assert (await systemd.run(*INIT, "http://localhost:1")).code == 0
    other = await systemd.run(*INIT, "http://localhost:2")
    assert other.code == 73
    assert "its jira.base_url is" in other.error
    assert "--config" not in other.hint
    assert (await systemd.run(*INIT, "http://localhost:2", "--force")).code == 0


@needs_root
async def test_an_instance_shares_the_key_and_has_a_port_of_its_own(systemd: Systemd) -> None:
    instance = SERVICE | {
        "ExecStart": [["/x", ["/x", "run", "--config", "/etc/sidecar/work.toml"]]],
        "StateDirectory": ["sidecar/work"],
        "Requires": [],
    }
    systemd.has("sidecar@work.service", instance)
    systemd.has("sidecar@work.socket", SOCKET)
    assert (await systemd.run(*INIT, "http://localhost:1")).code == 0
    key = (systemd.folder / "sidecar" / "private_key.pem").read_bytes()
    done = await systemd.run(*INIT, "http://localhost:2", "--instance", "work")
    assert done.code == 0, done.err
    assert "it listens on 127.0.0.1:" in done.err
    assert done.err.endswith("Then run: sudo sidecar auth --system --instance work\n")
    text = (systemd.folder / "sidecar" / "work.toml").read_text()
    assert "\naddresses = [" in text
    assert (systemd.folder / "sidecar" / "private_key.pem").read_bytes() == key
    assert systemd.calls[-1] == "systemctl restart sidecar@work.service"


@needs_root
@pytest.mark.parametrize("user", [USER, "root"])
async def test_a_sample_clients_token_becomes_the_services(
    systemd: Systemd, sandbox: Sandbox, private_key: RSAPrivateKey, user: str
) -> None:
    systemd.has("sidecar.service", SERVICE, User=user)
    pem = keys.private_key_pem(private_key).decode().splitlines()[1:-1]
    sample = systemd.folder / "config.properties"
    sample.write_text(
        f"jira_home={sandbox.url}\nconsumer_key={CONSUMER_KEY}\n"
        f"private_key={''.join(pem)}\naccess_token={sandbox.grant().token}\n"
    )
    done = await systemd.run("init", "--system", "--from", str(sample))
    assert done.code == 0, done.err
    assert done.err.endswith("Then run: sudo sidecar check --system\n")
    token = systemd.folder / "lib" / "sidecar" / "token.json"
    assert (token.stat().st_uid, token.stat().st_mode & 0o777) == (
        pwd.getpwnam(user).pw_uid,
        0o600,
    )
    done = await systemd.run("check", "--system")
    assert done.code == 0, done.out


@needs_root
async def test_a_port_that_somebody_has_stops_everything_before_it_begins(
    systemd: Systemd, free_port: int
) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", free_port))
        sock.listen()
        systemd.has("sidecar.socket", SOCKET, Listen=[["Stream", f"127.0.0.1:{free_port}"]])
        for words in ((*INIT, "http://localhost"), ("auth", "--system")):
            done = await systemd.run(*words)
            assert done.code == 75
            assert f"127.0.0.1:{free_port} is in use already, by root's" in done.error
            assert f"`kill {os.getpid()}` stops it" in done.hint
    assert not list((systemd.folder / "sidecar").iterdir())


@needs_root
async def test_the_address_of_the_services_page_is_printed(
    configured: Systemd, sandbox: Sandbox, make_sidecar: MakeSidecar
) -> None:
    """Its secret is the service's own file: root becomes the service to read it."""
    sidecar = await make_sidecar(sandbox.url)
    codes = CodeFile.of(configured.folder / "lib" / "sidecar" / "token.json", ["unix:/x"])
    codes.write([f"http://{sidecar.authority}"])
    for path in (codes.path.parent, codes.path):
        os.chown(path, uid(), -1)
    done = await configured.run("open", "--system")
    assert done.code == 0, done.err
    address, _, code = done.out.strip().partition("#code=")
    assert address == f"http://{sidecar.authority}/_sidecar/"
    os.chown(codes.path, os.geteuid(), -1)
    codes.take(code, time.time())


@needs_root
async def test_a_service_that_does_not_start_says_why(systemd: Systemd) -> None:
    (systemd.folder / "systemctl").write_text('[ "$1" != restart ] || exit 1')
    systemd.program("journalctl", "#!/bin/sh\necho sidecar: error: no luck\n")
    done = await systemd.run(*INIT, "http://localhost")
    assert (done.code, done.error) == (78, "sidecar.service does not start: no luck")
    assert "Then run" not in done.err


@needs_root
@pytest.mark.parametrize("command", ["auth", "check", "request"])
async def test_a_user_who_is_missing_is_said(systemd: Systemd, command: str) -> None:
    systemd.has("sidecar.service", SERVICE, User="no-such")
    done = await systemd.run(command, "--system", *["/x"] * (command == "request"))
    assert done.code == 78
    assert done.hint == "run `sudo sidecar init --system`, which makes the user sidecar"


@needs_root
async def test_a_body_is_read_before_root_becomes_somebody_else(configured: Systemd) -> None:
    body = configured.folder / "body.json"
    body.touch(0o600)
    body.write_text("{}")
    done = await configured.run("request", "--system", "-d", "@body.json", "/rest/api/2/search")
    assert done.code == 77  # there is no token; but the body could be read
    done = await configured.run("request", "--system", "-d", "@missing", "/rest/api/2/search")
    assert (done.code, done.error) == (2, "-d @missing: No such file or directory")


@needs_root
async def test_a_unit_that_shadows_the_packages_is_said(systemd: Systemd) -> None:
    (systemd.folder / "units" / "sidecar.service").touch()
    packaged = systemd.folder / "packaged"
    packaged.mkdir()
    (packaged / "sidecar.service").touch()
    program = (
        "import sidecar.system.unit as unit; from sidecar.cli import main\n"
        f"unit.FOLDERS = ('/etc/systemd/system', '{packaged}')\n"
        "unit.shadows.__defaults__ = (unit.FOLDERS,)\nmain()"
    )
    done = await systemd.python("-c", program, "check", "--system")
    assert "/etc/systemd/system/sidecar.service stands in the way" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["check", "--instance", "work"], 2, "--instance is for --system"),
        (["check", "--system", "--instance", "../x"], 2, "is no name of an instance"),
    ],
)
async def test_an_instance_is_named_properly(
    shell: Shell, words: list[str], code: int, said: str
) -> None:
    done = await shell.run(*words)
    assert done.code == code
    assert said in done.error


@needs_root
async def test_the_services_configuration_is_the_units(systemd: Systemd) -> None:
    done = await systemd.run("check", "--system", "--config", "/root/x.toml")
    assert (done.code, done.hint) == (2, "leave --config out")
    done = await systemd.run("check", "--system", "--config", "/etc/sidecar/config.toml")
    assert done.code == 78


@pytest.mark.skipif(os.geteuid() != 0, reason="others are told that root is needed")
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="systemd runs here")
@pytest.mark.parametrize("command", ["init", "auth", "check", "request"])
async def test_without_systemd_there_is_no_service(shell: Shell, command: str) -> None:
    done = await shell.run(command, "--system", *["/x"] * (command == "request"))
    assert (done.code, done.out) == (78, "")
    assert "systemd does not run here" in done.error
    assert "leave --system out" in done.hint

"""Whether the running sidecar is ready."""

from __future__ import annotations

import asyncio
import datetime
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check.ready import exit_code_of, ready
from sidecar.config.load import Config
from sidecar.files.private import write_private
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running, make_config
from tests.support.checking import TLS, always, certificates
from tests.support.dancing import answer
from tests.support.raw_server import Peer, RawServer
from tests.support.waiting import until

__all__ = ["certificates"]


def config_at(folder: Path, key: RSAPrivateKey, address: str, **options: Any) -> Config:
    return make_config("http://127.0.0.1:1", folder, key, listen__addresses=[address], **options)


async def test_ready_asks_the_running_sidecar(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    path = tmp_path / "s"
    running = await make_sidecar(
        "http://127.0.0.1:1", token="T" * 32, listen__addresses=["127.0.0.1:0", f"unix:{path}"]
    )
    for address in (running.authority, f"unix:{path}", f"0.0.0.0:{running.port}"):
        options: dict[str, Any] = {}
        if address.startswith("0"):
            write_private(tmp_path / "access", b"k" * 32)
            options = {"access__key_file": str(tmp_path / "access")}
        step = await asyncio.to_thread(ready, config_at(tmp_path, private_key, address, **options))
        assert (step.name, step.status, step.exit_code) == ("ready", "pass", 0)
        assert address.rpartition(":")[2] in step.message


async def test_ready_exits_77_without_a_token(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    running = await make_sidecar("http://127.0.0.1:1")
    step = await asyncio.to_thread(ready, config_at(tmp_path, private_key, running.authority))
    assert (step.status, step.exit_code) == ("fail", 77)
    assert "no access token" in step.message
    assert "sidecar auth" in step.hint


async def test_ready_speaks_tls_to_a_listener_whatever_its_certificate(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey, certificates: TLS
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    leaf = certificates.ca.issue_cert("other.example", not_after=past)
    write_private(tmp_path / "tls.pem", leaf.private_key_and_cert_chain_pem.bytes())
    files = {
        "listen__tls_certificate": str(tmp_path / "tls.pem"),
        "listen__tls_key": str(tmp_path / "tls.pem"),
    }
    running = await make_sidecar("http://127.0.0.1:1", token="T" * 32, **files)
    config = config_at(tmp_path, private_key, running.authority, **files)
    assert (await asyncio.to_thread(ready, config)).status == "pass"


async def test_ready_exits_69_where_nothing_listens(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        step = ready(config_at(tmp_path, private_key, address))
        assert (step.status, step.exit_code) == ("fail", 69)
        assert "No sidecar listens" in step.message


async def test_ready_asks_the_admin_listener_first(
    make_sidecar: MakeSidecar, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    admin_socket = f"unix:{tmp_path}/admin"
    await make_sidecar("http://127.0.0.1:1", token="T" * 32, admin__address=admin_socket)
    config = config_at(tmp_path, private_key, "127.0.0.1:1", admin__address=admin_socket)
    assert (await asyncio.to_thread(ready, config)).status == "pass"
    said = answer(200, '{"ready": true}')
    async with RawServer(always(said)) as admin:
        address = admin.url.removeprefix("http://")
        config = config_at(tmp_path, private_key, "127.0.0.1:1", admin__address=address)
        step = await asyncio.to_thread(ready, config)
    assert step.status == "pass"
    assert address in step.message


async def test_a_sidecar_that_jira_refuses_is_not_ready_with_the_code_of_what_is_wrong(
    sandbox: Sandbox, sidecar: Running, tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    sandbox.faults.problem = "consumer_key_unknown"
    assert (await sidecar.get("/rest/api/2/myself")).status == 401
    await until(lambda: sidecar.server.readiness.why_not())
    step = await asyncio.to_thread(ready, config_at(tmp_path, private_key, sidecar.authority))
    assert (step.status, step.exit_code) == ("fail", 78)
    assert step.message.endswith("consumer key. (consumer_key_unknown)")
    assert "Consumer Key" in step.hint


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        ("token_rejected", 77),
        ("user_may_not_log_in", 77),
        ("no_token", 77),
        ("token_not_ours", 77),
        ("heard_of_by_nobody", 77),
        ("token_unusable", 78),
        ("signature_invalid", 78),
        ("key_size_mismatch", 78),
        ("two_legged_not_allowed", 78),
        ("parameter_absent", 69),
        ("shutting_down", 69),
    ],
)
def test_each_problem_has_the_contracts_exit_code(problem: str, code: int) -> None:
    assert exit_code_of(problem) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (answer(404, "nothing"), 69),
        (answer(503, "not JSON"), 77),
        (answer(503, "[]"), 77),
        (b"SSH-2.0\r\n", 69),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 69),
        (b"\x00" * 100_000, 69),
    ],
)
async def test_ready_is_not_taken_in_by_something_else(
    tmp_path: Path, private_key: RSAPrivateKey, raw: bytes, code: int
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(raw)

    async with RawServer(script) as server:
        config = config_at(tmp_path, private_key, server.url.removeprefix("http://"))
        step = await asyncio.to_thread(ready, config)
    assert (step.status, step.exit_code) == ("fail", code)


def test_ready_cannot_know_a_port_that_was_picked(
    tmp_path: Path, private_key: RSAPrivateKey
) -> None:
    step = ready(config_at(tmp_path, private_key, "127.0.0.1:0"))
    assert (step.status, step.exit_code) == ("fail", 78)
    assert "admin.address" in step.hint

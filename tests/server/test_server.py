"""The server among its configurations: reloading, TLS, draining, what it says when it starts."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account import renewal
from sidecar.config.load import Config
from sidecar.credentials import TokenCredentials
from sidecar.downstream.timers import FIRST_REQUEST_SECONDS
from sidecar.errors import ConfigError, SidecarError, StoreError
from sidecar.files.keys import private_key_pem
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.sandbox import Sandbox
from sidecar.server import server as server_module
from sidecar.server.server import Server
from sidecar.system.names import Service
from tests.conftest import MakeSidecar, Running, make_config, store_token
from tests.support.clocks import LoopClock
from tests.support.loading import store_grant
from tests.support.waiting import SOON, until
from tests.support.wire import Wire, turns

MYSELF = "/rest/api/2/myself"
Reconfigure = Callable[..., Config]


@pytest.fixture
def reconfigured(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> Reconfigure:
    """The sidecar's configuration with other options."""

    def configure(**options: Any) -> Config:
        return make_config(sandbox.url, tmp_path, private_key, **options)

    return configure


class TestReload:
    async def test_new_requests_are_judged_by_the_new_rules_and_old_ones_finish(
        self, sandbox: Sandbox, sidecar: Running, reconfigured: Reconfigure
    ) -> None:
        async with await sidecar.wire() as wire:
            await wire.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
            sandbox.release("g")
            await wire.head()
            assert sidecar.server.reload(reconfigured(access__read_only=True)) == []
            assert (await sidecar.post_json("/rest/api/2/issue", {})).status == 403
            assert sidecar.server.metrics.counters()["in_flight"] == 1
            sandbox.release("g")
            assert await wire.reader.readuntil(b"0\r\n\r\n") == b"1\r\nA\r\n1\r\nB\r\n0\r\n\r\n"
            await wire.send(sidecar.message("POST", "/rest/api/2/issue"))
            assert (await wire.receive()).status == 403
        await _only_one_generation(sidecar)

    async def test_what_needs_a_restart_is_named_and_stays(
        self, sidecar: Running, reconfigured: Reconfigure
    ) -> None:
        waiting = sidecar.server.reload(
            reconfigured(
                listen__addresses=["127.0.0.1:1"],
                listen__unix_mode="0660",
                limits__head_bytes=2048,
                admin__address="127.0.0.1:2",
                links__rewrite=False,
            )
        )
        assert waiting == [
            "listen.addresses", "listen.unix_mode", "limits.head_bytes", "admin.address",
        ]  # fmt: skip
        answer = await sidecar.get("/rest/api/2/issue/JJ-2?x=" + "y" * 3000)
        assert answer.status == 200
        assert not answer.json()["self"].startswith(f"http://{sidecar.authority}")

    async def test_timeouts_limits_and_hosts_change(
        self, sandbox: Sandbox, sidecar: Running, reconfigured: Reconfigure
    ) -> None:
        sandbox.faults.slow = 3
        sidecar.server.reload(
            reconfigured(
                timeouts__response=1,
                limits__connections=1,
                limits__waiting=0,
                access__hosts=["sidecar.internal"],
            )
        )
        first = asyncio.create_task(sidecar.get(MYSELF, ("Host", "sidecar.internal")))
        answers = await asyncio.gather(first, sidecar.get(MYSELF))
        assert sorted(answer.status for answer in answers) == [503, 504]

    async def test_another_key_file_or_key_counts_from_the_next_request(
        self,
        sandbox: Sandbox,
        sidecar: Running,
        reconfigured: Reconfigure,
        tmp_path: Path,
        other_key: RSAPrivateKey,
    ) -> None:
        write_private(tmp_path / "other.pem", private_key_pem(other_key))
        sandbox.public_key = other_key.public_key()
        assert (await sidecar.get(MYSELF)).status == 401
        sidecar.server.reload(reconfigured(jira__private_key=str(tmp_path / "other.pem")))
        assert (await sidecar.get(MYSELF)).status == 200

    async def test_another_jira_is_another_identity(
        self,
        sandbox: Sandbox,
        make_sandbox: Callable[..., Awaitable[Sandbox]],
        sidecar: Running,
        tmp_path: Path,
        private_key: RSAPrivateKey,
    ) -> None:
        other = await make_sandbox(context_path="/other")
        config = make_config(
            other.url, tmp_path, private_key, token__path=str(tmp_path / "other.json")
        )
        sidecar.server.reload(config)
        assert (await sidecar.get(MYSELF)).status == 503
        store_token(config, other.grant("barbara").token)
        assert (await sidecar.get(MYSELF)).json()["name"] == "barbara"
        status = (await sidecar.get("/_sidecar/status")).json()
        assert status["base_url"] == other.url

    async def test_what_was_learnt_and_counted_is_kept(
        self, sandbox: Sandbox, sidecar: Running, reconfigured: Reconfigure
    ) -> None:
        sandbox.faults.clock_offset = 3600.0
        assert (await sidecar.get(MYSELF)).status == 200
        before = len(sandbox.log)
        sidecar.server.reload(reconfigured(timeouts__idle=5))
        assert (await sidecar.get(MYSELF)).status == 200
        assert len(sandbox.log) == before + 1
        status = (await sidecar.get("/_sidecar/status")).json()
        assert abs(status["clock_difference_seconds"] - 3600) < 5
        assert status["counters"]["requests"] == {"2xx": 2}

    @pytest.mark.parametrize(
        "options",
        [
            {"access__key_file": "/nowhere/key"},
            {"access__allow": ["GET /x%y"]},
            {"jira__private_key": "/nowhere/key.pem"},
        ],
    )
    async def test_what_cannot_be_used_is_refused_and_nothing_changes(
        self, sidecar: Running, reconfigured: Reconfigure, options: dict[str, Any]
    ) -> None:
        with pytest.raises(SidecarError):
            sidecar.server.reload(reconfigured(**options))
        assert (await sidecar.get(MYSELF)).status == 200
        await _only_one_generation(sidecar)

    async def test_the_access_key_cannot_go_while_others_reach_the_port(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        reconfigured: Reconfigure,
        tmp_path: Path,
    ) -> None:
        write_private(tmp_path / "key", b"correct horse")
        sidecar = await make_sidecar(
            sandbox.url,
            token=sandbox.grant().token,
            listen__addresses=["0.0.0.0:0"],
            access__key_file=str(tmp_path / "key"),
        )
        with pytest.raises(ConfigError, match="reached from elsewhere"):
            sidecar.server.reload(reconfigured(listen__addresses=["127.0.0.1:0"]))
        assert (await sidecar.get(MYSELF, ("Host", "localhost"))).status == 401

    async def test_a_token_that_is_renewed_during_a_reload_is_stored_in_the_end(
        self,
        sandbox: Sandbox,
        sidecar: Running,
        reconfigured: Reconfigure,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Though the disk has no room for it at first, and whoever renewed it is replaced."""
        monkeypatch.setattr(renewal, "FIRST_PAUSE", 0.01)
        refused, has_room, save = asyncio.Event(), False, TokenFile.save

        def save_if_there_is_room(file: TokenFile, token: TokenCredentials) -> None:
            if not has_room:
                refused.set()
                raise StoreError("no space left")
            save(file, token)

        store_grant(sidecar, sandbox.grant(), expires_at=time.time() + 60)
        old = sidecar.server.identity.token.current()
        monkeypatch.setattr(TokenFile, "save", save_if_there_is_room)
        sidecar.server.identity.token._taken_at -= 24 * 3600  # it is near its end
        sidecar.server.look_after_token()
        sidecar.server.reload(reconfigured(timeouts__idle=5))
        await refused.wait()
        assert (await sidecar.get(MYSELF)).status == 200
        assert len(sidecar.server.generations) == 2
        has_room = True
        await _only_one_generation(sidecar)
        new = sidecar.token_file.load()
        assert new is not None
        assert new.token != old.token
        assert new == sidecar.server.identity.token.current()
        assert sidecar.server.identity.token.unsaved() is None

    async def test_another_token_path_alone_makes_another_identity(
        self, sandbox: Sandbox, sidecar: Running, reconfigured: Reconfigure, tmp_path: Path
    ) -> None:
        config = reconfigured(token__path=str(tmp_path / "elsewhere" / "token.json"))
        assert sidecar.server.reload(config) == []
        assert (await sidecar.get(MYSELF)).status == 503
        store_token(config, sandbox.grant().token)
        assert (await sidecar.get(MYSELF)).status == 200
        assert sidecar.server.identity.token_file.path == config.token.path

    async def test_many_reloads_leave_nothing_behind(
        self, sandbox: Sandbox, sidecar: Running, reconfigured: Reconfigure
    ) -> None:
        for number in range(20):
            sidecar.server.reload(reconfigured(timeouts__idle=10 + number))
            assert (await sidecar.get(MYSELF)).status == 200
        await _only_one_generation(sidecar)


async def _only_one_generation(sidecar: Running) -> None:
    """Wait until what was replaced is closed."""
    await until(lambda: len(sidecar.server.generations) == 1, SOON)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


class TestTLS:
    async def test_a_renewed_certificate_is_shown_to_new_connections(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        authority: trustme.CA,
        reconfigured: Reconfigure,
        tmp_path: Path,
    ) -> None:
        options = _certificate(authority, tmp_path, "127.0.0.1", "first.example")
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token, **options)
        old = await sidecar.wire(ssl=_trusting(authority))
        assert "first.example" in _names(old.writer)
        _certificate(authority, tmp_path, "127.0.0.1", "second.example")
        assert sidecar.server.reload(reconfigured(**options)) == []
        async with await sidecar.wire(ssl=_trusting(authority)) as new:
            assert "second.example" in _names(new.writer)
            for wire in (old, new):
                await wire.send(sidecar.message("GET", MYSELF))
                assert (await wire.receive()).json()["name"] == "alana"
        await old.close()

    async def test_a_renewed_certificate_is_shown_without_a_reload(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        authority: trustme.CA,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        options = _certificate(authority, tmp_path, "127.0.0.1", "first.example")
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token, **options)
        _certificate(authority, tmp_path, "127.0.0.1", "second.example")
        async with await sidecar.wire(ssl=_trusting(authority)) as wire:
            assert "second.example" in _names(wire.writer)
        (tmp_path / "tls.pem").write_text("nonsense")
        async with await sidecar.wire(ssl=_trusting(authority)) as wire:
            assert "second.example" in _names(wire.writer)
        assert "tls_certificate cannot be used" in caplog.text
        assert "stays in use" in caplog.text

    async def test_a_broken_certificate_is_refused_and_the_old_one_stays(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        authority: trustme.CA,
        reconfigured: Reconfigure,
        tmp_path: Path,
    ) -> None:
        options = _certificate(authority, tmp_path, "127.0.0.1", "first.example")
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token, **options)
        (tmp_path / "tls.pem").write_text("nonsense")
        with pytest.raises(ConfigError, match="tls_certificate"):
            sidecar.server.reload(reconfigured(**options))
        async with await sidecar.wire(ssl=_trusting(authority)) as wire:
            assert "first.example" in _names(wire.writer)

    async def test_between_http_and_https_only_a_restart_changes(
        self, sidecar: Running, authority: trustme.CA, reconfigured: Reconfigure, tmp_path: Path
    ) -> None:
        options = _certificate(authority, tmp_path, "127.0.0.1")
        assert sidecar.server.reload(reconfigured(**options)) == ["listen.tls_certificate"]
        assert (await sidecar.get(MYSELF)).status == 200


def _certificate(authority: trustme.CA, folder: Path, *names: str) -> dict[str, str]:
    """Write a certificate and key; the options that name them."""
    issued = authority.issue_cert(*names)
    certificate, key = folder / "tls.pem", folder / "tls.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    write_private(key, issued.private_key_pem.bytes())
    return {"listen__tls_certificate": str(certificate), "listen__tls_key": str(key)}


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _names(writer: asyncio.StreamWriter) -> str:
    return str(writer.get_extra_info("peercert")["subjectAltName"])


class TestDrain:
    async def test_a_new_connection_has_a_moment_for_its_request(
        self, sandbox: Sandbox, sidecar: Running
    ) -> None:
        async with await sidecar.wire() as new, await sidecar.wire() as half:
            head = sidecar.message("GET", MYSELF)
            await half.send(head[:20])
            await _connections(sidecar, 2)
            stopping = asyncio.create_task(sidecar.server.stop(5))
            await turns(5)
            await new.send(head)
            await half.send(head[20:])
            for wire in (new, half):
                answer = await wire.receive()
                assert answer.status == 200
                assert answer["Connection"] == "close"
        await stopping

    async def test_a_connection_without_a_request_does_not_hold_it_up_for_long(
        self, sidecar: Running, loop_clock: LoopClock
    ) -> None:
        async with await sidecar.wire() as wire:
            await _connections(sidecar, 1)
            stopping = asyncio.create_task(sidecar.server.stop(30))
            await turns(5)
            assert not stopping.done()
            await loop_clock.skip(FIRST_REQUEST_SECONDS)
            await stopping
            assert await wire.ends() == b""

    async def test_a_handshake_under_way_is_waited_for(
        self,
        sandbox: Sandbox,
        make_sidecar: MakeSidecar,
        authority: trustme.CA,
        tmp_path: Path,
    ) -> None:
        sidecar = await make_sidecar(
            sandbox.url,
            token=sandbox.grant().token,
            **_certificate(authority, tmp_path, "127.0.0.1"),
        )
        async with await sidecar.wire() as plain:
            await asyncio.sleep(0.05)  # accepted, and no byte of a handshake yet
            stopping = asyncio.create_task(sidecar.server.stop(5))
            await asyncio.sleep(0.05)
            assert not stopping.done()
            transport = await asyncio.get_running_loop().start_tls(
                plain.writer.transport,
                plain.writer.transport.get_protocol(),
                _trusting(authority),
                server_hostname="127.0.0.1",
            )
            assert transport is not None
            plain.writer._transport = transport  # type: ignore[attr-defined]
            await plain.send(sidecar.message("GET", MYSELF))
            answer = await plain.receive()
            assert answer.status == 200
            assert answer["Connection"] == "close"
            transport.close()
        await stopping


async def _connections(sidecar: Running, number: int) -> None:
    await until(lambda: len(sidecar.server.listener.connections) >= number, SOON)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="it counts them in /proc")
class TestLeftovers:
    async def test_after_good_and_bad_clients_no_task_and_no_descriptor_is_left(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
        await asyncio.gather(*(_misbehave(sidecar, number) for number in range(40)))
        await sidecar.server.stop(5)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, SOON)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors, SOON)


async def _misbehave(sidecar: Running, number: int) -> None:
    """One client of many kinds."""
    head = sidecar.message("PUT", "/_sandbox/echo", ("Content-Length", "100000"))
    async with await sidecar.wire() as wire:
        if number % 4 == 0:
            await wire.send(sidecar.message("GET", MYSELF))
            assert (await wire.receive()).status == 200
        elif number % 4 == 1:
            await wire.send(head + b"x" * 1000)
            wire.leave()
        elif number % 4 == 2:
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nb ad: 1\r\n\r\n")
            assert (await wire.receive()).status == 400
        else:
            await wire.send(sidecar.message("GET", "/_sandbox/drip?pieces=2&gate=never"))
            wire.leave()


class TestStart:
    def test_aiohttps_python_parser_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from aiohttp import http_parser

        server_module.require_c_parser()
        monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
        with pytest.raises(ConfigError, match="C parser"):
            server_module.require_c_parser()

    async def test_on_a_unix_socket_it_serves_and_leaves_no_file(
        self, sandbox: Sandbox, reconfigured: Reconfigure, tmp_path: Path
    ) -> None:
        config = reconfigured(listen__addresses=[f"unix:{tmp_path}/s"])
        store_token(config, sandbox.grant().token)
        server = Server(config, {})
        assert await server.start() == [f"unix:{tmp_path}/s"]
        async with await Wire.open_unix(str(tmp_path / "s")) as wire:
            await wire.send(b"GET /rest/api/2/myself HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await wire.receive()).json()["name"] == "alana"
        await server.stop(1)
        assert "s" not in os.listdir(tmp_path)

    async def test_without_a_token_there_is_nothing_to_look_after(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        sidecar = await make_sidecar(sandbox.url)
        sidecar.server.look_after_token()
        store_token(sidecar.config, sandbox.grant().token)
        sidecar.server.look_after_token()
        assert sidecar.server.identity.token.last_read is not None
        assert not sandbox.log

    async def test_what_was_opened_is_closed_where_the_start_fails(
        self, sandbox: Sandbox, sidecar: Running, make_sidecar: MakeSidecar
    ) -> None:
        taken = f"127.0.0.1:{sidecar.port}"
        with pytest.raises(SidecarError, match="in use"):
            await make_sidecar(sandbox.url, listen__addresses=["127.0.0.1:0", taken])

    async def test_a_system_service_names_the_command_that_mends_it_wherever_it_speaks(
        self, sandbox: Sandbox, make_sidecar: MakeSidecar
    ) -> None:
        command = "sudo sidecar auth --system --instance work"
        sidecar = await make_sidecar(sandbox.url, named=Service("work").complete)
        path = str(sidecar.config.token.path)
        answer = await sidecar.get("/rest/api/2/myself")
        [said] = answer.json()["errorMessages"]
        assert path in said
        assert f"Hint: run `{command}`." in said
        assert command in answer["Proxy-Status"]
        ready = (await sidecar.get("/_sidecar/ready")).json()
        assert ready["hint"] == f"run `{command}`"
        assert path not in str(ready)
        assert path in sidecar.server.summary()
        assert sidecar.server.summary().endswith(f"run `{command}`")
        store_token(sidecar.config, "unknown" * 4)
        answer = await sidecar.get("/rest/api/2/myself")
        assert command in answer["Sidecar-Problem"]
        status = (await sidecar.get("/_sidecar/status")).json()
        assert command in status["last_problem"]["hint"]
        assert all(command in trouble["hint"] for trouble in status["troubles"])

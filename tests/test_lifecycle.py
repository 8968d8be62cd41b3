"""Start, reload, stop and restart of the real program, with real signals, as systemd does it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.credentials import Secret
from sidecar.sandbox import Sandbox
from tests.support.processes import Process
from tests.support.raw_server import Peer, RawServer
from tests.support.services import MYSELF, Load, Manager, listening_socket, port_of, under_load
from tests.support.waiting import PATIENCE
from tests.support.wire import Client


@pytest.fixture
def manager(sandbox: Sandbox, tmp_path: Path, private_key: RSAPrivateKey) -> Manager:
    manager = Manager(tmp_path, sandbox.url, private_key)
    manager.store_token(sandbox.grant().token, expires_at=1_900_000_000)
    return manager


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that outlives the sidecar, as a socket unit's does."""
    with listening_socket() as sock:
        yield sock


async def client_of(process: Process, number: int = 0) -> Client:
    """A client of the listener of that number; 1 is admin's."""
    await process.says("/_sidecar/ alone" if number else "listening on")
    lines = [line for line in process.said if "listening on" in line]
    return Client("127.0.0.1", port_of(lines[number]))


class TestNotifications:
    async def test_ready_comes_once_it_listens_with_user_and_expiry(self, manager: Manager) -> None:
        async with manager.notified(), manager.running() as process:
            ready = await manager.message("READY")
            client = await client_of(process)
            assert (await client.get("/_sidecar/ready")).status == 200
        assert ready["READY"] == "1"
        assert ready["STATUS"] == f"{manager.base_url} as alana until 2030-03-17"
        assert "STOPPING" in manager.messages[-1]
        assert int(manager.messages[-1]["EXTEND_TIMEOUT_USEC"]) == 40_000_000

    async def test_an_abstract_socket_is_notified_too(self, manager: Manager) -> None:
        async with manager.notified(abstract=True), manager.running():
            await manager.message("READY")

    async def test_without_a_token_the_status_says_what_to_do(self, manager: Manager) -> None:
        (manager.folder / "state" / "token.json").unlink()
        async with manager.notified(), manager.running():
            ready = await manager.message("READY")
        assert "sidecar auth" in ready["STATUS"]

    async def test_reload_is_announced_with_its_time_and_ended(self, manager: Manager) -> None:
        async with manager.notified(), manager.running() as process:
            await manager.message("READY")
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            process.signal(signal.SIGHUP)
            reloading = await manager.message("RELOADING")
            ready = await manager.message("READY", manager.messages.index(reloading) + 1)
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) >= before
        assert "alana" in ready["STATUS"]

    async def test_a_stuck_process_feeds_no_watchdog_and_a_failing_jira_does_not_matter(
        self, manager: Manager, sandbox: Sandbox
    ) -> None:
        await sandbox.stop()
        async with manager.notified(), manager.running(WATCHDOG_USEC="100000") as process:
            await manager.message("READY")
            client = await client_of(process)
            assert (await client.get(MYSELF)).status == 502
            await manager.message("WATCHDOG", len(manager.messages))
            await manager.message("WATCHDOG", len(manager.messages))
            process.signal(signal.SIGSTOP)
            stopped = await _no_more(manager)
            process.signal(signal.SIGCONT)
            await manager.message("WATCHDOG", stopped)

    async def test_a_watchdog_of_another_process_is_not_fed(self, manager: Manager) -> None:
        async with manager.notified(), manager.running(WATCHDOG_USEC="20000", WATCHDOG_PID="1"):
            await manager.message("READY")
        assert not any("WATCHDOG" in message for message in manager.messages)


async def _no_more(manager: Manager) -> int:
    """Wait until nothing has come for six times the interval; how many messages there were."""
    while True:
        number = len(manager.messages)
        try:
            async with asyncio.timeout(0.3):
                await manager.message("WATCHDOG", number)
        except TimeoutError:
            return number


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_what_is_in_flight_is_finished_and_the_exit_code_is_0(
        self, manager: Manager, sandbox: Sandbox, number: int
    ) -> None:
        manager.configure(
            '[listen]\naddresses = ["127.0.0.1:0"]\n[admin]\naddress = "127.0.0.1:0"\n'
        )
        async with manager.running() as process:
            admin = await client_of(process, 1)
            client = await client_of(process)
            assert (await admin.get("/_sidecar/ready")).status == 200
            async with await client.wire() as wire, await client.wire() as idle:
                await idle.send(client.message("GET", MYSELF))
                assert (await idle.receive()).status == 200
                await wire.send(client.message("GET", "/_sandbox/drip?pieces=2&gate=g&size=9"))
                sandbox.release("g")
                status, _, _ = await wire.head()
                assert status == 200
                process.signal(number)
                await process.says("stopping")
                assert await idle.ends() == b""
                assert (await admin.get("/_sidecar/ready")).status == 503
                assert (await admin.get("/_sidecar/health")).status == 200
                with pytest.raises(ConnectionError):
                    await client.get(MYSELF)
                sandbox.release("g")
                rest = await wire.ends()
            assert rest.endswith(b"B" * 9 + b"\r\n0\r\n\r\n")
            assert await process.ends() == 0
        assert not [line for line in process.said if "Traceback" in line]

    async def test_an_answer_during_the_drain_says_close(
        self, manager: Manager, sandbox: Sandbox
    ) -> None:
        async with manager.running() as process:
            client = await client_of(process)
            async with await client.wire() as wire, await client.wire() as new:
                await wire.send(client.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
                sandbox.release("g")
                await wire.head()
                process.signal(signal.SIGTERM)
                await process.says("stopping")
                await new.send(client.message("GET", MYSELF))
                answer = await new.receive()
                assert answer.status == 200
                assert answer["Connection"] == "close"
                sandbox.release("g")
                assert b"B\r\n0\r\n\r\n" in await wire.ends()  # its head was sent before
            assert await process.ends() == 0

    async def test_what_lasts_too_long_is_cut_off_by_the_sidecar(
        self, manager: Manager, sandbox: Sandbox
    ) -> None:
        manager.configure('[listen]\naddresses = ["127.0.0.1:0"]\n[timeouts]\nshutdown = 0.2\n')
        async with manager.running() as process:
            client = await client_of(process)
            async with await client.wire() as wire:
                await wire.send(client.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
                sandbox.release("g")
                await wire.head()
                process.signal(signal.SIGTERM)
                _, was_reset = await wire.end()
                assert was_reset
            assert await process.ends() == 0
        assert "closed_early=sidecar" in await process.says("drip")

    async def test_a_second_signal_ends_at_once(self, manager: Manager, sandbox: Sandbox) -> None:
        async with manager.running() as process:
            client = await client_of(process)
            async with await client.wire() as wire:
                await wire.send(client.message("GET", "/_sandbox/drip?pieces=2&gate=g"))
                sandbox.release("g")
                await wire.head()
                process.signal(signal.SIGTERM)
                await process.says("stopping")
                process.signal(signal.SIGTERM)
                assert (await wire.end())[1]  # by RST: what came is not the whole
                assert await process.ends() == 0
        assert not [line for line in process.said if "Traceback" in line or "bug" in line]


class TestReload:
    async def test_rules_and_log_level_change_without_dropping_what_is_in_flight(
        self, manager: Manager, sandbox: Sandbox
    ) -> None:
        async with manager.notified(), manager.running() as process:
            await manager.message("READY")
            client = await client_of(process)
            async with await client.wire() as wire:
                await wire.send(client.message("GET", "/_sandbox/drip?pieces=2&gate=g&size=9"))
                sandbox.release("g")
                await wire.head()
                listen = f'[listen]\naddresses = ["127.0.0.1:{client.port}"]\n'
                manager.configure(
                    listen + '[access]\ndeny = ["GET /rest/api/*/myself"]\n[log]\nlevel = "warning"'
                )
                process.signal(signal.SIGHUP)
                reloading = await manager.message("RELOADING")
                await manager.message("READY", manager.messages.index(reloading) + 1)
                assert (await client.get(MYSELF)).status == 403
                sandbox.release("g")
                assert b"B" * 9 in await wire.reader.readuntil(b"0\r\n\r\n")
                await wire.send(client.message("GET", MYSELF))
                assert (await wire.receive()).status == 403
        assert "listen.addresses" in await process.says("after a restart")
        assert not [line for line in process.said if "GET /rest/api/2/myself 403" in line]

    async def test_a_broken_configuration_is_refused_and_the_old_one_stays(
        self, manager: Manager
    ) -> None:
        async with manager.notified(), manager.running() as process:
            await manager.message("READY")
            client = await client_of(process)
            manager.configure("[access]\nread_onyl = true\n")
            process.signal(signal.SIGHUP)
            line = await process.says("not reloaded")
            assert 'config.toml:5: unknown key "access.read_onyl"' in line
            assert "did you mean" in line
            reloading = await manager.message("RELOADING")
            await manager.message("READY", manager.messages.index(reloading) + 1)
            assert "the last reload failed" in manager.messages[-1]["STATUS"]
            assert (await client.get(MYSELF)).status == 200
            metrics = (await client.get("/_sidecar/metrics")).body.decode()
            assert 'sidecar_reloads_total{result="failure"} 1.0' in metrics


class TestStart:
    async def test_secrets_come_from_systemds_credentials(
        self, manager: Manager, tmp_path: Path
    ) -> None:
        credentials = tmp_path / "credentials"
        credentials.mkdir()
        (manager.folder / "private_key.pem").rename(credentials / "private_key")
        environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
        async with manager.running(**environ) as process:
            assert (await (await client_of(process)).get(MYSELF)).status == 200

    @pytest.mark.parametrize(
        ("environ", "said"),
        [
            ({"OPENSSL_CONF": "/dev/null"}, "OPENSSL_CONF is set"),
            ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE is set"),
        ],
    )
    async def test_what_changes_tls_is_warned_about(
        self, manager: Manager, environ: dict[str, str], said: str
    ) -> None:
        async with manager.running(**environ) as process:
            assert "warning" in await process.says(said)

    async def test_without_aiohttps_c_parser_it_does_not_start(self, manager: Manager) -> None:
        process = await manager.start(AIOHTTP_NO_EXTENSIONS="1")
        assert await process.ends() == 78
        assert len(process.said) == 2
        assert "C parser" in process.said[0]

    @pytest.mark.parametrize(
        ("config", "code"),
        [
            ('[listen]\naddresses = ["0.0.0.0:0"]\n', 78),
            ("[nonsense]\n", 78),
            ('[listen]\naddresses = ["127.0.0.1:0"]\n[jira.nonsense]\n', 78),
        ],
    )
    async def test_what_is_wrong_is_said_in_two_lines(
        self, manager: Manager, config: str, code: int
    ) -> None:
        manager.configure(config)
        process = await manager.start()
        assert await process.ends() == code
        assert [line.split(": ")[1] for line in process.said] == ["error", "hint"]

    async def test_an_address_in_use_exits_75(
        self, manager: Manager, listening: socket.socket
    ) -> None:
        manager.configure(f'[listen]\naddresses = ["127.0.0.1:{listening.getsockname()[1]}"]\n')
        process = await manager.start()
        assert await process.ends() == 75


class TestSocketActivation:
    async def test_passed_sockets_replace_the_addresses_and_one_named_admin_is_admins(
        self, manager: Manager, listening: socket.socket
    ) -> None:
        manager.configure('[admin]\naddress = "127.0.0.1:1"\n')
        with listening_socket() as second:
            environ = {"LISTEN_FDNAMES": "sidecar.socket:admin"}
            async with manager.running(listening, second, **environ) as process:
                client = Client("127.0.0.1", listening.getsockname()[1])
                admin = Client("127.0.0.1", second.getsockname()[1])
                assert (await client.get(MYSELF)).status == 200
                assert (await admin.get("/_sidecar/health")).status == 200
                assert (await admin.get(MYSELF)).status == 404
                assert (await client_of(process)).port == client.port

    async def test_sockets_meant_for_another_process_are_left_alone(self, manager: Manager) -> None:
        async with manager.running(LISTEN_FDS="1", LISTEN_PID="1") as process:
            assert (await (await client_of(process)).get(MYSELF)).status == 200

    async def test_a_passed_socket_that_others_reach_needs_an_access_key(
        self, manager: Manager
    ) -> None:
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 0))
            sock.listen()
            process = await manager.start(sock)
            assert await process.ends() == 78
        assert "access.key_file" in process.said[0]


async def after(load: Load, number: int) -> None:
    """Wait until so many more requests are done."""
    wanted = load.done + number
    async with asyncio.timeout(PATIENCE):
        while load.done < wanted:
            assert not load.failed, load.failed[:3]
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("uvloop", [True, False])
class TestUnderLoad:
    async def test_a_restart_with_socket_activation_fails_no_request(
        self,
        manager: Manager,
        listening: socket.socket,
        uvloop: bool,
    ) -> None:
        environ = _loop(uvloop, manager)
        async with under_load(Client("127.0.0.1", listening.getsockname()[1])) as load:
            async with manager.running(listening, **environ) as process:
                await after(load, 60)
                process.signal(signal.SIGTERM)
                assert await process.ends() == 0
            last = await manager.start(listening, **environ)
            await after(load, 100)
        last.signal(signal.SIGTERM)
        assert await last.ends() == 0
        assert (load.failed, load.unheard) == ([], 0)
        assert load.done > 150

    async def test_reloads_fail_no_request(
        self, manager: Manager, listening: socket.socket, uvloop: bool
    ) -> None:
        environ = _loop(uvloop, manager)
        client = Client("127.0.0.1", listening.getsockname()[1])
        async with manager.running(listening, **environ) as process:
            async with under_load(client) as load:
                for number in range(2):
                    await after(load, 40)
                    manager.configure(f"[timeouts]\nidle = {20 + number}\n")
                    process.signal(signal.SIGHUP)
                await after(load, 40)
            process.signal(signal.SIGTERM)
            assert await process.ends() == 0
        assert (load.failed, load.unheard) == ([], 0)
        assert len([line for line in process.said if "reloaded the configuration" in line]) == 2


def _loop(uvloop: bool, manager: Manager) -> dict[str, str]:
    """Variables that let the program run with uvloop, or hide it."""
    if uvloop:
        pytest.importorskip("uvloop")
        return {}
    hiding = manager.folder / "hiding"
    hiding.mkdir(exist_ok=True)
    (hiding / "uvloop.py").write_text("raise ImportError")
    return {"PYTHONPATH": os.pathsep.join([str(hiding), *_python_path()])}


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


class TestStoppingDuringARenewal:
    """Jira has been asked for a new token, and may drop the old one any moment."""

    NEW = b"oauth_token=NEW&oauth_token_secret=&oauth_session_handle=H&oauth_expires_in=100000"

    @pytest.mark.parametrize("does_answer", [True, False])
    async def test_what_comes_in_time_is_stored_and_a_silent_jira_holds_nothing_up(
        self, tmp_path: Path, private_key: RSAPrivateKey, does_answer: bool
    ) -> None:
        asked, stopping = asyncio.Event(), asyncio.Event()

        async def answer_late(peer: Peer) -> None:
            assert b"/oauth/access-token" in await peer.head()
            asked.set()
            if does_answer:
                await stopping.wait()
                await peer.answer(self.NEW, "Content-Type: text/plain")
            await peer.gone()

        async with RawServer(answer_late) as jira:
            manager = Manager(tmp_path, jira.url, private_key)
            manager.configure(
                '[listen]\naddresses = ["127.0.0.1:0"]\n'
                "[timeouts]\nresponse = 3600\nshutdown = 0.1\n"
            )
            manager.store_token("OLD", session_handle=Secret("H"), expires_at=time.time() - 1)
            process = await manager.start()
            try:
                await asyncio.wait_for(asked.wait(), PATIENCE)
                process.signal(signal.SIGTERM)
                await process.says("stopping")
                stopping.set()
                assert await process.ends() == 0
            finally:
                await process.stop()
        stored = json.loads((tmp_path / "state" / "token.json").read_text())["token"]
        assert stored == ("NEW" if does_answer else "OLD")
        said = "stopped while Jira was asked for a new access token"
        assert any(said in line for line in process.said) != does_answer
        mark = tmp_path / "state" / ".token.json.renewal"
        assert mark.exists() != does_answer, "the next start is to know of it"

"""`sidecar run` and `sidecar demo` where nobody reads their errors or no name server answers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sidecar.credentials import Secret, TokenCredentials
from sidecar.files.tokens import TokenFile
from sidecar.http.target import BaseURL
from tests.conftest import CONSUMER_KEY
from tests.support.names import NAME, MuteNames
from tests.support.processes import Shell, shell
from tests.support.services import port_of
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Client

__all__ = ["shell"]

HEALTH = "/_sidecar/health"


class Stderr:
    """A pipe for the standard error of a process, which is read when the test says so."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._received = ""

    def fill(self) -> None:
        """Leave no room for a single byte more."""
        os.set_blocking(self.writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.writing, b"\n" * 4096)
        os.set_blocking(self.writing, True)

    async def says(self, text: str) -> str:
        """Read until a line has `text` in it; return that line."""
        async with asyncio.timeout(PATIENCE):
            while True:
                *lines, self._received = self._received.split("\n")
                for number, line in enumerate(lines):
                    if text in line:
                        self._received = "\n".join([*lines[number + 1 :], self._received])
                        return line
                self._received += await self._read()

    def leave(self) -> None:
        """Read no more."""
        os.close(self._reading)

    async def _read(self) -> str:
        readable = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._reading, readable.set_result, None)
        try:
            await readable
        finally:
            asyncio.get_running_loop().remove_reader(self._reading)
        return os.read(self._reading, 65536).decode()


@asynccontextmanager
async def started(
    shell: Shell, *words: str, stderr: int, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *words,
        cwd=shell.folder, env={**shell.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=stderr,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_hints_in_the_log_name_the_configuration_that_was_given(
    shell: Shell, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    write_config("http://127.0.0.1:1").parent.rename(tmp_path / "my t9")
    words = ("run", "--listen", "127.0.0.1:0", "--config", "my t9/config.toml")
    async with shell.running(*words, until="listening on") as process:
        client = Client("127.0.0.1", port_of(process.said[0]))
        assert (await client.get("/x")).status == 503
        await process.says("run `sidecar --config 'my t9/config.toml' auth`")


async def fill(client: Client) -> int:
    """Send requests with long log lines until lines are dropped; return how many were by then."""
    async with await client.wire() as wire:
        for number in range(20_000):
            await wire.send(client.message("GET", f"/{number}" + "/" * 990))
            await wire.receive()
            if number % 100 == 0 and (dropped := await lines_dropped(client)):
                return dropped
    raise AssertionError("nothing was dropped")


async def lines_dropped(client: Client) -> int:
    document = (await client.get("/_sidecar/status")).json()
    dropped = document["counters"]["log_lines_dropped"]
    assert isinstance(dropped, int)
    return dropped


class TestNobodyReadsStderr:
    @pytest.fixture
    def stderr(self) -> Iterator[Stderr]:
        stderr = Stderr()
        yield stderr
        os.close(stderr.writing)

    @pytest.mark.parametrize("form", ["text", "json"])
    async def test_it_serves_and_tells_how_many_lines_were_dropped(
        self, shell: Shell, write_config: Callable[..., Path], stderr: Stderr, form: str
    ) -> None:
        write_config("http://127.0.0.1:1", f'[log]\nformat = "{form}"\n')
        words = ("run", "--listen", "127.0.0.1:0")
        async with started(shell, *words, stderr=stderr.writing) as process:
            client = Client("127.0.0.1", port_of(await stderr.says("listening on")))
            await fill(client)
            assert (await client.get(HEALTH)).status == 200
            notice = await stderr.says("dropped here")
            dropped = await lines_dropped(client)
            assert f"{dropped} lines were dropped here" in notice
            assert ('"level": "warning"' if form == "json" else " warning: ") in notice
            metrics = (await client.get("/_sidecar/metrics")).body.decode()
            assert f"sidecar_log_lines_dropped_total {dropped}.0\n" in metrics
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        await stderr.says("stopping")

    async def test_sigterm_ends_it(
        self, shell: Shell, write_config: Callable[..., Path], stderr: Stderr
    ) -> None:
        write_config("http://127.0.0.1:1")
        words = ("run", "--listen", "127.0.0.1:0")
        async with started(shell, *words, stderr=stderr.writing) as process:
            client = Client("127.0.0.1", port_of(await stderr.says("listening on")))
            await fill(client)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0

    @pytest.mark.parametrize("command", ["run", "demo"])
    async def test_it_starts_with_a_pipe_that_is_full(
        self,
        shell: Shell,
        write_config: Callable[..., Path],
        stderr: Stderr,
        unused_tcp_port_factory: Callable[[], int],
        command: str,
    ) -> None:
        write_config("http://127.0.0.1:1")
        stderr.fill()
        port = unused_tcp_port_factory()
        words = {"run": ["run", "--listen", f"127.0.0.1:{port}"], "demo": ["demo", "--port"]}
        line = words[command] + ([str(port)] if command == "demo" else [])
        async with started(shell, *line, stderr=stderr.writing) as process:
            client = Client("127.0.0.1", port)
            await until_it_listens(client)
            assert (await client.get(HEALTH)).status == 200
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0

    async def test_a_reader_that_leaves_and_a_full_disk_hold_up_nothing(
        self, shell: Shell, write_config: Callable[..., Path], stderr: Stderr
    ) -> None:
        write_config("http://127.0.0.1:1")
        words = ("run", "--listen", "127.0.0.1:0")
        async with started(shell, *words, stderr=stderr.writing) as process:
            client = Client("127.0.0.1", port_of(await stderr.says("listening on")))
            stderr.leave()
            await client.get("/x")
            async with asyncio.timeout(PATIENCE):
                while await lines_dropped(client) < 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0


async def until_it_listens(client: Client) -> None:
    def listens() -> bool:
        try:
            socket.create_connection((client.host, client.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    await until(listens)


class TestMuteNameServer:
    @pytest.fixture
    def names(self, tmp_path: Path) -> Iterator[MuteNames]:
        names = MuteNames(tmp_path)
        yield names
        names.close()

    @pytest.mark.parametrize("uvloop", [True, False])
    @pytest.mark.parametrize("signals", [1, 2])
    async def test_run_ends_within_its_time(
        self,
        shell: Shell,
        write_config: Callable[..., Path],
        names: MuteNames,
        store: Callable[[str], None],
        uvloop: bool,
        signals: int,
    ) -> None:
        """By the first signal within timeouts.shutdown, by a second at once."""
        if not uvloop:
            (shell.folder / "uvloop.py").write_text("raise ImportError")
        seconds = 0.1 if signals == 1 else 1000
        base_url = f"http://{NAME}"
        write_config(base_url, f"[timeouts]\nshutdown = {seconds}\nconnect = 1000\n")
        store(base_url)
        listen = ("run", "--listen", "127.0.0.1:0")
        async with shell.running(*listen, until="listening on", **names.environ) as process:
            client = Client("127.0.0.1", port_of(process.said[0]))
            async with await client.wire() as wire:
                await wire.send(client.message("GET", "/rest/api/2/myself"))
                await names.asked()
                process.signal(signal.SIGTERM)
                await process.says("stopping")
                if signals == 2:
                    process.signal(signal.SIGTERM)
                assert await process.ends() == 0

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ("check --ready", 130),
            ("check", 130),
            ("auth --begin", 77),
            ("auth --no-browser", 77),
            ("request /x", 130),
        ],
    )
    async def test_an_interrupted_command_ends_at_once(
        self,
        shell: Shell,
        write_config: Callable[..., Path],
        names: MuteNames,
        store: Callable[[str], None],
        words: str,
        code: int,
    ) -> None:
        base_url = f"http://{NAME}"
        admin = f'[admin]\naddress = "{NAME}:8089"\n'
        write_config(base_url, f"[timeouts]\nconnect = 1000\n{admin}")
        if words.startswith(("check", "request")):
            store(base_url)
        shell.environ |= names.environ
        stderr = asyncio.subprocess.PIPE
        async with started(shell, *words.split(), stderr=stderr) as process:
            await names.asked()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == code

    async def test_a_probe_ends_by_itself(
        self, shell: Shell, write_config: Callable[..., Path], names: MuteNames
    ) -> None:
        write_config("http://127.0.0.1:1", f'[admin]\naddress = "{NAME}:8089"\n')
        words = ("check", "--ready")
        stderr = asyncio.subprocess.PIPE
        async with started(shell, *words, stderr=stderr, **names.environ) as process:
            await names.asked()
            assert await process.wait() == 69

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_run_ends_while_it_looks_up_a_name_to_listen_on(
        self,
        shell: Shell,
        write_config: Callable[..., Path],
        names: MuteNames,
        number: signal.Signals,
    ) -> None:
        write_config("http://127.0.0.1:1", '[access]\nkey_file = "access_key"\n')
        (shell.folder / ".config/sidecar/access_key").write_text("k" * 20)
        (shell.folder / ".config/sidecar/access_key").chmod(0o600)
        words = ("run", "--listen", f"{NAME}:0")
        stderr = asyncio.subprocess.PIPE
        async with started(shell, *words, stderr=stderr, **names.environ) as process:
            await names.asked()
            process.send_signal(number)
            assert await process.wait() == 0


@pytest.fixture
def store(tmp_path: Path) -> Callable[[str], None]:
    """Store an access token for a Jira, where the commands look for it."""

    def store(base_url: str) -> None:
        path = tmp_path / ".local/state/sidecar/token.json"
        file = TokenFile(path, BaseURL.parse(base_url), CONSUMER_KEY)
        file.save(TokenCredentials(Secret("t" * 32), Secret("")))

    return store


async def test_it_says_at_its_start_for_which_jira_and_as_whom(
    shell: Shell, write_config: Callable[..., Path]
) -> None:
    write_config("http://127.0.0.1:1", '[listen]\naddresses = ["127.0.0.1:0"]\n')
    async with shell.running("run", until="for http") as process:
        assert process.said[1] == "for http://127.0.0.1:1, with nobody signed in yet"

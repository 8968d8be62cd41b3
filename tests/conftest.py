"""What every test starts from: a clean environment, a key, a sandbox Jira, a sidecar."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import HealthCheck, settings

from sidecar.config.load import Config, load
from sidecar.credentials import Secret, TokenCredentials
from sidecar.files import keys
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.sandbox import Sandbox
from sidecar.server.server import Server
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import RawUpstream
from tests.support.wire import Client

# asyncio's debug mode warns of each step that took 0.1 s: on a busy machine any does, and tests
# that look at all warnings would fail there.
logging.getLogger("asyncio").addFilter(lambda record: not str(record.msg).startswith("Executing"))


# Whoever starts the tests under nohup, or behind an &, has them ignore these; what the tests start
# would ignore them, too, and `sidecar run` minds.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

CONSUMER_KEY = "OauthKey"

# An example is never too slow: the machine may be busy.  `long` is what `make fuzz` runs.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("short", _PATIENT)
settings.register_profile("long", _PATIENT, max_examples=100_000)
settings.load_profile("short")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No test sees the configuration, token or proxies of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("SIDECAR_", "XDG_", "LISTEN_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    umask = os.umask(0o022)
    yield
    os.umask(umask)


@pytest.fixture(scope="session")
def private_key() -> RSAPrivateKey:
    """One key for the session: making one takes longer than most tests."""
    return keys.generate_private_key(2048)


@pytest.fixture(scope="session")
def other_key() -> RSAPrivateKey:
    """Another key of the same size: Jira finds its signatures wrong, and does not break."""
    return keys.generate_private_key(2048)


@dataclass
class Running(Client):
    """A running sidecar, and a client that talks to it."""

    server: Server
    config: Config
    token_file: TokenFile

    def __init__(self, server: Server, config: Config, url: str) -> None:
        host, _, port = url.rpartition("//")[2].rpartition(":")
        super().__init__(host, int(port))
        self.server = server
        self.config = config
        self.token_file = TokenFile(
            config.token.path, config.jira.base_url, config.jira.consumer_key
        )


@pytest.fixture
async def make_sandbox(
    private_key: RSAPrivateKey,
) -> AsyncIterator[Callable[..., Awaitable[Sandbox]]]:
    """Start sandbox Jiras with the options given; each knows our key."""
    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> Sandbox:
            sandbox = Sandbox(public_key=private_key.public_key(), **options)
            sandbox.faults.unsigned_tools = False
            return await stack.enter_async_context(sandbox)

        yield make


@pytest.fixture
async def sandbox(make_sandbox: Callable[..., Awaitable[Sandbox]]) -> Sandbox:
    """A sandbox Jira below the context path /jira."""
    return await make_sandbox(context_path="/jira")


MakeSidecar = Callable[..., Awaitable[Running]]


@pytest.fixture
async def make_sidecar(private_key: RSAPrivateKey, tmp_path: Path) -> AsyncIterator[MakeSidecar]:
    """Start sidecars in front of a base URL.  Options come as `access__read_only=True`.

    With `token`, an access token is stored before the start; `named` completes commands in hints.
    """
    async with AsyncExitStack() as stack:

        async def make(
            base_url: str,
            *,
            token: str | None = None,
            named: Callable[[str], str] = str,
            **options: Any,
        ) -> Running:
            config = make_config(base_url, tmp_path, private_key, **options)
            if token is not None:
                store_token(config, token)
            server = Server(config, {}, named=named)
            urls = await server.start()
            stack.push_async_callback(server.stop, 1.0)
            return Running(server, config, urls[0])

        yield make


@pytest.fixture
async def sidecar(sandbox: Sandbox, make_sidecar: MakeSidecar) -> Running:
    """A sidecar with a good token in front of `sandbox`."""
    return await make_sidecar(sandbox.url, token=sandbox.grant().token)


@pytest.fixture
async def upstream() -> AsyncIterator[RawUpstream]:
    """An upstream in place of Jira that answers what a test says, and records every byte."""
    async with RawUpstream() as upstream:
        yield upstream


@pytest.fixture
async def edge(upstream: RawUpstream, make_sidecar: MakeSidecar) -> Running:
    """A sidecar with a token in front of `upstream`."""
    return await make_sidecar(upstream.url, token="t" * 32)


@pytest.fixture
async def loop_clock() -> AsyncIterator[LoopClock]:
    """The clock of the test's own loop, which the test can put forward."""
    with LoopClock() as clock:
        yield clock


@pytest.fixture
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[pytest.LogCaptureFixture]:
    """Nobody logs a traceback or an error, and no exception is left that nobody looks at."""
    trouble: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "asyncio")  # in debug mode it says much
    yield caplog
    gc.collect()
    assert trouble == []
    for record in caplog.records:
        assert record.exc_info is None, record
        assert record.levelno < logging.ERROR, record.getMessage()


@pytest.fixture
def write_config(tmp_path: Path, private_key: RSAPrivateKey) -> Callable[..., Path]:
    """Write a configuration where the commands look for it."""

    def write(base_url: str, more: str = "") -> Path:
        folder = tmp_path / ".config" / "sidecar"
        write_private(folder / "private_key.pem", keys.private_key_pem(private_key))
        text = f'[jira]\nbase_url = "{base_url}"\nconsumer_key = "{CONSUMER_KEY}"\n{more}'
        (folder / "config.toml").write_text(text)
        return folder / "config.toml"

    return write


def make_config(base_url: str, folder: Path, private_key: RSAPrivateKey, **options: Any) -> Config:
    """A configuration with everything in `folder`, listening on a free port."""
    key_file = folder / "private_key.pem"
    write_private(key_file, keys.private_key_pem(private_key))
    values: dict[str, object] = {
        "jira.base_url": base_url,
        "jira.consumer_key": CONSUMER_KEY,
        "jira.private_key": str(key_file),
        "token.path": str(folder / "state" / "token.json"),
        "listen.addresses": ["127.0.0.1:0"],
    }
    values |= {name.replace("__", "."): value for name, value in options.items()}
    return load(None, {"HOME": str(folder)}, values)


def store_token(config: Config, token: str, **facts: Any) -> None:
    """Store an access token as `sidecar auth` would."""
    file = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key)
    file.save(TokenCredentials(Secret(token), Secret(""), **facts))

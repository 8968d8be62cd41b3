"""`sidecar check` in tests: its result, and what stands in for Jira."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.check.diagnosis import Check
from sidecar.check.step import Step, as_json, exit_code
from sidecar.config.load import Config
from sidecar.files.private import write_private
from sidecar.files.tokens import TokenFile
from sidecar.sandbox import Sandbox
from tests.conftest import make_config, store_token
from tests.support.dancing import answer
from tests.support.raw_server import Peer, RawServer, Script

MakeSandbox = Callable[..., Awaitable[Sandbox]]

NAMES = [
    "configuration", "private_key", "file_modes", "name_resolution", "connection", "tls", "jira",
    "context_path", "clock", "token", "signature", "user", "anonymous",
]  # fmt: skip


def untried(first: str) -> list[str]:
    """The steps that cannot be tried where one from `first` on needs what failed before.

    The token is looked at all the same: that needs no Jira.
    """
    return [name for name in NAMES[NAMES.index(first) :] if name != "token"]


DAY = 24 * 3600.0
NOW = 1_900_000_000.0
"""For what has nothing to do with Jira's clock."""


class Result:
    """What a check came to."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = {step.name: step for step in steps}
        self.code = exit_code(steps)

    def __getitem__(self, name: str) -> Step:
        return self.steps[name]

    def of(self, status: str) -> list[str]:
        return [step.name for step in self.steps.values() if step.status == status]

    @property
    def failed(self) -> list[str]:
        return self.of("fail")

    @property
    def text(self) -> str:
        return "\n".join(f"{step.message}\n{step.hint}" for step in self.steps.values())


Diagnose = Callable[..., Awaitable[Result]]


@pytest.fixture
async def diagnose(private_key: RSAPrivateKey, tmp_path: Path) -> Diagnose:
    """Check a configuration for a base URL.  `token` is stored first, with the `facts` of it."""

    async def run(
        base_url: str,
        *,
        key: RSAPrivateKey = private_key,
        token: str | None = None,
        facts: dict[str, Any] | None = None,
        now: float | None = None,
        **options: Any,
    ) -> Result:
        config = make_config(base_url, tmp_path, key, **options)
        config.token.path.unlink(missing_ok=True)
        if token is not None:
            store_token(config, token, **(facts or {}))
        return await check(config, now=now)

    return run


async def check(config: Config, *, now: float | None = None) -> Result:
    """Check, and hold what is true of every result."""
    told: list[Step] = []
    clock = {} if now is None else {"clock": lambda: now}
    steps = await Check(lambda: config, **clock).run(told.append)
    assert told == steps
    assert [step.name for step in steps] == NAMES
    has_failed = False
    for step in steps:
        has_failed = has_failed or step.status == "fail"
        assert step.message
        assert step.status != "fail" or (step.hint and step.exit_code), step
        assert step.status != "skipped" or has_failed, "skipped, and nothing had failed before"
    result = Result(steps)
    assert as_json(steps)["ok"] is (result.code == 0) is (len(result.of("pass")) == len(NAMES))
    for secret in _secrets(config):
        assert secret not in result.text
    return result


def _secrets(config: Config) -> list[str]:
    found = config.jira.private_key.read_text().splitlines()[1:3]
    if config.token.path.exists() and config.token.path.stat().st_mode & 0o077 == 0:
        token = TokenFile(config.token.path, config.jira.base_url, config.jira.consumer_key).load()
        assert token is not None
        found += [token.token.reveal()]
        found += [token.session_handle.reveal()] if token.session_handle else []
    if config.jira.proxy and "@" in config.jira.proxy.reveal():
        found.append(config.jira.proxy.reveal().partition("@")[0].rpartition(":")[2])
    return found


def always(*pieces: bytes) -> Script:
    """A script that answers every request with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(*pieces)

    return script


def page(status: int, body: str = "", *fields: str) -> bytes:
    return answer(status, body, "Content-Type: text/html", *fields)


@asynccontextmanager
async def relay(
    sandbox: Sandbox,
    *,
    for_strangers: bytes = b"",
    dropped_for: bytes = b"",
    instead_of_date: bytes = b"Date:",
) -> AsyncIterator[str]:
    """A reverse proxy in front of a sandbox below /jira, which does what it should not."""
    port = int(sandbox.url.rpartition(":")[2].partition("/")[0])

    async def script(peer: Peer) -> None:
        head = await peer.head()
        if for_strangers and b"Authorization: OAuth" not in head:
            await peer.send(for_strangers)
            return
        if dropped_for and dropped_for in head:
            head = head.replace(b"Authorization:", b"X-Dropped:")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n", 1))
        await peer.send((await reader.read(-1)).replace(b"Date:", instead_of_date))
        writer.close()

    async with RawServer(script) as server:
        yield f"{server.url}/jira"


class TLS:
    """A CA, and the contexts that go with it."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.ca_file)
        self.folder = folder

    def server(self, *names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(context)
        return context

    def client_files(self) -> dict[str, str]:
        """A client certificate with its key, as options."""
        leaf = self.ca.issue_cert("client@example.com")
        certificate, key = self.folder / "client.pem", self.folder / "client.key"
        write_private(certificate, leaf.cert_chain_pems[0].bytes())
        write_private(key, leaf.private_key_pem.bytes())
        return {"jira__client_certificate": str(certificate), "jira__client_key": str(key)}

    def open_client_files(self) -> tuple[str, str]:
        """A client certificate alone, and one with its key, that others can read."""
        leaf = self.ca.issue_cert("client@example.com")
        alone, both = self.folder / "alone.pem", self.folder / "both.pem"
        alone.write_bytes(leaf.cert_chain_pems[0].bytes())
        both.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
        return str(alone), str(both)


@pytest.fixture
def certificates(tmp_path: Path) -> TLS:
    return TLS(tmp_path)

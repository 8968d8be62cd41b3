"""The states in which people meet the page, each made with a real sidecar and the sandbox."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.files import keys
from sidecar.page.service import Service
from sidecar.sandbox import Sandbox
from sidecar.server.server import Server
from sidecar.telemetry.history import History
from sidecar.telemetry.record import Record, new_id
from tests.conftest import Running, make_config, store_token
from tests.support.waiting import until

DAY = 86400.0
USER = {"user": "alana", "display_name": "Alana Example"}


class Stand:
    """A sandbox Jira, and a sidecar in front of it."""

    def __init__(self, folder: Path, private_key: RSAPrivateKey, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._key = private_key
        self._stack = stack
        self.sandbox = Sandbox(context_path="/jira", public_key=private_key.public_key())
        self.sandbox.faults.unsigned_tools = False
        self.sidecar: Running

    async def start(self, *, token: bool = True, **facts: Any) -> None:
        """Start the sidecar, signed in unless `token` is False."""
        config = make_config(self.sandbox.url, self._folder, self._key)
        if token:
            facts = {"expires_at": time.time() + 1815 * DAY, **USER, **facts}
            facts.setdefault("session_expires_at", facts["expires_at"] + 30 * DAY)
            store_token(config, self.sandbox.grant().token, **facts)
        server = Server(config, {})
        (url,) = await server.start()
        self._stack.push_async_callback(server.stop, 1.0)
        self.sidecar = Running(server, config, url)

    async def ask(self, *paths: str) -> None:
        """Send requests."""
        for path in paths:
            await self.sidecar.get(path)


async def not_signed_in(stand: Stand) -> None:
    await stand.start(token=False)
    await stand.ask("/rest/api/2/myself")


async def busy(stand: Stand) -> None:
    await stand.start()
    fill(stand.sidecar.server.history)
    stand.sandbox.faults.nonce_used = 1
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/myself", "/rest/api/2/issue/JJ-999")
    await stand.ask("/rest/api/2/search?jql=project%3DJJ", "/rest/api/2/issue/JJ-1")


async def refused(stand: Stand) -> None:
    await stand.start()
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/myself")
    stand.sandbox.faults.revoked = True
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/search?jql=")
    await until(stand.sidecar.server.readiness.why_not)


async def away(stand: Stand) -> None:
    await stand.start()
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/myself")
    await stand.sandbox.stop()
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/issue/JJ-1")


async def clock_off(stand: Stand) -> None:
    await stand.start()
    stand.sandbox.faults.clock_offset = 427.0
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/myself")


async def ends_soon(stand: Stand) -> None:
    await stand.start(expires_at=time.time() + 5.3 * DAY)
    await stand.ask("/rest/api/2/issue/JJ-2", "/rest/api/2/myself")


STATES: dict[str, Callable[[Stand], Awaitable[None]]] = {
    "not-signed-in": not_signed_in,
    "busy": busy,
    "refused": refused,
    "away": away,
    "clock-off": clock_off,
    "ends-soon": ends_soon,
}


def service_of(sidecar: Running) -> Service:
    """What the page knows of a sidecar, which was run with --config /x."""
    server = sidecar.server
    return Service(
        config=lambda: sidecar.config,
        identity=lambda: server.identity,
        readiness=server.readiness,
        authorizer=lambda: server.generations[-1].authorizer,
        ownership=server.ownership,
        troubles=server.troubles,
        history=server.history,
        held=lambda: 0,
        complete=lambda text: text.replace("sidecar ", "sidecar --config /x "),
    )


@asynccontextmanager
async def standing(
    state: str, folder: Path, private_key: RSAPrivateKey | None = None
) -> AsyncIterator[Stand]:
    """A sidecar in that state."""
    async with AsyncExitStack() as stack:
        stand = Stand(folder, private_key or keys.generate_private_key(), stack)
        await stack.enter_async_context(stand.sandbox)
        await STATES[state](stand)
        yield stand


def fill(history: History, requests: int = 4000) -> None:
    """A quarter of an hour of work as it may well have been."""
    chance = random.Random(7)
    now, moments = perf_counter(), []
    for _ in range(requests):
        wave = abs(chance.gauss(0, 240)) if chance.random() < 0.6 else chance.uniform(0, 890)
        moments.append(now - 5 - min(wave, 880))
    for started in sorted(moments):
        record = Record("GET", _path(chance), new_id(), started)
        record.status, record.answered_by = _status(chance), "jira"
        record.first_byte = chance.lognormvariate(-2.9, 0.6)
        record.total = record.first_byte + chance.lognormvariate(-5.5, 0.5)
        record.signing, record.connecting = 0.0004, 0.0002
        if chance.random() < 0.004:
            record.resent_for, record.retries = "timestamp_refused", 1
        history.finished(record)


def _path(chance: random.Random) -> str:
    return chance.choice((f"/rest/api/2/issue/JJ-{chance.randint(1, 300)}", "/rest/api/2/search"))


def _status(chance: random.Random) -> int:
    return chance.choices((200, 404, 400, 503), (970, 20, 6, 4))[0]

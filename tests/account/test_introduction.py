"""Asking Jira whom the application link acts as, until it says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.account.introduction import FIRST_PAUSE, LONGEST_PAUSE, Introduction
from sidecar.sandbox import Sandbox
from sidecar.upstream.pool import Upstream
from tests.conftest import make_config
from tests.support.clocks import LoopClock
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.waiting import until

MakeSandbox = Callable[..., Awaitable[Sandbox]]


class Pauses:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._ends: list[asyncio.Future[None]] = []

    def __call__(self, seconds: float) -> asyncio.Future[None]:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.append(end)
        self.asked.put_nowait(seconds)
        return end

    def end(self) -> None:
        self._ends.pop().set_result(None)


@pytest.fixture
async def introduce(
    tmp_path: Path, private_key: RSAPrivateKey
) -> AsyncIterator[Callable[..., tuple[Identity, Introduction, Pauses]]]:
    """Make an introduction for a Jira at this URL."""
    made: list[tuple[Introduction, Upstream]] = []

    def make(base_url: str, **options: object) -> tuple[Identity, Introduction, Pauses]:
        options = {"jira__two_legged": True, **options}
        config = make_config(base_url, tmp_path, private_key, **options)
        upstream, identity, pauses = Upstream(config), Identity(config), Pauses()
        authorizer = Authorizer(identity, upstream, config.timeouts.response)
        introduction = Introduction(identity, authorizer, pauses)
        made.append((introduction, upstream))
        return identity, introduction, pauses

    yield make
    for introduction, upstream in made:
        await introduction.close()
        await upstream.close()


Introduce = Callable[..., tuple[Identity, Introduction, Pauses]]


async def test_jira_is_asked_until_it_answers_at_growing_pauses(
    make_sandbox: MakeSandbox, introduce: Introduce, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sandbox = await make_sandbox(two_legged=False)
    identity, introduction, pauses = introduce(sandbox.url)
    introduction.start()
    seen: list[float] = []
    while len(seen) < 7:
        seen.append(await pauses.asked.get())
        sandbox.faults.two_legged = len(seen) == 7
        pauses.end()
    assert seen == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert (seen[0], seen[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    await until(lambda: identity.token.current().user == "builds")
    ours = [record for record in caplog.records if record.name.startswith("sidecar")]
    said = [(record.levelno, record.getMessage()) for record in ours]
    assert len(said) == 2, "each trouble is told once"
    assert said[0][0] == logging.WARNING
    assert "does not allow 2-Legged OAuth" in said[0][1]
    assert said[1] == (logging.INFO, f"{sandbox.url} as Build Robot (builds), two-legged")


async def test_with_an_access_token_nobody_is_asked(
    make_sandbox: MakeSandbox, introduce: Introduce
) -> None:
    sandbox = await make_sandbox()
    _, introduction, _ = introduce(sandbox.url, jira__two_legged=False)
    introduction.start()
    await introduction.wait_tried()
    assert not sandbox.log


async def test_requests_wait_for_the_first_answer_but_not_for_ever(
    introduce: Introduce, loop_clock: LoopClock
) -> None:
    async def say_nothing(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    arrived = asyncio.Event()
    async with RawUpstream(say_nothing) as upstream:
        _, introduction, _ = introduce(upstream.url)
        introduction.start()
        await arrived.wait()
        waiting = asyncio.create_task(introduction.wait_tried())
        await asyncio.sleep(0)
        assert not waiting.done()
        await loop_clock.skip(6.0)
        await waiting
        await introduction.wait_tried()
        await introduction.close()

"""Hostile requests as bytes, each whole, split behind the head, and byte by byte.

One sidecar meets them all: it must neither fall over, nor remember, nor let anything through.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.downstream import timers
from tests.attacks.arena import Arena, open_arena
from tests.attacks.cases import CASES
from tests.support.raw_upstream import Exchange
from tests.support.waiting import SOON, until
from tests.support.wire import Response, Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLE = json.loads(Path(__file__).with_name("attacks").joinpath("sample.json").read_text())
ALL_CASES = [*SAMPLE["cases"], *CASES]
DELIVERIES = ("whole", "split", "bytes")
HEAD_SECONDS = 0.2
"""In place of 30; the cases' own times shrink alike."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(
    private_key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Arena]:
    async with open_arena(tmp_path_factory.mktemp("attacks"), private_key) as arena:
        yield arena


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _no_trouble(arena: Arena, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    with arena.without_trouble(caplog):
        yield


def pieces(raw: bytes, delivery: str) -> list[bytes]:
    head, blank, body = raw.partition(b"\r\n\r\n")
    if delivery == "whole":
        return [raw]
    if delivery == "split":
        return [head + blank, body] if body else [raw]
    if len(raw) < 3000:
        return [raw[i : i + 1] for i in range(len(raw))]
    # Byte by byte at both ends, where the syntax is.
    middle = [raw[i : i + 1499] for i in range(300, len(raw) - 300, 1499)]
    middle[-1] = raw[300 + 1499 * (len(middle) - 1) : len(raw) - 300]
    return [*(bytes([b]) for b in raw[:300]), *middle, *(bytes([b]) for b in raw[-300:])]


async def send(arena: Arena, wire: Wire, parts: list[bytes], delivery: str) -> None:
    try:
        for part in parts:
            await wire.send(part)
            if delivery == "split":
                await arena.bystander()
    except ConnectionError:
        return  # refused before the end


async def receive_all(wire: Wire, *, method: str, half_closed: bool) -> list[Response]:
    """Every answer until the server closes; after the first, nothing more is sent."""
    answers: list[Response] = []
    try:
        while True:
            answers.append(await wire.receive(method=method))
            if not half_closed:
                wire.half_close()
                half_closed = True
    except (ConnectionError, OSError):
        return answers


async def drip(wire: Wire, slow: dict[str, Any], receiving: asyncio.Task[list[Response]]) -> None:
    """Send a little at a time until the server has had enough."""
    scale = HEAD_SECONDS / 30
    async with asyncio.timeout(slow["within_s"] * scale + 5):
        while not receiving.done():
            try:
                await wire.send(slow["drip"].encode("latin-1"))
            except ConnectionError:
                await receiving
            await asyncio.wait([receiving], timeout=slow["interval_s"] * scale)


async def run_case(arena: Arena, case: dict[str, Any], delivery: str) -> list[Response]:
    """Send the case and return every answer; what must never come is checked at once."""
    expect = case["expect"]
    raw = arena.expand(case["raw"]).encode("latin-1")
    method = raw.partition(b" ")[0].decode("latin-1")
    half_closed = bool(expect.get("half_close"))
    async with await arena.sidecar.wire() as wire:
        await send(arena, wire, pieces(raw, delivery), delivery)
        if half_closed:
            wire.half_close()
        receiving = asyncio.create_task(
            receive_all(wire, method=method, half_closed=half_closed or "slow" in expect)
        )
        if "slow" in expect:
            await drip(wire, expect["slow"], receiving)
        answers = await receiving
        statuses = [*wire.interim, *(answer.status for answer in answers)]
    assert not {str(status) for status in statuses} & set(expect.get("never_status", ()))
    return answers


def check_answers(case: dict[str, Any], answers: list[Response]) -> None:
    expect = case["expect"]
    for answer in answers:
        code = str(answer.status)
        assert {code, f"{code[0]}xx"} & set(expect["status"]), answer
        for name in expect.get("resp_absent", ()):
            assert answer.all(name) == [], name
        if answer.status >= 400:
            assert answer["Proxy-Status"].startswith("sidecar; error=")
            assert answer["Content-Type"] == "application/json"
            assert answer.message.startswith("sidecar: ")
            assert answer.json()["errors"] == {}
    if not answers:
        assert "closed" in expect["status"], "closed without an answer"
    if "n_responses" in expect:
        assert len(answers) == expect["n_responses"], answers


async def check_upstream(arena: Arena, expect: dict[str, Any]) -> None:
    arrived = arena.arrived()
    complete = [exchange for exchange in arrived if exchange.complete]
    low, high = {
        "none": (0, 0),
        "none_complete": (0, 0),
        "one": (1, 1),
        "max_one": (0, 1),
        "any": (0, 99),
    }[expect["upstream"]]
    assert low <= len(complete) <= high, complete
    if expect["upstream"] == "none":
        assert arrived == []
    assert len(complete) == expect.get("complete", len(complete))
    for exchange in arrived:
        if not exchange.complete:
            async with asyncio.timeout(SOON):
                await exchange.over.wait()
            assert not exchange.complete
        check_request(arena, exchange, expect)


def check_request(arena: Arena, exchange: Exchange, expect: dict[str, Any]) -> None:
    arena.check_signed(exchange)
    head = exchange.head.decode("latin-1")
    if "target" in expect:
        assert exchange.target == arena.expand(expect["target"])
    assert exchange.target not in expect.get("absent_target", ())
    for name in expect.get("absent", ()):
        assert exchange.all(name) == [], name
    for text in expect.get("absent_text", ()):
        assert arena.expand(text) not in head
    for name, value in expect.get("present", {}).items():
        assert exchange.all(name) == [value]
    for name, count in expect.get("count", {}).items():
        assert len(exchange.all(name)) == count, name
    for name, prefix in expect.get("present_prefix", {}).items():
        assert all(value.startswith(prefix) for value in exchange.all(name))
    if exchange.complete and "body_if_any" in expect:
        assert exchange.body == expect["body_if_any"].encode("latin-1")


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("case", ALL_CASES, ids=[case["id"] for case in ALL_CASES])
async def test_attack(
    arena: Arena, case: dict[str, Any], delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect = case["expect"]
    # Of a case's time, debug mode would take the most.
    asyncio.get_running_loop().set_debug(delivery == "split")
    if "slow" in expect:
        monkeypatch.setattr(timers, "HEAD_SECONDS", HEAD_SECONDS)
    answers = await run_case(arena, case, delivery)
    await check_upstream(arena, expect)
    check_answers(case, answers)
    assert arena.canary.connections == 0
    await arena.bystander()


async def test_nothing_is_left_over(arena: Arena) -> None:
    """After all that, no connection and no task is left but those that serve."""
    gc.collect()
    await arena.bystander()
    assert arena.trouble == []
    await until(lambda: not arena.sidecar.server.listener.connections, SOON)
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert not [name for name in names if name.startswith(("ClientConnection", "UpstreamResponse"))]

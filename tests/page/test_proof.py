"""Whether a form comes from the owner's browser: names, codes and how slowly wrong ones go."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.access.callers import Caller
from sidecar.page.proof import is_private
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar
from tests.support.clocks import LoopClock
from tests.support.owning import Owner
from tests.support.wire import turns


@pytest.mark.parametrize(
    ("scheme", "host"),
    [
        ("http", "localhost"),
        ("http", "LOCALHOST:8088"),
        ("http", "127.0.0.1:1"),
        ("http", "[::1]"),
        ("http", "[::1]:8088"),
        ("https", "sidecar.internal"),
        ("https", "sidecar.internal:8443"),
    ],
)
def test_nobody_reads_along_on_loopback_or_by_https(scheme: str, host: str) -> None:
    assert is_private(Caller(scheme, host))


@pytest.mark.parametrize(
    "host",
    ["sidecar.internal", "localhost.evil.test:80", "127.0.0.1.evil.test", "10.0.0.1:8088", "[::2]"],
)
def test_by_any_other_name_somebody_may(host: str) -> None:
    assert not is_private(Caller("http", host))


async def test_a_wrong_code_is_answered_slowly_and_a_right_one_is_not(
    sandbox: Sandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    owner = Owner(await make_sidecar(sandbox.url))
    guess = asyncio.ensure_future(owner.post("/_sidecar/page/owner", code="0-" + "0" * 32))
    await owner.own()
    assert not guess.done()
    await loop_clock.skip(1)
    assert (await guess).status == 403


async def test_of_many_wrong_codes_one_too_many_has_to_connect_again(
    sandbox: Sandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    owner = Owner(await make_sidecar(sandbox.url))
    wrong = [
        asyncio.ensure_future(owner.post("/_sidecar/page/owner", code=f"{number:x}-{'0' * 32}"))
        for number in range(70)
    ]
    first, held = await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
    assert all(one.result()["Connection"] == "close" for one in first)
    while not all(one.done() for one in held):
        await loop_clock.skip(1)
        await turns(5)
    assert {one.result().status for one in held} == {403}

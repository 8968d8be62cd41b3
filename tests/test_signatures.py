"""Signatures beside the loop: the right one to each, none lost, the loop free meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from sidecar.signatures import Signatures


@pytest.fixture
async def busy() -> AsyncIterator[Signatures]:
    signatures = Signatures(lambda: True, threads=2)
    yield signatures
    signatures.close()


async def test_everybody_gets_the_signature_of_their_own_data(busy: Signatures) -> None:
    data = [b"%d" % number for number in range(500)]
    made = await asyncio.gather(*(busy.make(lambda text: b"signed " + text, d) for d in data))
    assert made == [b"signed " + text for text in data]


async def test_a_lone_request_signs_on_the_loop() -> None:
    signatures = Signatures(lambda: False)
    here = threading.get_ident()
    signed_by = await signatures.make(lambda _: str(threading.get_ident()).encode(), b"")
    assert int(signed_by) == here


async def test_a_busy_loop_goes_on_while_threads_sign(busy: Signatures) -> None:
    started, go_on = threading.Event(), threading.Event()

    def sign(data: bytes) -> bytes:
        started.set()
        assert go_on.wait(10)
        return data

    making = asyncio.create_task(busy.make(sign, b"slow"))
    assert await asyncio.to_thread(started.wait, 10)
    assert await busy.make(bytes.upper, b"quick") == b"QUICK"
    go_on.set()
    assert await making == b"slow"


async def test_an_error_is_raised_where_the_signature_is_awaited(busy: Signatures) -> None:
    def fail(data: bytes) -> bytes:
        raise ValueError("no key")

    with pytest.raises(ValueError, match="no key"):
        await busy.make(fail, b"")
    assert await busy.make(bytes.upper, b"x") == b"X"


async def test_who_leaves_stops_nobody_else(busy: Signatures) -> None:
    go_on = threading.Event()

    def sign(data: bytes) -> bytes:
        assert go_on.wait(10)
        return data

    leaving = [asyncio.create_task(busy.make(sign, b"a")) for _ in range(4)]
    staying = asyncio.create_task(busy.make(bytes.upper, b"b"))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    go_on.set()
    assert await staying == b"B"
    results = await asyncio.gather(*leaving, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_threads_end_when_closed() -> None:
    signatures = Signatures(lambda: True, threads=2)
    await signatures.make(bytes.upper, b"x")
    threads = [t for t in threading.enumerate() if t.name.startswith("signing-")]
    assert len(threads) >= 2
    signatures.close()
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()

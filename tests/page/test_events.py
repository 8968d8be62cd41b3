"""Pages that keep themselves up to date: a few, while they read, and no longer than they may."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sidecar.downstream import timers
from sidecar.files.private import write_private
from sidecar.page import events
from sidecar.sandbox import Sandbox
from sidecar.telemetry.history import SECONDS
from sidecar.telemetry.record import Record
from tests.conftest import MakeSidecar, Running
from tests.support.clocks import LoopClock
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Wire


class Stream:
    """A page's stream of events."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []

    @classmethod
    async def open(cls, sidecar: Running, *fields: tuple[str, str], query: str = "") -> Stream:
        """Read the page, then open its stream."""
        page = (await sidecar.get("/_sidecar/", *fields)).body.decode()
        match = re.search('data-page="([^"]+)" data-after="([0-9]+)"', page)
        assert match
        target = f"/_sidecar/page/events?page={match[1]}&after={match[2]}{query}"
        stream = cls(await sidecar.wire())
        await stream._wire.send(sidecar.message("GET", target, *fields))
        stream.status, _, stream.fields = await stream._wire.head()
        return stream

    async def event(self) -> tuple[int, dict[str, Any]]:
        """The next event: its id and what it holds."""
        async with asyncio.timeout(PATIENCE):
            block = await self._wire.reader.readuntil(b"\n\n")
            if block.startswith(b"retry:"):
                block = await self._wire.reader.readuntil(b"\n\n")
        first, second = block.decode("ascii").strip().split("\n")
        return int(first.removeprefix("id: ")), json.loads(second.removeprefix("data: "))

    async def rest(self) -> bytes:
        """Everything until its end."""
        async with asyncio.timeout(PATIENCE):
            return await self._wire.reader.read()

    async def close(self) -> None:
        await self._wire.close()


def streams(sidecar: Running) -> int:
    return sidecar.server._local.visits


async def test_a_page_is_told_of_new_requests(sidecar: Running) -> None:
    await sidecar.get("/rest/api/2/myself")
    stream = await Stream.open(sidecar)
    assert stream.status == 200
    assert (b"Content-Type", b"text/event-stream") in stream.fields
    assert (b"Cache-Control", b"no-store") in stream.fields
    number, first = await stream.event()
    assert (number, first["requests"]) == (1, [])
    await sidecar.get("/rest/api/2/issue/JJ-2?covert=1")
    number, second = await stream.event()
    assert number == 2
    assert [one["path"] for one in second["requests"]] == ["/rest/api/2/issue/JJ-2"]
    assert "covert" not in json.dumps(second)
    await stream.close()


async def test_a_page_that_comes_again_is_told_what_it_missed(sidecar: Running) -> None:
    for _ in range(3):
        await sidecar.get("/rest/api/2/myself")
    stream = await Stream.open(sidecar, ("Last-Event-ID", "1"))
    number, event = await stream.event()
    assert number == 3
    assert [one["number"] for one in event["requests"]] == [3, 2]
    await stream.close()


@pytest.mark.parametrize("last", ["99999", "-1", "x", "1" * 40])
async def test_a_number_that_makes_no_sense_does_no_harm(sidecar: Running, last: str) -> None:
    await sidecar.get("/rest/api/2/myself")
    stream = await Stream.open(sidecar, ("Last-Event-ID", last))
    assert (await stream.event())[0] == 1
    await stream.close()


async def test_a_page_is_told_at_once_that_jira_refuses_the_sidecar(
    sandbox: Sandbox, sidecar: Running
) -> None:
    stream = await Stream.open(sidecar)
    await stream.event()
    sandbox.faults.revoked = True
    await sidecar.get("/rest/api/2/myself")
    title = ""
    while title != "Jira refuses the sidecar":
        title = (await stream.event())[1]["notices"][0]["title"]
    await stream.close()


async def test_it_says_something_though_nothing_happens(
    sidecar: Running, loop_clock: LoopClock
) -> None:
    """So that whoever stands between closes no idle connection, and the charts move on."""
    history = sidecar.server.history
    moment = [1000.0]
    history._clock = lambda: moment[0]
    stream = await Stream.open(sidecar)
    await stream.event()
    moment[0] += 10
    await loop_clock.skip(1)
    assert (await stream.event())[1]["requests"] == []
    await stream.close()


async def test_only_so_many_pages_are_kept_up_to_date(sidecar: Running) -> None:
    opened = [await Stream.open(sidecar) for _ in range(events.MOST_STREAMS)]
    assert streams(sidecar) == events.MOST_STREAMS
    refused = await Stream.open(sidecar)
    assert refused.status == 503
    assert dict(refused.fields)[b"Retry-After"]
    await refused.close()
    await opened[0].close()
    await until(lambda: streams(sidecar) < events.MOST_STREAMS)
    another = await Stream.open(sidecar)
    assert another.status == 200
    for stream in (*opened[1:], another):
        await stream.close()
    await until(lambda: streams(sidecar) == 0)


async def test_only_a_page_that_was_read_has_one(sidecar: Running) -> None:
    """By a plain-http name of access.hosts strangers can ask blindly, and would take them all."""
    for query in ("", "?page=", "?page=guess", "?after=1"):
        assert (await sidecar.get(f"/_sidecar/page/events{query}")).status == 403


async def test_head_opens_none(sidecar: Running) -> None:
    page = (await sidecar.get("/_sidecar/")).body.decode()
    token = page.partition('data-page="')[2].partition('"')[0]
    answer = await sidecar.request("HEAD", f"/_sidecar/page/events?page={token}")
    assert (answer.status, answer["Content-Type"]) == (200, "text/event-stream")
    assert streams(sidecar) == 0


async def test_a_page_that_reads_nothing_is_dropped(
    sidecar: Running, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And while it reads nothing, no more is written to it than a connection holds."""
    written = []
    made = events.Streams._event

    def large(self: events.Streams, visit: Any, after: int, state: Any) -> bytes:
        written.append(after)
        return made(self, visit, after, state) + b": " + b"x" * 2_000_000 + b"\n\n"

    monkeypatch.setattr(events.Streams, "_event", large)
    page = (await sidecar.get("/_sidecar/")).body.decode()
    token = page.partition('data-page="')[2].partition('"')[0]
    connection = socket.create_connection((sidecar.host, sidecar.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(sidecar.message("GET", f"/_sidecar/page/events?page={token}"))
    await until(lambda: written)
    while streams(sidecar):
        await sidecar.get("/rest/api/2/myself")
        await loop_clock.skip(events.STALL_SECONDS + 1)
    connection.close()
    assert len(written) <= 3


async def test_all_end_when_the_service_ends(
    sandbox: Sandbox, make_sidecar: MakeSidecar, loop_clock: LoopClock
) -> None:
    sidecar = await make_sidecar(sandbox.url, token=sandbox.grant().token)
    opened = [await Stream.open(sidecar) for _ in range(3)]
    stopping = asyncio.create_task(sidecar.server.stop(3600.0))
    for stream in opened:
        await stream.rest()
        await stream.close()
    async with asyncio.timeout(PATIENCE):
        await stopping


async def test_all_end_with_a_reload_and_the_old_configuration_is_let_go(
    sandbox: Sandbox, sidecar: Running
) -> None:
    stream = await Stream.open(sidecar)
    sidecar.server.reload(sidecar.config)
    await stream.rest()
    await stream.close()
    await until(lambda: len(sidecar.server.generations) == 1)
    again = await Stream.open(sidecar)
    assert again.status == 200
    await again.close()


async def test_a_key_that_is_taken_away_ends_the_pages_that_it_opened(
    sandbox: Sandbox, make_sidecar: MakeSidecar, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    write_private(key, b"correct horse")
    sidecar = await make_sidecar(sandbox.url, access__key_file=str(key))
    stream = await Stream.open(sidecar, ("X-Sidecar-Key", "correct horse"))
    await stream.event()
    write_private(key, b"battery staple")
    await stream.rest()
    await stream.close()


async def test_an_open_page_is_no_request_in_flight(sidecar: Running) -> None:
    stream = await Stream.open(sidecar)
    assert (await sidecar.get("/_sidecar/status")).json()["counters"]["in_flight"] == 0
    await stream.close()


async def test_pages_that_are_up_to_the_same_share_the_work(
    sidecar: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await Stream.open(sidecar) for _ in range(4)]
    for stream in opened:
        await stream.event()
    made = []
    changes = sidecar.server._local._page()._view.changes
    monkeypatch.setattr(
        sidecar.server._local._page()._view,
        "changes",
        lambda *given: made.append(given) or changes(*given),  # type: ignore[func-returns-value]
    )
    await sidecar.get("/rest/api/2/myself")
    for stream in opened:
        assert (await stream.event())[1]["requests"]
        await stream.close()
    assert len(made) <= 2


async def test_an_hour_of_events_leaves_memory_as_it_is(
    sidecar: Running, loop_clock: LoopClock
) -> None:
    """Of a page that is open all the time, with thirty requests in each ten seconds."""
    history, moment = sidecar.server.history, [1000.0]
    history._clock = lambda: moment[0]
    stream = await Stream.open(sidecar)
    held = []
    tracemalloc.start()
    try:
        for interval in range(360):
            moment[0] += SECONDS
            for number in range(30):
                path = f"/rest/api/2/issue/JJ-{interval}-{number}"
                record = Record("GET", path, f"{number:016x}", moment[0] - 5)
                record.status, record.answered_by, record.total = 200, "jira", 0.01 * number
                history.finished(record)
            await loop_clock.skip(events.TICK_SECONDS)
            while (await stream.event())[0] < history.seen:
                continue
            if interval in (120, 240, 359):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    await stream.close()
    assert max(held) - min(held) < 256 * 1024, held


def test_it_is_said_before_a_connection_counts_as_idle() -> None:
    assert SECONDS < timers.IDLE_SECONDS

"""Large bodies: 512 MB either way and both at once, searches with links, and a drip."""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks import targets, wrk
from benchmarks.answers import BULK, BULK_BYTES, SEARCHES
from benchmarks.client import Client, Transfer
from benchmarks.lab import Running
from benchmarks.session import Session

UPLOAD = "/origin/upload"
DRIP = "/origin/drip?n=50&interval=0.02"
RELAYS = (
    targets.DIRECT,
    targets.PLAIN,
    targets.UNSIGNED,
    targets.SIDECAR,
    targets.GO,
    targets.NJS,
    targets.NODE,
)
DRIPPING = (*RELAYS, targets.MITMPROXY)
SEARCHED = (
    targets.DIRECT,
    targets.PLAIN,
    targets.SIDECAR,
    targets.NO_LINKS,
    targets.GO,
    targets.NJS,
)
_SEARCH_CONNECTIONS = 4


def bulk(session: Session) -> None:
    """512 MB down, up, and both at once: MB/s, time to the first byte, memory above idle."""
    file = session.lab.bulk_file
    file.read_bytes()  # into the page cache: its holes are found only once
    running = session.start(*RELAYS)
    idle = {}
    for each in running:
        with Client(each.url) as client:
            client.get(SEARCHES["50 kB"])
        idle[each.target.name] = each.process.memory()

    def measure(number: int, each: Running) -> None:
        for direction in ("down", "up", "both"):
            each.process.forget_peak()
            cpu = each.process.cpu_seconds()
            transfers = _transfer(each, direction, file)
            session.note(
                "bulk",
                each.target.name,
                number,
                direction=direction,
                megabytes_per_second=sum(BULK_BYTES / t.seconds / 1e6 for t in transfers),
                first_byte_us=transfers[0].first_byte * 1e6,
                cpu_seconds=each.process.cpu_seconds() - cpu,
                above_idle_mib=each.process.peak_memory() - idle[each.target.name],
            )

    session.interleaved("bulk", running, measure)
    session.stop(running)


def _transfer(each: Running, direction: str, file: Path) -> list[Transfer]:
    """The transfers of a direction, at the same time where there are two."""
    transfers: list[Transfer] = []

    def down() -> None:
        with Client(each.url) as client:
            transfers.append(client.get(BULK))

    def up() -> None:
        with Client(each.url) as client:
            transfers.append(client.put(UPLOAD, file, BULK_BYTES))

    works = {"down": [down], "up": [up], "both": [down, up]}[direction]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if [transfer.status for transfer in transfers] != [200] * len(works):
        raise RuntimeError("a transfer failed")
    return transfers


def searches(session: Session) -> None:
    """Searches of 50 kB and 5 MB, with links to be rewritten; plain and gzipped."""
    running = session.start(*SEARCHED)

    def measure(number: int, each: Running) -> None:
        for size in SEARCHES:
            for gzip in (False, True):
                _search(session, number, each, size, gzip)

    session.interleaved("searches", running, measure)
    session.stop(running)


def _search(session: Session, number: int, each: Running, size: str, gzip: bool) -> None:
    result = wrk.load(
        each.url + SEARCHES[size],
        connections=_SEARCH_CONNECTIONS,
        seconds=session.seconds,
        process=each.process,
        upstream=session.lab.upstream,
        gzip=gzip,
    )
    each.settle()
    with Client(each.url) as client:
        first_byte = min(client.get(SEARCHES[size]).first_byte for _ in range(5))
    session.note(
        "searches",
        each.target.name,
        number,
        size=size,
        gzip=gzip,
        first_byte_us=first_byte * 1e6,
        **result,
    )


def drip(session: Session) -> None:
    """Server-sent events: the first byte, and how late each event is."""
    running = session.start(*DRIPPING)

    def measure(number: int, each: Running) -> None:
        with Client(each.url) as client:
            first_byte, delays = client.events(DRIP)
        session.note(
            "drip",
            each.target.name,
            number,
            first_byte_us=first_byte * 1e6,
            delays_us=[round(delay * 1e6, 1) for delay in delays],
        )

    session.interleaved("drip", running, measure)
    session.stop(running)

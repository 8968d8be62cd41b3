"""What the sidecar is held to, and whether a run of the benchmark shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.results import BUSY, Results, combined, middle, percentile, ratio

TIMES_THE_BEST_PEER = 1.2
CPU_OF_A_SIGNATURE = 390 / 250
"""A request's CPU at 32 connections, in bare signatures."""
SEARCHES_A_SECOND = 60
"""Of 5 MB, at 4 connections."""
SHARE_OF_THE_LIMIT = 0.75
ADDED_SIGNATURES = 1.2
"""Signatures that signing may add to the latency of the unsigned relay."""
ADDED_SIGNATURES_IN_ALL = 1.8
SHARE_OF_BULK = 0.9
ABOVE_IDLE_MIB = 64.0
HEALTH_MS = 10.0
HELP_SECONDS = 0.15
READY_SECONDS = 0.4
IDLE_MIB = 60.0


class Promise(NamedTuple):
    """One bound, and what was measured."""

    what: str
    bound: str
    measured: str
    kept: bool


def promises(results: Results) -> Iterator[Promise]:
    """Those about which this run says something."""
    yield from _throughput(results)
    yield from _latency(results)
    yield from _searches(results)
    yield from _bulk(results)
    yield from _health(results)
    yield from _startup(results)


def _throughput(results: Results) -> Iterator[Promise]:
    for connections in (8, BUSY, 128):
        best, times = results.best_peer(connections), results.times_the_best(connections)
        if best and times is not None:
            yield Promise(
                f"requests a second at {connections} connections, over the best peer's "
                f"({results.title(best)})",
                f"≥ {TIMES_THE_BEST_PEER}",
                f"{times:.2f}",
                times >= TIMES_THE_BEST_PEER,
            )
    cpu = results.by_round("cpu_us", "throughput", "sidecar", connections=BUSY)
    if (cost := ratio(cpu, results.signature())) is not None:
        yield Promise(
            f"CPU of a request at {BUSY} connections, in bare signatures",
            f"≤ {CPU_OF_A_SIGNATURE:.2f}",
            f"{cost:.2f}",
            cost <= CPU_OF_A_SIGNATURE,
        )
    own = results.throughput("sidecar")
    share = ratio(own, results.limit())
    if share is not None:
        yield Promise(
            f"requests a second at {BUSY} connections, of the limit 1 / (cpu_relay + cpu_sign) "
            "× cores",
            f"≥ {SHARE_OF_THE_LIMIT:.0%}",
            f"{share:.0%}",
            share >= SHARE_OF_THE_LIMIT,
        )


def _latency(results: Results) -> Iterator[Promise]:
    sign = results.signature()
    added = results.added("sidecar", 1)
    unsigned = results.added("unsigned", 1)
    own = middle(added)
    if own is not None and (nearest := results.nearest_peer()) is not None:
        peer, least = nearest
        yield Promise(
            f"added p50 at 1 connection, less than any peer's ({results.title(peer)})",
            f"< {least:.0f} µs",
            f"{own:.0f} µs",
            own < least,
        )
    allowed = middle(combined(lambda s, u: ADDED_SIGNATURES * s + u, sign, unsigned))
    if own is None or allowed is None:
        return
    yield Promise(
        f"added p50 at 1 connection: {ADDED_SIGNATURES} bare signatures and what the unsigned "
        "relay adds",
        f"≤ {allowed:.0f} µs",
        f"{own:.0f} µs",
        own <= allowed,
    )
    signatures = ratio(added, sign) or 0.0
    yield Promise(
        "the same, in bare signatures",
        f"≤ {ADDED_SIGNATURES_IN_ALL}",
        f"{signatures:.2f}",
        signatures <= ADDED_SIGNATURES_IN_ALL,
    )


def _searches(results: Results) -> Iterator[Promise]:
    rate = results.median("requests_per_second", "searches", "sidecar", size="5 MB", gzip=False)
    if rate is not None:
        yield Promise(
            "searches of 5 MB a second, with links to rewrite, at 4 connections",
            f"≥ {SEARCHES_A_SECOND}",
            f"{rate:.0f}",
            rate >= SEARCHES_A_SECOND,
        )


def _bulk(results: Results) -> Iterator[Promise]:
    for direction in ("down", "up"):
        share = ratio(
            results.by_round("megabytes_per_second", "bulk", "sidecar", direction=direction),
            results.by_round("megabytes_per_second", "bulk", "plain", direction=direction),
        )
        if share is not None:
            yield Promise(
                f"512 MB {direction}: MB/s, of a plain unsigned aiohttp relay's",
                f"≥ {SHARE_OF_BULK:.0%}",
                f"{share:.0%}",
                share >= SHARE_OF_BULK,
            )
    memory = [sample["above_idle_mib"] for sample in results.of("bulk", "sidecar")]
    if memory:
        yield Promise(
            "the most memory above idle, 512 MB down and up at once",
            f"< {ABOVE_IDLE_MIB:.0f} MiB",
            f"{max(memory):.1f} MiB",
            max(memory) < ABOVE_IDLE_MIB,
        )


def _health(results: Results) -> Iterator[Promise]:
    if waits := results.waits("sidecar", 4096):
        p99 = percentile(waits, 99) / 1000
        yield Promise(
            "p99 of `/_sidecar/health` under load with a 4096-bit key",
            f"< {HEALTH_MS:.0f} ms",
            f"{p99:.1f} ms",
            p99 < HEALTH_MS,
        )


def _startup(results: Results) -> Iterator[Promise]:
    for target, what, field, bound, unit in (
        ("help", "`sidecar --help`", "seconds", HELP_SECONDS, "s"),
        ("run", "`sidecar run` until its first answer", "seconds", READY_SECONDS, "s"),
        ("run", "memory when idle", "idle_mib", IDLE_MIB, "MiB"),
    ):
        value = results.median(field, "start-up", target)
        if value is not None:
            yield Promise(what, f"< {bound:g} {unit}", f"{value:.3g} {unit}", value < bound)

"""Results as Markdown: what the sidecar is held to, then a table for each scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.held import promises
from benchmarks.results import BUSY, Results, middle, percentile, ratio

CONNECTIONS = (1, 8, 32, 128)
QUIET = 0.03
"""As much of the cores may be used by others before the report says so."""


def render(document: dict[str, Any]) -> str:
    """The whole report."""
    results = Results(document)
    parts = [_introduction(results), _promises(results)]
    for scenario, section in SECTIONS:
        if results.has(scenario):
            parts.append("\n".join(section(results)))
    parts.append(_machine(results))
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(document: dict[str, Any]) -> str:
    """The table that docs/performance.md carries, with machine, versions and date under it."""
    results = Results(document)
    rows = []
    for name in results.targets("throughput"):
        cells = [number(middle(results.throughput(name, c))) for c in CONNECTIONS]
        cells += [
            number(results.median("cpu_us", "throughput", name, connections=BUSY)),
            number(middle(results.added(name, 1)) if name != "direct" else None),
            number(results.median("peak_mib", "throughput", name, connections=BUSY)),
        ]
        rows.append([results.title(name), *cells])
    limit = number(middle(results.limit()))
    rows.append(["the limit", "–", "–", limit, "–", "–", "–", "–"])
    rates = [f"req/s, {c} conn." for c in CONNECTIONS]
    heads = ["", *rates, "CPU µs each, 32 conn.", "added p50 µs, 1 conn.", "peak MiB"]
    facts = document["machine"]
    versions = ", ".join(f"{name} {facts[name]}" for name in VERSIONS if name in facts)
    return (
        f"{table(heads, rows)}\n\n{_beside_the_best(results)}"
        f"{facts['processor']}, shared with load generator and upstream; RSA-2048, small GETs, "
        f"median of {document['rounds']} rounds; {versions}; {document['date']}."
    )


def _beside_the_best(results: Results) -> str:
    """How the sidecar stands to the best peer, in a sentence; empty where there is no peer."""
    times = [results.times_the_best(c) for c in CONNECTIONS]
    if None in times:
        return ""
    *some, last = (number(each, 2) for each in times)
    *counts, most = map(str, CONNECTIONS)
    return (
        f"The sidecar serves {', '.join(some)} and {last} times as many requests a second as the "
        f"best of the others at {', '.join(counts)} and {most} connections.\n\n"
    )


VERSIONS = (
    "Python",
    "aiohttp",
    "cryptography",
    "uvloop",
    "nginx",
    "Go",
    "Node",
    "njs",
    "mitmproxy",
)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number as people read it; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}{unit}"


def _introduction(results: Results) -> str:
    document = results.document
    left_out = "".join(
        f"\n\nNot measured: {results.title(name)} ({reason})."
        for name, reason in document["left_out"].items()
    )
    foreign = results.foreign()
    disturbed = (
        f"\n\n**Disturbed:** other processes used {foreign:.0%} of the cores meanwhile."
        if foreign > QUIET
        else ""
    )
    failures = "".join(f"\n\nFailed: {failure}." for failure in document["failures"])
    return (
        "# How fast the sidecar is\n\n"
        f"Written by `make bench` on {document['date']}: {document['rounds']} interleaved rounds, "
        f"{document['seconds']} s for each load, medians over the rounds. Load generator, upstream "
        f"and what is measured share {results.cores} cores. [README.md](README.md) says what is "
        f"measured and how.{disturbed}{left_out}{failures}"
    )


def _promises(results: Results) -> str:
    rows = [[p.what, p.bound, p.measured, "✓" if p.kept else "✗"] for p in promises(results)]
    if not rows:
        return ""
    return "## What it is held to\n\n" + table(["", "bound", "measured", ""], rows)


def _throughput(results: Results) -> Iterator[str]:
    names = results.targets("throughput")
    yield "## Small GETs, RSA-2048\n\nRequests a second, by the number of connections.\n"
    rows = [
        [results.title(name)]
        + [number(middle(results.throughput(name, c))) for c in CONNECTIONS]
        + [number(results.median(f, "throughput", name, connections=BUSY)) for f in COSTS]
        for name in names
    ]
    heads = [f"{c} conn." for c in CONNECTIONS]
    yield table(["", *heads, "CPU µs each", "peak MiB"], rows)
    yield "\n(The last two at 32 connections; CPU and memory of all its processes.)\n"
    yield _beside_the_best(results)
    yield "![Throughput against the limit](results.svg)\n"
    yield from _limit(results)
    yield "\nLatency that each adds to the direct way, µs.\n"
    heads = [f"{p} at {c}" for c in (1, 8) for p in ("p50", "p99")]
    rows = [
        [results.title(name)]
        + [number(middle(results.added(name, c, f))) for c in (1, 8) for f in PERCENTILES]
        for name in names
        if name != "direct"
    ]
    direct = ["(direct)"] + [
        number(results.median(f, "throughput", "direct", connections=c))
        for c in (1, 8)
        for f in PERCENTILES
    ]
    yield table(["", *heads], [direct, *rows])


COSTS = ("cpu_us", "peak_mib")
PERCENTILES = ("p50_us", "p99_us")


def _limit(results: Results) -> Iterator[str]:
    relay = results.median("cpu_us", "throughput", "unsigned", connections=BUSY)
    others = results.median("others_cpu_us", "throughput", "unsigned", connections=BUSY)
    sign, limit = middle(results.signature()), middle(results.limit())
    if limit is None:
        return
    sidecar = results.throughput("sidecar")
    narrower = results.limit(others=True)
    yield (
        f"The limit: a relayed request costs {number(relay)} µs of CPU without its signature and a "
        f"bare signature {number(sign)} µs, so {results.cores} cores that did nothing else could "
        f"make **{number(limit)}** a second; the sidecar reaches "
        f"{number(100 * (ratio(sidecar, results.limit()) or 0))} % of that. wrk and the upstream "
        f"need {number(others)} µs of the same cores for each request, which leaves room for "
        f"{number(middle(narrower))}; of that it reaches "
        f"{number(100 * (ratio(sidecar, narrower) or 0))} %."
    )


def interpreters(document: dict[str, Any]) -> str:
    """The table of the same sidecar in several Pythons."""
    results = Results(document)
    rows = []
    for name in results.targets("interpreters"):
        cells = [
            number(results.median(field, "interpreters", name, connections=connections))
            for connections, field in (
                (1, "p50_us"),
                (BUSY, "requests_per_second"),
                (BUSY, "cpu_us"),
                (BUSY, "peak_mib"),
            )
        ]
        rows.append([results.title(name), *cells])
    heads = ["", "p50 µs, 1 conn.", "req/s, 32 conn.", "CPU µs each", "peak MiB"]
    return table(heads, rows) + f"\n\n{document['machine'].get('Pythons', '')}"


def _interpreters(results: Results) -> Iterator[str]:
    yield "## In other Pythons\n"
    yield interpreters(results.document)


def _key_sizes(results: Results) -> Iterator[str]:
    yield "## Other key sizes\n\nRequests a second at 32 connections.\n"
    names = results.targets("key sizes")
    rows = []
    for bits in (1024, 2048, 3072, 4096):
        rates = {
            name: results.by_round("requests_per_second", "key sizes", name, bits=bits)
            for name in names
        }
        relay = results.median("cpu_us", "throughput", "unsigned", connections=BUSY)
        sign = middle(results.signature(bits))
        limit = results.cores * 1e6 / (relay + sign) if relay and sign else None
        own = middle(rates.get("sidecar", {}))
        share = own / limit * 100 if own and limit else None
        rows.append(
            [f"{bits} bits", number(sign)]
            + [number(middle(rates[name])) for name in names]
            + [number(limit), number(share, unit=" %")]
        )
    heads = ["", "signature, µs", *map(results.title, names), "the limit", "of it"]
    yield table(heads, rows)


def _health(results: Results) -> Iterator[str]:
    yield "## `/_sidecar/health` while 32 connections are served\n\nMilliseconds.\n"
    rows = []
    for name, bits, title in (
        ("unsigned", 2048, "not signing"),
        ("sidecar", 2048, "RSA-2048"),
        ("sidecar", 4096, "RSA-4096"),
    ):
        if waits := results.waits(name, bits):
            cells = [number(percentile(waits, p) / 1000, 2) for p in (50, 99, 99.9)]
            rows.append([title, *cells, number(waits[-1] / 1000, 2), number(len(waits))])
    yield table(["", "p50", "p99", "p99.9", "max", "requests"], rows)


def _searches(results: Results) -> Iterator[str]:
    yield "## Searches, with links to rewrite\n\n4 connections; MB are of JSON as Jira has it.\n"
    heads = ["", "req/s", "req/s gzip", "CPU ms each", "CPU ms gzip", "first byte, ms"]
    for size in ("50 kB", "5 MB"):
        rows = []
        for name in results.targets("searches"):
            cells = [
                number(results.median(field, "searches", name, size=size, gzip=gzip), digits)
                for field, digits in (("requests_per_second", 0),)
                for gzip in (False, True)
            ]
            for gzip in (False, True):
                cost = results.median("cpu_us", "searches", name, size=size, gzip=gzip)
                cells.append(number(cost / 1000 if cost is not None else None, 2))
            first = results.median("first_byte_us", "searches", name, size=size, gzip=False)
            cells.append(number(first / 1000 if first else None, 2))
            rows.append([results.title(name), *cells])
        yield table([f"**{size}**", *heads[1:]], rows)
        yield ""


def _bulk(results: Results) -> Iterator[str]:
    yield (
        "## 512 MB bodies\n\nMB/s (1 MB is 1,000,000 bytes), milliseconds to the first byte of a "
        "download, and the most memory above idle, down and up at once.\n"
    )
    rows = []
    for name in results.targets("bulk"):
        rates = [
            number(results.median("megabytes_per_second", "bulk", name, direction=direction))
            for direction in ("down", "up", "both")
        ]
        first = results.median("first_byte_us", "bulk", name, direction="down")
        memory = results.median("above_idle_mib", "bulk", name, direction="both")
        cells = [*rates, number(first / 1000 if first else None, 2), number(memory, 1)]
        rows.append([results.title(name), *cells])
    heads = ["", "down", "up", "both, sum", "first byte, ms", "MiB above idle"]
    yield table(heads, rows)


def _drip(results: Results) -> Iterator[str]:
    yield "## A drip of server-sent events\n\nMilliseconds.\n"
    rows = []
    for name in results.targets("drip"):
        delays = sorted(d for s in results.of("drip", name) for d in s["delays_us"])
        first = results.median("first_byte_us", "drip", name)
        cells = [number(first / 1000 if first else None, 2)]
        cells += [number(percentile(delays, p) / 1000, 2) for p in (50, 99)]
        rows.append([results.title(name), *cells])
    yield table(["", "first byte", "delay of an event, p50", "p99"], rows)


def _startup(results: Results) -> Iterator[str]:
    yield "## Start-up\n"

    def milliseconds(target: str) -> str:
        seconds = results.median("seconds", "start-up", target)
        return number(seconds * 1000 if seconds is not None else None, unit=" ms")

    rows = [
        ["`python -c pass`, for comparison", milliseconds("interpreter")],
        ["`sidecar --help`", milliseconds("help")],
        ["`sidecar run` to its first answer", milliseconds("run")],
        ["memory after one request", number(results.median("idle_mib", "start-up", "run"), 1)],
    ]
    rows[-1][1] += " MiB"
    yield table(["", ""], rows)


def _machine(results: Results) -> str:
    facts = results.document["machine"]
    rows = [[name, value] for name, value in facts.items()]
    return "## Machine and versions\n\n" + table(["", ""], rows).replace("---:", "---")


SECTIONS: tuple[tuple[str, Callable[[Results], Iterator[str]]], ...] = (
    ("throughput", _throughput),
    ("key sizes", _key_sizes),
    ("interpreters", _interpreters),
    ("health", _health),
    ("searches", _searches),
    ("bulk", _bulk),
    ("drip", _drip),
    ("start-up", _startup),
)

"""The load generator: wrk, for some whole seconds.

Its percentiles are corrected for coordinated omission: while one answer is late, the requests that
wrk would have sent in that time count as late too.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Process, busy_seconds

SCRIPT = Path(__file__).with_name("wrk.lua")


def load(
    url: str,
    *,
    connections: int,
    seconds: int,
    process: Process,
    upstream: Process,
    gzip: bool = False,
) -> dict[str, Any]:
    """Ask for one URL over so many connections; what came of it, and what it cost.

    Times are microseconds: p50_us, p99_us, mean_us, max_us, and for each request cpu_us, the
    process's own, and others_cpu_us, wrk's and the upstream's, who share the machine; `foreign`
    is the part of all cores that something else has used meanwhile.
    """
    before = process.cpu_seconds(), upstream.cpu_seconds() + _children()
    busy, began = busy_seconds(), time.perf_counter()
    result = _run(url, connections, seconds, gzip)
    busy, elapsed = busy_seconds() - busy, time.perf_counter() - began
    if result["errors"] * 100 > result["requests"]:
        raise RuntimeError(f"{result['errors']} errors in {result['requests']} requests")
    after = process.cpu_seconds(), upstream.cpu_seconds() + _children()
    spent = [end - start for start, end in zip(before, after, strict=True)]
    if process is upstream:
        spent[1] -= spent[0]
    own, others = (seconds / max(result["requests"], 1) * 1e6 for seconds in spent)
    foreign = (busy - sum(spent)) / elapsed / (os.cpu_count() or 1)
    return {
        **result,
        "connections": connections,
        "requests_per_second": round(result["requests"] / result["seconds"], 1),
        "cpu_us": round(own, 1),
        "others_cpu_us": round(others, 1),
        "peak_mib": round(process.peak_memory(), 1),
        "foreign": round(max(foreign, 0.0), 3),
    }


def _children() -> float:
    """Processor time of children that have ended: wrk's is among them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def warm_up(url: str) -> None:
    """Open connections and fill caches."""
    _run(url, 32, 1, gzip=False)


def _run(url: str, connections: int, seconds: int, gzip: bool) -> dict[str, Any]:
    options = ["--threads", "1", "--connections", str(connections), "--timeout", "10s"]
    options += ["--duration", f"{seconds}s", "--script", str(SCRIPT)]
    options += ["--header", "Accept: application/json"]
    if gzip:
        options += ["--header", "Accept-Encoding: gzip"]
    finished = subprocess.run(
        ["wrk", *options, url],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    for line in finished.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk said nothing: {finished.stdout} {finished.stderr}")

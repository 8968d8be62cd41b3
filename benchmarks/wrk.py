"""The load generator: wrk, for some whole seconds.

Its percentiles are corrected for coordinated omission: while one answer is late, the requests that
wrk would have sent in that time count as late too.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.processes import Process

SCRIPT = Path(__file__).with_name("wrk.lua")


def load(
    url: str, *, connections: int, seconds: int, process: Process, gzip: bool = False
) -> dict[str, Any]:
    """Ask for one URL over so many connections; what came of it, and what it cost the process.

    Times are microseconds: p50_us, p99_us, mean_us, max_us, and cpu_us for each request.
    """
    cpu_before = process.cpu_seconds()
    result = _run(url, connections, seconds, gzip)
    cpu = process.cpu_seconds() - cpu_before
    result["connections"] = connections
    result["requests_per_second"] = result["requests"] / result["seconds"]
    result["cpu_us"] = cpu / max(result["requests"], 1) * 1e6
    result["peak_mib"] = process.peak_memory()
    return result


def warm_up(url: str) -> None:
    """Open connections and fill caches."""
    _run(url, 32, 1, gzip=False)


def _run(url: str, connections: int, seconds: int, gzip: bool) -> dict[str, Any]:
    fields = ["--header", "Accept: application/json"]
    if gzip:
        fields += ["--header", "Accept-Encoding: gzip"]
    finished = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(connections), "--timeout", "10s"]
        + ["--duration", f"{seconds}s", "--script", str(SCRIPT), *fields, url],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    for line in finished.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk said nothing: {finished.stdout} {finished.stderr}")

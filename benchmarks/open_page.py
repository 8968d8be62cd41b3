"""What an open page costs the requests of others.

    python -m benchmarks.open_page [--chromium] [ROUNDS] [SECONDS]

A load of 32 connections with the page's stream being read and without, in turns on one sidecar:
what a request costs it of the processor, how many a second there are, and its memory after each
turn.  With --chromium a real browser shows the page: that takes processor time of its own, which on
a small machine is missing elsewhere.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import targets, wrk
from benchmarks.answers import SMALL
from benchmarks.lab import Lab, Running
from benchmarks.throughput import BUSY


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", nargs="?", type=int, default=15)
    parser.add_argument("seconds", nargs="?", type=int, default=2)
    parser.add_argument("--chromium", action="store_true")
    options = parser.parse_args()
    with Lab() as lab, lab.running(targets.SIDECAR) as running:
        wrk.warm_up(running.url + SMALL)
        print(f"idle {_memory(running)}")
        ratios: dict[str, list[float]] = {"requests_per_second": [], "cpu_us": []}
        for number in range(options.rounds):
            turns = [False, True] if number % 2 else [True, False]
            found = {shown: _turn(lab, running, shown, options) for shown in turns}
            for name, values in ratios.items():
                values.append(found[True][name] / found[False][name])
            print(f"{_told(found[False])}; open {_told(found[True])}; {_memory(running)}")
        for name, values in ratios.items():
            print(f"{name} with the page open: {100 * statistics.median(values):.1f} %, the median")


def _told(result: dict[str, Any]) -> str:
    return f"{result['requests_per_second']:.0f}/s at {result['cpu_us']:.0f} µs"


def _memory(running: Running) -> str:
    return f"{running.process.memory():.1f} MiB"


def _turn(lab: Lab, running: Running, shown: bool, options: argparse.Namespace) -> dict[str, Any]:
    if not shown:
        return _load(lab, running, options.seconds)
    with _browser(running.url) if options.chromium else _reader(running.url):
        return _load(lab, running, options.seconds)


def _load(lab: Lab, running: Running, seconds: int) -> dict[str, Any]:
    running.settle()
    return wrk.load(
        running.url + SMALL,
        connections=BUSY,
        seconds=seconds,
        process=running.process,
        upstream=lab.upstream,
    )


@contextmanager
def _reader(url: str) -> Iterator[None]:
    """Read the events as a page does."""
    with urllib.request.urlopen(f"{url}/_sidecar/") as answer:
        token = re.findall('data-page="([^"]+)"', answer.read().decode())[0]
    stream = urllib.request.urlopen(f"{url}/_sidecar/page/events?page={token}")

    def read() -> None:
        while stream.read1(65536):
            continue

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        stream.fp.raw._sock.shutdown(2)
        reader.join()


@contextmanager
def _browser(url: str) -> Iterator[None]:
    chromium = shutil.which("chromium") or "chromium-browser"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-proxy-server", f"--user-data-dir={profile}", "--remote-debugging-port=0",
             f"{url}/_sidecar/"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            time.sleep(3)  # until it shows the page, and rests
            yield
        finally:
            os.killpg(browser.pid, signal.SIGKILL)  # its helpers, too
            browser.wait()


if __name__ == "__main__":
    main()

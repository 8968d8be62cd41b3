"""Run the benchmark, or write its report anew."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from benchmarks import bodies, machine, report, startup, targets, throughput
from benchmarks.lab import Lab
from benchmarks.session import Session, say

HERE = Path(__file__).parent
SCENARIOS: dict[str, Callable[[Session], None]] = {
    "start-up": startup.startup,
    "throughput": throughput.throughput,
    "key-sizes": throughput.key_sizes,
    "interpreters": throughput.interpreters,
    "health": throughput.health,
    "searches": bodies.searches,
    "bulk": bodies.bulk,
    "drip": bodies.drip,
}


def main() -> None:
    """Measure, and write results.json, results.md and results.svg."""
    options = _options()
    signal.signal(signal.SIGTERM, _ended)
    path = options.into / "results.json"
    if options.report:
        results = json.loads(path.read_text())
    else:
        results = _measured(options)
        if options.add and path.exists():
            results = added(json.loads(path.read_text()), results)
        options.into.mkdir(parents=True, exist_ok=True)
        path.write_text(_json(results))
    (options.into / "results.md").write_text(report.render(results))
    _plot(results, options.into / "results.svg")
    if options.into == HERE and "throughput" in {s["scenario"] for s in results["samples"]}:
        _carry("benchmark", report.summary(results), HERE.parent / "docs" / "performance.md")
    if options.into == HERE and "interpreters" in {s["scenario"] for s in results["samples"]}:
        _carry("interpreters", report.interpreters(results), HERE / "README.md")
    say(f"written: {options.into}/results.md")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, help="these scenarios alone")
    parser.add_argument(
        "--without", nargs="+", default=[], choices=[t.name for t in targets.PEERS], help="peers"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved (5)")
    parser.add_argument("--seconds", type=int, default=1, help="of each load, whole ones (1)")
    parser.add_argument(
        "--add", action="store_true", help="keep what results.json has of other scenarios"
    )
    parser.add_argument("--into", type=Path, default=HERE, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="only write the report anew")
    return parser.parse_args()


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    for command in ("wrk", "/usr/sbin/nginx"):
        if not shutil.which(command):
            sys.exit(f"benchmark: error: {command} is not there\nhint: benchmarks/install-peers")
    began = time.time()
    with Lab() as lab:
        session = Session(lab, options.rounds, options.seconds)
        session.left_out = dict.fromkeys(options.without, "not asked for")
        session.take_in(session.usable(*targets.ALL))
        if targets.SIDECAR.name in session.left_out:
            sys.exit("benchmark: error: the sidecar itself does not work")
        for name in options.only or SCENARIOS:
            SCENARIOS[name](session)
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime(began)),
        "minutes": round((time.time() - began) / 60, 1),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "cores": os.cpu_count(),
        "machine": machine.facts(),
        "titles": {target.name: target.title for target in targets.ALL},
        "left_out": session.left_out,
        "failures": session.failures,
        "samples": session.samples,
    }


def _json(results: dict[str, Any]) -> str:
    """One sample a line, so that a difference can be read."""
    lines = ",\n".join("  " + json.dumps(sample) for sample in results["samples"])
    head = json.dumps(results | {"samples": []}, indent=1, ensure_ascii=False)
    return head.replace('"samples": []', f'"samples": [\n{lines}\n ]') + "\n"


def added(before: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """The results with the samples from before of what was not measured now."""
    now = {(s["scenario"], s.get("bits")) for s in results["samples"]}
    scenarios = {scenario for scenario, _ in now} - {"signature"}
    kept = [
        sample
        for sample in before["samples"]
        if sample["scenario"] not in scenarios
        and (sample["scenario"], sample.get("bits")) not in now
    ]
    return results | {
        "minutes": round(before["minutes"] + results["minutes"], 1),
        "left_out": before["left_out"] | results["left_out"],
        "failures": before["failures"] + results["failures"],
        "samples": kept + results["samples"],
    }


def _carry(mark: str, text: str, page: Path) -> None:
    """Put a text between the page's two marks, where there are any."""
    before, begin, rest = page.read_text().partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if begin and end:
        page.write_text(f"{before}{begin}{text}\n{end}{after}")


def _plot(results: dict[str, Any], path: Path) -> None:
    try:
        from benchmarks import plot
    except ImportError as error:
        say(f"no plot: {error}")
        return
    plot.draw(results, path)


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that everything that was started is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()

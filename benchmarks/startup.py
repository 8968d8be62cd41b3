"""How soon it is there, and what it takes up while it does nothing."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks import targets
from benchmarks.answers import SMALL
from benchmarks.client import Client
from benchmarks.processes import ROOT
from benchmarks.session import Session, say

RUNS = 5
"""In each round."""


def startup(session: Session) -> None:
    """`sidecar --help`, an interpreter that does nothing, `sidecar run` to its first answer."""
    for number in range(session.rounds):
        say(f"start-up: round {number + 1} of {session.rounds}")
        for _ in range(RUNS):
            seconds = _command("-c", "pass")
            session.note("start-up", "interpreter", number, seconds=seconds)
            session.note("start-up", "help", number, seconds=_command("-m", "sidecar", "--help"))
            with session.lab.running(targets.SIDECAR) as running:
                with Client(running.url) as client:
                    client.get("/_sidecar/health")
                    ready = time.perf_counter() - running.process.started
                    client.get(SMALL)
                memory = running.process.memory()
            session.note("start-up", "run", number, seconds=ready, idle_mib=memory)


def _command(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started

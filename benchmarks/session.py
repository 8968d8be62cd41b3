"""One run of the benchmark: what is there to be measured, how often, and what was measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.lab import Lab, Running
from benchmarks.targets import Target

Sample = dict[str, Any]
Measure = Callable[[int, Running], None]
"""Measures a target in a round, and notes what it finds."""


@dataclass
class Session:
    """Everything that the measurements share."""

    lab: Lab
    rounds: int
    seconds: int
    """How long wrk loads at a time."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Targets that cannot run, or whose signature isn't accepted, with the reason."""
    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def take_in(self, targets: Sequence[Target]) -> None:
        """Let the sandbox Jira check each; those that fail are left out from then on."""
        for target in targets:
            if reason := self.lab.check(target):
                self.left_out[target.name] = reason
                say(f"{target.name} is left out: {reason}")

    def usable(self, *targets: Target) -> list[Target]:
        """Those that were not left out."""
        return [target for target in targets if target.name not in self.left_out]

    def start(self, *targets: Target) -> list[Running]:
        """Start those that were not left out; they run until `stop`, or until the lab is left."""
        running = []
        for target in self.usable(*targets):
            try:
                running.append(self.lab.start(target))
            except RuntimeError as error:
                self._failed(f"{target.name} did not start", error)
        return running

    def stop(self, running: list[Running]) -> None:
        """Stop targets; the upstream stays."""
        for each in running:
            if each.process is not self.lab.upstream:
                each.process.stop()

    def interleaved(self, scenario: str, running: list[Running], measure: Measure) -> None:
        """Measure every target once a round, each round beginning with another one.

        What fails is told and left out of the results; the rest goes on.
        """
        for number in range(self.rounds):
            say(f"{scenario}: round {number + 1} of {self.rounds}")
            first = number % max(len(running), 1)
            for each in running[first:] + running[:first]:
                try:
                    measure(number, each)
                except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                    self._failed(f"{scenario}, {each.target.name}", error)
                each.settle()

    def _failed(self, what: str, error: Exception) -> None:
        self.failures.append(f"{what}: {error}")
        say(f"failed: {self.failures[-1]}")

    def note(self, scenario: str, target: str, number: int, **facts: Any) -> None:
        """Keep what was measured in a round."""
        self.samples.append({"scenario": scenario, "target": target, "round": number, **facts})


def say(text: str) -> None:
    """Tell how far it has come."""
    print(text, file=sys.stderr, flush=True)

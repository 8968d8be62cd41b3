"""What was measured, asked for by scenario and target; and what follows from it.

Medians are over the rounds; a ratio or a difference is taken within each round first, since its
two sides were measured one after the other there.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

PEERS = ("go", "njs", "node", "cluster", "mitmproxy", "naive")
BUSY = 32
Sample = dict[str, Any]


class Results:
    """The samples of one run of the benchmark."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.samples: list[Sample] = document["samples"]
        self.cores: int = document["cores"]

    def has(self, scenario: str) -> bool:
        """Whether anything of a scenario was measured."""
        return any(sample["scenario"] == scenario for sample in self.samples)

    def title(self, target: str) -> str:
        """What to call a target."""
        return str(self.document["titles"].get(target, target))

    def targets(self, scenario: str) -> list[str]:
        """The targets of a scenario, in the order of the titles."""
        there = {sample["target"] for sample in self.samples if sample["scenario"] == scenario}
        return [name for name in self.document["titles"] if name in there]

    def of(self, scenario: str, target: str, **facts: object) -> list[Sample]:
        """The samples that have these facts."""
        wanted = {"scenario": scenario, "target": target, **facts}
        return [s for s in self.samples if all(s.get(k) == v for k, v in wanted.items())]

    def by_round(self, field: str, scenario: str, target: str, **facts: object) -> dict[int, float]:
        """A field's median in each round."""
        found: dict[int, list[float]] = {}
        for sample in self.of(scenario, target, **facts):
            found.setdefault(sample["round"], []).append(sample[field])
        return {number: median(values) for number, values in found.items()}

    def median(self, field: str, scenario: str, target: str, **facts: object) -> float | None:
        """A field's median over the rounds."""
        return middle(self.by_round(field, scenario, target, **facts))

    def foreign(self) -> float:
        """The part of all cores that other processes have used while something was loaded."""
        shares = [sample["foreign"] for sample in self.samples if "foreign" in sample]
        return median(shares) if shares else 0.0

    # What follows from it

    def signature(self, bits: int = 2048) -> dict[int, float]:
        """Microseconds of CPU of a bare signature, by round."""
        return self.by_round("cpu_us", "signature", "bare", bits=bits)

    def limit(self, bits: int = 2048, *, others: bool = False) -> dict[int, float]:
        """Requests a second that the cores could make by round: cores / (cpu_relay + cpu_sign).

        With `others`, of the cores that wrk and the upstream leave for it.
        """
        relay = self._relay_cost("cpu_us")
        extra = self._relay_cost("others_cpu_us") if others else dict.fromkeys(relay, 0.0)
        return combined(
            lambda own, other, sign: self.cores * 1e6 / (own + other + sign),
            relay,
            extra,
            self.signature(bits),
        )

    def _relay_cost(self, field: str) -> dict[int, float]:
        return self.by_round(field, "throughput", "unsigned", connections=BUSY)

    def throughput(self, target: str, connections: int = BUSY) -> dict[int, float]:
        """Requests a second, by round."""
        return self.by_round("requests_per_second", "throughput", target, connections=connections)

    def added(self, target: str, connections: int, field: str = "p50_us") -> dict[int, float]:
        """Microseconds of latency that a target adds to the direct way, by round."""
        return combined(
            lambda through, direct: through - direct,
            self.by_round(field, "throughput", target, connections=connections),
            self.by_round(field, "throughput", "direct", connections=connections),
        )

    def best_peer(self, connections: int = BUSY) -> str | None:
        """The peer with the most requests a second at so many connections."""
        rates = {peer: middle(self.throughput(peer, connections)) or 0.0 for peer in PEERS}
        best = max(rates, key=lambda peer: rates[peer])
        return best if rates[best] else None

    def times_the_best(self, connections: int, target: str = "sidecar") -> float | None:
        """How many times as many requests a second as the best peer's."""
        if (best := self.best_peer(connections)) is None:
            return None
        return ratio(self.throughput(target, connections), self.throughput(best, connections))

    def nearest_peer(self) -> tuple[str, float] | None:
        """The peer that adds the least latency at one connection, and how much."""
        added = {peer: middle(self.added(peer, 1)) for peer in PEERS}
        known = {peer: value for peer, value in added.items() if value is not None}
        return min(known.items(), key=lambda item: item[1]) if known else None

    def waits(self, target: str, bits: int) -> list[float]:
        """Microseconds of every health request under load, sorted."""
        return sorted(wait for s in self.of("health", target, bits=bits) for wait in s["waits_us"])


def combined(compute: Callable[..., float], *by_round: dict[int, float]) -> dict[int, float]:
    """Compute something for each round that all have."""
    common = set.intersection(*(set(values) for values in by_round))
    return {number: compute(*(v[number] for v in by_round)) for number in sorted(common)}


def ratio(upper: dict[int, float], lower: dict[int, float]) -> float | None:
    """The median of a ratio over the rounds that both have."""
    return middle(combined(lambda a, b: a / b, upper, lower))


def middle(by_round: dict[int, float]) -> float | None:
    """The median over the rounds; None where there is none."""
    return median(by_round.values()) if by_round else None


def percentile(values: list[float], percent: float) -> float:
    """A percentile of sorted values, by nearest rank."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]

"""The pace, against buckets that are filled as Jira fills them; no clock but a simulated one."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.jira.rate_limits import NEVER, UNKNOWN, Bucket, Said
from sidecar.pacing.pace import Pace

TEN = Bucket(10, 10, 1.0)
ROUND_TRIP = 0.02


def pace(said: Said, *, refused: bool = True, jitter: float = 0.0) -> Pace:
    return Pace(said, 100.0, refused=refused, jitter=lambda: jitter)


def refusal(wait: float, bucket: Bucket = TEN) -> Said:
    return Said(bucket, 0, wait)


class TestHolding:
    def test_nobody_goes_before_jira_wants_requests(self) -> None:
        assert pace(refusal(3.0)).due == 103.0
        assert pace(refusal(3.0, Bucket(10, 10, 4.0)), refused=False).due == 103.0

    def test_jitter_comes_on_top(self) -> None:
        assert 103.0 < pace(refusal(3.0), jitter=0.5).due <= 104.0

    def test_a_refusal_that_says_now_means_the_next_token(self) -> None:
        assert 100.0 < pace(refusal(0.0)).due <= 101.0

    def test_an_endless_wait_behind_the_last_token_is_none(self) -> None:
        assert pace(refusal(NEVER), refused=False).due == 101.0
        assert pace(refusal(NEVER)).due == NEVER

    def test_then_one_goes_after_the_other(self) -> None:
        paced = pace(refusal(1.0))
        paced.take(101.0)
        assert 101.1 <= paced.due < 101.11

    def test_who_is_late_makes_nobody_else_late(self) -> None:
        paced = pace(refusal(1.0))
        paced.take(101.05)
        assert 101.1 <= paced.due < 101.11
        paced.take(109.0)
        assert 109.1 <= paced.due < 109.11

    def test_an_answer_before_the_time_ends_the_hold(self) -> None:
        paced = pace(refusal(1800.0))
        paced.heard(Said(TEN, 4, 0.0), 99.9, 100.5, refused=False)
        assert paced.opens == 1900.0, "it was sent before the refusal"
        paced.heard(Said(TEN, 4, 0.0), 110.0, 110.1, refused=False)
        assert paced.opens == 110.1

    def test_a_bucket_that_nothing_is_known_of_is_tried_carefully(self) -> None:
        paced = pace(Said(UNKNOWN, None, 1.0))
        paced.take(101.0)
        assert 102.0 <= paced.due <= 102.1
        for second in range(1, 30):
            paced.heard(Said(UNKNOWN, None, 1.0), 100.0 + second, 100.5 + second, refused=False)
            while paced.due < 101 + second:
                paced.take(paced.due)
        assert paced.spacing < 0.5

    def test_a_bucket_that_is_never_filled_is_never_over(self) -> None:
        assert pace(Said(Bucket(10, 0, 1.0), 0, 5.0)).over_at == NEVER

    def test_turns_are_foreseen_as_far_as_they_can_be(self) -> None:
        second, minute = pace(refusal(1.0)), pace(refusal(20.0, Bucket(9, 3, 60.0)))
        assert second.expected(0) == 101.0
        assert 102.9 < second.expected(20) < 103.1
        assert minute.expected(2) <= 124.0, "three tokens come at once"
        assert 180.0 <= minute.expected(3) <= 184.0


class TestEnd:
    def test_it_is_over_once_half_the_bucket_is_there(self) -> None:
        paced = pace(refusal(1.0, Bucket(100, 10, 1.0)))
        assert not paced.is_over(104.0)
        assert paced.is_over(paced.over_at)
        assert paced.over_at == 105.0

    def test_what_is_said_counts_more_than_the_time(self) -> None:
        paced = pace(refusal(1.0, Bucket(100, 10, 1.0)))
        paced.heard(Said(Bucket(100, 10, 1.0), 2, 0.0), 104.0, 104.0, refused=False)
        assert not paced.is_over(105.0)
        assert paced.is_over(109.0)

    def test_no_hold_is_over_early(self) -> None:
        paced = pace(refusal(30.0))
        assert not paced.is_over(129.9)


@dataclass
class Jira:
    """Buckets on some nodes, filled at times that nobody knows."""

    bucket: Bucket
    nodes: int = 1
    seed: int = 0
    phases: list[float] = field(default_factory=list)
    at_random: bool = False
    """Which node is next; else they take turns."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.phases = [self.random.random() * self.bucket.interval for _ in range(self.nodes)]
        self.tokens = [self.bucket.size] * self.nodes
        self.filled = [0] * self.nodes
        self.turns: Iterator[int] = cycle(range(self.nodes))

    def take(self, now: float) -> tuple[bool, Said]:
        node = self.random.randrange(self.nodes) if self.at_random else next(self.turns)
        size, fill, interval, _ = self.bucket
        intervals = math.floor((now + self.phases[node]) / interval)
        more = (intervals - self.filled[node]) * fill
        self.tokens[node] = min(size, self.tokens[node] + more)
        self.filled[node] = intervals
        is_allowed = self.tokens[node] > 0
        self.tokens[node] -= is_allowed
        seconds = (intervals + 1) * interval - self.phases[node] - now
        wait = 0 if self.tokens[node] else min(max(math.ceil(seconds), 1), interval)
        return is_allowed, Said(self.bucket, self.tokens[node], float(wait))

    @property
    def rate(self) -> float:
        return self.bucket.fill * self.nodes / self.bucket.interval


@dataclass
class Run:
    """What clients that ask again at once have got of a Jira."""

    answered: list[float]
    refused: list[float]
    waits: list[float]
    early: int
    """Requests that came before Jira wanted them, but for those that were on their way."""


def run(jira: Jira, seconds: float, clients: int = 20, jitter: float = 0.003) -> Run:
    numbers = count()
    events: list[tuple[float, int, str, tuple[Any, ...]]] = []
    done, waits = Run([], [], [], 0), [0.0] * clients
    queue: list[tuple[int, float]] = []
    paced: Pace | None = None
    closed_until = known_at = 0.0

    def later(at: float, kind: str, *what: object) -> None:
        heapq.heappush(events, (at, next(numbers), kind, what))

    def send(client: int, since: float, now: float) -> None:
        later(now + ROUND_TRIP / 2 + jira.random.random() * jitter, "jira", client, since, now)

    def release(now: float) -> None:
        while paced and queue and paced.due <= now:
            paced.take(now)
            send(*queue.pop(0), now)
        if paced and queue:
            later(paced.due + jira.random.random() * jitter / 3, "release")

    for client in range(clients):
        send(client, 0.0, 0.0)
    while events and events[0][0] < seconds:
        now, _, kind, what = heapq.heappop(events)
        if kind == "again":
            queue.insert(0, cast(tuple[int, float], what))
            release(now)
            continue
        if kind == "release":
            events = [event for event in events if event[2] != "release"]
            heapq.heapify(events)
            release(now)
            continue
        client, since, sent, *rest = what
        if kind == "jira":
            done.early += sent > known_at and sent < closed_until
            later(now + ROUND_TRIP / 2, "answer", client, since, sent, *jira.take(now))
            continue
        is_allowed, said = rest
        if not is_allowed:
            closed_until, known_at = max(closed_until, now + said.wait), now
        if paced is not None:
            paced.heard(said, sent, now, refused=not is_allowed)
        elif not said.remaining:
            paced = Pace(said, now, refused=not is_allowed, jitter=jira.random.random)
        if is_allowed:
            done.answered.append(now)
            waits[client] = max(waits[client], now - since)
            since = now
        else:
            done.refused.append(now)
        if paced is None:
            send(client, since, now)
        elif is_allowed:
            queue.append((client, since))
            release(now)
        else:
            later(now + said.wait, "again", client, since)
            release(now)
    done.waits = waits
    return done


CASES = {
    "one node": Jira(TEN),
    "two nodes": Jira(TEN, 2),
    "three nodes": Jira(TEN, 3),
    "a reserve": Jira(Bucket(50, 10, 1.0)),
    "a reserve on two nodes": Jira(Bucket(50, 10, 1.0), 2),
    "a hundred": Jira(Bucket(100, 100, 1.0)),
    "two seconds": Jira(Bucket(20, 20, 2.0)),
    "ten seconds": Jira(Bucket(100, 100, 10.0)),
    "a minute": Jira(Bucket(600, 600, 60.0), 2),
}


class TestThroughput:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("jira", CASES.values(), ids=CASES.keys())
    def test_hardly_a_token_is_lost(self, jira: Jira, seed: int) -> None:
        jira = Jira(jira.bucket, jira.nodes, seed)
        first = 2 * jira.bucket.interval
        last = first + max(30, 3 * jira.bucket.interval)
        clients = max(20, int(jira.rate * 2))
        done = run(jira, last, clients)
        steady = sum(first < at for at in done.answered)
        assert steady >= 0.95 * jira.rate * (last - first)
        assert done.early == 0 or jira.nodes > 1

    @pytest.mark.parametrize("nodes", [1, 2, 3])
    def test_after_the_first_moment_jira_refuses_nobody(self, nodes: int) -> None:
        done = run(Jira(TEN, nodes), 60.0)
        assert max(done.refused) < 1.0

    @pytest.mark.parametrize("nodes", [1, 2])
    def test_no_caller_waits_much_longer_than_another(self, nodes: int) -> None:
        done = run(Jira(TEN, nodes), 60.0)
        assert max(done.waits) <= 2 * min(done.waits)

    @pytest.mark.parametrize("bucket", [TEN, Bucket(50, 10, 1.0)])
    def test_nodes_that_are_chosen_at_random_are_made_use_of(self, bucket: Bucket) -> None:
        """With turns and one interval's tokens, a tenth is lost to chance whatever one does."""
        done = run(Jira(bucket, 2, at_random=True), 60.0)
        assert sum(at > 20 for at in done.answered) >= 0.8 * 20 * 40
        assert len(done.refused) < 0.2 * len(done.answered)

    def test_nodes_that_were_not_seen_at_first_are_found(self) -> None:
        jira = Jira(TEN, 2)
        jira.tokens[1] = 0  # so that only one is emptied in the first moment
        jira.tokens[0] = 1
        done = run(jira, 40.0, clients=3 * 20)
        assert sum(at > 20 for at in done.answered) >= 0.9 * 20 * 20

    def test_where_somebody_else_takes_tokens_jira_is_left_alone(self) -> None:
        jira = Jira(TEN)
        others = [number / 4 for number in range(160)]
        ask = jira.take

        def take(now: float) -> tuple[bool, Said]:
            while others and others[0] < now:
                ask(others.pop(0))
            return ask(now)

        jira.take = take  # type: ignore[method-assign]
        done = run(jira, 40.0)
        assert sum(at > 3 for at in done.refused) < 20
        assert len(done.answered) > 0.4 * 400


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["take", "heard", "refused"]),
            st.floats(0, 5),
            st.integers(0, 20),
            st.floats(0, 3),
        ),
        max_size=60,
    ),
    st.builds(Bucket, st.integers(0, 20), st.integers(0, 20), st.sampled_from([1.0, 4.0, 60.0])),
    st.booleans(),
)
def test_whatever_comes_the_pace_goes_on(
    events: list[tuple[str, float, int, float]], bucket: Bucket, refused: bool
) -> None:
    now = 1000.0
    paced = Pace(Said(bucket, 0, 1.0), now, refused=refused, jitter=lambda: 0.5)
    for kind, pause, left, lag in events:
        now += pause
        if kind == "take" and paced.due <= now:
            before = paced.due
            paced.take(now)
            assert before < paced.due <= max(now, before) + paced.spacing
        elif kind != "take":
            is_refused = kind == "refused"
            paced.heard(Said(bucket, left, 2.0), now - lag, now, refused=is_refused)
        assert 0 < paced.spacing < 10_000 * bucket.interval
        assert paced.over_at >= paced.opens
        if kind == "refused" and paced._share <= 1:  # of several nodes one is empty
            assert paced.due >= now + 2.0
            assert not paced.is_over(now)

"""Jira's rate limits: a token bucket for each user on each node (Jira 8.6 and newer)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.sandbox.bounds import keep
from sidecar.sandbox.faults import Faults

MOST_BUCKETS = 10_000


class Allowance(NamedTuple):
    """Whether one request is allowed, and what the fields of its answer say."""

    allowed: bool
    limit: int
    remaining: int
    fill_rate: int
    interval: int
    retry_after: int

    def fields(self) -> list[tuple[str, str]]:
        """What a limited answer carries."""
        return [
            ("X-RateLimit-Limit", str(self.limit)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-FillRate", str(self.fill_rate)),
            ("X-RateLimit-Interval-Seconds", str(self.interval)),
            ("Retry-After", str(self.retry_after)),
        ]


UNLIMITED = Allowance(True, 1000, 999, 1000, 1, 0)
"""What answers say while the limits are off."""


@dataclass(slots=True)
class _Bucket:
    tokens: int
    filled_at: float


@dataclass(slots=True)
class RateLimits:
    """Every user's buckets."""

    faults: Faults
    _buckets: dict[tuple[int, str], _Bucket] = field(default_factory=dict)

    def take(self, node: int, user: str, now: float) -> Allowance:
        """Take a token out of a user's bucket, if there is one."""
        faults = self.faults
        if (capacity := faults.rate_capacity) is None:
            return UNLIMITED
        fill, interval = faults.rate_fill, max(faults.rate_interval, 1)
        key = (node, user)
        if key not in self._buckets:
            keep(self._buckets, key, _Bucket(capacity, now), MOST_BUCKETS)
        bucket = self._buckets[key]
        _refill(bucket, capacity, fill, interval, now)
        allowed = bucket.tokens > 0
        bucket.tokens -= allowed
        wait = math.ceil(bucket.filled_at + interval - now)
        wait = 0 if bucket.tokens else min(max(wait, 1), interval)
        return Allowance(allowed, capacity, bucket.tokens, fill, interval, wait)


def _refill(bucket: _Bucket, capacity: int, fill: int, interval: int, now: float) -> None:
    """Add the tokens of the intervals that have passed since the bucket was last filled."""
    intervals = int((now - bucket.filled_at) // interval)
    bucket.tokens = min(bucket.tokens + max(intervals, 0) * fill, capacity)
    bucket.filled_at += intervals * interval
    if bucket.tokens == capacity:
        bucket.filled_at = now

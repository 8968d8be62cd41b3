"""What an answer of Jira's says of a user's rate limit: a token bucket on each node; pure.

`X-RateLimit-Limit` is the bucket's size, `-Remaining` what is left in it, and `-FillRate` tokens
come each `-Interval-Seconds`.  `Retry-After` says when the next come, 0 while some are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from sidecar.http.fields import Field, first
from sidecar.http.http_date import http_date

REMAINING = b"x-ratelimit-remaining"
NEVER = inf

_NUMBER = re.compile(rb"[0-9]+")
_DIGITS = 10
"""A number with more of them is as good as endless: Jira has sent 9223372036854775807."""


class Bucket(NamedTuple):
    """One user's bucket on one node, as its fields describe it."""

    size: int
    fill: int
    """Tokens that come each interval; no more than the size holds."""
    interval: float
    """Seconds."""
    is_known: bool = True
    """Whether the answer described it."""


UNKNOWN = Bucket(2, 1, 1.0, is_known=False)
"""For a 429 that says nothing of a bucket: one request a second, and more as long as that works."""


class Said(NamedTuple):
    """What one answer says."""

    bucket: Bucket
    remaining: int | None
    """None where the answer does not say."""
    wait: float
    """Seconds until there are tokens again: by Retry-After, else by the bucket."""


def is_empty(fields: Iterable[Field]) -> bool:
    """Whether the answer took the last token."""
    return first(fields, REMAINING) == b"0"


def read(fields: Iterable[Field], now: float) -> Said:
    """Read an answer's fields; `now` is Unix time, for a date where the answer has none itself."""
    size, fill = _number(fields, b"x-ratelimit-limit"), _number(fields, b"x-ratelimit-fillrate")
    interval = _number(fields, b"x-ratelimit-interval-seconds")
    if size is None or fill is None or not interval:
        bucket = UNKNOWN
    else:
        bucket = Bucket(size, min(fill, size), float(interval))
    wait = _retry_after(fields, now)
    if wait is None:
        wait = bucket.interval if bucket.fill else NEVER
    return Said(bucket, _number(fields, REMAINING), wait)


def _number(fields: Iterable[Field], name: bytes) -> int | None:
    value = first(fields, name)
    if value is None or not _NUMBER.fullmatch(value) or len(value) > _DIGITS:
        return None
    return int(value)


def _retry_after(fields: Iterable[Field], now: float) -> float | None:
    """Seconds by Retry-After (RFC 9110 §10.2.3); None where it says nothing that makes sense."""
    value = first(fields, b"retry-after")
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value) if len(value) <= _DIGITS else NEVER
    at = http_date(value)
    if at is None:
        return None
    date = http_date(first(fields, b"date") or b"")
    seconds = at - (now if date is None else date)
    return seconds if seconds >= 0 else None

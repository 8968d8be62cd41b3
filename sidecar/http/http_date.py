"""HTTP dates in their three forms: IMF-fixdate, RFC 850's and asctime's (RFC 9110 §5.6.7)."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime

from sidecar.http.cache import Cache

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2,8}, ([0-9]{2})[ -]([A-Z][a-z]{2})[ -]([0-9]{4}|[0-9]{2}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_ASCTIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9]) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})"
)


def http_date(value: bytes) -> int | None:
    """Return the Unix time of an HTTP date in any of its three forms, None if it is none."""
    return _known[value]


def _parse(value: bytes) -> int | None:
    text = value.decode("latin-1").strip()
    if match := _HTTP_DATE.fullmatch(text):
        day, month, year, *clock = match.groups()
    elif match := _ASCTIME.fullmatch(text):
        month, day, *clock, year = match.groups()
    else:
        return None
    hour, minute, second = map(int, clock)
    if len(year) == 2:
        year = ("19" if year >= "70" else "20") + year
    try:
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute)
    except ValueError:  # no such month, day, hour or minute
        return None
    return timegm(at.timetuple()) + second if second <= 60 else None


_known = Cache(_parse, len, entries=16, size=2048)  # an upstream's Date changes once a second

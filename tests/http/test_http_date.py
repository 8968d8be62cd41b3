"""HTTP dates: read in all three forms, and nothing else is one."""

from __future__ import annotations

from calendar import timegm
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.http_date import http_date


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_all_three_forms_of_an_http_date_are_read(text: str) -> None:
    # RFC 9110 §5.6.7's own example
    assert http_date(text.encode()) == timegm((1994, 11, 6, 8, 49, 37))


def test_a_leap_second_and_a_two_digit_year_of_this_century_are_dates() -> None:
    assert http_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == timegm((2017, 1, 1, 0, 0, 0))
    assert http_date(b"Monday, 24-Nov-25 05:33:00 GMT") == timegm((2025, 11, 24, 5, 33, 0))


def test_a_year_of_two_digits_is_one_of_1970_to_2069() -> None:
    assert http_date(b"Thursday, 01-Jan-70 00:00:00 GMT") == 0
    assert http_date(b"Tuesday, 01-Jan-69 00:00:00 GMT") == timegm((2069, 1, 1, 0, 0, 0))
    assert http_date(b"Friday, 31-Dec-99 00:00:00 GMT") == timegm((1999, 12, 31, 0, 0, 0))


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, x",
    ],
)  # fmt: skip
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert http_date(text.encode()) is None


@given(st.one_of(st.binary(), st.text("SunNov ,:-0169GMT", max_size=40).map(str.encode)))
def test_reading_a_date_never_raises(value: bytes) -> None:
    assert http_date(value) is None or isinstance(http_date(value), int)


@given(st.datetimes(min_value=datetime(1000, 1, 1)))
def test_every_time_comes_back_from_its_http_date(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    text = format_datetime(moment, usegmt=True)
    assert http_date(text.encode()) == timegm(moment.utctimetuple())

"""What is read from the fields of an answer, however odd they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.fields import Received
from sidecar.jira.rate_limits import NEVER, UNKNOWN, Bucket, Said, is_empty, read

NOW = 1_800_000_000.0
DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"  # the same moment
TEN = {"Limit": b"20", "Remaining": b"3", "FillRate": b"10", "Interval-Seconds": b"60"}


def said(wait: bytes | None = None, *more: tuple[bytes, bytes], **changed: bytes | None) -> Said:
    names = TEN | {name.replace("_", "-"): value for name, value in changed.items()}
    fields = [(f"X-RateLimit-{n}".encode(), v) for n, v in names.items() if v is not None]
    if wait is not None:
        fields.append((b"Retry-After", wait))
    return read(Received([*fields, *more]), NOW)


def test_all_that_jira_says() -> None:
    assert said(b"7") == Said(Bucket(20, 10, 60.0), 3, 7.0)
    assert said(b"7").bucket.is_known
    assert said(b"0").wait == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"30", 30.0),
        (b"007", 7.0),
        (b"9999999999", 9_999_999_999.0),
        (b"99999999999", NEVER),
        (b"9223372036854775807", NEVER),
        (b"9" * 10_000, NEVER),
        (b"Fri, 15 Jan 2027 08:00:09 GMT", 9.0),
        (DATE, 0.0),
        (b"Friday, 15-Jan-27 08:00:09 GMT", 9.0),
        (b"Fri Jan 15 08:00:09 2027", 9.0),
    ],
)
def test_retry_after_in_all_its_forms(value: bytes, seconds: float) -> None:
    assert said(value).wait == seconds


@pytest.mark.parametrize(
    "value",
    [None, b"", b"-1", b"1.5", b"soon", b"1 s", b"+3", b"\xd9\xa3", DATE[:-3], b"1,2",
     b"Fri, 15 Jan 2027 07:59:59 GMT", b"Fri, 99 Jan 2027 08:00:00 GMT"],
)  # fmt: skip
def test_one_that_makes_no_sense_leaves_the_buckets_time(value: bytes | None) -> None:
    assert said(value).wait == 60.0


def test_a_date_is_one_of_jiras_clock() -> None:
    hour_behind = (b"Date", b"Fri, 15 Jan 2027 07:00:00 GMT")
    assert said(b"Fri, 15 Jan 2027 07:00:05 GMT", hour_behind).wait == 5.0
    assert said(b"Fri, 15 Jan 2027 08:00:05 GMT", (b"Date", b"yesterday")).wait == 5.0


@pytest.mark.parametrize("name", ["Limit", "FillRate", "Interval_Seconds"])
@pytest.mark.parametrize("value", [None, b"", b"-1", b"x", b"1.0", b"9" * 11])
def test_a_bucket_that_is_half_described_is_unknown(name: str, value: bytes | None) -> None:
    assert said(None, **{name: value}) == Said(UNKNOWN, 3, 1.0)
    assert not said(None, **{name: value}).bucket.is_known


def test_odd_buckets() -> None:
    assert said(None, Interval_Seconds=b"0").bucket == UNKNOWN
    assert said(None, FillRate=b"0").wait == NEVER
    assert said(None, Limit=b"5").bucket == Bucket(5, 5, 60.0)
    assert said(None, Remaining=b"many").remaining is None
    assert said(None, Limit=b"9999999999").bucket == Bucket(9_999_999_999, 10, 60.0)
    assert read([], NOW) == Said(UNKNOWN, None, 1.0)


def test_a_jira_that_says_nothing_of_a_bucket_is_asked_once_a_second() -> None:
    assert read([], NOW).bucket == Bucket(size=2, fill=1, interval=1.0, is_known=False)


def test_the_last_token() -> None:
    for value, empty in [(b"0", True), (b"1", False), (b"", False), (b"00", False)]:
        assert is_empty(Received([(b"x-ratelimit-REMAINING", value)])) == empty
    assert not is_empty(Received([]))


@given(st.dictionaries(st.sampled_from(sorted(TEN)), st.binary(max_size=24)), st.binary())
def test_no_bytes_break_it(values: dict[str, bytes], wait: bytes) -> None:
    names = {name.replace("-", "_"): value for name, value in values.items()}
    found = said(wait, **names)
    assert found.wait >= 0
    assert found.bucket.interval > 0
    assert 0 <= found.bucket.fill <= found.bucket.size

"""What is remembered of foreign text never grows beyond its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.cache import Cache


def test_a_value_is_made_once_and_then_known() -> None:
    asked: list[bytes] = []

    def make(key: bytes) -> bytes:
        asked.append(key)
        return key.upper()

    cache = Cache(make, len, entries=4, size=1600)
    assert [cache[b"a"], cache[b"b"], cache[b"a"]] == [b"A", b"B", b"A"]
    assert asked == [b"a", b"b"]


def test_what_is_too_long_is_made_each_time_and_pushes_nothing_out() -> None:
    cache = Cache(bytes.upper, len, entries=4, size=160)
    assert cache[b"known"] == b"KNOWN"
    assert cache[b"x" * 11] == b"X" * 11
    assert cache[b"x" * 60_000] == b"X" * 60_000
    assert set(cache) == {b"known"}
    assert cache[b"x" * 10] == b"X" * 10
    assert set(cache) == {b"known", b"x" * 10}


def test_a_key_may_take_a_sixteenth_and_no_byte_more_of_any_size() -> None:
    for size in (16, 40, 160, 161, 175):
        cache = Cache(bytes.upper, len, entries=4, size=size)
        for length in (size // 16, size // 16 + 1):
            assert cache[b"x" * length] == b"X" * length
        assert set(cache) == {b"x" * (size // 16)}


def test_what_fails_is_not_remembered() -> None:
    cache: Cache[str, int] = Cache(int, len, entries=4, size=160)
    for _ in range(2):
        try:
            cache["no number"]
        except ValueError:
            assert not cache


@given(st.lists(st.binary(max_size=20), max_size=60))
def test_neither_entries_nor_bytes_ever_pass_their_bound(keys: list[bytes]) -> None:
    cache = Cache(bytes.upper, len, entries=5, size=64)
    for key in keys:
        assert cache[key] == key.upper()
        assert len(cache) <= 5
        assert sum(map(len, cache)) <= 64


def test_it_is_emptied_when_it_would_be_over_full_and_not_before() -> None:
    cache = Cache(bytes.upper, len, entries=100, size=64)
    keys = [b"%04d" % number for number in range(16)]  # 64 bytes
    for _ in range(2):  # what it held before is forgotten, in its sum too
        for number, key in enumerate(keys):
            assert cache[key] == key
            assert len(cache) == number + 1
        assert cache[b"more"] == b"MORE"
        assert set(cache) == {b"more"}
        keys = keys[:15]  # together with what is there, 64 bytes again
        for number, key in enumerate(keys):
            assert cache[key] == key
            assert len(cache) == number + 2
        assert cache[b"last"] == b"LAST"
        assert set(cache) == {b"last"}
        cache = Cache(bytes.upper, len, entries=100, size=64)
        keys = [b"%04d" % number for number in range(16)]

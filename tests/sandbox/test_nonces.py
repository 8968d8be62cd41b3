from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox.nonces import Nonce, UsedNonces

NONCE = Nonce(1000, "n", "OauthKey", "T")


def test_a_nonce_is_new_once() -> None:
    used = UsedNonces()
    assert used.record(NONCE, 1000, 700)
    assert not used.record(NONCE, 1299, 999)


@pytest.mark.parametrize(
    ("other", "is_new"),
    [
        (NONCE._replace(nonce="m"), True),
        (NONCE._replace(consumer_key="x"), True),
        (NONCE._replace(node=1), True),
        (NONCE._replace(token="U"), False),
        (NONCE._replace(timestamp=1001), False),
    ],
)
def test_within_a_minute_a_consumers_nonce_counts_whatever_its_token_and_time(
    other: Nonce, is_new: bool
) -> None:
    used = UsedNonces()
    assert used.record(NONCE, 1000, 700)
    assert used.record(other, 1059.9, 759) is is_new


def test_after_a_minute_token_and_time_make_it_another() -> None:
    used = UsedNonces()
    assert used.record(NONCE, 1000, 700)
    assert not used.record(NONCE, 1060, 760)
    assert used.record(NONCE._replace(token="U"), 1060, 760)
    assert used.record(NONCE._replace(timestamp=1001), 1200, 900)


def test_what_is_too_old_to_be_accepted_is_forgotten() -> None:
    used = UsedNonces()
    for second in range(1000, 2000):
        used.record(Nonce(second, str(second), "OauthKey", ""), second, second - 299)
    assert len(used) == 300


@given(st.lists(st.integers(0, 600)))
def test_whatever_the_order_of_timestamps_none_is_new_twice(offsets: list[int]) -> None:
    used, seen = UsedNonces(), set()
    for offset in offsets:
        nonce = Nonce(1000 + offset, str(offset), "OauthKey", "T")
        assert used.record(nonce, 1000, 700) is (offset not in seen)
        seen.add(offset)


def test_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.sandbox.nonces.MOST_NONCES", 5)
    used = UsedNonces()
    for number in range(100):
        assert used.record(NONCE._replace(nonce=str(number)), 1000, 700)
    assert len(used) == 5

"""Access keys: every one is compared, and what is shown too often is not looked at."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.keys import MOST_SHOWN, Holder, KeyRing, digest, keys_shown

RING = KeyRing({"build": digest(b"one"), "ci": digest(b"two"), "deploy": digest(b"three")})


def test_a_key_has_one_holder_and_anything_else_has_none() -> None:
    assert RING.holder([b"two"]) == Holder("ci")
    assert RING.holder([b"four"]) is RING.holder([]) is None
    assert RING.holder([b"four", b"three"]) == Holder("deploy")
    assert RING.holder([b"three", b"one"]) == Holder("deploy")
    assert KeyRing({}).holder([b""]) is None


@pytest.mark.parametrize("shown", [b"one", b"two", b"three", b"four", b"", b"x" * 60_000])
def test_whatever_is_shown_every_key_is_compared_with_as_many_bytes(
    shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    same = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return same(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    RING.holder([shown])
    assert compared == [(32, 32)] * 3


def test_no_key_is_kept_and_none_is_shown() -> None:
    assert "one" not in repr(RING) + repr(vars(RING))


@given(st.dictionaries(st.text(max_size=3), st.binary(max_size=8), max_size=6), st.binary())
def test_the_holder_is_whoever_has_that_very_key(keys: dict[str | None, bytes], key: bytes) -> None:
    ring = KeyRing({name: digest(mine) for name, mine in keys.items()})
    found = ring.holder([key])
    assert (found is None) == (key not in keys.values())
    assert found is None or keys[found.name] == key


def test_a_request_is_no_more_than_a_few_guesses() -> None:
    fields = [(b"X-Sidecar-Key", b"%d" % number) for number in range(128)]
    assert keys_shown(fields) == [b"0", b"1", b"2", b"3"]
    assert len(keys_shown(fields)) == MOST_SHOWN

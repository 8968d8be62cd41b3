"""Access keys: every one is compared, and what is shown too often is not looked at."""

from __future__ import annotations

import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.keys import MOST_SHOWN, Holder, KeyRefused, KeyRing, digest, keys_shown

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


def basic(credentials: bytes) -> bytes:
    return b"Basic " + b64encode(credentials)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"X-Sidecar-Key", b"k3y", [b"k3y"]),
        (b"x-sidecar-KEY", b"", [b""]),
        (b"Authorization", b"Bearer k3y", [b"k3y"]),
        (b"aUTHORIZATION", b"bEARER  k3y ", [b"k3y"]),
        (b"Authorization", basic(b"user:k3y"), [b"k3y"]),
        (b"Authorization", basic(b":k3y:with:colons"), [b"k3y:with:colons"]),
        (b"Authorization", basic(b"k3y"), [b""]),
        (b"Authorization", basic(b"user:k3y").replace(b"Basic ", b"bASIC   ") + b" ", [b"k3y"]),
        (b"Authorization", b"Basic user:k3y", []),
        (b"Authorization", b"Digest k3y", []),
        (b"Authorization", b"OAuth k3y", []),
        (b"Authorization", b"k3y", []),
        (b"Proxy-Authorization", b"Bearer k3y", []),
        (b"X-Key", b"k3y", []),
    ],
)
def test_a_key_is_shown_in_one_of_three_places(
    name: bytes, value: bytes, shown: list[bytes]
) -> None:
    assert keys_shown([(name, value)]) == shown


def test_keys_are_looked_for_behind_whatever_is_none() -> None:
    fields = [
        (b"Authorization", b"Basic ~~~"),
        (b"Authorization", b"Negotiate x"),
        (b"Accept", b"*/*"),
        (b"Authorization", b"Bearer one"),
        (b"X-Sidecar-Key", b"two"),
        (b"Authorization", basic(b"user:three")),
    ]
    assert keys_shown(fields) == [b"one", b"two", b"three"]
    assert keys_shown([]) == []


@pytest.mark.parametrize("is_wrong", [False, True])
def test_a_refusal_says_where_a_key_is_asked_for_and_browsers_ask_their_user(
    is_wrong: bool,
) -> None:
    refused = KeyRefused(is_wrong=is_wrong)
    assert refused.is_wrong is is_wrong
    assert (refused.status, refused.proxy_error) == (401, "http_request_denied")
    assert refused.fields == (("WWW-Authenticate", 'Basic realm="sidecar"'),)
    assert "none or a wrong one" in refused.message
    for place in ("X-Sidecar-Key", "Bearer", "Basic"):
        assert place in refused.hint

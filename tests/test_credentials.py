"""Credentials: values that are equal by their secret and show none, and when a token renews."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import Secret, TokenCredentials


@given(st.text(), st.text())
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert (Secret(one) == Secret(other)) is (one == other)
    assert hash(Secret(one)) == hash(Secret(one))
    assert Secret(one) != one
    assert Secret(one).reveal() == one
    assert bool(Secret(one)) is bool(one)


@given(st.text(min_size=20))
def test_a_secret_is_not_in_what_shows_it(text: str) -> None:
    for shown in (repr(Secret(text)), f"{Secret(text):>60}", str([Secret(text)])):
        assert text not in shown


@pytest.mark.parametrize(
    ("handle", "session_end", "is_renewable"),
    [
        (None, None, False),
        (None, 2000.0, False),
        ("h", None, True),
        ("h", 1000.1, True),
        ("h", 1000.0, False),
        ("h", 999.9, False),
    ],
)
def test_a_token_renews_while_its_session_lives(
    handle: str | None, session_end: float | None, is_renewable: bool
) -> None:
    token = TokenCredentials(
        Secret("t"),
        Secret(""),
        None if handle is None else Secret(handle),
        session_expires_at=session_end,
    )
    assert token.is_renewable(1000.0) is is_renewable

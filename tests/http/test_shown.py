"""Foreign text can be shown: no terminal, log or parser acts upon it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.shown import (
    escaped,
    escaped_ascii,
    full_name,
    printable,
    printable_ascii,
    quoted,
    sf_string,
)

# RFC 8941 §3.3.3
_STRING = re.compile(r'"(?:[ !#-\[\]-~]|\\["\\])*"')


@given(st.text(), st.integers(0, 30))
def test_a_text_for_people_is_printable_and_not_endless(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) == min(len(text), limit)
    assert all(a == b or a == "\ufffd" for a, b in zip(shown, text, strict=False))


@given(st.text(), st.integers(0, 30))
def test_a_text_for_a_field_is_printable_ascii_and_not_endless(text: str, limit: int) -> None:
    shown = printable_ascii(text, limit)
    assert re.fullmatch("[ -~]*", shown)
    assert len(shown) == min(len(text), limit)
    assert all(
        a == b or (a == "?" and not " " <= b <= "~") for a, b in zip(shown, text, strict=False)
    )


@given(st.text())
def test_a_quoted_text_is_short_and_says_that_it_was_cut(text: str) -> None:
    shown = quoted(text)
    assert shown.isprintable()
    assert len(shown) <= 63
    assert shown.endswith('…"') == (len(text) > 60 or text.endswith("…"))


@given(st.text())
def test_any_text_becomes_one_structured_string(text: str) -> None:
    string = sf_string(text)
    assert _STRING.fullmatch(string)
    assert re.sub(r"\\(.)", r"\1", string[1:-1]) == printable_ascii(text, 1000)


def test_without_a_limit_of_its_own_a_text_is_cut_where_a_line_still_shows_it() -> None:
    endless = "x" * 5000
    assert printable(endless) == printable_ascii(endless) == "x" * 200
    assert quoted(endless) == '"' + "x" * 60 + '…"'
    assert sf_string(endless) == '"' + "x" * 1000 + '"'


def test_a_structured_string_is_cut_before_it_is_escaped() -> None:
    assert sf_string('""""', 2) == r'"\"\""'
    assert sf_string(r"a\b") == r'"a\\b"'


def test_what_just_fits_is_quoted_whole() -> None:
    assert quoted("x" * 60) == '"' + "x" * 60 + '"'
    assert quoted("x" * 61) == '"' + "x" * 60 + '…"'
    assert quoted("x" * 300, 300) == '"' + "x" * 300 + '"'
    assert quoted("x" * 301, 300) == '"' + "x" * 300 + '…"'


@given(st.text())
def test_an_escaped_text_is_one_line_and_keeps_what_is_printable(text: str) -> None:
    assert escaped(text).isprintable()
    assert re.fullmatch("[ -~]*", escaped_ascii(text))
    if text.isprintable():
        assert escaped(text) == text
    if text.isascii():
        assert escaped_ascii(text) == escaped(text)


def test_what_could_begin_a_line_or_colour_it_is_written_out() -> None:
    assert escaped("a\nb\x1b[31mü\u2028") == r"a\nb\x1b[31mü\u2028"
    assert escaped_ascii("a\nb\x1b[31mü\u2028") == r"a\nb\x1b[31m\xfc\u2028"


def test_a_backslash_stays_one_in_a_text_that_has_something_to_escape() -> None:
    assert escaped("C:\\a\n") == r"C:\a\n"
    assert escaped_ascii("C:\\a\n") == r"C:\a\n"


@pytest.mark.parametrize(
    ("user", "display_name", "shown"),
    [
        ("alana", "Alana Example", "Alana Example (alana)"),
        ("alana", "alana", "alana"),
        ("alana", None, "alana"),
        ("alana", "", "alana"),
        (None, "Alana Example", "somebody"),
        (None, None, "somebody"),
        ("al\nana", "Al\x1bana", "Al\ufffdana (al\ufffdana)"),
    ],
)
def test_a_user_is_called_by_both_names_where_there_are_two(
    user: str | None, display_name: str | None, shown: str
) -> None:
    assert full_name(user, display_name) == shown

from __future__ import annotations

import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox.java import JavaException, decode_base64, parse_double, parse_long


@pytest.mark.parametrize("text", ["0", "-1", "+7", "007", str(2**63 - 1), str(-(2**63))])
def test_a_long_is_read(text: str) -> None:
    assert parse_long(text) == int(text)


@pytest.mark.parametrize("text", ["", "now", "1.0", " 1", "1_0", "٣", "1e3", "-", str(2**63)])
def test_what_is_no_long_breaks_java(text: str) -> None:
    with pytest.raises(JavaException):
        parse_long(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", 1.0), ("1.0", 1.0), (" 1.00\n", 1.0), ("1d", 1.0), ("1.0F", 1.0), (".5", 0.5)),
        *(("1.", 1.0), ("+1e0", 1.0), ("-Infinity", -math.inf), ("10e-1D", 1.0)),
    ],
)
def test_a_double_is_read(text: str, value: float) -> None:
    assert parse_double(text) == value


@pytest.mark.parametrize("text", ["", "a", "1.0a", "1_0", "nan", "inf", ".", "1.0.0", "1 0", "١"])
def test_what_is_no_double_breaks_java(text: str) -> None:
    with pytest.raises(JavaException):
        parse_double(text)


def test_not_a_number_is_one() -> None:
    assert math.isnan(parse_double("NaN"))


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_base64_is_read_with_and_without_padding(data: bytes, url: bool, padded: bool) -> None:
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(data).decode()
    assert decode_base64(text if padded else text.rstrip("=")) == data


@given(st.text())
def test_any_text_is_some_base64(text: str) -> None:
    assert isinstance(decode_base64(text), bytes)


def test_what_is_no_base64_is_skipped_and_the_end_is_the_end() -> None:
    assert decode_base64(" YW\r\nJj!") == b"abc"
    assert decode_base64("YWI=YWJj") == b"ab"

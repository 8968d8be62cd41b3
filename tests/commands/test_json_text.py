"""JSON in lines, with everything that was sent still in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.json_text import indented

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
LAYOUTS = st.sampled_from(
    [{}, {"indent": 3}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"indent": "\t"}]
)


@given(VALUES, LAYOUTS)
def test_it_is_as_jsons_own_indentation_whatever_the_layout_was(
    value: object, layout: dict[str, object]
) -> None:
    text = json.dumps(value, **layout)  # type: ignore[arg-type]
    expected = json.dumps(value, indent=2, ensure_ascii=bool(layout.get("ensure_ascii", True)))
    assert indented(text.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"b":1.0e5,"a":123456789012345678901,"b":-0.10}',
         '{\n  "b": 1.0e5,\n  "a": 123456789012345678901,\n  "b": -0.10\n}'),
        ('["\\u00e9\\/", "{,:}" , "\\\\"]', '[\n  "\\u00e9\\/",\n  "{,:}",\n  "\\\\"\n]'),
        ("[{ }, [\n]]", "[\n  {},\n  []\n]"),
        (" 1 ", "1"),
        ("1" * 5000, "1" * 5000),
    ],
)  # fmt: skip
def test_order_digits_and_escapes_stay(sent: str, shown: str) -> None:
    assert indented(sent.encode()) == shown.encode()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a":', b"[1]x", b'"\xff"', b"[" * 100_000 + b"]" * 100_000]
)
def test_what_is_no_json_is_left_alone(body: bytes) -> None:
    assert indented(body) is None

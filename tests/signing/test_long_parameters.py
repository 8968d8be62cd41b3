"""Long parameters are hashed as short ones are, in steps that never do much."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.signing import long_parameters as module
from sidecar.signing.long_parameters import STEP, LongParameters, count_parameters
from sidecar.signing.signature import (
    FORM_LIMIT,
    encode_form,
    encode_parameters,
    encode_query,
    signature_base_string,
)
from tests.fuzz.pieces import words

URI = "https://jira.example.com/rest"
OURS = encode_parameters([("oauth_token", "t"), ("oauth_nonce", "n%")])


def run(steps: Generator[None, None, bytes]) -> tuple[int, bytes]:
    """How many steps were taken, and what they returned."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


def nothing(_: str) -> None:
    """A check that everything passes."""


pieces = st.sampled_from(
    [
        *words("a b abcdefgh = & && + , %41 %2c %2C % %4 %zz %00 %ff %c3%a9 %c3 %a9 %e2%82%ac %e2"),
        *words(
            "%e2%82 %ed%a0%80 %ed %a0 %80 %f0%9f%98%80 %f0%9f %98 \xe9 \xff \x80 \x00 ~ %7e %26"
        ),
        " ",
    ]
)
texts = st.lists(pieces, max_size=25).map("".join)


@given(texts, texts, st.integers(4, 40))
@example("", "%f0%9f%98" * 9 + "%80" * 9, 4)
@example("a=" + "b" * 30, "x" * 30 + "&%&y", 5)
def test_the_hash_is_that_of_the_base_string(query: str, form: str, step: int) -> None:
    query = query.encode("ascii", "ignore").decode()
    body = form.encode("latin-1")
    parameters = [*encode_query(query), *encode_form(body)]
    expected = signature_base_string("POST", URI, [*parameters, *OURS])
    long = LongParameters(query, body, nothing, step)
    _, found = run(long.base_string_hash("POST", URI, OURS))
    assert found == hashlib.sha1(expected.encode()).digest()


@given(texts, st.integers(4, 40))
def test_every_name_of_the_form_is_checked_and_none_of_the_query(form: str, step: int) -> None:
    body = form.encode("latin-1")
    seen: list[str] = []
    run(LongParameters("query=1", body, seen.append, step).base_string_hash("POST", URI, []))
    short = [part[:step] for part in form.split("&")]
    assert [part for text in seen for part in text.split("&") if part] == [*filter(None, short)]
    assert max(map(len, seen), default=0) <= step


def test_a_check_that_raises_ends_it_before_anything_is_encoded() -> None:
    def refuse(text: str) -> None:
        raise LookupError(text)

    steps = LongParameters("", b"a&" * FORM_LIMIT, refuse).base_string_hash("POST", URI, [])
    with pytest.raises(LookupError) as caught:
        run(steps)
    assert len(caught.value.args[0]) <= STEP


RANDOM = bytes(Random(5849).choices(range(256), k=FORM_LIMIT))
NASTY = {
    "commas": b"a=" + b"," * (FORM_LIMIT - 2),
    "octets": b"a=" + b"%ff" * (FORM_LIMIT // 3),
    "letters": b"%41" * (FORM_LIMIT // 3),
    "bytes": b"\xff" * FORM_LIMIT,
    "random": RANDOM,
    "ampersands": b"&" * FORM_LIMIT,
    "many": b"&".join([b"a=" + b"%ff" * 66] * 10_000),
    "plain": b"a=" + b"x" * FORM_LIMIT,
}


@pytest.mark.parametrize("form", NASTY.values(), ids=NASTY)
def test_no_step_works_on_more_than_its_share(form: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in characters that are encoded, and in those that are hashed."""
    worked = [0]

    def watched(work: Callable[[str], Any]) -> Callable[[str], Any]:
        def watch(text: str) -> Any:
            worked[-1] += len(text)
            return work(text)

        return watch

    for name in ("encode_query", "percent_encode", "within_base_string", "has_stray_percent"):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    steps = LongParameters("", form, nothing).base_string_hash("POST", URI, OURS)
    worked.extend(0 for _ in steps)
    assert max(worked) <= 3 * STEP
    assert sum(worked) >= 0.9 * len(form)  # all but the separators


@given(texts)
def test_parameters_are_counted_that_have_a_name(text: str) -> None:
    named = [part for part in text.split("&") if part.partition("=")[0]]
    assert count_parameters(text.encode("latin-1")) == len(named)


def test_a_name_may_be_any_octet() -> None:
    every = b"&".join(bytes([octet]) for octet in range(256) if octet not in b"&=")
    assert count_parameters(every) == 254


def test_the_parameters_of_query_and_form_are_counted_together() -> None:
    assert len(LongParameters("a=1&b&=x", b"c&&d=2&e", nothing)) == 5
    assert len(LongParameters("a", b"", nothing)) == len(LongParameters("", b"a", nothing)) == 1


def test_nothing_of_it_is_shown() -> None:
    assert repr(LongParameters("q=secret", b"f=secret", nothing)) == "LongParameters(…)"

"""Fields are looked up in any letter case, and written as they came."""

from __future__ import annotations

import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import __version__
from sidecar.http.fields import (
    FRAMING,
    USER_AGENT,
    Fields,
    Received,
    first,
    lacks,
    serialize,
    size_of,
    values,
)

HOST = b"jira.example.com"


def test_a_head_is_written_as_it_is() -> None:
    assert serialize(b"GET / HTTP/1.1", [(b"Host", HOST), (b"x-A", b"\xff"), (b"X-B", b"")]) == (
        b"GET / HTTP/1.1\r\nHost: jira.example.com\r\nx-A: \xff\r\nX-B: \r\n\r\n"
    )
    assert serialize(b"HTTP/1.1 204 ", []) == b"HTTP/1.1 204 \r\n\r\n"


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\n\r\n"], ids=repr)
def test_no_line_end_gets_into_a_head(end: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        serialize(b"GET /" + end + b" HTTP/1.1", [])
    with pytest.raises(ValueError, match="line end"):
        serialize(b"GET / HTTP/1.1", [(b"X-A" + end, b"x")])
    with pytest.raises(ValueError, match="line end"):
        serialize(b"GET / HTTP/1.1", [(b"X-A", b"x" + end + b"X-B: y")])


def test_what_frames_a_message_is_what_rfc_9112_reads_its_end_and_its_host_from() -> None:
    assert frozenset({b"host", b"content-length", b"transfer-encoding"}) == FRAMING


def test_requests_of_our_own_say_who_asks_and_by_which_release() -> None:
    assert USER_AGENT.decode() == f"jira-oauth-sidecar/{__version__}"


def test_looking_up() -> None:
    fields = [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"3")]
    assert values(fields, b"x-a") == [b"1", b"2"]
    assert first(fields, b"x-a") == b"1"
    assert first(fields, b"x-c") is None


def test_of_received_fields_the_first_of_a_name_is_found() -> None:
    fields = Received([(b"X-A", b"1"), (b"x-a", b"2"), (b"X" * 70_000, b"3")])
    assert first(fields, b"x-a") == b"1"
    assert first(fields, b"x" * 70_000) == b"3"
    assert first(fields, b"x-b") is None
    assert values(fields, b"x-a") == [b"1", b"2"]
    assert values(fields, b"x-b") == []


@given(
    st.lists(
        st.tuples(st.sampled_from([b"X-A", b"x-a", b"x_a", b"X-B", b"x-b", b"Y"]), st.binary()),
        max_size=6,
    )
)
def test_received_fields_are_found_as_those_of_any_list(fields: Fields) -> None:
    received = Received(fields)
    for name in (b"x-a", b"x_a", b"x-b", b"y", b"z"):
        found = values(fields, name)
        assert values(received, name) == found
        assert first(received, name) == first(fields, name) == (found[0] if found else None)
        assert lacks(received, name) == (not found)
        assert not lacks(fields, name), "one has to look"
        assert (name in received.names.repeated) == (len(found) > 1)
    assert (b"x-a" in received.names.any_spelling) == bool(
        values(fields, b"x-a") + values(fields, b"x_a")
    )
    assert [name.decode() for name, _ in fields] == re.findall("b'(.*?)'", repr(received))


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=5))
def test_a_head_has_as_many_lines_as_it_has_fields(fields: Fields) -> None:
    try:
        head = serialize(b"GET / HTTP/1.1", fields)
    except ValueError:
        assert any(b"\r" in name + value or b"\n" in name + value for name, value in fields)
    else:
        assert len(head.splitlines()) >= len(fields) + 2
        assert head.split(b"\r\n")[1:-2] == [name + b": " + value for name, value in fields]


@given(st.lists(st.tuples(st.from_regex("[a-z]+", fullmatch=True).map(str.encode), st.just(b"x"))))
def test_the_size_of_fields_is_what_they_take_on_the_wire(fields: Fields) -> None:
    head = serialize(b"GET / HTTP/1.1", fields)
    assert len(head) == len("GET / HTTP/1.1\r\n\r\n") + size_of(fields)


def test_whatever_fields_messages_have_little_is_known_of_them() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(600):
            Received([(b"%x-%x" % (number, at), b"") for at in range(number % 128)])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most - before < 1_000_000

"""Hostile JSON, fields and compressed bodies through the link rewriter.

The reader on the other side is Python's own JSON parser: what it finds after rewriting is what it
found before, but for the links.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ProtocolError
from sidecar.jira.links import KEYS, Links
from sidecar.proxy.rewriting import BodyRewriter
from tests.fuzz.pieces import words

JIRA = "https://jira.example.com/jira"
CLIENT = "http://localhost:8088"
LINKS = Links({JIRA, "http://10.0.0.1:8080"}, CLIENT.encode())
LINK = re.compile(
    r"(?:(?i:https)://(?i:jira\.example\.com)(?::|:443)?(?=/jira(?:[/?#]|\Z))"
    r"|(?i:http)://10\.0\.0\.1:8080(?=[/?#]|\Z))"
)
NAMES = {key for key in KEYS if "N" not in key[:1]} | {"48x48", "16x16"}

near_links = st.lists(
    st.sampled_from(
        [
            *words("https:// HTTPS:// http:// jira.example.com JIRA.example.com :443 :8443 /jira"),
            *words('/jirafe / ? # @evil.test .evil.test \\ " // 10.0.0.1 :8080 10.0.0.1:8080'),
            *[JIRA, JIRA + "/rest", "http://10.0.0.1:8080/x", "\n", "\x00"],
        ]
    )
    | st.text(max_size=2),
    max_size=6,
).map("".join)
member_names = st.sampled_from([*sorted(NAMES), "url", "Self", "self ", "description"]) | near_links
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | near_links,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(member_names, inner, max_size=4),
    max_leaves=12,
)
cuts = st.lists(st.integers(0, 2**16), max_size=6)


def led(document: Any, name: str = "") -> Any:
    """What a reader of the contract makes of a document: strings under the listed names change."""
    match document:
        case dict():
            return {key: led(value, key) for key, value in document.items()}
        case list():
            return [led(value) for value in document]
        case str() if name in NAMES:
            return LINK.sub(CLIENT, document, count=1) if LINK.match(document) else document
    return document


def split(data: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def rewritten(pieces: Iterable[bytes], *, gzipped: bool = False) -> bytes:
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=gzipped)
    out = b"".join([piece for data in pieces for piece in rewriter.feed(data)])
    return out + rewriter.finish()


@given(documents, st.booleans(), st.sampled_from([None, 1]), cuts)
def test_a_reader_finds_the_same_document_but_for_links(
    document: Any, ascii_only: bool, indent: int | None, at: list[int]
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "surrogatepass")
    once = rewritten(split(data, at))
    assert json.loads(once.decode("utf-8", "surrogatepass")) == led(document)
    assert rewritten([once]) == once


@given(documents, cuts)
def test_java_s_escaped_slashes_are_read_alike(document: Any, at: list[int]) -> None:
    data = json.dumps(document).replace("/", "\\/").encode()
    assert json.loads(rewritten(split(data, at))) == led(document)


@given(st.binary(max_size=80) | near_links.map(str.encode), cuts, cuts)
def test_any_bytes_come_out_the_same_however_they_are_cut(
    data: bytes, at: list[int], also_at: list[int]
) -> None:
    assert rewritten(split(data, at)) == rewritten(split(data, also_at))


@given(st.lists(documents, min_size=1, max_size=3), cuts, st.integers(0, 9))
def test_compressed_bodies_of_several_members_are_read_as_one(
    parts: list[Any], at: list[int], level: int
) -> None:
    plain = [json.dumps(part).encode() for part in parts]
    members = b"".join(gzip.compress(part, level) for part in plain)
    assert rewritten(split(members, at), gzipped=True) == rewritten(plain)


@given(st.binary(max_size=60), st.integers(1, 40), cuts)
def test_broken_compression_is_a_protocol_error_and_nothing_else(
    junk: bytes, cut: int, at: list[int]
) -> None:
    for data in (junk, gzip.compress(junk)[:-cut], gzip.compress(junk) + b"x" + junk):
        try:
            out = rewritten(split(data, at), gzipped=True)
        except ProtocolError:
            continue
        assert not data or gzip.decompress(data) == out


@given(near_links)
def test_a_location_leads_to_the_client_or_stays(value: str) -> None:
    expected = LINK.sub(CLIENT, value, count=1) if LINK.match(value) else value
    assert LINKS.url(value.encode()).decode() == expected


@given(st.lists(near_links, max_size=4).map(", ".join))
def test_a_link_field_gains_no_byte_that_is_not_the_clients_origin(value: str) -> None:
    led_field = LINKS.link_field(value.encode())
    assert led_field.count(CLIENT.encode()) <= value.count(CLIENT) + value.count("<")
    assert re.sub(rb"[^\r\n\0]", b"", led_field) == re.sub(rb"[^\r\n\0]", b"", value.encode())

"""What rewriting links does to an answer's fields and body."""

from __future__ import annotations

import gzip
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.access.callers import Caller
from sidecar.errors import ProtocolError
from sidecar.http.paths import readings
from sidecar.http.target import BaseURL
from sidecar.jira.links import Links
from sidecar.proxy.rewriting import BodyRewriter, JiraLinks, guard, is_eligible

JIRA = "https://jira.example.com/jira"
LINKS = Links([JIRA], b"http://localhost:8088")
BODY = b'{"self":"https://jira.example.com/jira/rest/x","text":"https://jira.example.com/jira"}'
REWRITTEN = b'{"self":"http://localhost:8088/jira/rest/x","text":"https://jira.example.com/jira"}'
JSON = (b"Content-Type", b"application/json;charset=UTF-8")

ISSUE = readings("/rest/api/2/issue/JJ-2")


def through(pieces: list[bytes], *, gzipped: bool) -> bytes:
    """A body sent through a rewriter in the pieces given."""
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=gzipped)
    out = [b"".join(rewriter.feed(piece)) for piece in pieces]
    return b"".join(out) + rewriter.finish()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("status", [204, 206, 304])
def test_answers_without_a_whole_body_are_left_alone(status: int) -> None:
    assert is_eligible(200, [JSON], ISSUE)
    assert not is_eligible(status, [JSON], ISSUE)


def test_other_types_and_codings_are_left_alone() -> None:
    assert is_eligible(200, [JSON, (b"Content-Encoding", b"GZIP")], ISSUE)
    assert not is_eligible(200, [JSON, (b"Content-Encoding", b"br")], ISSUE)
    assert not is_eligible(200, [(b"Content-Type", b"text/html")], ISSUE)
    assert not is_eligible(200, [], ISSUE)


def test_what_people_stored_is_left_alone() -> None:
    for path in ("/secure/attachment/1/x.json", "/s/x/_/rest/api/2/issue/JJ-2/properties/x"):
        assert not is_eligible(200, [JSON], readings(path))
    saved = (b"Content-Disposition", b"attachment; filename=x.json")
    assert not is_eligible(200, [JSON, saved], ISSUE)
    assert is_eligible(200, [JSON, (b"Content-Disposition", b"inline")], ISSUE)


@pytest.mark.parametrize(
    ("types", "guarded"),
    [
        ([b"application/json"], False),
        ([b"application/hal+json; charset=utf-8"], False),
        ([], True),
        ([b""], True),
        ([b"text/html"], True),
        ([b"image/svg+xml"], True),
        ([b"application/json, text/html"], True),
        ([b"application/json;,text/html"], True),
        ([b"application/json; charset=x, text/html"], True),
        ([b"text/html,+json"], True),
        ([b"text/html,x+json"], True),
        ([b"application/json", b"text/html"], True),
        ([b"text/html", b"application/json"], True),
    ],
)
def test_whatever_is_not_json_alone_runs_no_script(types: list[bytes], guarded: bool) -> None:
    fields = [(b"content-TYPE", value) for value in types]
    sandboxed = [(b"Content-Security-Policy", b"sandbox")]
    assert guard(fields) == (sandboxed if guarded else [])


def test_links_are_compiled_for_a_bounded_number_of_callers_and_the_last_url_of_jiras() -> None:
    links = JiraLinks(BaseURL.parse(JIRA), rewrite=True)
    one = Caller("http", "localhost:1")
    assert links.for_caller(one) is links.for_caller(one)
    for number in range(200):
        assert links.for_caller(Caller("http", f"localhost:{number}"))
    before = links.for_caller(one)
    links.learn_first("https://stored.example.com")
    links.learn_first("https://ignored.example.com")
    after = links.for_caller(one)
    assert before is not None
    assert after is not None
    url = b"https://stored.example.com/x"
    assert (before.url(url), after.url(url)) == (url, b"http://localhost:1/x")
    assert after.url(b"https://ignored.example.com/x") == b"https://ignored.example.com/x"
    assert links.for_caller(one._replace(as_proxy=True)) is None
    assert JiraLinks(BaseURL.parse(JIRA), rewrite=False).for_caller(one) is None


@given(st.lists(st.integers(0, 10_000)), st.booleans())
def test_how_a_body_is_cut_up_changes_nothing(at: list[int], gzipped: bool) -> None:
    data = gzip.compress(BODY) if gzipped else BODY
    assert through(cut(data, at), gzipped=gzipped) == REWRITTEN


@given(st.lists(st.integers(0, 10_000)))
def test_members_of_a_gzip_body_are_one_text(at: list[int]) -> None:
    members = gzip.compress(BODY[:20]) + gzip.compress(BODY[20:])
    assert through(cut(members, at), gzipped=True) == REWRITTEN


@given(st.integers(1, len(gzip.compress(BODY)) - 1))
@example(len(gzip.compress(BODY)) - 1)
def test_a_gzip_body_that_ends_early_is_never_taken_for_whole(size: int) -> None:
    with pytest.raises(ProtocolError, match="ended early"):
        through([gzip.compress(BODY, mtime=0)[:size]], gzipped=True)


def test_what_is_not_gzip_is_said_to_be_none() -> None:
    with pytest.raises(ProtocolError, match="is not"):
        through([BODY], gzipped=True)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 5_000_000])
def test_a_bomb_is_inflated_in_small_pieces_and_whole(size: int) -> None:
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=True)
    total = 0
    for piece in rewriter.feed(gzip.compress(b" " * size)):
        assert len(piece) <= 64 * 1024
        total += len(piece)
    assert total + len(rewriter.finish()) == size


EMPTY = gzip.compress(b"", mtime=0)
ONE = gzip.compress(b" ", mtime=0)


@pytest.mark.parametrize("member", [EMPTY, ONE], ids=["empty", "of one byte"])
def test_many_small_members_are_read_in_steps(member: bytes) -> None:
    """Each takes 10 µs; a piece that came at once may have 13,000."""
    body = member * (256 * 1024 // len(member))
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=True)
    steps = list(rewriter.feed(body))
    assert len(steps) >= len(body) // (8 * 1024)
    assert max(map(len, steps)) <= 8 * 1024 // len(member) + 2
    expected = b" " * body.count(ONE) if member is ONE else b""
    assert b"".join(steps) + rewriter.finish() == expected


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"", b" " * 70_000]), max_size=30))
def test_members_of_any_size_are_one_text(texts: list[bytes]) -> None:
    members = b"".join(gzip.compress(text, mtime=0) for text in texts)
    rewriter = BodyRewriter(Links(["http://no.test"], b"http://localhost").rewriter(), gzipped=True)
    steps = list(rewriter.feed(members))
    assert b"".join(steps) + rewriter.finish() == b"".join(texts)
    assert max(map(len, steps), default=0) <= 64 * 1024 + 100


def test_a_large_piece_is_rewritten_in_steps() -> None:
    text = b'":"h' * (256 * 1024)
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=False)
    steps = list(rewriter.feed(text, last=True))
    assert len(steps) == 16
    assert b"".join(steps) == text
    assert rewriter.finish() == b""


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072])
def test_at_the_end_of_a_body_nothing_is_held_back_for_more_of_it(size: int) -> None:
    text = b'{"self": "https://jira.exam'.rjust(size)
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=False)
    assert b"".join(rewriter.feed(text, last=True)) == text
    assert rewriter.finish() == b""
    at_once = BodyRewriter(LINKS.rewriter(), gzipped=False).at_once(text)
    assert at_once == (text if size <= 65_536 else None)
    rewriter = BodyRewriter(LINKS.rewriter(), gzipped=False)
    begun = b"".join(rewriter.feed(text, last=False))
    assert len(begun) < size
    assert begun + rewriter.finish() == text

"""Which fields pass, and how they change; the rules are the contract's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import ProtocolError, RequestRefused
from sidecar.http.fields import FRAMING, USER_AGENT, Fields, Received
from sidecar.http.forwarding import (
    accepts_gzip,
    nominated_fields,
    request_fields,
    response_fields,
    strong_tags,
)

HOST = b"jira.example.com"
ADDED = [(b"X-Atlassian-Token", b"no-check"), (b"X-Request-Id", b"id")]


def sent(*fields: tuple[bytes, bytes]) -> Fields:
    """What goes to Jira of a client's fields, without what is always there."""
    out = request_fields(fields, HOST, b"id")
    assert out[0] == (b"Host", HOST)
    return [field for field in out[1:] if field not in ADDED]


def spellings(name: str) -> list[bytes]:
    """A name in every letter case that matters, and with each dash as an underscore."""
    dashes = [index for index, char in enumerate(name) if char == "-"]
    twins = [name, name.replace("-", "_")]
    twins += [name[:index] + "_" + name[index + 1 :] for index in dashes]
    return [
        spelling.encode()
        for twin in twins
        for spelling in (twin, twin.lower(), twin.upper(), twin.swapcase())
    ]


# Requests

DROPPED = [
    "Authorization", "Cookie", "Cookie2", "Expect", "Forwarded", "Host", "HTTP2-Settings",
    "Keep-Alive", "Origin", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection",
    "Referer", "Sec-Fetch-Site", "Sec-CH-UA", "Sec-WebSocket-Key", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
    "X-Forwarded-Prefix", "X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override",
    "X-HTTP-DestinationURL", "X-HTTP-Host-Override", "X-Original-Host", "X-Original-Method",
    "X-Original-URI", "X-Original-URL", "X-Override-URL", "X-Override-Method", "X-Real-IP",
    "X-Rewrite-URL", "X-Sidecar-Act-As", "X-Sidecar-Key",
]  # fmt: skip


@pytest.mark.parametrize("name", DROPPED)
def test_a_field_is_dropped_however_it_is_spelled(name: str) -> None:
    for spelling in spellings(name):
        assert sent((spelling, b"x"), (b"Accept", b"y")) == [(b"Accept", b"y")]


def test_content_length_passes_and_its_twin_does_not() -> None:
    assert sent((b"content-LENGTH", b"5")) == [(b"content-LENGTH", b"5")]
    assert sent((b"Content_Length", b"5"), (b"CONTENT_LENGTH", b"6")) == []


def test_what_only_looks_like_a_dropped_field_passes() -> None:
    fields = [
        (b"X-Forwarded", b"1"),
        (b"Authorization-Hint", b"2"),
        (b"X-Cookie", b"3"),
        (b"Second", b"4"),
        (b"Hostname", b"5"),
        (b"Overrides", b"6"),
        (b"X_Host", b"7"),
    ]
    assert sent(*fields) == fields


def test_connection_and_what_it_names_are_dropped() -> None:
    assert sent(
        (b"X-A", b"1"),
        (b"Connection", b"close, x-A ,\tX-b,, keep-alive"),
        (b"x-b", b"2"),
        (b"X-C", b"3"),
        (b"connection", b"X-C"),
        (b"X-D", b"4"),
    ) == [(b"X-D", b"4")]


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Authorization"])
def test_connection_cannot_take_our_fields_away(name: bytes) -> None:
    out = request_fields([(b"Connection", name.upper()), (b"Content-Length", b"5")], HOST, b"id")
    assert (b"Host", HOST) in out
    assert (b"Content-Length", b"5") in out


def test_what_connection_names_is_added_again_where_it_must_be_there() -> None:
    out = request_fields(
        [
            (b"Connection", b"X-Atlassian-Token, X-Request-Id, Accept-Encoding"),
            (b"X-Atlassian-Token", b"theirs"),
            (b"X-Request-Id", b"theirs"),
            (b"Accept-Encoding", b"gzip"),
        ],
        HOST,
        b"id",
    )
    assert out == [(b"Host", HOST), *ADDED]


def test_what_connection_names_leaves_other_fields_alone() -> None:
    nominating = (b"Connection", b"X-A")
    assert request_fields([nominating, (b"x-a", b"1")], HOST, b"id") == [(b"Host", HOST), *ADDED]
    named = [(b"X-Atlassian-Token", b"theirs"), (b"X-Request-Id", b"theirs")]
    encoding = (b"Accept-Encoding", b"gzip")
    out = request_fields([nominating, *named, encoding], HOST, b"id")
    assert out == [(b"Host", HOST), *named, encoding]


def test_options_of_connection_that_name_no_field_are_told_from_those_that_do() -> None:
    assert nominated_fields([b"Close, X-A\t", b",keep-ALIVE , x-b"]) == {b"x-a", b"x-b"}
    assert nominated_fields([b"close", b"keep-alive", b""]) == set()


def test_nothing_else_is_added() -> None:
    assert request_fields([], HOST, b"id") == [(b"Host", HOST), *ADDED]


def test_what_the_client_says_itself_stays() -> None:
    fields = [(b"x-atlassian-token", b"nocheck"), (b"X-REQUEST-ID", b"theirs")]
    assert request_fields(fields, HOST, b"id") == [(b"Host", HOST), *fields]


@pytest.mark.parametrize(
    ("asked", "gzip"),
    [
        (b"gzip", True),
        (b"GZip", True),
        (b"gzip, compress, deflate, br", True),
        (b"br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        (b"x-gzip", True),
        (b"*", True),
        (b"gzip;q=0.001", True),
        (b"*;q=0, gzip", True),
        (b"gzip ; q=1", True),
        (b"x-gzip, gzip;q=0", False),
        (b"gzip, x-gzip;q=0", True),
        (b"x-gzip;q=0, *", False),
        (b"", False),
        (b"identity", False),
        (b"br, zstd, deflate", False),
        (b"gzip;q=0", False),
        (b"gzip;q=0.000", False),
        (b"gzip; q=0", False),
        (b"gzip;\tq=0", False),
        (b"gzip;Q=0.", False),
        (b"*, gzip;q=0", False),
        (b"*;q=0", False),
        (b"gzipped", False),
    ],
)
def test_only_gzip_is_asked_of_jira_and_only_if_the_client_takes_it(
    asked: bytes, gzip: bool
) -> None:
    assert accepts_gzip([asked]) is gzip
    assert sent((b"accept-encoding", asked)) == [
        (b"Accept-Encoding", b"gzip" if gzip else b"identity")
    ]


def test_several_accept_encodings_are_one_list() -> None:
    assert sent((b"Accept-Encoding", b"br"), (b"accept-encoding", b"gzip")) == [
        (b"Accept-Encoding", b"gzip")
    ]


def test_a_range_is_one_of_the_plain_bytes() -> None:
    assert sent((b"Accept-Encoding", b"gzip"), (b"RANGE", b"bytes=0-9")) == [
        (b"RANGE", b"bytes=0-9"),
        (b"Accept-Encoding", b"identity"),
    ]


@pytest.mark.parametrize(
    "agent",
    [
        b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Mozilla/4.0 (compatible; MSIE 7.0)",
        b"mozilla/5.0",
        b"Opera/9.80 (Windows NT 6.1)",
        b"WebDAVFS/3.0.0 (03008000) Darwin/20.6.0 (x86_64)",
        b"WebDAVLib/1.3",
        b"Microsoft-WebDAV-MiniRedir/10.0.19045",
    ],
)
def test_a_browser_or_webdav_client_is_not_told_of(agent: bytes) -> None:
    assert sent((b"user-agent", agent)) == [(b"user-agent", USER_AGENT)]


@pytest.mark.parametrize("agent", [b"curl/8.5.0", b"python-requests/2.32", b"NotMozilla", b""])
def test_another_client_s_name_stays(agent: bytes) -> None:
    assert sent((b"User-Agent", agent)) == [(b"User-Agent", agent)]


@pytest.mark.parametrize("name", [b"X-A", b"Connection", b"Accept-Encoding", b"User-Agent"])
@pytest.mark.parametrize("value", [b"caf\xe9", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"], ids=repr)
def test_a_value_that_is_not_utf_8_is_refused(name: bytes, value: bytes) -> None:
    with pytest.raises(RequestRefused, match="not UTF-8") as caught:
        request_fields([(name, value)], HOST, b"id")
    assert caught.value.status == 400
    assert name.decode() in caught.value.message
    assert caught.value.hint == "send UTF-8 or percent-encode it"


def test_a_value_that_is_utf_8_passes_and_a_dropped_one_is_not_looked_at() -> None:
    assert sent((b"X-A", "café €".encode()), (b"Cookie", b"\xff")) == [(b"X-A", "café €".encode())]


# Responses


@pytest.mark.parametrize(
    "name",
    [
        "Access-Control-Allow-Origin",
        "Access-Control-Max-Age",
        "Alt-Svc",
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authentication-Info",
        "Proxy-Connection",
        "Proxy-Status",
        "Set-Cookie",
        "Set-Cookie2",
        "Sidecar-Problem",
        "Strict-Transport-Security",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ],
)
def test_a_field_of_jira_s_is_dropped_in_any_letter_case(name: str) -> None:
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        kept = response_fields([(spelling.encode(), b"x"), (b"Date", b"y")])
        assert kept == [(b"Date", b"y")]


def test_connection_drops_what_it_names_in_an_answer_but_its_length() -> None:
    assert response_fields(
        [
            (b"Connection", b"X-A, Content-Length"),
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"Content-Length", b"5"),
        ]
    ) == [(b"Content-Length", b"5")]


def test_everything_else_of_an_answer_passes_as_it_is() -> None:
    fields = [
        (b"x-a", b"2"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"WWW-Authenticate", b"OAuth"),
        (b"WWW-Authenticate", b"OAuth oauth_problem=x"),
        (b"X-Bytes", bytes(range(0x80, 0x100))),
        (b"X-Tab", b"a\tb"),
        (b"X-Empty", b""),
    ]
    assert response_fields(fields) == fields


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_a_control_byte_in_a_value_breaks_the_answer(byte: int) -> None:
    value = b"a" + bytes([byte]) + b"b"
    for name in (b"X-A", b"Location", b"Set-Cookie"):
        with pytest.raises(ProtocolError):
            response_fields([(name, value)])


@pytest.mark.parametrize("name", [b"", b"X A", b"X-A ", b"X:A", b"X\r\nA", b"X-\xe9", b"X\x00"])
def test_a_name_that_is_no_token_breaks_the_answer(name: bytes) -> None:
    with pytest.raises(ProtocolError):
        response_fields([(name, b"x")])


def test_a_field_may_be_called_like_an_option_of_connection() -> None:
    assert sent((b"Connection", b"close"), (b"Close", b"x")) == [(b"Close", b"x")]


def test_what_describes_the_bytes_of_a_changed_body_is_left_out() -> None:
    kept: Fields = [(b"Content-Type", b"application/json"), (b"Vary", b"Accept-Encoding")]
    names = ["Content-Length", "Content-Encoding", "Content-MD5", "Digest", "Content-Digest"]
    dropped = [(name.encode(), b"x") for name in (*names, "Repr-Digest")]
    assert response_fields([*kept, *dropped], body_changes=True) == kept
    assert response_fields([*kept, *dropped]) == [*kept, *dropped]


@pytest.mark.parametrize(("etag", "weak"), [(b'"abc"', b'W/"abc"'), (b'W/"abc"', b'W/"abc"')])
def test_a_changed_body_has_a_weak_etag(etag: bytes, weak: bytes) -> None:
    assert response_fields([(b"ETag", etag)], body_changes=True) == [(b"ETag", weak)]
    assert response_fields([(b"ETag", etag)]) == [(b"ETag", etag)]


def test_the_fields_that_are_links_are_rewritten_and_no_others() -> None:
    names = [b"Location", b"content-location", b"LINK", b"X-Location", b"Refresh", b"Content-Base"]
    rewritten = response_fields([(name, b"x") for name in names], lambda f: (f[0], b"ours"))
    assert [name for name, value in rewritten if value == b"ours"] == names[:3]
    assert [name for name, _ in rewritten] == names
    assert response_fields([(b"Location", b"x")]) == [(b"Location", b"x")]


# Whatever comes

tokens = st.text("abcXYZ-_09", min_size=1, max_size=10).map(str.encode)
names = tokens | st.sampled_from([*DROPPED, "Connection", "Content-Length", "Accept"]).flatmap(
    lambda name: st.sampled_from(spellings(name))
)
plain = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=12)
texts = plain.map(lambda text: text.strip().encode())
listed = st.lists(tokens, max_size=3).map(b", ".join)
received = st.lists(st.tuples(names, texts | listed), max_size=12)


def canonical(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


@given(received)
def test_what_is_sent_is_a_part_of_what_came_in_its_order(fields: Fields) -> None:
    out = request_fields(fields, HOST, b"id")
    passed = [f for f in out[1:] if f not in ADDED and f[0] != b"Accept-Encoding"]
    rest = iter(fields)
    assert all(field in rest for field in passed)  # a subsequence


@given(received)
def test_no_dropped_field_is_ever_sent(fields: Fields) -> None:
    out = request_fields(fields, HOST, b"id")
    forbidden = {name.lower().encode() for name in DROPPED} - {b"host"}
    assert not forbidden & {canonical(name) for name, _ in out}
    assert [value for name, value in out if canonical(name) == b"host"] == [HOST]
    nominated = nominated_fields(v for n, v in fields if n.lower() == b"connection") - FRAMING
    kept = {n.lower() for n, _ in out} - {b"x-atlassian-token", b"x-request-id"}
    assert not nominated & kept


@given(received)
def test_filtering_twice_changes_nothing(fields: Fields) -> None:
    once = request_fields(fields, HOST, b"id")
    assert sorted(request_fields(once, HOST, b"other")) == sorted(once)
    answer = response_fields(fields)
    assert response_fields(answer) == answer


@given(received, received)
def test_what_is_known_of_a_message_from_before_changes_nothing(
    fields: Fields, others: Fields
) -> None:
    message = Received(fields)
    for host, own_id in ((HOST, b"id"), (HOST, b"other"), (b"other", b"id"), (HOST, b"id")):
        out = request_fields(message, host, own_id)
        assert out == request_fields(fields, host, own_id)
        out.append((b"Authorization", b"OAuth"))  # as the next step does
    again = [(name, value) for (name, _), (_, value) in zip(fields, others, strict=False)]
    for answer in (fields, again, fields):
        for changes in (False, True):
            plain = response_fields(answer, body_changes=changes)
            assert response_fields(Received(answer), body_changes=changes) == plain


def test_what_is_known_of_a_message_is_not_worked_out_again() -> None:
    message = Received([(b"X-A", b"1")])
    out = request_fields(message, HOST, b"id")
    message.append((b"X-B", b"2"))  # as nobody does
    assert request_fields(message, HOST, b"id") == out
    answer = Received([(b"Server", b"1"), (b"Date", b"2")])
    response_fields(answer)
    assert Received([(b"Server", b"3"), (b"Date", b"4")]).names.kept is answer.names.kept
    assert answer.names.kept is not None


# Validators


@pytest.mark.parametrize(
    ("sent_tags", "jiras"),
    [
        (b'W/"a"', b'"a"'),
        (b'W/"a", "b",W/"c" , \tW/"d"', b'"a", "b","c" , \t"d"'),
        (b'"W/"', b'"W/"'),
        (b'"x,W/y"', b'"x,W/y"'),
        (b'W/"x,W/y", W/"z"', b'"x,W/y", "z"'),
        (b"*", b"*"),
        (b"W/unquoted", b"unquoted"),
        (b' W/"a"', b' "a"'),
        (b'"unclosed, W/"a"', b'"unclosed, W/"a"'),
        (b'w/"a"', b'w/"a"'),
        (b"", b""),
    ],
)
def test_every_tag_of_if_match_loses_its_w_and_none_of_if_none_match(
    sent_tags: bytes, jiras: bytes
) -> None:
    assert sent((b"if-MATCH", sent_tags)) == [(b"if-MATCH", jiras)]
    for name in (b"If-None-Match", b"If-Range"):
        assert sent((name, sent_tags)) == [(name, sent_tags)]


opaque = st.text("Wab/,; \t", max_size=6).map(str.encode)


@given(st.lists(st.tuples(st.booleans(), opaque), min_size=1, max_size=5))
def test_strong_tags_are_what_weak_ones_were_before(tags: list[tuple[bool, bytes]]) -> None:
    listed = b", ".join(b'W/"%b"' % tag if weak else b'"%b"' % tag for weak, tag in tags)
    strong = b", ".join(b'"%b"' % tag for _, tag in tags)
    assert strong_tags(listed) == strong
    assert strong_tags(strong) == strong

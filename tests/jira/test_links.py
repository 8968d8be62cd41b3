"""Links to Jira lead to the client's origin; nothing else in an answer changes."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterable
from copy import copy
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.jira.links import KEYS, Links, may_hold_links

JIRA = "https://jira.example.com/jira"
CLIENT = b"http://localhost:8088"
LINKS = Links({JIRA}, CLIENT)

# Two names for one Jira, one address inside the other.
TWO = Links({"https://jira.example.com", JIRA, "http://[fd00::1]:8080/j"}, CLIENT)

BOUND = 2 * len("https://jira.example.com:443/jira")
"""What may be held back at most: a base URL whose slashes could all be escaped."""


def rewrite(pieces: bytes | Iterable[bytes], links: Links = LINKS) -> bytes:
    rewriter = links.rewriter()
    pieces = [pieces] if isinstance(pieces, bytes) else pieces
    return b"".join([*map(rewriter.feed, pieces), rewriter.finish()])


def split(text: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(at)]


def single_bytes(text: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in text]


# --- a reference: reads the whole text from its start, string by string

NAMES = {key for key in KEYS if key != "NNxNN"} | {"48x48", "16x16", "09x90"}


def reference(text: bytes) -> bytes:
    tokens = re.findall(rb'"(?:[^"\\]|\\.)*"|[^"]+', text, re.DOTALL)
    for at in range(2, len(tokens)):
        name, colon, value = tokens[at - 2 : at + 1]
        if (
            name.startswith(b'"')
            and name[1:-1].decode("latin-1") in NAMES
            and colon.strip(b" \t\r\n") == b":"
            and value.startswith(b'"')
        ):
            tokens[at] = b'"%b"' % reference_link(value[1:-1])
    return b"".join(tokens)


def reference_link(value: bytes) -> bytes:
    parts = re.match(rb"([A-Za-z]+):((?:\\?/){2})([^/?#\\]*)(.*)", value, re.DOTALL)
    if parts is None:
        return value
    scheme, slashes, authority, rest = parts.groups()
    plain = rest.replace(rb"\/", b"/")
    if (
        scheme.lower() == b"https"
        and authority.lower()
        in (b"jira.example.com", b"jira.example.com:", b"jira.example.com:443")
        and plain.startswith(b"/jira")
        and plain[5:6] in (b"", b"/", b"?", b"#")
    ):
        return b"http:" + slashes + b"localhost:8088" + rest
    return value


def reference_object(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Rewrite the members of one object, already parsed."""
    return [
        (name, re.sub(r"^(?i:https://jira\.example\.com)(:|:443)?(?=/jira([/?#]|\Z))",
                      CLIENT.decode(), value))
        if name in NAMES and isinstance(value, str) else (name, value)
        for name, value in pairs
    ]  # fmt: skip


# --- JSON texts that try to look like something else

URLS = [
    JIRA,
    JIRA + "/rest/api/2/issue/10001",
    JIRA + "?x=1",
    JIRA + "#a",
    "HTTPS://JIRA.Example.COM/jira/x",
    "https://jira.example.com:443/jira/x",
    "https://jira.example.com:/jira",
    "https://jira.example.com:8443/jira/x",
    "https://jira.example.com/jirafoo",
    "https://jira.example.com/Jira/x",
    "https://jira.example.com.evil/jira/x",
    "https://jira.example.com@evil/jira/x",
    "https://jira.example.com/",
    "http://jira.example.com/jira/x",
    " " + JIRA,
    "see " + JIRA,
]
FRAGMENTS = [
    *('"', "\\", '\\"', '\\\\"', ":", '":"', '","', "/", "{", "}", "[", "]", " ", "\n", "\t"),
    *("self", "next", "nextPage", "48x48", "url", "https", "https:", "é", "\U0001f600", "\ud800"),
    *(f'"self":"{JIRA}/x"', f'self":"{JIRA}', f'\\"self\\":\\"{JIRA}\\"', JIRA, "://", "\x00"),
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join) | st.text(max_size=4)
names = st.sampled_from(sorted(NAMES)) | st.sampled_from(["url", "Self", "selfs", "xself"]) | texts
scalars = st.sampled_from(URLS) | texts | st.none() | st.booleans() | st.integers()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.tuples(names, inner), max_size=4).map(lambda pairs: ("object", pairs))
        | st.tuples(st.just("object"), st.lists(st.tuples(names, st.sampled_from(URLS))))
    ),
    max_leaves=12,
)


def written(value: Any, random: Random) -> str:
    """Write a value as JSON, with the spaces and escapes that chance wants."""

    def space() -> str:
        return "".join(random.choices(" \t\r\n", k=random.choice([0, 0, 0, 1, 3])))

    def string(text: str) -> str:
        quoted = json.dumps(text, ensure_ascii=random.random() < 0.5 or "\ud800" in text)
        slash = random.choice(["/", r"\/"])
        quote = random.choice([r"\"", r"\u0022"])
        body = re.sub(r"\\.", lambda m: quote if m[0] == r"\"" else m[0], quoted[1:-1])
        return '"' + body.replace("/", slash) + '"'

    if isinstance(value, str):
        return string(value)
    if isinstance(value, tuple):
        members = (
            f"{space()}{string(name)}{space()}:{space()}{written(inner, random)}{space()}"
            for name, inner in value[1]
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(space() + written(inner, random) + space() for inner in value) + "]"
    return json.dumps(value)


json_texts = st.builds(
    lambda value, random: written(value, random).encode("utf-8"),
    values,
    st.randoms(use_true_random=False),
)
junk = st.lists(
    st.sampled_from([part.encode("utf-8", "surrogatepass") for part in [*FRAGMENTS, *URLS]])
    | st.sampled_from([b"\xff", b'"self"', b'"48x48" :', b"https:\\/\\/jira.example.com\\/jira\\/"])
    | st.binary(max_size=3),
    max_size=12,
).map(b"".join)
cuts = st.lists(st.integers(min_value=0, max_value=2000), max_size=12)


@settings(deadline=None, max_examples=300)
@given(json_texts)
def test_only_listed_members_of_objects_change(text: bytes) -> None:
    output = rewrite(text)
    assert output == reference(text)
    got = json.loads(output, object_pairs_hook=lambda pairs: pairs)
    assert got == json.loads(text, object_pairs_hook=reference_object)


@settings(deadline=None, max_examples=300)
@given(json_texts | junk, cuts)
@example(b'"self":"next":"https://jira.example.com/jira/x"', [10, 12, 14])
@example(b'\\"self":"https://jira.example.com/jira/x"', [1, 2, 4])
def test_the_split_of_a_text_never_changes_the_output(text: bytes, cuts: list[int]) -> None:
    for links in (LINKS, TWO):
        whole = rewrite(text, links)
        assert rewrite(split(text, cuts), links) == whole
        assert rewrite(single_bytes(text), links) == whole


def compact(value: Any) -> str:
    """Write a value as Jira does: no spaces, nothing escaped that need not be."""
    if isinstance(value, tuple):
        members = (f"{json.dumps(name)}:{compact(inner)}" for name, inner in value[1])
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return json.dumps(value)


plain_texts = st.lists(values, max_size=3).map(lambda each: compact(each).encode())
plain_junk = st.lists(
    st.sampled_from(
        [
            *[
                f'{{"{name}":"{JIRA}/x"'.encode()
                for name in ("self", "48x48", "web", "url", "Self")
            ],
            *[b'"self":"https://jira.example.com', b'"self":"https://jira.example.com:443/jira"'],
            *[
                b'\\"self":"https://jira.example.com/jira/x"',
                b"/jira.example.com",
                b"/JIRA.example.com",
            ],
            *[b'"self" :"https://jira.example.com/jira/"', b'"self":"http://[fd00::1]:8080/j"'],
            *[b'"self":"https:\\/\\/jira.example.com\\/jira"', b'"self":"', b"/jira?", b"/jirafoo"],
            *[
                b'"body":"see https://jira.example.com/jira/x',
                b'"self":"https:\\//jira.example.com/',
            ],
            *[
                b'"self":"http://localhost/x"',
                b'"self":"http://jira/x"',
                b'"self":"http://jira:80/"',
            ],
            *[
                b'"self":"http://jira.example.com/jira/x"',
                b'"self":"http:/\\/jira.example.com/jira/',
            ],
        ]
    ),
    max_size=6,
).map(b"".join)


@settings(deadline=None, max_examples=500)
@given(json_texts | junk | plain_texts | plain_junk, cuts)
@example(b'"self":"https://jira.example.com/jira/x","url":"https://jira.example.com/jira"', [])
@example(b'"self":"https://jira.example.com/jira/x","self":"HTTPS://jira.example.com/jira"', [])
def test_the_short_way_with_plain_links_never_changes_the_output(
    text: bytes, cuts: list[int]
) -> None:
    for links in (
        LINKS,
        TWO,
        Links({JIRA}, b"https://jira.example.com"),
        Links({JIRA}, b"http://x"),
        Links({JIRA, "http://jira.example.com/jira"}, CLIENT),
        Links({"https://jira.example.com", "http://jira"}, b"http://jira.example.com:80"),
        Links({"http://localhost", JIRA}, CLIENT),
        Links([], CLIENT),
    ):
        pieces = split(text, cuts)
        output = rewrite(pieces, links)
        with pytest.MonkeyPatch.context() as without:
            without.setattr("sidecar.jira.links._Jira.led_plainly", lambda *_: None)
            assert rewrite(pieces, links) == output


@pytest.fixture
def only_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("sidecar.jira.links._Jira.led")


@pytest.mark.usefixtures("only_the_short_way")
def test_links_that_are_written_as_jira_writes_them_take_the_short_way() -> None:
    answer = f'{{"self":"{JIRA}/1","url":"https://x","avatarUrls":{{"48x48":"{JIRA}/2"}}}}'.encode()
    assert rewrite(answer) == reference(answer) != answer
    with pytest.raises(AttributeError, match="led"):
        rewrite(answer + f'{{"url":"{JIRA}/3"}}'.encode())


@pytest.mark.usefixtures("only_the_short_way")
@pytest.mark.parametrize(
    "text",
    [f"see {JIRA}/browse/JJ-1", f"\\r\\n{JIRA}", f"<{JIRA}>", "at https://jira.example.com.x"],
)
def test_what_people_write_of_jira_within_a_text_takes_the_short_way_too(text: str) -> None:
    answer = f'{{"self":"{JIRA}/1","description":"{text}","iconUrl":"{JIRA}/2"}}'.encode()
    assert rewrite(answer) == reference(answer) != answer


@pytest.mark.usefixtures("only_the_short_way")
@pytest.mark.parametrize("other", ["http://jira.example.com/jira", "http://jira:8080", "http://x/"])
def test_links_to_one_of_several_addresses_take_the_short_way_too(other: str) -> None:
    answer = f'{{"self":"{JIRA}/1","body":"\\n","iconUrl":"{JIRA}/2"}}'.encode()
    assert rewrite(answer, Links({JIRA, other}, CLIENT)) == reference(answer) != answer


def test_links_to_several_addresses_are_all_led_though_one_begins_like_the_clients_own() -> None:
    links = Links({"http://localhost", "http://jira"}, b"http://localhost:8088")
    answer = b'{"self":"http://jira/1","web":"http://localhost/2"}'
    led = b'{"self":"http://localhost:8088/1","web":"http://localhost:8088/2"}'
    assert rewrite(answer, links) == led


@settings(deadline=None)
@given(junk)
def test_no_more_than_a_base_url_is_held_back_of_anything(text: bytes) -> None:
    rewriter = LINKS.rewriter()
    for byte in single_bytes(text):
        rewriter.feed(byte)
        assert len(copy(rewriter).finish()) <= BOUND


SEARCH = b"""{"expand":"names","startAt":0,"issues":[{"id":"10300",
 "self" : "https://jira.example.com/jira/rest/api/2/issue/10300","fields":{"description":
 "a \\"self\\":\\"https://jira.example.com/jira/x\\" and https://jira.example.com/jira/browse/A-1",
 "avatarUrls":{"48x48":"https:\\/\\/jira.example.com\\/jira\\/secure\\/a?s=48",
 "16x16":"https://www.gravatar.com/avatar/1"},"self":null,"url":"https://jira.example.com/jira/u"
 ,"next":"https://jira.example.com:443/jira?a","prev":"HTTPS://Jira.Example.Com/jira"}}]}"""


def test_every_single_split_and_single_bytes_give_the_same() -> None:
    whole = rewrite(SEARCH)
    assert whole == reference(SEARCH) != SEARCH
    assert rewrite(single_bytes(SEARCH)) == whole
    for cut in range(len(SEARCH) + 1):
        assert rewrite([SEARCH[:cut], SEARCH[cut:]]) == whole
        assert rewrite([SEARCH[:cut], b"", SEARCH[cut : cut + 1], SEARCH[cut + 1 :]]) == whole


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_of_the_list_is_rewritten(name: str) -> None:
    text = json.dumps({name: JIRA + "/x"}).encode()
    assert json.loads(rewrite(text)) == {name: "http://localhost:8088/jira/x"}


@pytest.mark.parametrize(
    ("value", "led"),
    [
        (b"https://jira.example.com/jira", b"http://localhost:8088/jira"),
        (b"https://jira.example.com/jira/", b"http://localhost:8088/jira/"),
        (b"https://jira.example.com/jira?a=/", b"http://localhost:8088/jira?a=/"),
        (b"https://jira.example.com/jira#a", b"http://localhost:8088/jira#a"),
        (b"HTTPS://JIRA.example.COM/jira/x", b"http://localhost:8088/jira/x"),
        (b"https://jira.example.com:443/jira/x", b"http://localhost:8088/jira/x"),
        (b"https://jira.example.com:/jira/x", b"http://localhost:8088/jira/x"),
        (b"https:\\/\\/jira.example.com\\/jira\\/x/y", b"http:\\/\\/localhost:8088\\/jira\\/x/y"),
        (b"https://jira.example.com\\/jira", b"http://localhost:8088\\/jira"),
        (b"https://jira.example.com/jira/\xff\xc3", b"http://localhost:8088/jira/\xff\xc3"),
    ],
)
def test_scheme_and_authority_change_and_the_rest_stays(value: bytes, led: bytes) -> None:
    assert rewrite(b'{"self":"%b"}' % value) == b'{"self":"%b"}' % led


@pytest.mark.parametrize(
    "value",
    [
        b"https://jira.example.com.evil/jira/x",
        b"https://jira.example.comx/jira/x",
        b"https://jira.example.com@evil/jira/x",
        b"https://u:p@jira.example.com/jira/x",
        b"https://jira.example.com:8443/jira/x",
        b"https://jira.example.com:4430/jira/x",
        b"https://jira.example.com:80/jira/x",
        b"https://jiraXexample.com/jira/x",
        b"https://evil/https://jira.example.com/jira/x",
        b"https://jira.example.com/jirafoo",
        b"https://jira.example.com/JIRA/x",
        b"https://jira.example.com/",
        b"https://jira.example.com",
        b"https://jira.example.com/jira%2Fx",
        b"https://jira.example.com/jira\\\\/x",
        b"https://jira.example.com/jira\\",
        b"http://jira.example.com/jira/x",
        b"https:/jira.example.com/jira/x",
        b"//jira.example.com/jira/x",
        b"https:\\u002f\\u002fjira.example.com/jira/x",
        b" https://jira.example.com/jira/x",
        b"see https://jira.example.com/jira/x",
    ],
)
def test_what_only_resembles_the_base_url_stays(value: bytes) -> None:
    text = b'{"self":"%b"}' % value
    assert rewrite(text) == rewrite(single_bytes(text)) == text


@pytest.mark.parametrize(
    "template",
    [
        b'{"url":"%b"}',
        b'{"Self":"%b"}',
        b'{"selfs":"%b"}',
        b'{"myself":"%b"}',
        b'{"148x48":"%b"}',
        b'{"4x4":"%b"}',
        b'{"s\\u0065lf":"%b"}',
        b'["self","%b"]',
        b'{"self":["%b"]}',
        b'{"self":{"href":"%b"}}',
        b'{"say \\"self":"%b"}',
        b'{"\\\\\\"self":"%b"}',
        b'"\\"self\\":\\"%b\\""',
        b'"\\\\\\"self\\\\\\":\\\\\\"%b\\\\\\""',
        b'{"body":"\\"self\\": \\"%b\\""}',
    ],
)
def test_other_names_and_other_places_stay(template: bytes) -> None:
    text = template % b"https://jira.example.com/jira/x"
    json.loads(text)
    assert rewrite(text) == rewrite(single_bytes(text)) == text


@pytest.mark.parametrize("space", [b"", b" ", b"\t\r\n ", b" " * 5000])
def test_any_space_may_stand_around_the_colon(space: bytes) -> None:
    text = b'{"self"%b:%b"https://jira.example.com/jira/x"}' % (space, space)
    led = b'{"self"%b:%b"http://localhost:8088/jira/x"}' % (space, space)
    assert rewrite(text) == rewrite(single_bytes(text)) == led


@pytest.mark.parametrize(
    ("base", "value", "led"),
    [
        ("https://jira.example.com", b"https://jira.example.com", b""),
        ("https://jira.example.com/", b"https://jira.example.com/x", b"/x"),
        ("https://JIRA.example.com:443/a/b/", b"https://jira.example.com/a/b/x", b"/a/b/x"),
        ("HTTP://jira_1:80", b"http://jira_1/x", b"/x"),
        ("http://jira:8080/jira", b"http://jira:8080/jira/x", b"/jira/x"),
        ("http://[FD00::1]:8080/jira", b"http://[fd00::1]:8080/jira/x", b"/jira/x"),
        ("https://[::1]/jira", b"https://[::1]:443/jira/x", b"/jira/x"),
        ("https://jira.exämple.com/ü", "https://jira.exämple.com/ü/".encode(), "/ü/".encode()),
        ("https://jira/a.b+c(d)", b"https://jira/a.b+c(d)/x", b"/a.b+c(d)/x"),
    ],
)
def test_base_urls_of_every_form_are_recognised(base: str, value: bytes, led: bytes) -> None:
    links = Links([base], CLIENT)
    assert links.url(value) == CLIENT + led
    for text in (b'{"self":"%b"}' % value, b'{"self":"%b"}' % value.replace(b"/", rb"\/")):
        output = rewrite(single_bytes(text), links)
        assert json.loads(output)["self"] == (CLIENT + led).decode()


def test_jira_may_have_several_urls() -> None:
    text = b'{"self":"https://jira.example.com/x","next":"http://[FD00::1]:8080/j/x"}'
    led = b'{"self":"http://localhost:8088/x","next":"http://localhost:8088/j/x"}'
    assert rewrite(text, TWO) == led
    assert rewrite(b'{"self":"https://jira.example.com/ji', TWO) == (
        b'{"self":"http://localhost:8088/ji'
    )


@pytest.mark.parametrize(
    "base",
    ["", "jira", "ftp://jira/", "https://", "https://u@jira", "https://j:99x", "https://j?x"],
)
def test_a_base_url_that_is_none_matches_nothing(base: str) -> None:
    links = Links([base], CLIENT)
    assert rewrite(SEARCH, links) == SEARCH
    assert links.url(base.encode()) == base.encode()


@pytest.mark.parametrize(
    "origin",
    [b"", b"localhost", b'http://a"b', b"http://a\\b", b"http://a/", b"http://u@a", b"x://a"],
)
def test_a_client_origin_that_would_break_the_json_is_refused(origin: bytes) -> None:
    with pytest.raises(ValueError, match="not a scheme and an authority"):
        Links({JIRA}, origin)


def test_the_clients_own_host_stands_in_the_links_as_the_client_spells_it() -> None:
    for origin in (b"http://LocalHost:8088", b"https://127.0.0.1", b"http://[::1]:80"):
        output = rewrite(b'{"self":"https://jira.example.com/jira/x"}', Links({JIRA}, origin))
        assert output == b'{"self":"%b/jira/x"}' % origin


@pytest.mark.parametrize(
    ("fed", "passed"),
    [
        (b'{"id":1,"nam', b'{"id":1,"nam'),
        (b'{"self', b'{"self'),
        (b'{"self" :  ', b'{"self" :  '),
        (b'{"self":"', b'{"self":'),
        (b'{"self":"https://jira.example.com/ji', b'{"self":'),
        (b'{"self":"https://jira.example.com/jira', b'{"self":'),
        (b'{"self":"https:\\', b'{"self":'),
        (b'{"self":"https://jira.example.com/jira/', b'{"self":"http://localhost:8088/jira/'),
        (b'{"self":"https://jira.example.com/jix', b'{"self":"https://jira.example.com/jix'),
        (b'{"self":"https://other', b'{"self":"https://other'),
        (b'{"self":"htt\\', b'{"self":"htt\\'),
        (b'{"name":"https://jira.example.com/ji', b'{"name":"https://jira.example.com/ji'),
        (b"\xef\xbb\xbf\\", b"\xef\xbb\xbf\\"),
    ],
)
def test_only_the_beginning_of_a_possible_link_waits(fed: bytes, passed: bytes) -> None:
    assert LINKS.rewriter().feed(fed) == passed


def test_a_long_string_streams_through_in_bounded_memory() -> None:
    piece = b'x\\\\\\"self\\": \\"https://jira.example.com/jira/ \xc3\xa9' * 1000
    rewriter = LINKS.rewriter()
    assert rewriter.feed(b'{"content":"') == b'{"content":'
    assert rewriter.feed(b" ") == b'" '
    tracemalloc.start()
    for _ in range(50_000_000 // len(piece)):
        assert rewriter.feed(piece) == piece
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(piece)
    end = b'","self":"https://jira.example.com/jira/x"}'
    assert rewriter.feed(end) + rewriter.finish() == b'","self":"http://localhost:8088/jira/x"}'


def test_endless_names_and_spaces_are_not_kept() -> None:
    for endless in (b" \n" * 5000, b"a" * 10_000, b"\\" * 10_000, b'"' * 10_000):
        rewriter = LINKS.rewriter()
        rewriter.feed(b'{"self"')
        tracemalloc.start()
        for _ in range(100):
            assert rewriter.feed(endless) == endless
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100 * len(endless)


def test_nesting_has_no_limit() -> None:
    link = b'{"self":"https://jira.example.com/jira/x"}'
    text = b'{"a":[' * 200_000 + link + b"]}" * 200_000
    assert rewrite(text) == text.replace(b"https://jira.example.com", CLIENT)


def test_a_rewriter_can_be_finished_at_any_point() -> None:
    for end in range(len(SEARCH)):
        rewriter = LINKS.rewriter()
        assert rewriter.feed(SEARCH[:end]) + rewriter.finish() == rewrite(SEARCH[:end])
        assert rewriter.finish() == b""


@pytest.mark.parametrize(
    ("value", "led"),
    [
        (b"https://jira.example.com/jira/login.jsp", b"http://localhost:8088/jira/login.jsp"),
        (b"https://Jira.example.com:443/jira", b"http://localhost:8088/jira"),
        (b"https://jira.example.com/jira?a", b"http://localhost:8088/jira?a"),
        (b"https://jira.example.com/jirafoo", None),
        (b"https://jira.example.com.evil/jira", None),
        (b"https://sso.example.com/?to=https://jira.example.com/jira/", None),
        (b'https://jira.example.com/jira"', None),
        (b"https:\\/\\/jira.example.com\\/jira", None),
        (b"/jira/rest", None),
        (b"", None),
        (b"https://jira.example.com/jira/\xff", b"http://localhost:8088/jira/\xff"),
    ],
)
def test_a_location_under_the_base_url_is_led_to_the_client(
    value: bytes, led: bytes | None
) -> None:
    assert LINKS.url(value) == (value if led is None else led)


@pytest.mark.parametrize(
    ("value", "led"),
    [
        (
            b'<https://jira.example.com/jira/a?x=1,2>; rel="next", <https://other/>; rel=prev',
            b'<http://localhost:8088/jira/a?x=1,2>; rel="next", <https://other/>; rel=prev',
        ),
        (
            b'</a>; title="a \\" <https://jira.example.com/jira>", <https://jira.example.com/jira>',
            b'</a>; title="a \\" <https://jira.example.com/jira>", <http://localhost:8088/jira>',
        ),
        (b'<>; anchor="https://jira.example.com/jira/"', None),
        (b"<https://jira.example.com/jira/", None),
        (b'<a>; title="<https://jira.example.com/jira/>', None),
        (b'"\\', None),
        (b"\xff", None),
    ],
)
def test_the_targets_of_a_link_field_are_led_to_the_client(value: bytes, led: bytes | None) -> None:
    assert LINKS.link_field(value) == (value if led is None else led)


def test_a_field_is_led_by_what_its_name_says_that_it_holds() -> None:
    jira, ours = b"https://jira.example.com/jira/x", b"http://localhost:8088/jira/x"
    for name in (b"Link", b"link"):
        assert LINKS.field((name, b"<%b>" % jira)) == (name, b"<%b>" % ours)
        assert LINKS.field((name, jira)) == (name, jira)
    for name in (b"Location", b"Content-Location"):
        assert LINKS.field((name, jira)) == (name, ours)
        assert LINKS.field((name, b"<%b>" % jira)) == (name, b"<%b>" % jira)


def test_hostile_link_fields_take_linear_time() -> None:
    for value in (b"<" * 65536, b'"' * 65537, b'"' + b'\\"' * 32768, b'<"' * 32768):
        assert LINKS.link_field(value) == value


@pytest.mark.parametrize(
    ("content_type", "json_type"),
    [
        (b"application/json", True),
        (b"Application/JSON;charset=UTF-8", True),
        (b"application/json ; charset=utf-8", True),
        (b"application/hal+json", True),
        (b"application/vnd.api+JSON; a=b", True),
        (b"application/problem+json", True),
        (b"application/jsonp", False),
        (b"application/json-seq", False),
        (b"application/x-ndjson", False),
        (b"text/html; note=application/json", False),
        (b"text/plain", False),
        (b"+json", False),
        (b"", False),
    ],
)
def test_only_json_types_may_hold_links(content_type: bytes, json_type: bool) -> None:
    assert may_hold_links(content_type) is json_type


def test_these_are_the_names_whose_values_are_links() -> None:
    """Those that real clients follow; never `url`, which people fill."""
    names = [
        *["self", "content", "thumbnail", "iconUrl", "avatarUrl", "48x48", "16x16", "nextPage"],
        *["prevPage", "previousPage", "next", "prev", "base", "baseUrl", "viewUrl", "searchUrl"],
        *["web", "jiraRest", "agent"],
    ]
    others = ["url", "Self", "selfs", "xself", "href", "48x4", "4x48", "AAxBB", "48X48", "link", ""]
    for name in names + others:
        text = json.dumps({name: JIRA}).encode()
        led = text.replace(b"https://jira.example.com", CLIENT)
        assert rewrite(text) == (led if name in names else text)


@pytest.mark.parametrize(
    ("address", "written", "is_ours"),
    [
        ("http://[fd00::1]:8080/j", "http://[FD00::1]:8080/j/x", True),
        ("http://[fd00::1]:8080/j", "http://[fd00::1]/j/x", False),
        ("http://[fd00::1]:8080/j", "http://[fd00::2]:8080/j/x", False),
        ("http://[fd00::1]/j", "http://[fd00::1]:80/j", True),
        ("http://[fd00::1]/j", "http://[fd00::1]:443/j", False),
        ("https://[fd00::1]/j", "https://[fd00::1]:443/j", True),
        ("https://a.test:8443", "https://a.test:8443/x", True),
        ("https://a.test:8443", "https://a.test:84430/x", False),
        ("https://a.test:8443", "https://a.test/x", False),
    ],
)
def test_a_link_is_ours_by_any_spelling_of_its_authority(
    address: str, written: str, is_ours: bool
) -> None:
    links = Links({address}, CLIENT)
    text = json.dumps({"self": written}).encode()
    assert (rewrite(text, links) != text) is is_ours
    assert (links.url(written.encode()) != written.encode()) is is_ours


@pytest.mark.parametrize(
    "origin",
    [b"localhost:8088", b"http://", b"http:/x", b"ftp://x", b"http://a/b", b"http://a\x00"],
)
def test_what_is_no_origin_is_refused(origin: bytes) -> None:
    with pytest.raises(ValueError, match="is not a scheme and an authority"):
        Links({JIRA}, origin)

"""Base URLs, and request targets made clean: the contract's rules as tables, then as properties."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import RequestRefused
from sidecar.http.target import (
    LONGEST_URL,
    BaseURL,
    Target,
    absolute_form,
    acting_as,
    clean,
    refuse_requestor,
    refuse_reserved,
    signing_uri,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://jira.example.com", "https://jira.example.com"),
        ("HTTPS://Jira.Example.COM/", "https://jira.example.com"),
        ("https://jira.example.com:443/jira/", "https://jira.example.com/jira"),
        ("http://jira.example.com:443/a/b//", "http://jira.example.com:443/a/b"),
        ("http://jira:80", "http://jira"),
        ("http://jira:", "http://jira"),
        ("http://jira:8080", "http://jira:8080"),
        ("http://jira_dev.local:8080/jira", "http://jira_dev.local:8080/jira"),
        ("http://jira.example.com.", "http://jira.example.com."),
        ("http://127.0.0.1:2990/jira", "http://127.0.0.1:2990/jira"),
        ("http://[::1]:2990/jira", "http://[::1]:2990/jira"),
        ("https://[2001:DB8:0:0::1]:443", "https://[2001:db8::1]"),
        ("https://münchen.example/Jira", "https://xn--mnchen-3ya.example/Jira"),
        ("https://MÜNCHEN.example", "https://xn--mnchen-3ya.example"),
        ("https://jira.example.com/a{b}%20c", "https://jira.example.com/a%7Bb%7D%20c"),
    ],
)
def test_a_base_url_has_one_spelling(text: str, normal: str) -> None:
    base = BaseURL.parse(text)
    assert str(base) == normal
    assert BaseURL.parse(normal) == base
    assert base.origin == f"{base.scheme}://{base.authority}"
    assert str(base) == base.origin + base.path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with http:// or https://"),
        ("jira.example.com", "must begin with http:// or https://"),
        ("ftp://jira.example.com", "must begin with http:// or https://"),
        ("https:jira.example.com", "must begin with http:// or https://"),
        ("https://user:secret@jira.example.com", "no user name or password"),
        ("https://jira.example.com?x", "no query"),
        ("https://jira.example.com/jira#x", "no fragment"),
        (" https://jira.example.com", "no spaces"),
        ("https://jira.example.com/my jira", "no spaces"),
        ("https://jira.example.com\n", "no spaces"),
        ("https://", "host or port is malformed"),
        ("https://:443", "host or port is malformed"),
        ("https:///jira", "host or port is malformed"),
        ("https://jira:0", "host or port is malformed"),
        ("https://jira:65536", "host or port is malformed"),
        ("https://jira:80x", "host or port is malformed"),
        ("https://jira:١", "host or port is malformed"),
        ("https://::1/", "host or port is malformed"),
        ("https://[::1/", "host or port is malformed"),
        ("https://[1:2]/", "host or port is malformed"),
        ("https://[fe80::1%25eth0]/", "host or port is malformed"),
        ("https://a..b", "host or port is malformed"),
        ("https://a,b", "host or port is malformed"),
        ("https://%6aira", "host or port is malformed"),
        ("https://jira\\.evil", "host or port is malformed"),
        ("https://straße.example", "host or port is malformed"),
        ("https://１２７.0.0.1", "host or port is malformed"),
        ("https://jira.example.com/a/../b", "a . or .. segment"),
        ("https://jira.example.com/%", "a % that begins no encoded octet"),
        ("https://jira.example.com/é", "not ASCII"),
    ],
)
def test_a_bad_base_url_is_refused_with_a_reason_that_quotes_nothing(
    text: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        BaseURL.parse(text)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("base", "scheme", "authority", "same"),
    [
        ("https://jira.example.com", "https", "jira.example.com", True),
        ("https://jira.example.com", "https", "JIRA.example.com:443", True),
        ("https://jira.example.com", "http", "jira.example.com", True),
        ("https://jira.example.com", "http", "jira.example.com:443", True),
        ("https://jira.example.com", "https", "jira.example.com:80", False),
        ("https://jira.example.com", "http", "jira.example.com:8080", False),
        ("https://jira.example.com", "https", "jira.example.com.evil", False),
        ("https://jira.example.com", "https", "jira.example.com@evil", False),
        ("https://jira.example.com", "ftp", "jira.example.com", False),
        ("https://jira.example.com", "https", "", False),
        ("http://jira:8080/jira", "http", "jira:8080", True),
        ("http://jira:8080/jira", "http", "jira", False),
        ("http://[::1]:8080", "http", "[0:0:0:0:0:0:0:1]:8080", True),
        ("http://[::1]:8080", "http", "::1:8080", False),
        ("http://[::1]:8080", "http", "[::1]", False),
        ("http://[::1]:8080", "http", "[::2]:8080", False),
        ("http://[FD00::1]", "http", "[fd00:0::1]:80", True),
        ("https://[fd00::1]", "http", "[FD00::1]:80", True),
        ("https://[fd00::1]", "https", "[fd00::1]x", False),
        ("https://[fd00::1]", "https", "fd00::1", False),
        ("http://[::ffff:127.0.0.1]", "http", "[::FFFF:7f00:1]", True),
        ("http://jira", "https", "jira", True),
        ("http://jira", "https", "jira:443", True),
        ("http://jira", "https", "jira:444", False),
    ],
)
def test_an_authority_is_compared_without_case_and_default_ports(
    base: str, scheme: str, authority: str, same: bool
) -> None:
    assert BaseURL.parse(base).is_same_authority(scheme, authority) is same


# Target as it comes, and as it is signed and sent.
KEPT = [
    "/",
    "//",
    "/rest/api/2/issue/JJ-2",
    "//evil/x",
    "///evil/x",
    "/@evil",
    "/rest/%41pi/2/%7euser/A%2FB?q=%41+b%20c&z=%2f&e=&f",
    "/rest/a?x=2&x=1&x=&=v&y=!$'()*,;:@/?",
    "/rest/api/2/search?jql=project%20%3D%20JJ&maxResults=50",
    "/a?",
    "/a??",
    "/a?&&",
    "/a?=x",
    "/a?b=c=d&e",
    "/a;v=1/b;w?c;d",
    "/a%20b%C3%A9/%e2%82%ac%F0%9F%98%80",
    "/%FF?%FF=%C3",
    "/a%5B%5D?fields%5B%5D=x&%5Boauth_x=1",
    "/.../..a/.a/a./a..b",
    "/a?..=../../..\x7e&b=%2e%2e/",
    "/a?q=%00%0A%0d%7F%1f",
    "/a%25b?q=%25",
    "/a%252525252e/b",
    "/%2525252e%2525252e/b",
    "/secure/attachment/10000/a%3Bb.txt",
    "/a?oauth=1&q=oauth_token=1&os_authType=basic",
    "/http://evil/x?url=http://evil",
]
ENCODED = [
    ('/"<>^`{|}[]', "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
    ('/a?"<>^`{|}[]', "/a?%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
    ("/a?fields[]=x", "/a?fields%5B%5D=x"),
    ("/a?b\\c", "/a?b%5Cc"),
    ("/a?50%", "/a?50%25"),
    ("/a?50%?b\\?c", "/a?50%25?b%5C?c"),
    ("/a?a=%zz&b=%4&c=%%41", "/a?a=%25zz&b=%254&c=%25%41"),
    ("/a?%[4", "/a?%25%5B4"),
    ('/a?%4"', "/a?%254%22"),
    ("/a[/b?c]", "/a%5B/b?c%5D"),
]


@pytest.mark.parametrize(("raw", "expected"), [*[(raw, raw) for raw in KEPT], *ENCODED])
def test_a_target_is_kept_but_for_what_must_be_encoded(raw: str, expected: str) -> None:
    assert str(clean(raw, "")) == expected


DOT = "a . or .. segment"
CONTROL = "a control character"
BACKSLASH = "a backslash"
STRAY = "a % that begins no encoded octet"
SLASH = "does not begin with a slash"
RESERVED = "which only the sidecar may set"
REFUSED = [
    ("", SLASH),
    ("*", SLASH),
    ("evil:443", SLASH),
    ("@evil", SLASH),
    (".evil:443", SLASH),
    ("?x", SLASH),
    ("rest/api", SLASH),
    ("http://evil/", SLASH),
    ("/a#b", "a #"),
    ("/a?b#c", "a #"),
    ("/a b", "a space"),
    ("/a?b c", "a space"),
    ("/a\tb", CONTROL),
    ("/a?b\r\nX: y", CONTROL),
    ("/a\x00", CONTROL),
    ("/a?\x7f", CONTROL),
    ("/é", "not ASCII"),
    ("/a?\udcc3\udca9", "not ASCII"),
    ("/a\\b", BACKSLASH),
    ("/a%5Cb", BACKSLASH),
    ("/a%5cb", BACKSLASH),
    ("/a%255cb", BACKSLASH),
    ("/a%25255cb", BACKSLASH),
    ("/a%", STRAY),
    ("/a%4", STRAY),
    ("/a%zz", STRAY),
    ("/%u002e", STRAY),
    ("/.", DOT),
    ("/..", DOT),
    ("/rest/../secure/admin", DOT),
    ("/rest/./x", DOT),
    ("/rest/..", DOT),
    ("/rest/..?x", DOT),
    ("/rest/..;/secure", DOT),
    ("/rest/..;v=1/secure", DOT),
    ("/rest/.;", DOT),
    ("/rest/%2e%2e/secure", DOT),
    ("/rest/%2E./secure", DOT),
    ("/rest/.%2e;x/secure", DOT),
    ("/rest/..%2f..%2fsecure", DOT),
    ("/rest/a%2f..", DOT),
    ("/rest/..%3b/secure", DOT),
    ("/rest/%252e%252e/secure", DOT),
    ("/rest/.%252e/secure", DOT),
    ("/rest/%25252e%2e/secure", DOT),
    ("/rest/a;x%2f../secure", DOT),
    ("/rest/..%252f", DOT),
    ("/rest/..%5c", BACKSLASH),
    ("/a%00b", CONTROL),
    ("/a%0d%0aX-Injected:%201", CONTROL),
    ("/a%7f", CONTROL),
    ("/a%2500", CONTROL),
    ("/a%25250A", CONTROL),
    ("/a?oauth_token=evil", RESERVED),
    ("/a?b&oauth_token", RESERVED),
    ("/a?xoauth_requestor_id=admin", RESERVED),
    ("/a?%6fauth_token=evil", RESERVED),
    ("/a?OAuth%5FToken=evil", RESERVED),
    ("/a?x%4Fauth_=", RESERVED),
    ("/a?+oauth_token=evil", RESERVED),
    ("/a?%=1&[]&oauth_token=evil", RESERVED),
    ("/a?=v&oauth_token=evil", RESERVED),
]


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_what_could_be_read_in_two_ways_is_refused(raw: str, reason: str) -> None:
    with pytest.raises(RequestRefused, match=re.escape(reason)) as raised:
        clean(raw, "")
    assert raised.value.status == 400
    assert raised.value.hint
    assert "evil" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        ("/caf\xe9", "percent-encode é as %C3%A9"),
        ("/a?caf\udcc3\udca9", "percent-encode é as %C3%A9"),
        ("/a?q=\N{GRINNING FACE}é", "percent-encode 😀 as %F0%9F%98%80"),
        ("/caf\udce9", "percent-encode its UTF-8 form, é as %C3%A9"),
        ("/a\u202eb", "percent-encode its UTF-8 form, é as %C3%A9"),
        ("/a\ud800", "percent-encode its UTF-8 form, é as %C3%A9"),
        ("/a b", "percent-encode a space as %20"),
        ("/a#b", "percent-encode # as %23"),
        ("/a\tb", "percent-encode it as %09"),
        ("/50%", "percent-encode % as %25"),
    ],
)
def test_a_hint_says_how_the_character_is_encoded(raw: str, hint: str) -> None:
    with pytest.raises(RequestRefused) as raised:
        clean(raw, "")
    assert raised.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/rest/api", "/jira/rest/api"),
        ("/", "/jira/"),
        ("/?a", "/jira/?a"),
        ("/jira", "/jira"),
        ("/jira?a", "/jira?a"),
        ("/jira/", "/jira/"),
        ("/jira/rest/api?", "/jira/rest/api?"),
        ("/jira/jira/x", "/jira/jira/x"),
        ("/jirafe/x", "/jira/jirafe/x"),
        ("/jira;v=1/x", "/jira/jira;v=1/x"),
        ("/JIRA/x", "/jira/JIRA/x"),
        ("/%6aira/x", "/jira/%6aira/x"),
        ("//jira/x", "/jira//jira/x"),
        ("//evil/x", "/jira//evil/x"),
    ],
)
def test_the_context_path_is_added_once(raw: str, expected: str) -> None:
    assert str(clean(raw, "/jira")) == expected


def test_a_base_url_has_its_bounds() -> None:
    longest = "https://jira.example.com/" + "a" * (LONGEST_URL - 25)
    assert str(BaseURL.parse(longest)) == longest
    with pytest.raises(ValueError, match="no more than 2000 characters"):
        BaseURL.parse(longest + "a")
    name = ".".join(["a" * 63] * 4) + "." + "a" * 39
    assert len(f"{name}:8080") == 300
    assert BaseURL.parse(f"http://{name}:8080").authority == f"{name}:8080"
    with pytest.raises(ValueError, match="host or port is malformed"):
        BaseURL.parse(f"http://{name}a:8080")
    base = BaseURL.parse("http://a")
    assert not base.is_same_authority("http", "é" * 60_000)


@pytest.mark.parametrize(
    "url", ["http://jira:1/X", "http://jira:65535/boX", "https://jira:80", "http://jira:443"]
)
def test_a_base_url_in_normal_form_stays_as_it_is(url: str) -> None:
    assert str(BaseURL.parse(url)) == url
    assert str(BaseURL.parse(url + "//")) == url


def test_a_base_url_shows_each_of_its_parts_once() -> None:
    url = BaseURL.parse("https://jira.example.com:8443/jira")
    assert repr(url) == (
        "BaseURL(scheme='https', host='jira.example.com', port=8443, path='/jira')"
    )


def test_an_ipv6_base_url_has_its_brackets_where_they_belong() -> None:
    base = BaseURL.parse("http://[FD00:0:0::1]:8080/jira")
    assert (base.host, base.port, base.authority) == ("fd00::1", 8080, "[fd00::1]:8080")
    assert (base.origin, str(base)) == ("http://[fd00::1]:8080", "http://[fd00::1]:8080/jira")
    assert BaseURL.parse("https://[::1]:443").authority == "[::1]"


def test_a_bare_question_mark_is_a_query() -> None:
    assert clean("/a", "") == Target("/a", None)
    assert clean("/a?", "") == Target("/a", "")
    assert clean("/a[]", "") == Target("/a%5B%5D", None)
    assert clean("/a[]?b?[c]", "") == Target("/a%5B%5D", "b?%5Bc%5D")


def test_a_reserved_parameter_of_a_query_is_refused_as_one_of_the_query() -> None:
    with pytest.raises(RequestRefused, match=r"^The query has a parameter oauth_token, which"):
        clean("/x?a=b&oauth_token=secret", "")


def test_a_reserved_parameter_of_a_form_is_refused_by_name_alone() -> None:
    refuse_reserved("a=1", "form")
    with pytest.raises(RequestRefused, match="The form has a parameter oauth_token,") as raised:
        refuse_reserved("a=1&oauth_token=secret", "form")
    assert "secret" not in str(raised.value)
    assert raised.value.hint.startswith("leave oauth_*, xoauth_*, os_username and os_password out")
    with pytest.raises(RequestRefused, match=r"has a parameter oauth_\?\?a,"):
        refuse_reserved("oauth_%1b%C3%A9a", "form")


def test_a_user_that_a_form_or_query_names_is_refused_unquoted() -> None:
    refuse_requestor("a=user_id", "form")
    with pytest.raises(RequestRefused, match="The query has a parameter user_id,") as raised:
        refuse_requestor("a=1&user_%69d=secret", "query")
    assert raised.value.status == 400
    assert raised.value.hint.startswith("leave user_id out")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (None, "/a?xoauth_requestor_id=z%C3%BC%26%20%3D"),
        ("", "/a?xoauth_requestor_id=z%C3%BC%26%20%3D"),
        ("b=1&c", "/a?xoauth_requestor_id=z%C3%BC%26%20%3D&b=1&c"),
    ],
)
def test_a_user_is_named_first(query: str | None, expected: str) -> None:
    assert str(acting_as(Target("/a", query), "zü& =")) == expected
    assert acting_as(Target("/a", query), None) == Target("/a", query)


def test_the_signing_url_replaces_origin_and_context_path() -> None:
    base = BaseURL.parse("http://10.0.0.1:8080/jira")
    path = clean("/rest/%7e", base.path).path
    for signing, expected in [
        ("http://10.0.0.1:8080/jira", "http://10.0.0.1:8080/jira/rest/%7e"),
        ("https://jira.example.com", "https://jira.example.com/rest/%7e"),
        ("https://jira.example.com:8443/x/", "https://jira.example.com:8443/x/rest/%7e"),
    ]:
        assert signing_uri(base, BaseURL.parse(signing), path) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("http://jira/rest?x", ("http", "jira", "/rest?x")),
        ("HTTPS://Jira.Example.com:443/a", ("https", "Jira.Example.com:443", "/a")),
        ("http://jira", ("http", "jira", "/")),
        ("http://jira?x", ("http", "jira", "/?x")),
        ("http://jira?", ("http", "jira", "/?")),
        ("http://[::1]:80//evil", ("http", "[::1]:80", "//evil")),
        ("http://jira/a@b", ("http", "jira", "/a@b")),
        ("http://jira#x", ("http", "jira", "/#x")),
    ],
)
def test_an_absolute_form_is_split(raw: str, expected: tuple[str, str, str]) -> None:
    assert absolute_form(raw) == expected


NO_URL = "neither a path nor an http or https URL"
USER = "holds a user name or password"
MALFORMED = "host or port is malformed"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", NO_URL),
        ("*", NO_URL),
        ("jira:443", NO_URL),
        ("@evil", NO_URL),
        ("ftp://jira/", NO_URL),
        ("http:/jira/", NO_URL),
        ("http:jira", NO_URL),
        ("//jira/", NO_URL),
        ("http://", MALFORMED),
        ("http:///x", MALFORMED),
        ("http://?x", MALFORMED),
        ("http://:80/", MALFORMED),
        ("http://user@jira/", USER),
        ("http://user:pw@jira/", USER),
        ("http://jira:0/", MALFORMED),
        ("http://jira:80x/", MALFORMED),
        ("http://jira:99999/", MALFORMED),
        ("http://jira,evil/", MALFORMED),
        ("http://ji ra/", MALFORMED),
        ("http://jira\\evil/", MALFORMED),
        ("http://münchen/", MALFORMED),
        ("http://m\udcc3\udcbcnchen/", MALFORMED),
        ("http://[::1/", MALFORMED),
        ("http://%6aira/", MALFORMED),
    ],
)
def test_what_is_no_absolute_form_is_refused(raw: str, reason: str) -> None:
    with pytest.raises(RequestRefused, match=reason) as raised:
        absolute_form(raw)
    assert raised.value.status == 400
    assert raised.value.hint


# The rules once more, as a reader of the contract would write them, for any input.

PIECES = [
    *"aZ0-._~!$&'()*+,;=:@/?[]{}|\"^`\\<>%# \t\r\n\x00\x7fé",
    *["%2e", "%2E", ".", "..", "%2f", "%5c", "%3B", ";", "%25", "%2525", "%00", "%0A", "%7f"],
    *["%41", "%7E", "%C3%A9", "%FF", "%zz", "oauth_", "%6Fauth_", "xoauth_", "&", "=", "\udcff"],
]
TARGETS = st.binary(max_size=12).map(
    lambda choices: "/" + "".join([PIECES[choice % len(PIECES)] for choice in choices])
)
ANY = st.text(st.characters(), max_size=20)
URI_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
ADDED = re.compile(r"""["<>^`{|}\[\]\\]|%(?![0-9A-Fa-f]{2})""")


def cleaned(raw: str, context_path: str = "") -> Target | None:
    try:
        return clean(raw, context_path)
    except RequestRefused:
        return None


@settings(max_examples=3000)
@given(TARGETS | ANY)
def test_a_clean_target_differs_by_the_listed_encodings_alone(raw: str) -> None:
    target = cleaned(raw)
    if target is not None:
        assert URI_CHARACTERS.fullmatch(str(target))
        assert str(target) == ADDED.sub(lambda match: f"%{ord(match[0]):02X}", raw)


@settings(max_examples=1000)
@given(TARGETS, st.sampled_from(["", "/jira", "/a/b"]))
def test_cleaning_twice_is_cleaning_once(raw: str, context_path: str) -> None:
    target = cleaned(raw, context_path)
    if target is not None:
        assert clean(str(target), context_path) == target
        assert target.path.startswith(context_path)


@settings(max_examples=3000)
@given(TARGETS)
def test_no_decoding_of_a_path_brings_out_what_is_refused(raw: str) -> None:
    target = cleaned(raw)
    if target is None:
        return
    path = target.path.encode()
    for _ in range(4):
        assert not re.search(rb"[\x00-\x1f\x7f\\]", path)
        segments = [segment.split(b";")[0] for segment in re.split(rb"[/\\]", path)]
        assert b"." not in segments
        assert b".." not in segments
        path = unquote_to_bytes(path)


@settings(max_examples=2000)
@given(TARGETS)
def test_a_query_keeps_its_parameters(raw: str) -> None:
    target = cleaned(raw)
    if target is not None and target.query is not None:
        before = parse_qsl(raw.partition("?")[2], keep_blank_values=True)
        assert parse_qsl(target.query, keep_blank_values=True) == before
        assert not any(re.match("x?oauth_", name, re.IGNORECASE) for name, _ in before)


@settings(max_examples=2000)
@given(TARGETS)
def test_nothing_harmless_is_refused(raw: str) -> None:
    """The contract's grounds for refusal, read plainly: without one a target is taken."""
    path, _, query = raw.partition("?")
    grounds = bool(re.search(r"[^!\x22\x24-\x7e]", raw) or re.search(r"%(?![0-9A-Fa-f]{2})", path))
    octets = path.encode("utf-8", "surrogateescape")
    for _ in range(4):
        grounds |= bool(re.search(rb"[\x00-\x1f\x7f\\]", octets))
        grounds |= bool(re.search(rb"(?:^|/)\.\.?(?:;[^/]*)?(?:/|$)", octets))
        octets = unquote_to_bytes(octets)
    names = [name for name, _ in parse_qsl(query, keep_blank_values=True, errors="replace")]
    reserved_names = [n for n in names if re.match(r"[\x00-\x20]*x?oauth_", n, re.IGNORECASE)]
    assert (cleaned(raw) is None) is (grounds or bool(reserved_names))


def test_what_was_made_of_a_path_is_known_when_it_comes_again_and_no_query_is() -> None:
    def asked(query: str = "") -> str:
        return "".join(["/rest/api/2/se|rch", query])

    first = clean(asked(), "/jira")
    assert first == Target("/jira/rest/api/2/se%7Crch", None)
    assert clean(asked(), "/jira") is first
    assert clean(asked(), "") == Target("/rest/api/2/se%7Crch", None)
    once, again = (clean(asked("?jql=a|b"), "/jira") for _ in range(2))
    assert once == again == Target("/jira/rest/api/2/se%7Crch", "jql=a%7Cb")
    assert once is not again
    for _ in range(2):
        with pytest.raises(RequestRefused):
            clean("/rest/../x", "")

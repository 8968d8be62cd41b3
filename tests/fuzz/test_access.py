"""Hostile callers and paths: access rules against the sandbox's Tomcat, a reader of other make.

What a rule denies must not be reachable by any spelling that a server takes for the same path,
and what is let through must be what a rule allows, however a server reads it.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.callers import AccessControl, Caller
from sidecar.errors import RequestRefused
from sidecar.http.methods import METHODS
from sidecar.http.target import BaseURL, clean
from sidecar.sandbox import tomcat
from tests.fuzz.pieces import attempt, words

BASE = BaseURL.parse("https://jira.example.com/jira")
KEY = "pä55 word:x"
NAMES = {"localhost", "127.0.0.1", "[::1]", "sidecar.test"}
ORIGINS = {"https://tools.example.com", "http://friend.test:8080"}
ACCESS = AccessControl(base_url=BASE, hosts=["sidecar.test"], origins=sorted(ORIGINS))

names = st.sampled_from(words("rest api 2 user issue JJ-1 secure a"))
rule_segments = names | st.sampled_from(["*", "**"])
rules = st.lists(rule_segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
spellings = st.sampled_from(
    words(
        "/ // ;x ; %3B %3bx %2f %5c %2e .. . %00 .json .JSON %75ser u%73er USER %72est issue"
        " %c3%a9 %ff %2575ser ? %41 \\"
    )
)
paths = st.lists(names | spellings | st.just("/"), max_size=10).map(lambda p: "/" + "".join(p))


def matches(rule: str, segments: list[str]) -> bool:
    """The obvious matcher, which may take its time."""
    parts = rule.strip("/").split("/")

    def match(at: int, place: int) -> bool:
        if at == len(parts):
            return place == len(segments)
        if parts[at] == "**":
            return any(match(at + 1, later) for later in range(place, len(segments) + 1))
        if place == len(segments):
            return False
        return parts[at] in ("*", segments[place]) and match(at + 1, place + 1)

    return match(0, 0)


def forwarded(judge: AccessControl, method: str, raw: str) -> list[str] | None:
    """The segments below the context path as Tomcat finds them; None if it is refused."""
    try:
        target = clean(raw, BASE.path)
        judge.check_request(method, target.path)
    except RequestRefused:
        return None
    return tomcat.read_path(target.path, refuse_encoded_slash=False)[1:]


@given(rules, paths, st.sampled_from(METHODS))
def test_what_is_denied_is_not_forwarded_in_any_spelling(rule: str, raw: str, method: str) -> None:
    segments = forwarded(AccessControl(base_url=BASE, deny=[f"* {rule}"]), method, raw)
    assert segments is None or not matches(rule, segments)


@given(rules, paths, st.sampled_from(METHODS))
def test_what_is_forwarded_is_what_a_rule_allows(rule: str, raw: str, method: str) -> None:
    segments = forwarded(AccessControl(base_url=BASE, allow=[f"* {rule}"]), method, raw)
    assert segments is None or matches(rule, segments)


@given(rules, rules, paths)
def test_a_rule_more_never_opens_what_was_denied(one: str, other: str, raw: str) -> None:
    denied = forwarded(AccessControl(base_url=BASE, deny=[f"* {one}"]), "GET", raw) is None
    both = AccessControl(
        base_url=BASE, deny=[f"* {one}", f"* {other}"], allow=[f"* {other}", "* /**"]
    )
    if denied:
        assert forwarded(both, "GET", raw) is None


@given(paths, st.sampled_from(METHODS))
def test_read_only_forwards_nothing_that_writes(raw: str, method: str) -> None:
    segments = forwarded(AccessControl(base_url=BASE, read_only=True), method, raw)
    if segments is not None and method not in ("GET", "HEAD", "OPTIONS"):
        assert segments in (["rest", "api", "2", "search"], ["rest", "auth", "1", "session"])


host_pieces = st.sampled_from(
    [
        *words("localhost LocalHost 127.0.0.1 [::1] sidecar.test evil.test :8088 :80 : :0 :99999"),
        *words("::1 é [ ] / # @ , . %31"),
        *[" ", "\t"],
    ]
)
host_values = st.lists(host_pieces | st.text(max_size=2), max_size=4).map("".join)
origin_values = st.lists(
    host_pieces
    | st.sampled_from(["http://", "https://", "null", "chrome-extension://", *sorted(ORIGINS)])
    | st.text(max_size=2),
    max_size=4,
).map("".join)
sites = st.sampled_from(
    ["none", "same-origin", "same-site", "cross-site", "", "None", "none, none"]
)


def admitted(fields: list[tuple[str, str]], scheme: str) -> Caller | None:
    encoded = [(name.encode(), value.encode("utf-8", "replace")) for name, value in fields]
    caller = attempt(lambda: ACCESS.check_caller(encoded, scheme))
    if isinstance(caller, Caller):
        return caller
    assert isinstance(caller, RequestRefused)
    assert caller.status in (400, 403, 421)
    assert caller.message.isascii()
    assert caller.message.isprintable()
    return None


@given(host_values, st.sampled_from(["http", "https"]))
def test_a_host_that_is_let_in_is_one_of_ours_to_everybody(host: str, scheme: str) -> None:
    caller = admitted([("Host", host)], scheme)
    if caller is not None:
        name = urlsplit(f"//{host}").hostname or ""
        assert (f"[{name}]" if ":" in name else name) in NAMES
        assert caller.host == host
        assert re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", host)


@given(
    host_values | st.sampled_from(["localhost:8088", "127.0.0.1"]),
    st.lists(origin_values, max_size=2),
    st.lists(sites, max_size=2),
    st.sampled_from(["http", "https"]),
)
def test_a_page_that_is_let_in_is_our_own_or_an_allowed_one(
    host: str, origins: list[str], named: list[str], scheme: str
) -> None:
    fields = [("Host", host), *(("oRIGIN", one) for one in origins)]
    fields += [("Sec-Fetch-Site", one) for one in named]
    caller = admitted(fields, scheme)
    if caller is None:
        return
    assert len(origins) < 2
    assert len(named) < 2
    if caller.origin is not None:
        assert caller.origin.lower() in {*ORIGINS, "https://tools.example.com:443"}
        cors = dict(ACCESS.cors_fields(caller))
        assert cors[b"Access-Control-Allow-Origin"] == origins[0].encode()
        return
    assert set(named) <= {"none", "same-origin"}
    for origin in origins:
        ours, theirs = urlsplit(f"{scheme}://{host}"), urlsplit(origin)
        default = {"http": 80, "https": 443}[scheme]
        assert (theirs.scheme, theirs.hostname) == (scheme, ours.hostname)
        assert (theirs.port or default) == (ours.port or default)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["X-Sidecar-Key", "authorization", "Authorization", "Cookie"]),
            st.binary(max_size=20)
            | st.sampled_from([KEY.encode(), b"Bearer " + KEY.encode(), b"Basic", b"Bearer "])
            | st.text(max_size=8).map(lambda t: b"Basic " + b64encode(f"{t}:{KEY}"[1:].encode()))
            | st.just(b"Basic " + b64encode(f"me:{KEY}".encode())),
        ),
        max_size=3,
    )
)
def test_nothing_opens_without_the_key(fields: list[tuple[str, bytes]]) -> None:
    judge = AccessControl(base_url=BASE, key=KEY.encode())
    shown = [value for name, value in fields if name != "Cookie" and holds_key(value)]
    refused = attempt(lambda: judge.check_key([(name.encode(), value) for name, value in fields]))
    assert refused is not None or shown


def holds_key(value: bytes) -> bool:
    """Whether the key stands in a field's value, plain or as Basic has it."""
    try:
        decoded = b64decode(value.partition(b" ")[2])
    except binascii.Error:
        decoded = b""
    return KEY.encode() in value or decoded.endswith(b":" + KEY.encode())

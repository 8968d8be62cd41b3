"""Who may use the sidecar: Host, Origin, Sec-Fetch-Site, the access key."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TypedDict, Unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.callers import AccessControl, Caller, check_admin, without_site
from sidecar.access.keys import Holder, KeyRefused, KeyRing, digest
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.fields import Fields, Received
from sidecar.http.target import BaseURL

BASE_URL = BaseURL.parse("https://jira.example.com/jira")
HOST = (b"Host", b"127.0.0.1:8088")
DENIED = "http_request_denied"


class Table(TypedDict, total=False):
    hosts: Sequence[str]
    origins: Sequence[str]
    key: bytes | None


class Rule(TypedDict, total=False):
    read_only: bool
    allow: Sequence[str]
    deny: Sequence[str]


def access(**table: Unpack[Table]) -> AccessControl:
    return AccessControl(base_url=BASE_URL, **table)


PLAIN = access()
PAGES = access(origins=["https://tools.example.com", "http://[fd00::1]:3000"])


def caller_status(fields: Sequence[tuple[bytes, bytes]], judge: AccessControl = PLAIN) -> int:
    """Return 200 if the caller may go on, else the status of the refusal."""
    found = {_status([*fields], judge), _status(Received(fields), judge)}
    assert len(found) == 1, "what is known of a message from before changes nothing"
    return found.pop()


def _status(fields: Fields, judge: AccessControl) -> int:
    try:
        judge.check_caller(fields, "http")
    except RequestRefused as refused:
        return refused.status
    return 200


# ---------------------------------------------------------------- Host


@pytest.mark.parametrize(
    ("fields", "fault"),
    [([], "no Host"), ([(b"Accept", b"*/*")], "no Host"), ([HOST, HOST], "more than one Host")],
)
def test_a_request_names_one_host(fields: list[tuple[bytes, bytes]], fault: str) -> None:
    with pytest.raises(RequestRefused, match=f"has {fault}\\.") as caught:
        PLAIN.check_caller(fields, "http")
    assert (caught.value.status, caught.value.hint) == (400, "send one Host field")


@pytest.mark.parametrize(
    "host",
    [
        b"localhost",
        b"LocalHost:8088",
        b"127.0.0.1",
        b"127.0.0.1:8088",
        b"127.0.0.1:1",
        b"[::1]",
        b"[::1]:65535",
    ],
)
def test_loopback_names_are_allowed_in_any_case_and_with_any_port(host: bytes) -> None:
    caller = PLAIN.check_caller([(b"hOST", host)], "http")
    assert caller == Caller("http", host.decode())
    assert (caller.origin, caller.as_proxy, caller.name) == (None, False, None)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"", 400),
        (b":8088", 400),
        (b"localhost:", 400),
        (b"localhost:80x", 400),
        (b"localhost:65536", 400),
        (b"localhost:+80", 400),
        (b"localhost:8088:1", 400),
        (b"localhost ", 400),
        (b"localhost\n", 400),
        (b"127.0.0.1:8088, attacker.test", 400),
        (b"user@localhost", 400),
        (b"attacker.test:80@localhost", 400),
        (b"http://localhost", 400),
        (b"localhost/", 400),
        (b"loc%61lhost", 400),
        (b"l\xc3\xb6calhost", 400),
        (b"::1", 400),
        (b"[::1", 400),
        (b"[::1%25lo]", 400),
        (b"localhost:\xd9\xa1", 400),
        (b"localhost.", 421),
        (b"127.0.0.1.", 421),
        (b"attacker.test", 421),
        (b"localhost.attacker.test", 421),
        (b"attacker-localhost", 421),
        (b"2130706433", 421),
        (b"127.1", 421),
        (b"0177.0.0.1", 421),
        (b"0.0.0.0:8088", 421),
        (b"[::]", 421),
        (b"[0:0:0:0:0:0:0:1]", 421),
        (b"[::ffff:127.0.0.1]", 421),
        (b"jira.example.com", 421),
    ],
)
def test_any_other_host_is_refused(host: bytes, status: int) -> None:
    assert caller_status([(b"Host", host)]) == status


def test_a_missing_host_is_400_even_for_http_1_0() -> None:
    assert caller_status([(b"Accept", b"*/*")]) == 400


def test_two_hosts_are_400_even_if_equal_and_before_anything_else() -> None:
    assert caller_status([HOST, (b"host", HOST[1])]) == 400
    assert caller_status([HOST, (b"Origin", b"a"), (b"Origin", b"b"), HOST]) == 400


def test_a_configured_name_is_allowed_with_any_port_or_with_its_own() -> None:
    hosts = [
        "Sidecar.internal",
        "build_1:8088",
        "plain.internal:80",
        "fd00::1",
        "::2",
        "[fd00::3]:1",
    ]
    judge = access(hosts=hosts)
    allowed = [
        b"sidecar.internal",
        b"SIDECAR.internal:99",
        b"build_1:8088",
        b"plain.internal",
        b"plain.internal:80",
        b"[fd00::1]:8088",
        b"[::2]",
        b"[fd00::3]:1",
        b"localhost",
    ]
    assert [caller_status([(b"Host", host)], judge) for host in allowed] == [200] * len(allowed)
    for host in (b"build_1", b"build_1:80", b"plain.internal:8080", b"x.sidecar.internal"):
        assert caller_status([(b"Host", host)], judge) == 421


def test_a_refused_host_is_named_without_any_byte_that_could_harm_a_log_or_header() -> None:
    with pytest.raises(RequestRefused, match=r'The Host "attacker\.test:1" is not') as caught:
        PLAIN.check_caller([(b"Host", b"attacker.test:1")], "http")
    assert "access.hosts" in caught.value.hint
    with pytest.raises(RequestRefused) as malformed:
        PLAIN.check_caller([(b"Host", b"a\x1b[31m\xff\r\nX: y")], "http")
    assert (malformed.value.message + malformed.value.hint).isprintable()


HOST_NAMES = ("localhost", "127.0.0.1", "[::1]", "sidecar.internal")


@given(
    st.one_of(
        st.binary(max_size=30),
        st.text("localhst127.0[]:9 @,%./\\\t", max_size=24).map(str.encode),
        st.builds(
            lambda *parts: "".join(parts).encode("utf-8", "replace"),
            st.sampled_from(["", "x", "x.", "u@", " "]),
            st.sampled_from([*HOST_NAMES, "LOCALHOST"]),
            st.one_of(st.just(""), st.from_regex(r":[0-9]{0,6}", fullmatch=True), st.text()),
        ),
    )
)
def test_exactly_the_allowed_names_with_a_port_or_none_are_accepted(host: bytes) -> None:
    name, colon, port = host.decode("latin-1").rpartition(":")
    if not colon or host.endswith(b"]"):
        name, colon, port = host.decode("latin-1"), "", ""
    valid_port = not colon or (
        port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536
    )
    expected = name.lower() in HOST_NAMES and name.isascii() and valid_port
    judge = access(hosts=["sidecar.internal"])
    for _ in range(2):  # judged, then remembered
        assert (caller_status([(b"Host", host)], judge) == 200) is expected


def test_what_is_remembered_of_hosts_stays_bounded_and_right() -> None:
    judge = access(hosts=["plain.internal:443"])
    for port in range(1, 2000):
        assert caller_status([(b"Host", b"localhost:%d" % port)], judge) == 200
    assert len(judge._judged) <= 256
    assert judge.check_caller([(b"Host", b"plain.internal")], "https").scheme == "https"
    assert caller_status([(b"Host", b"plain.internal")], judge) == 421


@pytest.mark.parametrize(
    ("fields", "status", "token"),
    [
        ([], 400, "http_request_error"),
        ([(b"Host", b"a,b")], 400, "http_request_error"),
        ([(b"Host", b"attacker.test")], 421, DENIED),
        ([HOST, (b"Origin", b"null")], 403, DENIED),
    ],
)
def test_a_refusal_carries_its_proxy_status_and_says_what_to_do(
    fields: list[tuple[bytes, bytes]], status: int, token: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        PLAIN.check_caller(fields, "http")
    assert (refused.value.status, refused.value.proxy_error) == (status, token)
    assert refused.value.hint


# ---------------------------------------------------------------- absolute-form targets


@pytest.mark.parametrize(
    ("scheme", "authority"),
    [
        ("http", "jira.example.com"),
        ("HTTP", "JIRA.example.com:80"),
        ("https", "jira.example.com"),
        ("https", "jira.example.com:443"),
        ("http", "jira.example.com:443"),
    ],
)
def test_as_an_http_proxy_jiras_own_name_is_allowed_and_links_stay_jiras(
    scheme: str, authority: str
) -> None:
    caller = PLAIN.check_caller([(b"Host", authority.encode())], "http", (scheme, authority))
    assert caller == Caller(scheme.lower(), authority, as_proxy=True)


def test_an_absolute_target_may_name_the_sidecar_itself() -> None:
    caller = PLAIN.check_caller([HOST], "http", ("http", "127.0.0.1:8088"))
    assert caller == Caller("http", "127.0.0.1:8088")


@pytest.mark.parametrize(
    ("scheme", "authority", "host", "status"),
    [
        ("http", "attacker.test", b"127.0.0.1:8088", 400),
        ("http", "127.0.0.1:8088", b"attacker.test", 400),
        ("http", "attacker.test", b"attacker.test", 421),
        ("http", "jira.example.com", b"127.0.0.1:8088", 400),
        ("http", "jira.example.com:8080", b"jira.example.com:8080", 421),
        ("http", "user@jira.example.com", b"jira.example.com", 400),
        ("http", "jira.example.com@attacker.test", b"jira.example.com", 400),
        ("http", "", b"", 400),
        ("http", "jira.ex\udce9mple.com", b"jira.example.com", 400),
        ("ftp", "127.0.0.1:8088", b"127.0.0.1:8088", 400),
        ("http", "127.0.0.1:8089", b"127.0.0.1:8088", 400),
    ],
)
def test_an_absolute_target_that_names_anything_else_is_refused(
    scheme: str, authority: str, host: bytes, status: int
) -> None:
    with pytest.raises(RequestRefused) as refused:
        PLAIN.check_caller([(b"Host", host)], "http", (scheme, authority))
    assert refused.value.status == status


def test_a_jira_on_a_port_of_its_own_is_named_with_that_port_only() -> None:
    judge = AccessControl(base_url=BaseURL.parse("http://[fd00::2]:2990/jira"))
    host = b"[FD00::2]:2990"
    assert judge.check_caller([(b"Host", host)], "http", ("http", "[fd00::2]:2990")).as_proxy
    with pytest.raises(RequestRefused):
        judge.check_caller([(b"Host", b"[fd00::2]")], "http", ("http", "[fd00::2]"))


# ---------------------------------------------------------------- browsers


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"Origin", b"http://127.0.0.1:8088")], 200),
        ([(b"Origin", b"HTTP://127.0.0.1:8088"), (b"Sec-Fetch-Site", b"same-origin")], 200),
        ([(b"Sec-Fetch-Site", b"none")], 200),
        ([(b"Origin", b"https://127.0.0.1:8088")], 403),
        ([(b"Origin", b"http://127.0.0.1:8089")], 403),
        ([(b"Origin", b"http://127.0.0.1")], 403),
        ([(b"Origin", b"http://localhost:8088")], 403),
        ([(b"Origin", b"null")], 403),
        ([(b"Origin", b"")], 403),
        ([(b"Origin", b"*")], 403),
        ([(b"Origin", b"http://127.0.0.1:8088/")], 403),
        ([(b"Origin", b"http://127.0.0.1:8088 http://127.0.0.1:8088")], 403),
        ([(b"Origin", b"http://attacker.test@127.0.0.1:8088")], 403),
        ([(b"Origin", b"chrome-extension://abcdefghijklmnop")], 403),
        ([(b"Origin", b"http://127.0.0.1:8088"), (b"Sec-Fetch-Site", b"cross-site")], 403),
        ([(b"Origin", b"http://127.0.0.1:8088"), (b"Origin", b"http://127.0.0.1:8088")], 403),
        ([(b"Sec-Fetch-Site", b"cross-site")], 403),
        ([(b"Sec-Fetch-Site", b"same-site")], 403),
        ([(b"Sec-Fetch-Site", b"")], 403),
        ([(b"sec-fetch-site", b"None")], 403),
        ([(b"Sec-Fetch-Site", b"none"), (b"sec-fetch-site", b"none")], 403),
        ([(b"Host", b"127.0.0.1:8088"), (b"Origin", b"null")], 400),
    ],
)
def test_only_pages_of_this_very_origin_may_ask(
    fields: list[tuple[bytes, bytes]], status: int
) -> None:
    assert caller_status([HOST, *fields]) == status


def test_the_default_port_of_an_origin_may_be_left_out_on_either_side() -> None:
    for host, origin in [
        (b"localhost", b"http://localhost:80"),
        (b"localhost:80", b"http://LOCALHOST"),
    ]:
        assert caller_status([(b"Host", host), (b"Origin", origin)]) == 200
    https = PLAIN.check_caller([(b"Host", b"[::1]:443"), (b"Origin", b"https://[::1]")], "https")
    assert https.origin is None


def test_an_origin_in_access_origins_may_ask_from_anywhere_but_only_by_name() -> None:
    page = (b"Origin", b"https://Tools.example.com:443")
    caller = PAGES.check_caller([HOST, page, (b"Sec-Fetch-Site", b"cross-site")], "http")
    assert caller.origin == "https://Tools.example.com:443"
    assert caller_status([HOST, (b"Origin", b"http://[FD00::1]:3000")], PAGES) == 200
    for origin in (b"http://tools.example.com", b"https://tools.example.com:8443", b"null"):
        assert caller_status([HOST, (b"Origin", origin)], PAGES) == 403
    assert caller_status([HOST, (b"Sec-Fetch-Site", b"cross-site")], PAGES) == 403
    assert caller_status([(b"Host", b"attacker.test"), page], PAGES) == 421
    assert caller_status([(b"Host", b"attacker.test"), page, page], PAGES) == 421
    assert caller_status([HOST, page, page], PAGES) == 403
    twice = [(b"Sec-Fetch-Site", b"none")] * 2
    assert caller_status([HOST, page, *twice], PAGES) == 403


@given(st.one_of(st.binary(max_size=40), st.text("htps:/127.0.0.1:8088null, @", max_size=40)))
def test_no_other_spelling_of_an_origin_is_accepted(value: bytes | str) -> None:
    origin = value if isinstance(value, bytes) else value.encode()
    expected = 200 if origin.lower() == b"http://127.0.0.1:8088" else 403
    assert caller_status([HOST, (b"Origin", origin)]) == expected


# ---------------------------------------------------------------- CORS


def preflight(
    *extra: tuple[bytes, bytes],
    method: str = "OPTIONS",
    origin: bytes = b"https://tools.example.com",
) -> dict[bytes, bytes]:
    fields = [HOST, (b"Origin", origin), *extra]
    return dict(PAGES.preflight(method, fields, PAGES.check_caller(fields, "http")))


ASKS = (b"Access-Control-Request-Method", b"PUT")


def test_an_allowed_origins_preflight_is_answered_for_that_origin_only() -> None:
    answer = preflight(ASKS, (b"access-control-request-headers", b"content-type, x-sidecar-key"))
    assert answer == {
        b"Access-Control-Allow-Origin": b"https://tools.example.com",
        b"Access-Control-Allow-Methods": b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        b"Access-Control-Allow-Headers": b"content-type, x-sidecar-key",
        b"Access-Control-Max-Age": b"600",
        b"Vary": b"Origin",
    }


@pytest.mark.parametrize("names", [b"a\r\nX: y", b"a b", b"", b"\xff", b"a,,b", b'"a"'])
def test_a_preflight_never_echoes_what_is_not_a_list_of_names(names: bytes) -> None:
    answer = preflight(ASKS, (b"Access-Control-Request-Headers", names))
    assert b"X-Sidecar-Key" in answer[b"Access-Control-Allow-Headers"]


def test_a_page_on_the_internet_is_let_into_the_private_network_if_allowed() -> None:
    answer = preflight(ASKS, (b"Access-Control-Request-Private-Network", b"true"))
    assert answer[b"Access-Control-Allow-Private-Network"] == b"true"
    answer = preflight(ASKS, (b"Access-Control-Request-Private-Network", b"false"))
    assert b"Access-Control-Allow-Private-Network" not in answer


def test_what_is_no_preflight_is_not_answered_here() -> None:
    assert preflight() == {}
    assert preflight(ASKS, method="GET") == {}
    same_origin = [HOST, (b"Origin", b"http://127.0.0.1:8088"), ASKS]
    caller = PAGES.check_caller(same_origin, "http")
    assert PAGES.preflight("OPTIONS", same_origin, caller) == []


def test_an_allowed_page_may_read_the_answer_and_the_useful_fields() -> None:
    caller = PAGES.check_caller([HOST, (b"Origin", b"https://tools.example.com")], "http")
    fields = dict(PAGES.cors_fields(caller))
    assert fields[b"Access-Control-Allow-Origin"] == b"https://tools.example.com"
    assert b"Sidecar-Problem" in fields[b"Access-Control-Expose-Headers"]
    assert fields[b"Vary"] == b"Origin"
    assert b"*" not in b"".join(fields.values())


def test_with_rules_a_request_is_judged_below_the_context_path() -> None:
    tables: list[Rule] = [
        {"read_only": True},
        {"deny": ["POST /rest/api/2/issue"]},
        {"allow": ["GET /rest/**"]},
    ]
    for table in tables:
        judge = AccessControl(base_url=BASE_URL, **table)
        judge.check_request("GET", "/jira/rest/api/2/issue")
        with pytest.raises(RequestRefused) as refused:
            judge.check_request("POST", "/jira/rest/api/2/issue")
        assert refused.value.status == 403


def test_without_rules_every_request_may_be_made() -> None:
    for method in ("GET", "POST", "DELETE"):
        PLAIN.check_request(method, "/jira/rest/api/2/issue")


def test_a_preflight_that_asks_for_no_fields_is_told_the_usual_ones() -> None:
    caller = Caller("http", "localhost", origin="https://tools.example.com")
    asked = [(b"Access-Control-Request-Method", b"POST")]
    answer = dict(PAGES.preflight("OPTIONS", asked, caller))
    assert answer[b"Access-Control-Allow-Headers"] == (
        b"Accept, Authorization, Content-Type, X-Atlassian-Token, X-Sidecar-Key"
    )


def test_without_origins_no_answer_gets_cors_fields_and_with_them_caches_are_told() -> None:
    assert PLAIN.cors_fields(Caller("http", "localhost")) == []
    assert PAGES.cors_fields(Caller("http", "localhost")) == [(b"Vary", b"Origin")]


# ---------------------------------------------------------------- one that Jira leads back


SITE = (b"SEC-Fetch-Site", b"cross-site")


@pytest.mark.parametrize(
    ("fields", "others"),
    [
        ([HOST, SITE, ASKS], [HOST, ASKS]),
        ([SITE], []),
        ([HOST, ASKS], [HOST, ASKS]),
        ([HOST, SITE, SITE], [HOST, SITE, SITE]),
        ([], []),
    ],
)
def test_the_one_field_that_names_another_site_is_left_out(
    fields: list[tuple[bytes, bytes]], others: list[tuple[bytes, bytes]]
) -> None:
    assert list(without_site(fields)) == others


# ---------------------------------------------------------------- the admin listener


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ([], True),
        ([(b"Host", b"pod-7.cluster")], True),
        ([(b"Sec-Fetch-Site", b"none")], True),
        ([(b"Sec-Fetch-Site", b"same-origin")], False),
        ([(b"sec-fetch-site", b"none"), (b"Sec-Fetch-Site", b"cross-site")], False),
        ([(b"Host", b"localhost"), (b"ORIGIN", b"http://localhost")], False),
    ],
)
def test_no_web_page_may_ask_the_admin_listener(
    fields: list[tuple[bytes, bytes]], allowed: bool
) -> None:
    if allowed:
        check_admin(fields)
    else:
        with pytest.raises(RequestRefused) as refused:
            check_admin(fields)
        assert (refused.value.status, refused.value.proxy_error) == (403, DENIED)


# ---------------------------------------------------------------- the access key

KEY = "pässword:with colon".encode()
LOCKED = access(key=KEY)


def basic(user_and_password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user_and_password)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X-Sidecar-Key", KEY)],
        [(b"x-sidecar-key", KEY), (b"Authorization", basic(b"dummy:dummy"))],
        [(b"Authorization", b"Bearer " + KEY)],
        [(b"authorization", b"bearer  " + KEY)],
        [(b"Authorization", basic(b"anybody:" + KEY))],
        [(b"Authorization", basic(b":" + KEY))],
        [(b"Authorization", b"BASIC !!!"), (b"Authorization", b"Basic"), (b"X-Sidecar-Key", KEY)],
    ],
)
def test_the_key_opens_from_each_of_its_three_places(fields: list[tuple[bytes, bytes]]) -> None:
    LOCKED.check_key([HOST, *fields])


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"X-Sidecar-Key", b"")],
        [(b"X-Sidecar-Key", KEY[:-1])],
        [(b"X-Sidecar-Key", KEY + b"\n")],
        [(b"X_Sidecar_Key", KEY)],
        [(b"Authorization", KEY)],
        [(b"Authorization", b"Bearer")],
        [(b"Authorization", b"Digest " + KEY)],
        [(b"Authorization", basic(KEY))],
        [(b"Authorization", b"Basic !!!")],
        [(b"Authorization", b"Basic \xff")],
        [(b"Authorization", basic(KEY + b":"))],
        [(b"Cookie", KEY)],
    ],
)
def test_without_the_right_key_the_answer_is_401_and_names_the_scheme(
    fields: list[tuple[bytes, bytes]],
) -> None:
    with pytest.raises(RequestRefused) as refused:
        LOCKED.check_key([HOST, *fields])
    error = refused.value
    assert (error.status, error.proxy_error) == (401, DENIED)
    assert error.fields == (("WWW-Authenticate", 'Basic realm="sidecar"'),)
    assert "pässword" not in error.message + error.hint + repr(LOCKED)


def test_without_a_key_file_nobody_is_asked_and_an_empty_one_is_an_error() -> None:
    assert PLAIN.check_key([HOST]) is None
    assert PLAIN.check_key([HOST, (b"X-Sidecar-Key", b"any")]) is None
    with pytest.raises(ConfigError, match="empty"):
        access(key=b"")


def test_the_caller_has_the_name_of_the_key_that_was_shown() -> None:
    keys = KeyRing({"build": digest(b"one"), "deploy": digest(b"two")})
    named = AccessControl(base_url=BASE_URL, key=keys)
    assert named.check_key([HOST, (b"X-Sidecar-Key", b"two")]) == "deploy"
    assert named.check_key([HOST, (b"Authorization", basic(b"build:one"))]) == "build"
    for shown, is_wrong in ((b"three", True), (b"build", True), (None, False)):
        fields = [] if shown is None else [(b"X-Sidecar-Key", shown)]
        with pytest.raises(KeyRefused) as refused:
            named.check_key([HOST, *fields])
        assert refused.value.is_wrong is is_wrong


def test_keys_are_asked_for_only_where_one_is_shown() -> None:
    """They may be files, each of which is looked at."""
    asked: list[list[bytes]] = []

    class Files:
        def holder(self, shown: Sequence[bytes]) -> Holder | None:
            asked.append([*shown])
            return Holder("build")

    judge = AccessControl(base_url=BASE_URL, key=Files())
    with pytest.raises(KeyRefused):
        judge.check_key([HOST])
    assert judge.check_key([(b"X-Sidecar-Key", b"k")]) == "build"
    assert asked == [[b"k"]]


@given(st.binary(max_size=60))
def test_no_authorization_value_makes_the_key_check_fail_otherwise(value: bytes) -> None:
    with pytest.raises(RequestRefused):
        LOCKED.check_key([(b"Authorization", value), (b"Authorization", b"Basic " + value)])


# ---------------------------------------------------------------- entries that make no sense


@pytest.mark.parametrize(
    "entry", ["", "*", "*.internal", "http://a", "a/b", "a:b", "a:70000", "é", "u@a"]
)
def test_an_entry_of_hosts_that_is_no_host_is_an_error_naming_it(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"access\.hosts") as caught:
        access(hosts=[entry])
    assert f'"{entry}"' in caught.value.message


@pytest.mark.parametrize(
    "entry",
    ["", "*", "null", "tools.example.com", "https://a/b", "https://*", "https://a:65536"],
)
def test_an_entry_of_origins_that_is_no_origin_is_an_error_naming_it(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"access\.origins") as caught:
        access(origins=[entry])
    assert f'"{entry}"' in caught.value.message


def test_an_origin_with_a_trailing_slash_is_taken_as_meant() -> None:
    judge = access(origins=["HTTPS://Tools.example.com:443/"])
    assert caller_status([HOST, (b"Origin", b"https://tools.example.com")], judge) == 200


def test_an_origin_has_any_port_that_there_is() -> None:
    judge = access(origins=["https://tools.example.com:65535"])
    for port, status in ((b"65535", 200), (b"65534", 403), (b"65536", 403), (b"99999", 403)):
        origin = (b"Origin", b"https://tools.example.com:" + port)
        assert caller_status([HOST, origin], judge) == status


# ---------------------------------------------------------------- raw attacks, at function level

ATTACKS = {
    "foreign Host (rebinding)": (b"Host: rebind.attacker.test:8088", 421),
    "loopback name as suffix label": (b"Host: localhost.attacker.test:8088", 421),
    "comma list in Host": (b"Host: 127.0.0.1:8088, attacker.test", 400),
    "decimal IP": (b"Host: 2130706433:8088", 421),
    "non-numeric port": (b"Host: localhost:80x", 400),
    "two Host headers": (b"Host: 127.0.0.1:8088\r\nHost: attacker.test", 400),
    "space before colon in Host": (b"Host : 127.0.0.1:8088", 400),
    "no-cors GET from a foreign page": (
        b"Host: 127.0.0.1:8088\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors",
        403,
    ),
    "top-level link GET": (
        b"Host: 127.0.0.1:8088\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate",
        403,
    ),
    "Origin only (browser without Sec-Fetch)": (
        b"Host: 127.0.0.1:8088\r\nOrigin: https://attacker.test",
        403,
    ),
    "chrome-extension Origin": (
        b"Host: 127.0.0.1:8088\r\nOrigin: chrome-extension://abcdefghijklmnop",
        403,
    ),
    "duplicate Sec-Fetch-Site": (
        b"Host: 127.0.0.1:8088\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        403,
    ),
    "WebSocket handshake from a foreign page": (
        b"Host: 127.0.0.1:8088\r\nOrigin: http://attacker.test\r\nUpgrade: websocket",
        403,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_known_attack_is_refused_with_the_right_status(name: str) -> None:
    head, status = ATTACKS[name]
    fields = [tuple(line.split(b":", 1)) for line in head.split(b"\r\n")]
    assert caller_status([(field, value.strip()) for field, value in fields]) == status

"""Jira's OAuth problems: read from any answer, explained, and base strings compared."""

from __future__ import annotations

import random
import re
from calendar import timegm
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.problems import (
    _EXPLANATIONS,
    Difference,
    Problem,
    Remedy,
    acceptable_timestamps,
    compare_base_strings,
    explain,
    http_date,
    not_jira,
    oauth_problem,
    parse_problem,
    problem_field,
)
from sidecar.signature import encode_parameters, signature_base_string

REALM = b'OAuth realm="https%3A%2F%2Fjira.example.com"'

KNOWN = [
    "parameter_absent", "parameter_rejected", "version_rejected", "signature_method_rejected",
    "timestamp_refused", "nonce_used", "signature_invalid", "consumer_key_unknown",
    "consumer_key_rejected", "consumer_key_refused", "token_rejected", "token_expired",
    "token_used", "token_revoked", "permission_unknown", "permission_denied", "user_refused",
    "additional_authorization_required", "anonymous", "user_may_not_log_in", "not_jira",
]  # fmt: skip


def challenge(value: bytes) -> tuple[bytes, bytes]:
    return (b"WWW-Authenticate", value)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "values",
    [
        [REALM + b', oauth_problem="token_rejected"'],
        [REALM + b',oauth_problem="token_rejected"'],
        [b'OAuth oauth_problem="token_rejected", realm="x"'],
        [b"OAuth oauth_problem=token_rejected"],
        [b'oauth oauth_problem = "token_rejected"'],
        [b'OAuth oauth%5Fproblem="x", oauth_problem="token%5Frejected"'],
        [b'OAuth OAuth_Problem="Token_Rejected"'],
        [REALM, b'OAuth oauth_problem="token_rejected"'],
        [b'OAuth oauth_problem="token_rejected"', REALM],
        [b'Basic realm="a, \\"b\\" oauth_x=y", OAuth oauth_problem="token_rejected"'],
        [b"Negotiate", b'Digest nonce="a=b,c", qop=auth', b'OAuth oauth_problem="token_rejected"'],
        [b'OAuth;oauth_problem="token_rejected";oauth_x="y"'],
        [b'OAuth oauth_problem="token_rejected", oauth_problem="nonce_used"'],
    ],
)
def test_a_problem_is_found_in_any_of_the_challenges(values: list[bytes]) -> None:
    problem = parse_problem(401, [challenge(value) for value in values])
    assert problem is not None
    assert problem.name == "token_rejected"


def test_the_body_names_the_problem_where_no_header_does() -> None:
    body = b"oauth_problem=timestamp_refused&oauth_acceptable_timestamps=1-601&x=y\n"
    problem = parse_problem(400, [challenge(REALM)], body)
    assert problem is not None
    assert problem.name == "timestamp_refused"
    assert problem.parameters == {
        "oauth_problem": "timestamp_refused",
        "oauth_acceptable_timestamps": "1-601",
    }


def test_the_body_adds_what_the_header_lacks_but_only_to_the_same_problem() -> None:
    header = challenge(b'OAuth oauth_problem="signature_invalid", oauth_signature="a%2Bb%20c"')
    body = b"oauth_problem=signature_invalid&oauth_signature=other&oauth_signature_base_string=a+b"
    problem = oauth_problem([header], body)
    assert problem is not None
    assert problem.parameters["oauth_signature"] == "a+b c"
    assert problem.parameters["oauth_signature_base_string"] == "a b"
    other = oauth_problem([header], b"oauth_problem=nonce_used&oauth_version=1.0")
    assert other is not None
    assert "oauth_version" not in other.parameters


@pytest.mark.parametrize(
    "body",
    [
        b"<html>a&oauth_problem=token_rejected&b</html>",
        b'{"body": "oauth_problem=token_rejected"}',
        b"see oauth_problem=token_rejected",
        b"x=1&oauth_problem=token_rejected&y=" + b"a" * 70_000,
        b"my_oauth_problem=token_rejected",
        b"oauth_problem=",
        b"",
    ],
)
def test_a_body_that_is_no_form_names_no_problem(body: bytes) -> None:
    assert parse_problem(400, [], body) is None


def test_an_answer_that_is_no_error_has_no_oauth_problem() -> None:
    header = challenge(b'OAuth oauth_problem="token_rejected"')
    assert parse_problem(200, [header], b"oauth_problem=nonce_used") is None


@pytest.mark.parametrize(
    ("status", "user", "name"),
    [
        (200, b"anonymous", "anonymous"),
        (302, b"anonymous", "anonymous"),
        (401, b"anonymous", "anonymous"),
        (404, b"anonymous", "anonymous"),
        (429, b"anonymous", None),
        (503, b"anonymous", None),
        (200, b"alana", None),
        (200, None, None),
        (401, None, "user_may_not_log_in"),
        (401, b"", "user_may_not_log_in"),
        (401, b"alana", None),
        (403, None, None),
        (500, None, None),
    ],
)
def test_an_answer_that_only_an_unsigned_request_should_get_is_a_problem_too(
    status: int, user: bytes | None, name: str | None
) -> None:
    fields = [challenge(REALM)] + ([(b"x-aUserName", user)] if user is not None else [])
    problem = parse_problem(status, fields, b"You are not authenticated.")
    assert (problem and problem.name) == name
    assert oauth_problem(fields, b"") is None


@pytest.mark.parametrize(
    ("more", "body"),
    [([], b""), ([(b"Content-Length", b"0")], b""), ([(b"content-length", b"0")], None)],
)
def test_whom_jira_knows_and_does_not_let_in_gets_an_empty_401(
    more: list[tuple[bytes, bytes]], body: bytes | None
) -> None:
    fields = [challenge(REALM), (b"X-AUSERNAME", b"anonymous"), *more]
    problem = parse_problem(401, fields, body)
    assert problem is not None
    assert problem.name == "user_may_not_log_in"


SSO = (b"Location", b"https://sso.example.com/login?to=jira")
ORIGINS = ("https://jira.example.com", "http://jira.internal:8080")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_is_not_jiras(status: int) -> None:
    problem = not_jira("/rest/api/2/myself", status, [SSO], ORIGINS)
    assert problem is not None
    assert problem.label == "not_jira"


@pytest.mark.parametrize(
    "location",
    [
        b"/login.jsp",
        b"https://JIRA.example.com/secure/x",
        b"http://jira.internal:8080",
        b"//sso.example.com",
        b"",
        b"\xff",
    ],
)
def test_a_redirect_within_jira_or_to_nowhere_may_be_jiras(location: bytes) -> None:
    assert not_jira("/rest/x", 302, [(b"Location", location)], ORIGINS) is None


@pytest.mark.parametrize(
    ("path", "status", "content_type", "is_odd"),
    [
        ("/rest/api/2/search", 200, b"text/html;charset=UTF-8", True),
        ("/rest/api/2/search", 200, b"Text/HTML", True),
        ("/rest/api/2/search", 200, b"application/json", False),
        ("/rest/api/2/search", 404, b"text/html", False),
        ("/browse/JJ-2", 200, b"text/html", False),
    ],
)
def test_a_page_in_place_of_rest_is_not_jiras(
    path: str, status: int, content_type: bytes, is_odd: bool
) -> None:
    fields = [(b"Content-Type", content_type)]
    assert (not_jira(path, status, fields, ORIGINS) is not None) == is_odd


@pytest.mark.parametrize("name", [b"X-AREQUESTID", b"x-ausername"])
def test_what_names_itself_as_jira_does_is_jira(name: bytes) -> None:
    assert not_jira("/rest/x", 302, [SSO, (name, b"1x2x3")], ORIGINS) is None
    page = [(b"Content-Type", b"text/html"), (name, b"1x2x3")]
    assert not_jira("/rest/x", 200, page, ORIGINS) is None


@pytest.mark.parametrize(
    "value", [b"a b", b"%0d%0aX: y", b"\xff", b"%E2%80%AE", b"<script>", b"9", b"a" * 65, b"a;b"]
)
def test_a_name_that_could_harm_a_header_or_log_becomes_unreadable(value: bytes) -> None:
    problem = parse_problem(401, [challenge(b'OAuth oauth_problem="' + value + b'"')])
    assert problem is not None
    assert (problem.name, problem.label) == ("unreadable", "unreadable")


def test_a_problem_shows_none_of_its_parameters() -> None:
    problem = Problem("signature_invalid", {"oauth_signature_base_string": "GET&x&secret"})
    assert "secret" not in repr(problem) + str(problem) + repr(explain(problem))
    assert b"secret" not in problem_field(problem)


@given(
    st.integers(100, 599),
    st.lists(
        st.tuples(
            st.sampled_from([b"WWW-Authenticate", b"X-AUSERNAME", b"x"]),
            st.one_of(
                st.binary(),
                st.text('OAuth oauth_problem="=,\\;%41 \t', max_size=80).map(str.encode),
                st.binary().map(lambda value: b'OAuth oauth_problem="' + value + b'"'),
            ),
        )
    ),
    st.one_of(
        st.none(),
        st.binary(),
        st.text("oauth_problem=&%41+", max_size=80).map(str.encode),
        st.binary().map(lambda value: b"oauth_problem=token_rejected&" + value),
    ),
)
def test_reading_and_explaining_never_raise_and_yield_only_harmless_text(
    status: int, fields: list[tuple[bytes, bytes]], body: bytes | None
) -> None:
    problem = parse_problem(status, fields, body)
    if problem is not None:
        value = problem_field(problem)
        assert re.fullmatch(rb'[a-z][a-z0-9_-]*; hint="(?:[^"\\]|\\["\\])*"', value)
        assert explain(problem).sentence.isprintable()
        assert problem.label in (*_EXPLANATIONS, "other")
        acceptable_timestamps(problem)
        compare_base_strings(problem.parameters.get("oauth_signature_base_string", ""), "GET&a&b")


parameter_names = st.from_regex(r"oauth_[a-z_]{1,20}", fullmatch=True)


@given(
    st.dictionaries(parameter_names, st.text(max_size=40), max_size=6),
    st.sampled_from(KNOWN),
    st.sampled_from([", ", ",", " , ", "; "]),
    st.sampled_from(['{}="{}"', "{}={}", '{} = "{}"']),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_encoded_parameters_come_back_in_any_order_and_separator_from_any_number_of_headers(
    extra: dict[str, str], name: str, separator: str, pair: str, headers: int, rng: random.Random
) -> None:
    parameters = {**extra, "oauth_problem": name}
    encoded = [pair.format(key, quote(value, safe="-._~")) for key, value in parameters.items()]
    encoded += ['realm="https%3A%2F%2Fjira.example.com"'] * rng.randint(0, 2)
    rng.shuffle(encoded)
    fields = [
        challenge(("OAuth " + separator.join(encoded[start::headers])).encode())
        for start in range(headers)
    ]
    problem = parse_problem(401, fields)
    assert problem is not None
    assert (problem.name, dict(problem.parameters)) == (name, parameters)
    from_body = parse_problem(401, [challenge(REALM)], urlencode(parameters).encode())
    assert from_body is not None
    assert dict(from_body.parameters) == parameters


@pytest.mark.parametrize(
    "value",
    [
        b"a" * 65536,
        b"a " * 32768,
        b"oauth_a" + b" " * 65536,
        b'oauth_a="' * 7000,
        b'oauth_a="' + b"\\" * 65536,
        b'oauth_a="\\" ' * 5000,
        b"a=" * 32768,
    ],
)
def test_a_64_kib_challenge_of_garbage_is_read_at_once(value: bytes) -> None:
    began = datetime.now(UTC)
    parse_problem(401, [challenge(value)], value)
    assert (datetime.now(UTC) - began).total_seconds() < 1


# ---------------------------------------------------------------- explaining


@pytest.mark.parametrize("name", KNOWN)
def test_every_problem_of_jira_and_of_the_extension_is_explained(name: str) -> None:
    problem = Problem(name)
    explanation = explain(problem)
    assert problem.label == name
    assert explanation.sentence.endswith(".")
    assert explanation.causes
    assert explanation.hint.isascii()
    assert explanation.hint.isprintable()
    assert not explanation.hint.endswith(".")


def test_what_can_be_healed_is_named() -> None:
    healable = {name: explain(Problem(name)).remedy for name in KNOWN}
    assert {name: remedy for name, remedy in healable.items() if remedy is not Remedy.NONE} == {
        "timestamp_refused": Remedy.CLOCK,
        "nonce_used": Remedy.AGAIN,
        "signature_invalid": Remedy.COMPARE,
        "token_rejected": Remedy.RELOAD,
        "token_revoked": Remedy.RELOAD,
        "token_expired": Remedy.RENEW,
    }


def test_an_unknown_problem_is_explained_by_its_name_but_counted_as_other() -> None:
    problem = Problem("token_on_holiday")
    assert '"token_on_holiday"' in explain(problem).sentence
    assert problem.label == "other"


def test_absent_and_rejected_parameters_are_named_without_their_values() -> None:
    absent = Problem(
        "parameter_absent", {"oauth_parameters_absent": "oauth_token&oauth_nonce&a b\r\n"}
    )
    assert explain(absent).sentence == (
        "Jira misses OAuth parameters: (an odd name), oauth_nonce, oauth_token."
    )
    rejected = Problem("parameter_rejected", {"oauth_parameters_rejected": "oauth_token=secret&x"})
    assert explain(rejected).sentence == (
        "Jira does not accept an OAuth parameter: oauth_token, x."
    )


def test_the_sidecar_problem_field_is_a_token_with_a_quoted_hint() -> None:
    assert problem_field(Problem("token_rejected")) == b'token_rejected; hint="run: sidecar auth"'
    assert problem_field(Problem("nonce_used"), 'a "b" \\ é\r\n') == (
        b'nonce_used; hint="a \\"b\\" \\\\ ???"'
    )


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000-1700000600", (1700000000, 1700000600)),
        (" 1 - 2 ", (1, 2)),
        ("5-5", (5, 5)),
        ("2-1", None),
        ("1700000000", None),
        ("-5-7", None),
        ("1-2-3", None),
        ("a-b", None),
        ("9" * 400 + "-" + "9" * 400, None),
        ("١-٢", None),
        ("", None),
    ],
)
def test_acceptable_timestamps_are_two_numbers_in_order(
    text: str, expected: tuple[int, int] | None
) -> None:
    problem = Problem("timestamp_refused", {"oauth_acceptable_timestamps": text})
    assert acceptable_timestamps(problem) == expected
    assert acceptable_timestamps(Problem("timestamp_refused")) is None


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_all_three_forms_of_an_http_date_are_read(text: str) -> None:
    # RFC 9110 §5.6.7's own example
    assert http_date(text.encode()) == timegm((1994, 11, 6, 8, 49, 37))


def test_a_leap_second_and_a_two_digit_year_of_this_century_are_dates() -> None:
    assert http_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == timegm((2017, 1, 1, 0, 0, 0))
    assert http_date(b"Monday, 24-Nov-25 05:33:00 GMT") == timegm((2025, 11, 24, 5, 33, 0))


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, x",
    ],
)  # fmt: skip
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert http_date(text.encode()) is None


@given(st.one_of(st.binary(), st.text("SunNov ,:-0169GMT", max_size=40).map(str.encode)))
def test_reading_a_date_never_raises(value: bytes) -> None:
    assert http_date(value) is None or isinstance(http_date(value), int)


@given(st.datetimes(min_value=datetime(1000, 1, 1)))
def test_every_time_comes_back_from_its_http_date(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    text = format_datetime(moment, usegmt=True)
    assert http_date(text.encode()) == timegm(moment.utctimetuple())


# ---------------------------------------------------------------- comparing base strings

PROTOCOL = [
    ("oauth_consumer_key", "OauthKey"),
    ("oauth_nonce", "n0nce"),
    ("oauth_signature_method", "RSA-SHA1"),
    ("oauth_timestamp", "1700000000"),
    ("oauth_token", "SecretAccessToken"),
]
OURS = "https://jira.example.com/jira/rest/api/2/search"


def base_string(
    uri: str = OURS, query: list[tuple[str, str]] | None = None, method: str = "GET"
) -> str:
    pairs = PROTOCOL + ([("jql", 'text ~ "x&y"')] if query is None else query)
    return signature_base_string(method, uri, encode_parameters(pairs))


def compare(theirs: str, ours: str | None = None, context_path: str = "/jira") -> Difference:
    difference = compare_base_strings(theirs, ours or base_string(), context_path)
    shown = repr(difference)
    assert "SecretAccessToken" not in shown
    assert "n0nce" not in shown
    assert difference.hint.isascii()
    assert difference.sentence.endswith(".")
    return difference


def test_equal_base_strings_mean_that_the_key_does_not_fit() -> None:
    difference = compare(base_string())
    assert difference.parts == ()
    assert "public key" in difference.sentence
    assert "sidecar public-key" in difference.hint


@pytest.mark.parametrize(
    ("theirs", "parts", "perceived"),
    [
        ("http://jira.example.com/jira", ("scheme", "port"), "http://jira.example.com/jira"),
        ("https://jira.example.com:8443/jira", ("port",), "https://jira.example.com:8443/jira"),
        ("https://tomcat:8080/jira", ("host", "port"), "https://tomcat:8080/jira"),
        ("http://[::1]:8080/jira", ("scheme", "host", "port"), "http://[::1]:8080/jira"),
        ("http://127.0.0.1:443/jira", ("scheme", "host"), "http://127.0.0.1:443/jira"),
        ("https://jira.example.com", ("path prefix",), "https://jira.example.com"),
        ("https://jira.example.com/a/b", ("path prefix",), "https://jira.example.com/a/b"),
        ("http://t:8080", ("scheme", "host", "port", "path prefix"), "http://t:8080"),
    ],
)
def test_where_only_the_url_differs_jiras_own_idea_of_it_is_found(
    theirs: str, parts: tuple[str, ...], perceived: str
) -> None:
    difference = compare(base_string(theirs + "/rest/api/2/search"))
    assert difference.parts == parts
    assert difference.perceived == perceived
    assert f'jira.signing_url = "{perceived}"' in difference.hint
    assert perceived in difference.sentence
    assert "https://jira.example.com/jira" in difference.sentence


def test_the_connector_attributes_make_jira_believe_in_the_url_that_we_use() -> None:
    https = compare(base_string("http://tomcat:8080/jira/rest/api/2/search"))
    assert https.connector == (
        'scheme="https" secure="true" proxyName="jira.example.com" proxyPort="443"'
    )
    assert https.connector in https.hint
    http = compare(base_string(), base_string("http://jira:2990/jira/rest/api/2/search"))
    assert http.connector == 'scheme="http" secure="false" proxyName="jira" proxyPort="2990"'


def test_a_context_path_alone_is_nothing_that_a_connector_mends() -> None:
    difference = compare(base_string("https://jira.example.com/rest/api/2/search"))
    assert "Connector" not in difference.hint
    assert "context path" in difference.hint


def test_a_jira_without_context_path_may_see_one_more() -> None:
    ours = base_string("https://jira.example.com/rest/api/2/search")
    difference = compare(base_string(), ours, "")
    assert difference.perceived == "https://jira.example.com/jira"


@pytest.mark.parametrize(
    ("query", "missing", "extra", "changed"),
    [
        ([], ("jql",), (), ()),
        ([("jql", "text ~ \"x&y\""), ("utm", "1")], (), ("utm",), ()),
        ([("jql", "text ~ \"x")], (), (), ("jql",)),
        ([("jql", "text ~ \"x&y\"")] * 2, (), ("jql",), ()),
        ([("JQL", "text ~ \"x&y\"")], ("jql",), ("JQL",), ()),
        ([("jql", "text ~ \"x&y\""), ('{"summary": "private"}', "")], (), ("(an odd name)",), ()),
    ],
)  # fmt: skip
def test_a_parameter_that_is_missing_extra_or_changed_is_named(
    query: list[tuple[str, str]],
    missing: tuple[str, ...],
    extra: tuple[str, ...],
    changed: tuple[str, ...],
) -> None:
    difference = compare(base_string(query=query))
    assert difference.parts == ("parameters",)
    assert (difference.missing, difference.extra, difference.changed) == (missing, extra, changed)
    assert all(name in difference.sentence for name in missing + extra + changed)
    assert difference.perceived is None
    assert "private" not in repr(difference)


def test_a_changed_token_is_named_but_never_shown() -> None:
    theirs = base_string().replace("SecretAccessToken", "OtherSecret")
    difference = compare(theirs)
    assert difference.changed == ("oauth_token",)
    assert "OtherSecret" not in repr(difference)


def test_another_url_does_not_count_where_something_else_differs_too() -> None:
    uri = "http://tomcat:8080/jira/rest/api/2/search"
    for theirs in (base_string(uri, method="POST"), base_string(uri, query=[])):
        difference = compare(theirs)
        assert difference.perceived is None
        assert "http://tomcat:8080" in difference.sentence
    assert "method GET became POST" in compare(base_string(method="POST")).sentence


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ("/rest/a%7eb", "/rest/a~b", "encoded or decoded"),
        ("/rest//a", "/rest/a", "merged"),
        ("/rest/a", "/rest/b", "the path became /jira/rest/b"),
        ("/", "/login/", "the path became /jira/login/"),
        ("/rest/a", "/x y/rest/a", "the path became"),
    ],
)
def test_a_path_rewritten_below_the_context_path_is_no_other_url(
    ours: str, theirs: str, text: str
) -> None:
    base = "https://jira.example.com/jira"
    difference = compare(base_string(base + theirs), base_string(base + ours))
    assert difference.parts == ("path",)
    assert difference.perceived is None
    assert text in difference.sentence


def test_order_and_encoding_are_the_last_to_be_suspected() -> None:
    head, _, parameters = base_string().rpartition("&")
    reordered = head + "&" + "%26".join(reversed(parameters.split("%26")))
    assert compare(reordered).parts == ("order",)
    assert compare(base_string().replace("%3A", "%3a", 1)).parts == ("encoding",)


@pytest.mark.parametrize(
    "theirs",
    ["", "GET", "GET&x&y", "GET&ftp%3A%2F%2Fa%2F&b", "GET&http%3A%2F%2Fa%3A99999%2F&b",
     "GET&http%3A%2F%2Fa%22b%2F&c", "GET&http%3A%2F%2Fa%2F&b&c", "é&http%3A%2F%2Fa%2F&b"],
)  # fmt: skip
def test_a_base_string_that_is_none_is_called_unreadable(theirs: str) -> None:
    assert compare(theirs).parts == ("unreadable",)


url_parts = st.tuples(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["jira.example.com", "tomcat", "[fd00::1]"]),
    st.sampled_from(["", ":8080", ":8443"]),
    st.sampled_from(["", "/jira", "/a/b"]),
)
pairs = st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4)


@given(url_parts, url_parts, st.from_regex(r"(?:/[a-z%0-9;~]{1,5}){1,3}/?", fullmatch=True), pairs)
def test_any_other_base_url_is_found_again_from_the_base_strings(
    theirs: tuple[str, ...], ours: tuple[str, ...], path: str, query: list[tuple[str, str]]
) -> None:
    their_url, our_url = ("{}://{}{}{}".format(*parts) for parts in (theirs, ours))
    difference = compare(
        base_string(their_url + path, query), base_string(our_url + path, query), ours[3]
    )
    assert difference.perceived == (None if their_url == our_url else their_url)


@given(pairs, pairs)
def test_parameters_are_equal_exactly_if_nothing_is_reported(
    theirs: list[tuple[str, str]], ours: list[tuple[str, str]]
) -> None:
    difference = compare(base_string(query=theirs), base_string(query=ours))
    assert (difference.parts == ()) is (sorted(theirs) == sorted(ours))
    assert bool(difference.missing or difference.extra or difference.changed) is bool(
        difference.parts
    )


@given(st.text(), st.text(), st.text(max_size=10))
def test_comparing_never_raises(theirs: str, ours: str, context_path: str) -> None:
    compare_base_strings(theirs, ours, context_path)
    compare_base_strings(f"GET&{quote('http://a/' + theirs, safe='')}&{ours}", ours, context_path)

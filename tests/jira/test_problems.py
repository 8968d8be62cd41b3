"""Jira's OAuth problems: read from any answer, and explained."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import TWO_LEGGED, Secret, TokenCredentials
from sidecar.jira.base_strings import compare_base_strings
from sidecar.jira.explanations import EXPLANATIONS
from sidecar.jira.problems import (
    ActsAs,
    Problem,
    acceptable_timestamps,
    explain,
    foreign_answer,
    hides_its_reason,
    json_object,
    oauth_problem,
    parse_problem,
    problem_field,
    token_endpoint_problem,
)

REALM = b'OAuth realm="https%3A%2F%2Fjira.example.com"'


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


@pytest.mark.parametrize(
    ("acts_as", "status", "name", "cause"),
    [
        (ActsAs.TOKEN, 401, "user_may_not_log_in", "the user is inactive"),
        (ActsAs.TOKEN, 200, "anonymous", "drops the Authorization field"),
        (ActsAs.LINK, 401, "two_legged_not_allowed", "does not allow 2-Legged OAuth"),
        (ActsAs.LINK, 200, "anonymous", "no Execute as user, or one that Jira does not know"),
        (ActsAs.NAMED, 401, "two_legged_not_allowed", "does not allow user impersonation"),
        (ActsAs.NAMED, 200, "anonymous", "no user of that name"),
    ],
)
def test_the_likeliest_cause_depends_on_whom_the_request_acts_as(
    acts_as: ActsAs, status: int, name: str, cause: str
) -> None:
    fields = [challenge(REALM), (b"X-AUSERNAME", b"anonymous")]
    problem = parse_problem(status, fields, b"", acts_as)
    assert problem is not None
    assert (problem.name, problem.label) == (name, name)
    explanation = explain(problem)
    assert cause in explanation.causes[0]
    if status == 401:
        assert "may not log in" in explanation.causes[1] or acts_as is ActsAs.TOKEN
    assert problem_field(problem).startswith(name.encode() + b"; hint=")


ECHO = REALM + b', oauth_consumer_key="k", oauth_signature="abc%3D", oauth_token=""'


@pytest.mark.parametrize(
    ("status", "header", "name"),
    [
        (500, ECHO, "key_size_mismatch"),
        (500, REALM, None),
        (500, ECHO + b', oauth_problem="signature_invalid"', "signature_invalid"),
        (401, ECHO, "user_may_not_log_in"),
        (503, ECHO, None),
    ],
)
def test_a_500_that_echoes_our_parameters_is_about_the_key(
    status: int, header: bytes, name: str | None
) -> None:
    problem = parse_problem(status, [challenge(header)], b"")
    assert (problem and problem.name) == name


@pytest.mark.parametrize(
    ("status", "body", "name", "sizes"),
    [
        (500, b"<p>Bad signature length: got 256 but was expecting 128</p>",
         "key_size_mismatch", "1024 bits there, 2048 here"),
        (500, b"SignatureException: Bad signature length", "key_size_mismatch", ""),
        (500, b"IllegalStateException: need to set public key with ...", "key_size_mismatch", ""),
        (500, b"<p>NullPointerException</p>", None, ""),
        (502, b"Bad signature length: got 256 but was expecting 128", None, ""),
        (401, b"oauth_problem=permission_denied", "permission_denied", ""),
        (200, b"oauth_problem=permission_denied", None, ""),
    ],
)  # fmt: skip
def test_a_token_endpoint_shows_a_page_about_the_key(
    status: int, body: bytes, name: str | None, sizes: str
) -> None:
    problem = token_endpoint_problem(status, [], body)
    assert (problem and problem.name) == name
    assert sizes in (explain(problem).sentence if problem else "")


def test_a_permission_that_is_denied_to_a_resource_is_denied_to_the_consumer() -> None:
    header = challenge(b'OAuth oauth_problem="permission_denied", oauth_x="y"')
    problem = parse_problem(401, [header])
    assert problem == Problem(
        "three_legged_not_allowed", {"oauth_problem": "permission_denied", "oauth_x": "y"}
    )
    assert "three-legged" in explain(problem).sentence


@pytest.mark.parametrize("status", [200, 400, 401, 499, 500, 501, 503])
def test_only_a_bare_500_may_stand_for_an_answer_that_was_too_long(status: int) -> None:
    assert hides_its_reason(status, [(b"Content-Length", b"0"), (b"Date", b"x")]) == (status == 500)
    assert hides_its_reason(status, []) == (status == 500)


@pytest.mark.parametrize(
    "name", [b"WWW-Authenticate", b"X-AREQUESTID", b"X-AUSERNAME", b"Content-Type"]
)
def test_a_500_that_has_a_field_of_jiras_says_all_that_there_is(name: bytes) -> None:
    for spelling in (name, name.lower(), name.upper()):
        assert not hides_its_reason(500, [(b"Date", b"x"), (spelling, b"")])


@pytest.mark.parametrize(
    ("acts_as", "name", "meaning"),
    [
        (ActsAs.TOKEN, "token_rejected", ""),
        (ActsAs.LINK, "token_rejected", "two_legged_unknown"),
        (ActsAs.NAMED, "token_expired", "two_legged_unknown"),
        (ActsAs.LINK, "nonce_used", ""),
    ],
)
def test_without_a_token_a_problem_with_it_is_one_with_two_legged_oauth(
    acts_as: ActsAs, name: str, meaning: str
) -> None:
    problem = parse_problem(401, [challenge(b"OAuth oauth_problem=" + name.encode())], b"", acts_as)
    assert problem is not None
    assert (problem.name, problem.meaning) == (name, meaning)


@pytest.mark.parametrize(
    ("token", "named", "acts_as"),
    [
        (None, None, ActsAs.TOKEN),
        (None, "alana", ActsAs.TOKEN),
        (TokenCredentials(Secret("t"), Secret("")), None, ActsAs.TOKEN),
        (TokenCredentials(Secret("t"), Secret("")), "alana", ActsAs.TOKEN),
        (TWO_LEGGED, None, ActsAs.LINK),
        (TWO_LEGGED, "alana", ActsAs.NAMED),
    ],
)
def test_whom_a_request_acts_as_follows_from_its_token_and_from_the_user_that_it_names(
    token: TokenCredentials | None, named: str | None, acts_as: ActsAs
) -> None:
    assert ActsAs.of(token, named) is acts_as


@pytest.mark.parametrize(("status", "is_read"), [(399, False), (400, True)])
def test_a_problem_comes_with_an_error_status(status: int, is_read: bool) -> None:
    fields = [challenge(b"OAuth oauth_problem=token_rejected")]
    assert (parse_problem(status, fields) is not None) == is_read
    assert (token_endpoint_problem(status, fields, b"") is not None) == is_read


SSO = (b"Location", b"https://sso.example.com/login?to=jira")
ORIGINS = ("https://jira.example.com", "http://jira.internal:8080")


@pytest.mark.parametrize("location", [b"HTTPS://SSO.example.com/x", b"http://jira.example.com/"])
def test_a_redirect_elsewhere_is_one_in_any_letter_case_and_to_any_port(location: bytes) -> None:
    problem = foreign_answer("/rest/x", 302, [(b"Location", location)], ORIGINS)
    assert problem == Problem("not_jira")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_is_not_jiras(status: int) -> None:
    problem = foreign_answer("/rest/api/2/myself", status, [SSO], ORIGINS)
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
    assert foreign_answer("/rest/x", 302, [(b"Location", location)], ORIGINS) is None


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
    assert (foreign_answer(path, status, fields, ORIGINS) is not None) == is_odd


@pytest.mark.parametrize("name", [b"X-AREQUESTID", b"x-ausername"])
def test_what_names_itself_as_jira_does_is_jira(name: bytes) -> None:
    assert foreign_answer("/rest/x", 302, [SSO, (name, b"1x2x3")], ORIGINS) is None
    page = [(b"Content-Type", b"text/html"), (name, b"1x2x3")]
    assert foreign_answer("/rest/x", 200, page, ORIGINS) is None


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
        assert problem.label in (*EXPLANATIONS, "other")
        acceptable_timestamps(problem)
        compare_base_strings(problem.parameters.get("oauth_signature_base_string", ""), "GET&a&b")


parameter_names = st.from_regex(r"oauth_[a-z_]{1,20}", fullmatch=True)


@given(
    st.dictionaries(parameter_names, st.text(max_size=40), max_size=6),
    st.sampled_from(sorted(EXPLANATIONS)),
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
    of_resource = {"permission_denied": "three_legged_not_allowed"}
    assert (problem.name, dict(problem.parameters)) == (of_resource.get(name, name), parameters)
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
    assert explain(Problem("parameter_absent")).sentence == "Jira misses OAuth parameters."


def test_the_sidecar_problem_field_is_a_token_with_a_quoted_hint() -> None:
    assert problem_field(Problem("token_rejected")) == b'token_rejected; hint="run: sidecar auth"'
    assert problem_field(Problem("nonce_used"), 'a "b" \\ é\r\n') == (
        b'nonce_used; hint="a \\"b\\" \\\\ ???"'
    )
    assert problem_field(Problem("nonce_used"), "x" * 401) == (
        b'nonce_used; hint="' + b"x" * 400 + b'"'
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


def test_no_more_is_read_than_a_jira_could_have_sent() -> None:
    """Whatever is longer takes time in proportion, and tells nothing."""
    late = challenge(b"x" * (16 * 1024) + b', OAuth oauth_problem="token_rejected"')
    assert oauth_problem([late]) is None
    assert (
        oauth_problem([challenge(b"x" * (16 * 1024)), challenge(b"OAuth oauth_problem=a")]) is None
    )
    for size, name in ((16_384, "ab"), (16_385, "a")):
        end = b" oauth_problem=ab"
        problem = oauth_problem([challenge(b"x" * (size - len(end)) + end)])
        assert problem is not None
        assert problem.name == name
    early = challenge(b'OAuth oauth_problem="token_rejected", ' + b"x" * 50_000)
    assert "token_rejected" in repr(oauth_problem([early]))
    named = b"&oauth_problem=token_rejected"
    assert "token_rejected" in repr(oauth_problem([], b"a=1" + b"&b" * 63 + named))
    assert oauth_problem([], b"a=1" + b"&b" * 64 + named) is None
    whole = b"a=" + b"x" * (65_536 - len(b"a=" + named)) + named
    assert "token_rejected" in repr(oauth_problem([], whole))
    assert oauth_problem([], b"b" + whole) is None
    page = b"x" * (65_536 - len(b"need to set public key")) + b"need to set public key"
    assert token_endpoint_problem(500, [], page) == Problem("key_size_mismatch")
    assert token_endpoint_problem(500, [], b"x" + page) is None


def test_the_first_of_a_name_counts_in_a_body_too() -> None:
    body = b"OAUTH_problem=token_used&oauth_problem=nonce_used&oauth_x=1&oauth_x=2"
    assert oauth_problem([], body) == Problem(
        "token_used", {"oauth_problem": "token_used", "oauth_x": "1"}
    )


def test_what_stands_before_a_parameter_in_another_alphabet_is_no_part_of_its_name() -> None:
    problem = oauth_problem([challenge("é oauth_xé=1, éoauth_problem=token_used".encode())])
    assert problem == Problem("token_used", {"oauth_problem": "token_used"})


def test_of_an_endless_list_of_parameters_the_beginning_is_named() -> None:
    listed = "&".join(f"p{number:05}" for number in range(20_063, 0, -1))
    problem = Problem("parameter_absent", {"oauth_parameters_absent": listed})
    assert explain(problem).sentence == (
        "Jira misses OAuth parameters:"
        " p20000, p20001, p20002, p20003, p20004, p20005, p20006, p20007."
    )


@pytest.mark.parametrize(
    ("name", "may_be"),
    [
        *((name, True) for name in ("token_rejected", "signature_invalid", "user_refused", "new")),
        *((name, False) for name in ("nonce_used", "not_jira", "too_many_parameters")),
    ],
)
def test_what_only_one_request_is_refused_for_says_nothing_about_us(
    name: str, may_be: bool
) -> None:
    assert Problem(name).may_be_about_us is may_be


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"name": "alana"}', {"name": "alana"}),
        (b" {}\r\n", {}),
        (b"", None),
        (b"{", None),
        (b'["name"]', None),
        (b'"name"', None),
        (b"null", None),
        (b"\xff\xfe", None),
        (b"[" * 60_000, None),
        (b"<title>Log in</title>", None),
    ],
)
def test_jiras_own_answers_are_json_objects(body: bytes, value: dict[str, str] | None) -> None:
    assert json_object(body) == value

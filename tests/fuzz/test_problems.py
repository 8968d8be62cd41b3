"""Hostile refusals: whatever a Jira says, reading it neither fails nor tells a secret.

A malicious Jira is not trusted with our log, our answers or the URL that we sign for.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from sidecar.account.signing_url import SigningURL
from sidecar.http.http_date import http_date
from sidecar.http.target import BaseURL
from sidecar.jira.base_strings import compare_base_strings
from sidecar.jira.problems import (
    Problem,
    acceptable_timestamps,
    explain,
    oauth_problem,
    parse_problem,
    problem_field,
)
from sidecar.signing.signature import percent_encode
from tests.fuzz.pieces import words

SECRET = "yUvBRAqyTjKPGvJTZLNkHXpQJ5OXNYqE"
BASE = BaseURL.parse("https://jira.example.com/jira")
OURS = (
    "GET&https%3A%2F%2Fjira.example.com%2Fjira%2Frest%2Fapi%2F2%2Fmyself&"
    f"oauth_consumer_key%3DOauthKey%26oauth_nonce%3Dn%26oauth_token%3D{SECRET}"
)
NAMES = words(
    "parameter_absent parameter_rejected version_rejected signature_method_rejected token_rejected"
    " timestamp_refused nonce_used signature_invalid consumer_key_unknown token_expired token_used"
    " permission_denied token_revoked user_refused anonymous user_may_not_log_in odd other"
)

field_bytes = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
secret_texts = st.lists(
    st.sampled_from(
        [SECRET, quote(SECRET), "&", "=", "%", "%26", "%3D", "oauth_token", "\r\n", '"']
    )
    | st.text(max_size=4),
    max_size=6,
).map("".join)
challenges = st.lists(
    st.tuples(
        st.sampled_from(["oauth_problem", "oauth_token", "realm", "oauth_parameters_absent"])
        | st.text(max_size=8),
        st.sampled_from(NAMES) | secret_texts,
    ),
    max_size=4,
).map(lambda pairs: "OAuth " + ", ".join(f'{name}="{value}"' for name, value in pairs))
fields = st.lists(
    st.tuples(
        st.sampled_from(
            [b"WWW-Authenticate", b"www-authenticate", b"X-AUSERNAME", b"Date", b"Age"]
        ),
        challenges.map(lambda text: text.encode("utf-8", "surrogatepass"))
        | field_bytes
        | st.just(b"anonymous"),
    ),
    max_size=4,
)
lists_of_names = st.lists(
    st.tuples(st.text(max_size=6), st.sampled_from(["", f"={SECRET}", f"={quote(SECRET)}%zz"])),
    max_size=4,
).map(lambda pairs: "&".join(name.replace("&", "") + value for name, value in pairs))
problems = st.builds(
    Problem,
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {},
        optional={
            "oauth_parameters_absent": lists_of_names,
            "oauth_parameters_rejected": lists_of_names,
            "oauth_problem_advice": secret_texts,
            "oauth_acceptable_timestamps": secret_texts,
            "oauth_signature": secret_texts,
            "oauth_token": secret_texts,
        },
    ),
)

hosts = st.sampled_from(
    words(
        "jira.example.com a..b . - [::1] [:::] [1.2.3.4] evil.test xn-- 1.2.3 _ jira.example.com."
    )
) | st.from_regex(r"[a-z0-9._-]{1,12}|\[[0-9a-f:.]{0,12}\]", fullmatch=True)
ports = st.sampled_from(["", ":0", ":443", ":65535", ":99999", ":00080", ":"])
prefixes = st.sampled_from(["", "/jira", "/a/b", "//", "/..", "/.", "/a%2f", "/%", "/é", "/;x"])


@given(st.integers(100, 599), fields, st.none() | field_bytes | challenges.map(str.encode))
def test_reading_an_answer_never_fails_and_its_report_is_plain_ascii(
    status: int, received: list[tuple[bytes, bytes]], body: bytes | None
) -> None:
    oauth_problem(received, body)
    problem = parse_problem(status, received, body)
    if problem is not None:
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", problem.name)
        assert re.fullmatch(
            rb'[a-z][a-z0-9_-]*; hint="(?:[ !#-\[\]-~]|\\["\\])*"', problem_field(problem)
        )
        acceptable_timestamps(problem)
    for _, value in received:
        http_date(value)


@given(problems)
def test_an_explanation_holds_no_parameter_s_value(problem: Problem) -> None:
    explanation = explain(problem)
    shown = [explanation.sentence, explanation.hint, *explanation.causes, problem.label]
    shown += [repr(problem), problem_field(problem).decode("ascii")]
    assert not [text for text in shown if SECRET in text]
    assert not [text for text in shown[:2] if re.search(r"[\x00-\x1f\x7f]", text)]


@given(st.sampled_from(["http", "https"]), hosts, ports, prefixes, st.booleans())
def test_whatever_url_jira_believes_in_is_understood_or_left_alone(
    scheme: str, host: str, port: str, prefix: str, keeps_path: bool
) -> None:
    path = f"{prefix}/rest/api/2/myself" if keeps_path else prefix
    theirs = OURS.replace(
        "https%3A%2F%2Fjira.example.com%2Fjira%2Frest%2Fapi%2F2%2Fmyself",
        percent_encode(f"{scheme}://{host}{port}{path}"),
    )
    problem = Problem("signature_invalid", {"oauth_signature_base_string": theirs})
    signing = SigningURL(BASE, BASE)
    url = signing.perceived(problem, OURS.encode(), BASE)
    if url is not None:
        signing.believe(url)
        assert signing.url == url


@given(secret_texts, secret_texts, st.sampled_from(["GET", "POST", "é", "GET\r\n"]))
def test_no_comparison_of_base_strings_shows_a_parameter_s_value(
    name: str, value: str, method: str
) -> None:
    pairs = percent_encode(f"{percent_encode(name)}={percent_encode(value)}&oauth_token={value}")
    theirs = f"{method}&https%3A%2F%2Fjira.example.com%2Fjira%2F&{pairs}"
    difference = compare_base_strings(theirs, OURS, "/jira")
    assert not re.search(r"[\x00-\x1f\x7f]", f"{difference.sentence} {difference.hint}")
    if SECRET not in name and "&" not in value:
        assert SECRET not in repr(difference)

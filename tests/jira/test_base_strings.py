"""Jira's signature base string beside ours: what differs is named, and no value shown."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.jira.base_strings import Difference, compare_base_strings
from sidecar.signing.signature import encode_parameters, signature_base_string

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
    assert (difference.perceived, difference.connector) == (None, "")
    assert (difference.missing, difference.extra, difference.changed) == ((), (), ())


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
        ("https://tomcat/jira", ("host",), "https://tomcat/jira"),
        ("http://jira.example.com:443/jira", ("scheme",), "http://jira.example.com:443/jira"),
    ],
)
def test_where_only_the_url_differs_jiras_own_idea_of_it_is_found(
    theirs: str, parts: tuple[str, ...], perceived: str
) -> None:
    difference = compare(base_string(theirs + "/rest/api/2/search"))
    assert difference.parts == parts
    assert difference.perceived == perceived
    assert (difference.missing, difference.extra, difference.changed) == ((), (), ())
    assert f'jira.signing_url = "{perceived}"' in difference.hint
    assert (difference.connector in difference.hint) == (parts != ("path prefix",))
    assert ("context path" in difference.hint) == ("path prefix" in parts)
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
    assert difference.hint.endswith("pass requests on unchanged")


def test_a_changed_token_is_named_but_never_shown() -> None:
    theirs = base_string().replace("SecretAccessToken", "OtherSecret")
    difference = compare(theirs)
    assert difference.changed == ("oauth_token",)
    assert "OtherSecret" not in repr(difference)


@pytest.mark.parametrize(
    "url",
    [
        "http://tomcat:8080",
        "https://tomcat",
        "https://jira.example.com:8443",
        "http://jira.example.com:443",
    ],
)
def test_another_url_does_not_count_where_something_else_differs_too(url: str) -> None:
    uri = url + "/jira/rest/api/2/search"
    for theirs in (base_string(uri, method="POST"), base_string(uri, query=[])):
        difference = compare(theirs)
        assert (difference.perceived, difference.connector) == (None, "")
        assert re.search(
            f"https://jira.example.com became {re.escape(url)}[;.]", difference.sentence
        )
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
    assert "Jira has another order." in compare(reordered).sentence
    for recoded in (base_string().replace("%3A", "%3a", 1), base_string() + "%26"):
        assert compare(recoded).parts == ("encoding",)
        assert "Jira has another encoding." in compare(recoded).sentence
        assert compare(recoded).perceived is None


def test_what_is_foreign_is_shown_and_cut() -> None:
    difference = compare(base_string(method="M" * 30))
    assert f"the method GET became {'M' * 20}." in difference.sentence
    difference = compare(base_string("https://jira.example.com/" + "x" * 200))
    assert f"the path became /{'x' * 99}." in difference.sentence


def test_all_that_was_changed_is_named_at_once() -> None:
    theirs = base_string("http://tomcat/jira/login", [("utm", "1")], "POST")
    assert compare(theirs).sentence == (
        "On the way to Jira the request was changed: the method GET became POST;"
        " https://jira.example.com became http://tomcat; the path became /jira/login;"
        " parameters were lost: jql; parameters were added: utm."
    )
    head, _, parameters = base_string(method="POST").rpartition("&")
    reordered = head + "&" + "%26".join(reversed(parameters.split("%26")))
    assert compare(reordered).sentence == (
        "On the way to Jira the request was changed: the method GET became POST;"
        " Jira has another order."
    )


def test_any_path_and_none_can_be_read() -> None:
    root = "GET&http%3A%2F%2Fa%2F&"
    assert compare("GET&http%3A%2F%2Fa&", root, "").parts == ("encoding",)
    assert compare("GET&http%3A%2F%2Fa%2F%250Ab%0Ac&", root, "").parts == ("path",)


def test_ports_are_those_that_there_are() -> None:
    ours = "GET&http%3A%2F%2Fa%2F&b"
    assert compare("GET&http%3A%2F%2Fa%3A65535%2F&b", ours, "").parts == ("port",)
    assert compare("GET&http%3A%2F%2Fa%3A65536%2F&b", ours, "").parts == ("unreadable",)


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


def test_what_is_longer_than_jira_can_name_is_not_compared() -> None:
    ours = "GET&http%3A%2F%2Fa%2Fx&" + "a" * 16_000
    longer = "GET&http%3A%2F%2Fb%2Fx&" + "a" * 16_000
    assert compare_base_strings(longer, ours).parts == ("host",)
    longest = longer + "a" * (16_384 - len(longer))
    assert compare_base_strings(longest, ours).parts == ("host", "parameters")
    assert compare_base_strings(longest + "a", ours).parts == ("unreadable",)
    assert compare_base_strings(longer, longest + "a").parts == ("unreadable",)

"""Every path that Jira could take a path for is found."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.errors import RequestRefused
from sidecar.http.paths import below, is_wrapped, readings, without_extensions
from sidecar.sandbox import tomcat


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/rest/api/2/myself", {"/rest/api/2/myself"}),
        ("/rest//api/", {"/rest/api/"}),
        ("/%72est/%C3%A9", {"/rest/é"}),
        ("/a;x=1/b;y", {"/a/b"}),
        ("/;x//b;/", {"/b/"}),
        ("/a%3Bx/b", {"/a;x/b", "/a/b"}),
        ("/a;%3Bx/b", {"/a/b"}),
        ("/", {"/"}),
        ("/;", {"/"}),
        ("//", {"/"}),
        ("/a%2Fb", {"/a/b"}),
        ("/a%252Fb", {"/a%2Fb", "/a/b"}),
        ("/a%25252Fb", {"/a%252Fb", "/a%2Fb", "/a/b"}),
        ("/a%2525252Fb", {"/a%25252Fb", "/a%252Fb", "/a%2Fb"}),
    ],
)
def test_a_path_is_read_decoded_without_parameters_and_collapsed(
    path: str, found: set[str]
) -> None:
    assert readings(path) == found


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("/s/x/_/rest/api/2/myself", {"/rest/api/2/myself"}),
        ("/S/en_UK-1/2/a.b/_/download/x.js", {"/download/x.js"}),
        ("/s/_/x", {"/x"}),
        ("/s//_/x", {"/x"}),
        ("/s/a/_/b/_/c", {"/b/_/c", "/c"}),
        ("/s/a/_/s/b/_/c", {"/s/b/_/c", "/c"}),
        ("/s/a/_/_/c", {"/_/c", "/c"}),
        ("/s/a;/_;x/c", {"/c"}),
        ("/%73/a/%5f/c", {"/c"}),
        ("/s/a%2F_%2Fc", {"/c"}),
        ("/s/a/_/", {"/"}),
        ("/x/s/a/_/c", set()),
        ("/sx/a/_/c", set()),
        ("/s/a/_c", set()),
    ],
)
def test_what_jira_forwards_is_read_as_what_it_is_forwarded_to(path: str, inner: set[str]) -> None:
    found = readings(path)
    assert {reading for reading in found if reading.endswith(("c", "x", "/", ".js", "f"))} >= inner
    assert len(found) == 1 + len(inner)
    assert {reading for reading in found if not is_wrapped(reading)} or not inner


def test_so_many_wrappings_are_refused_that_their_readings_would_fill_the_memory() -> None:
    assert readings("/s/_/_/rest") == {"/s/_/_/rest", "/_/rest", "/rest"}
    with pytest.raises(RequestRefused, match="too many segments _") as refused:
        readings("/s/_/_/_/rest")  # a third would be one more path for every rule
    assert (refused.value.status, refused.value.hint) == (400, "send what follows them")
    assert readings("/x" + "/_" * 30_000)


@pytest.mark.parametrize("tail", ["/a", "/%3B", "/a;b", "/%41;b", "/x;/"])
def test_what_rules_are_matched_with_is_a_few_times_as_long_as_the_path(tail: str) -> None:
    """What is percent-encoded twice is refused before a rule is looked at."""
    path = "/s" + "/_/rest" * 2 + tail * 1000
    assert sum(map(len, readings(path))) <= 6 * len(path)


def test_a_path_is_wrapped_from_its_beginning_to_a_segment_of_its_own() -> None:
    assert is_wrapped("/s/x/_/rest")
    assert is_wrapped("/S/_/rest")
    assert not is_wrapped("/s/x/rest")
    assert not is_wrapped("/s/x/_rest")
    assert not is_wrapped("/x/_/rest")


def test_an_extension_is_read_as_part_of_the_name_and_as_none() -> None:
    assert without_extensions(frozenset({"/user.json"})) == {"/user.json", "/user"}
    assert without_extensions(frozenset({"/user.XML/"})) == {"/user.XML/", "/user/"}
    assert without_extensions(frozenset({"/user.js"})) == {"/user.js"}


def test_the_context_path_is_taken_off_once_and_only_as_a_whole_segment() -> None:
    assert below("/jira/rest", "/jira") == "/rest"
    assert below("/jira/jira/rest", "/jira") == "/jira/rest"
    assert below("/jira", "/jira") == "/"
    assert below("/jirarest", "/jira") == "/jirarest"
    assert below("/rest", "") == "/rest"


pieces = st.sampled_from(
    ["/", "//", "a", "rest", ";x", ";", "%3B", "%41", "%c3%a9", "/s/", "/_/", "_", ".json", "%2541"]
)


@example("//s//_//_//_/")
@given(st.lists(pieces, max_size=9).map(lambda parts: "/" + "".join(parts)))
def test_what_tomcat_reads_is_among_the_readings(path: str) -> None:
    """The sandbox's Tomcat is another reader of the same rules."""
    segments = tomcat.read_path(path, refuse_encoded_slash=False)
    try:
        found = readings(path)
    except RequestRefused:
        assert path.count("_") > 2
        return
    assert segments in [[part for part in reading.split("/") if part] for reading in found]


def test_the_readings_of_a_path_are_known_when_it_comes_again() -> None:
    first = readings("".join(["/a;b", "/c"]))
    assert "/a/c" in first
    assert readings("".join(["/a;b/", "c"])) is first

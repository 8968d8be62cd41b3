from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox.paths import rest_resource, without_static_prefix

SEGMENT = st.text(min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("s/x/_/rest/api/2/myself", "rest/api/2/myself"),
        ("s/a/b-1/c/_/secure/attachment/1/a", "secure/attachment/1/a"),
        ("s/x/_/s/y/_/rest", "rest"),
        ("s/_/rest", "rest"),
        ("s/x/_/WEB-INF/web.xml", "s/x/_/WEB-INF/web.xml"),
        ("s/x/_/meta-inf/x", "s/x/_/meta-inf/x"),
        ("s/x/_", "s/x/_"),
        ("s/x/rest", "s/x/rest"),
        ("S/x/_/rest", "S/x/_/rest"),
        ("rest/_/s", "rest/_/s"),
        ("", ""),
    ],
)
def test_a_static_prefix_leads_to_what_stands_behind_it(path: str, resource: str) -> None:
    assert without_static_prefix(path.split("/")) == resource.split("/")


@given(st.lists(SEGMENT), st.lists(SEGMENT.filter(lambda part: part != "_"), min_size=1))
def test_the_last_underscore_of_a_static_prefix_counts(hashes: list[str], path: list[str]) -> None:
    expected = path if path[0].upper() not in ("WEB-INF", "META-INF") else None
    found = without_static_prefix(["s", *hashes, "_", *path])
    assert found == (expected or ["s", *hashes, "_", *path])


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("rest/api/latest/myself", "rest/api/2/myself"),
        ("rest/auth/latest/session.json", "rest/auth/1/session"),
        ("rest/agile/latest/board", "rest/agile/1.0/board"),
        ("rest/other/latest/x", "rest/other/latest/x"),
        ("rest/api/2/myself.xml", "rest/api/2/myself"),
        ("rest/api/2/a.json/b", "rest/api/2/a.json/b"),
        ("rest/api/2", "rest/api/2"),
        ("secure/a.json", "secure/a.json"),
        ("rest", "rest"),
    ],
)
def test_every_spelling_of_a_rest_resource_has_one_name(path: str, resource: str) -> None:
    assert rest_resource(path.split("/")) == resource.split("/")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.issues import Issues
from sidecar.sandbox.jql import compile_jql

ISSUES = Issues("http://jira.example.com", lambda: 1.8e9)
ISSUES.create(
    {
        "fields": {
            "project": {"key": "SB"},
            "summary": 'Tom\'s "quote" é',
            "issuetype": {"id": "3"},
            "labels": ["red", "blue"],
            "assignee": {"name": "alana"},
        }
    },
    "william",
)


def found(jql: str) -> list[str]:
    test = compile_jql(jql, "alana")
    return [issue["key"] for issue in ISSUES if test(issue)]


@pytest.mark.parametrize(
    ("jql", "keys"),
    [
        ("project = SB", ["SB-1"]),
        ("project=sb order by created DESC", ["SB-1"]),
        ("project in (SB, 'Nope')", ["SB-1"]),
        ('text ~ "pink enough" AND key = JJ-2', ["JJ-2"]),
        ('text ~ "super fun"', ["JJ-2"]),
        ("key in (jj-1, JJ-2,SB-1)", ["JJ-1", "JJ-2", "SB-1"]),
        ("issuekey = 10300", ["JJ-2"]),
        ("key = JJ-1 OR key = JJ-3 AND project = SB", ["JJ-1"]),
        ("(key = JJ-1 OR key = SB-1) AND NOT project = JJ", ["SB-1"]),
        ("assignee = currentUser()", ["JJ-2", "SB-1"]),
        ("assignee is not EMPTY and project != JJ", ["SB-1"]),
        ("project = SB and resolution is empty", ["SB-1"]),
        ("project = SB and labels not in (green)", ["SB-1"]),
        ("labels = red && type = Task", ["SB-1"]),
        ("reporter = william || creator = nobody", ["SB-1"]),
        (r'summary ~ "\"quote\" é"', ["SB-1"]),
        ('project = "Sandbox" AND summary !~ pink', ["SB-1"]),
        ("project = SB and created > 2020-01-01 and updated <= '2030/01/01 10:00'", ["SB-1"]),
        ("project = SB and updated < 2020-01-01", []),
    ],
)
def test_a_query_finds(jql: str, keys: list[str]) -> None:
    assert found(jql) == keys


@pytest.mark.parametrize("jql", ["", "  ", "ORDER BY key", "project = JJ or project = SB"])
def test_no_condition_finds_everything(jql: str) -> None:
    assert len(found(jql)) == 301


@pytest.mark.parametrize(
    "jql",
    [
        *("nonsense", "nope = 1", "project", "project =", "project = JJ nope", "(project = JJ"),
        *(
            "project < JJ",
            "updated > soon",
            "key in JJ-1",
            "key in ()",
            "project is JJ",
            "= JJ",
            'text ~ "open',
        ),
        *("and", "not", "(" * 1000 + "project = JJ", "not " * 1000, "project = JJ and", "!"),
    ],
)
def test_what_is_not_understood_is_an_error(jql: str) -> None:
    with pytest.raises(BadRequest, match="Error in the JQL Query"):
        found(jql)


@given(st.text(alphabet="projectJ=~()!<>,\"'\\ andornotin"))
def test_any_text_is_a_query_or_an_error(jql: str) -> None:
    try:
        compile_jql(jql, None)
    except BadRequest:
        return


def test_a_query_of_14_kb_is_fine() -> None:
    keys = ",".join(f"JJ-{number}" for number in range(1, 2001))
    assert len(found(f"key in ({keys})")) == 300

from __future__ import annotations

from typing import Any

import pytest

from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.issues import LONGEST_TEXT, FieldErrors, Issues, check_text, keep

NOW = 1_800_000_000.25
FIELDS = {"project": {"key": "SB"}, "summary": "s", "issuetype": {"name": "Task"}}


@pytest.fixture
def issues() -> Issues:
    return Issues("http://h/jira", lambda: NOW)


def made(issues: Issues, **fields: Any) -> dict[str, Any]:
    return issues.create({"fields": FIELDS | fields}, "alana")


def test_an_issue_is_found_by_key_and_id_until_it_is_deleted(issues: Issues) -> None:
    issue = made(issues)
    assert issues.find(issue["key"].lower()) is issues.find(issue["id"]) is issue
    assert issue in list(issues)
    issues.watchers[issue["id"]].append("alana")
    issues.delete(issue)
    assert issues.find(issue["key"]) is issues.find(issue["id"]) is None
    assert issue["id"] not in issues.watchers
    assert made(issues)["key"] != issue["key"]


def test_time_is_written_as_jira_does(issues: Issues) -> None:
    assert issues.timestamp() == "2027-01-15T08:00:00.250+0000"
    assert made(issues)["fields"]["created"] == issues.timestamp()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"project": None}, "project"),
        ({"project": {"key": "NO"}}, "project"),
        ({"summary": ""}, "summary"),
        ({"issuetype": {"name": "No"}}, "issuetype"),
        ({"priority": {"id": "99"}}, "priority"),
        ({"description": "x" * (LONGEST_TEXT + 1)}, "description"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    issues: Issues, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(FieldErrors) as caught:
        made(issues, **fields)
    assert list(caught.value.errors) == [field]


def test_an_update_happens_whole_or_not_at_all(issues: Issues) -> None:
    issue = made(issues, labels=["a"])
    update = {"fields": {"summary": "new"}, "update": {"labels": [{"add": "b"}, {"no": 1}]}}
    with pytest.raises(FieldErrors):
        issues.update(issue, update, "alana")
    assert (issue["fields"]["summary"], issue["fields"]["labels"]) == ("s", ["a"])
    update["update"] = {"labels": [{"add": "b"}, {"remove": "a"}]}
    issues.update(issue, update, "alana")
    assert (issue["fields"]["summary"], issue["fields"]["labels"]) == ("new", ["b"])


@pytest.mark.parametrize("text", ["", " \n", None, 1, "x" * (LONGEST_TEXT + 1)])
def test_a_text_is_one_and_not_too_long(text: object) -> None:
    with pytest.raises(FieldErrors):
        check_text(text, "comment")


def test_issues_and_parts_stay_within_bounds(
    issues: Issues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_ISSUES", len(list(issues)) + 1)
    issue = made(issues)
    with pytest.raises(BadRequest):
        made(issues)
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_PARTS", 1)
    issues.add_comment(issue, "one", "alana")
    with pytest.raises(BadRequest):
        issues.add_comment(issue, "two", "alana")
    assert issue["fields"]["comment"]["total"] == 1
    parts: list[dict[str, Any]] = []
    keep(parts, {})
    with pytest.raises(BadRequest):
        keep(parts, {})

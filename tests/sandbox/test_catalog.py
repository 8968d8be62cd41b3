from __future__ import annotations

import pytest

from sidecar.sandbox import catalog

BASE = "http://h/jira"


@pytest.mark.parametrize(
    "thing",
    [
        catalog.user(BASE, "alana"),
        *(catalog.issue_type(BASE, key) for key in catalog.TYPES),
        *(catalog.priority(BASE, key) for key in catalog.PRIORITIES),
        *(catalog.resolution(BASE, key) for key in catalog.RESOLUTIONS),
        *(catalog.status(BASE, key) for key in catalog.STATUSES),
        *(catalog.whole_project(BASE, key) for key in catalog.PROJECTS),
    ],
)
def test_everything_stands_on_the_base_url(thing: catalog.Thing) -> None:
    assert thing["self"].startswith(BASE + "/rest/api/2/")
    assert thing["name"]


def test_a_link_must_not_execute_as_an_administrator_or_a_stranger() -> None:
    assert set(catalog.ADMINISTRATORS) | set(catalog.INACTIVE) < set(catalog.USERS)
    assert catalog.USERS["builds"] == "Build Robot"


def test_any_name_is_somebody_and_some_may_not_log_in() -> None:
    assert catalog.user(BASE, "a b&c")["self"].endswith("?username=a%20b%26c")
    assert catalog.user(BASE, "alana")["active"] is True
    assert catalog.user(BASE, "retired")["active"] is False


def test_every_step_of_the_workflow_leads_somewhere() -> None:
    for key, (name, leads_to, before) in catalog.TRANSITIONS.items():
        step = catalog.transition(BASE, key)
        assert (step["name"], step["to"]["id"]) == (name, leads_to)
        assert all(key in catalog.steps(state) for state in before)
    assert all(catalog.steps(state) for state in catalog.STATUSES)


@pytest.mark.parametrize(
    ("key", "kind", "custom"),
    [
        ("summary", "string", False),
        ("assignee", "user", False),
        ("priority", "priority", False),
        ("labels", "array", False),
        ("customfield_10006", "number", True),
        ("customfield_99999", "string", True),
    ],
)
def test_a_field_has_its_schema(key: str, kind: str, custom: bool) -> None:
    field = catalog.field(key)
    assert (field["schema"]["type"], field["custom"]) == (kind, custom)
    assert ("items" in field["schema"]) is (kind == "array")
    assert catalog.field_meta(BASE, key)["schema"] == field["schema"]

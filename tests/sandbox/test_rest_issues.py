from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

import sidecar.sandbox
from sidecar.sandbox import Sandbox
from tests.support.rest_client import API, JSON, Jira

DOCUMENTED = Path(sidecar.sandbox.__file__).with_name("JJ-2.json")


@pytest.fixture
def jira(sandbox: Sandbox, private_key: RSAPrivateKey) -> Jira:
    return Jira(sandbox, private_key, sandbox.grant().token)


# ── issues ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["JJ-2", "jj-2", "10300", "JJ-2/"])
@pytest.mark.parametrize("version", ["2", "latest"])
async def test_the_documented_issue_is_served_with_links_on_our_base_url(
    jira: Jira, name: str, version: str
) -> None:
    answer = await jira.call("GET", f"/rest/api/{version}/issue/{name}")
    text = DOCUMENTED.read_text("utf-8")
    documented = text.replace("https://example-dev1.atlassian.net", jira.sandbox.url)
    assert answer.json() == json.loads(documented)
    assert list(answer.json()) == list(json.loads(documented))
    assert "gravatar.com" in answer.body.decode()
    assert "example-dev1" not in answer.body.decode()


@pytest.mark.parametrize(
    ("fields", "present"),
    [
        ("summary", {"summary"}),
        ("summary,status&fields=labels", {"summary", "status", "labels"}),
        ("*all,-comment", None),
    ],
)
async def test_fields_can_be_chosen(jira: Jira, fields: str, present: set[str] | None) -> None:
    issue = await jira.do("GET", f"issue/JJ-2?fields={fields}")
    if present is None:
        assert "comment" not in issue["fields"]
        assert len(issue["fields"]) > 50
    else:
        assert set(issue["fields"]) == present


async def test_an_issue_is_made_changed_and_deleted(jira: Jira) -> None:
    text = f'see {jira.sandbox.url}/browse/JJ-2 — 🖍 \\ " é'
    given = {"project": {"id": "10300"}, "summary": text, "issuetype": {"id": "1"}, "labels": ["a"]}
    answer = await jira.call(
        "POST", API + "issue/", JSON, body=json.dumps({"fields": given}).encode()
    )
    issue = answer.json()
    assert (answer.status, answer["Location"]) == (201, issue["self"])
    assert issue["self"] == f"{jira.sandbox.url}/rest/api/2/issue/{issue['id']}"
    path = f"issue/{issue['id']}"
    update = {
        "fields": {
            "description": text,
            "priority": {"name": "Minor"},
            "assignee": {"name": "william"},
        },
        "update": {
            "labels": [{"add": "b"}, {"remove": "a"}],
            "comment": [{"add": {"body": text}}],
            "summary": [{"set": "new"}],
        },
    }
    await jira.do("PUT", path, update, status=204)
    fields = (await jira.do("GET", path))["fields"]
    assert fields["description"] == text
    assert fields["comment"]["comments"][0]["body"] == text
    assert (fields["summary"], fields["labels"]) == ("new", ["b"])
    assert fields["priority"]["id"] == "4"
    assert fields["assignee"]["displayName"] == "William Example"
    assert fields["creator"]["name"] == "alana"
    await jira.do("DELETE", path, {}, status=204)
    gone = await jira.do("GET", path, status=404)
    assert gone == {"errorMessages": ["Issue Does Not Exist"], "errors": {}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"project": None}, "project"),
        ({"project": {"key": "NO"}}, "project"),
        ({"summary": ""}, "summary"),
        ({"summary": "x" * 40_000}, "summary"),
        ({"issuetype": {"name": "No"}}, "issuetype"),
        ({"nonsense": 1}, "nonsense"),
        ({"created": "now"}, "created"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(
    jira: Jira, change: dict[str, object], field: str
) -> None:
    given = {"project": {"key": "SB"}, "summary": "s", "issuetype": {"id": "1"}} | change
    refused = await jira.do("POST", "issue", {"fields": given}, status=400)
    assert list(refused["errors"]) == [field]


async def test_an_update_happens_whole_or_not_at_all(jira: Jira) -> None:
    update = {"fields": {"description": "changed", "nonsense": 1}}
    await jira.do("PUT", "issue/JJ-1", update, status=400)
    assert (await jira.do("GET", "issue/JJ-1"))["fields"]["description"] is None


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"fields": 1}', b'{"update": []}'])
async def test_nonsense_is_a_400(jira: Jira, body: bytes) -> None:
    answer = await jira.call("PUT", API + "issue/JJ-1", JSON, body=body)
    assert answer.status == 400
    assert answer.json()["errorMessages"]


async def test_several_issues_are_made_at_once(jira: Jira) -> None:
    given = {"fields": {"project": {"key": "SB"}, "summary": "s", "issuetype": {"id": "1"}}}
    reply = await jira.do("POST", "issue/bulk", {"issueUpdates": [given] * 3}, status=201)
    assert [issue["key"] for issue in reply["issues"]] == ["SB-1", "SB-2", "SB-3"]


async def test_what_can_be_entered_is_described(jira: Jira) -> None:
    meta = await jira.do("GET", "issue/createmeta?projectKeys=JJ&expand=projects.issuetypes.fields")
    [project] = meta["projects"]
    fields = project["issuetypes"][0]["fields"]
    assert fields["summary"]["required"] is True
    assert {each["name"] for each in fields["priority"]["allowedValues"]} >= {"Major", "Minor"}
    kinds = (await jira.do("GET", "issue/createmeta/JJ/issuetypes"))["values"]
    listed = await jira.do("GET", f"issue/createmeta/JJ/issuetypes/{kinds[0]['id']}?maxResults=5")
    assert (len(listed["values"]), listed["isLast"]) == (5, False)
    edit = await jira.do("GET", "issue/JJ-2/editmeta")
    assert "summary" in edit["fields"]
    assert "status" not in edit["fields"]


# ── search ────────────────────────────────────────────────────────────────────────────────────


async def test_250_results_come_in_pages(jira: Jira) -> None:
    seen: list[str] = []
    while True:
        page = await jira.do("GET", f"search?jql=project=JJ&startAt={len(seen)}&maxResults=60")
        seen += [issue["key"] for issue in page["issues"]]
        assert page["total"] == 300
        if len(seen) >= page["total"]:
            break
    assert len(set(seen)) == 300
    assert "comment" not in page["issues"][0]["fields"]


@pytest.mark.parametrize(("size", "count"), [(0, 0), (-1, 300), (5000, 300), (7, 7)])
async def test_a_page_has_its_limits(jira: Jira, size: int, count: int) -> None:
    page = await jira.do("GET", f"search?maxResults={size}&startAt=0")
    assert len(page["issues"]) == count


async def test_a_search_can_be_posted(jira: Jira) -> None:
    query = {"jql": 'text ~ "pink enough" and key=JJ-2', "maxResults": 2, "fields": ["summary"]}
    page = await jira.do("POST", "search", query)
    assert [issue["fields"] for issue in page["issues"]] == [
        {"summary": "Jira Junior logo is not pink enough"}
    ]


async def test_a_search_is_expanded(jira: Jira) -> None:
    asked = "search?jql=key=JJ-2&expand=changelog,transitions"
    [plain] = (await jira.do("GET", "search?jql=key=JJ-2"))["issues"]
    [issue] = (await jira.do("GET", asked))["issues"]
    assert issue.keys() - plain.keys() == {"changelog", "transitions"}
    assert issue["changelog"]["histories"] == []
    assert {step["name"] for step in issue["transitions"]} >= {"Close Issue"}


@pytest.mark.parametrize(
    "path", ["search?jql=nope=1", "search?startAt=x", "search?jql=%22", "search?maxResults=1e5"]
)
async def test_a_search_that_is_not_understood_is_a_400(jira: Jira, path: str) -> None:
    refused = await jira.do("GET", path, status=400)
    assert len(refused["errorMessages"]) == 1

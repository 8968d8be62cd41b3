from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

import sidecar.sandbox
from sidecar.sandbox import Sandbox
from tests.support.sandbox_client import SandboxClient
from tests.support.wire import Response

API = "/rest/api/2/"
JSON = ("Content-Type", "application/json")
NO_CHECK = ("X-Atlassian-Token", "no-check")
DOCUMENTED = Path(sidecar.sandbox.__file__).with_name("JJ-2.json")


class Jira(SandboxClient):
    """JSON in, JSON out."""

    async def do(self, method: str, path: str, content: Any = None, *, status: int = 200) -> Any:
        body = b"" if content is None else json.dumps(content).encode()
        answer = await self.call(method, API + path, JSON, body=body)
        assert answer.status == status, answer.body
        return json.loads(answer.body) if answer.body else None


@pytest.fixture
def jira(sandbox: Sandbox, private_key: RSAPrivateKey) -> Jira:
    return Jira(sandbox, private_key, sandbox.grant().token)


async def made(jira: Jira, **fields: Any) -> str:
    """Make an issue; its key."""
    given = {"project": {"key": "SB"}, "summary": "s", "issuetype": {"name": "Task"}} | fields
    return str((await jira.do("POST", "issue", {"fields": given}, status=201))["key"])


# ── issues ──────────────────────────────────────────────────────────────────────────────────


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


# ── search ──────────────────────────────────────────────────────────────────────────────────


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


# ── what hangs on an issue ──────────────────────────────────────────────────────────────────


async def test_comments_come_and_go(jira: Jira) -> None:
    key = await made(jira)
    comment = await jira.do("POST", f"issue/{key}/comment", {"body": "one"}, status=201)
    path = f"issue/{key}/comment/{comment['id']}"
    assert (await jira.do("PUT", path, {"body": "two"}))["body"] == "two"
    assert (await jira.do("GET", path))["author"]["name"] == "alana"
    listed = await jira.do("GET", f"issue/{key}/comment")
    assert (listed["total"], listed["comments"][0]["body"]) == (1, "two")
    await jira.do("DELETE", path, status=204)
    await jira.do("GET", path, status=404)
    assert (await jira.do("GET", f"issue/{key}/comment"))["total"] == 0
    await jira.do("POST", f"issue/{key}/comment", {"body": " "}, status=400)


async def test_an_issue_goes_through_its_workflow(jira: Jira) -> None:
    key = await made(jira)
    steps = (await jira.do("GET", f"issue/{key}/transitions"))["transitions"]
    assert all(step["id"].isdigit() and step["to"]["name"] for step in steps)
    done = {"transition": {"id": "5"}, "fields": {"resolution": {"name": "Duplicate"}}}
    await jira.do("POST", f"issue/{key}/transitions", done, status=204)
    fields = (await jira.do("GET", f"issue/{key}"))["fields"]
    assert (fields["status"]["name"], fields["resolution"]["name"]) == ("Resolved", "Duplicate")
    await jira.do("POST", f"issue/{key}/transitions", done, status=400)
    await jira.do("POST", f"issue/{key}/transitions", {"transition": {"id": 3}}, status=204)
    assert (await jira.do("GET", f"issue/{key}"))["fields"]["resolution"] is None


async def test_an_issue_is_assigned(jira: Jira) -> None:
    key = await made(jira)
    await jira.do("PUT", f"issue/{key}/assignee", {"name": "admin"}, status=204)
    assert (await jira.do("GET", f"issue/{key}"))["fields"]["assignee"]["name"] == "admin"
    await jira.do("PUT", f"issue/{key}/assignee", {"name": None}, status=204)
    assert (await jira.do("GET", f"issue/{key}"))["fields"]["assignee"] is None


async def test_a_remote_link_keeps_peoples_url(jira: Jira) -> None:
    key = await made(jira)
    link = {"globalId": "g", "object": {"url": f"{jira.sandbox.url}/browse/X", "title": "t"}}
    first = await jira.do("POST", f"issue/{key}/remotelink", link, status=201)
    assert await jira.do("POST", f"issue/{key}/remotelink", link) == first
    [listed] = await jira.do("GET", f"issue/{key}/remotelink")
    assert listed["object"] == link["object"]
    assert listed["self"] == first["self"]
    path = f"issue/{key}/remotelink/{first['id']}"
    await jira.do("PUT", path, {"object": {"url": "u", "title": "n"}}, status=204)
    assert (await jira.do("GET", path))["object"]["title"] == "n"
    await jira.do("DELETE", path, status=204)
    assert await jira.do("GET", f"issue/{key}/remotelink") == []
    await jira.do("POST", f"issue/{key}/remotelink", {"object": {}}, status=400)


async def test_watchers_and_votes_are_counted(jira: Jira) -> None:
    key = await made(jira)
    await jira.do("POST", f"issue/{key}/watchers", "william", status=204)
    assert (await jira.call("POST", f"{API}issue/{key}/watchers", JSON)).status == 204
    watchers = await jira.do("GET", f"issue/{key}/watchers")
    assert (watchers["watchCount"], watchers["isWatching"]) == (3, True)
    await jira.do("DELETE", f"issue/{key}/watchers?username=william", status=204)
    assert (await jira.call("POST", f"{API}issue/{key}/votes", NO_CHECK)).status == 204
    votes = await jira.do("GET", f"issue/{key}/votes")
    assert (votes["votes"], votes["hasVoted"], len(votes["voters"])) == (1, True, 1)
    fields = (await jira.do("GET", f"issue/{key}"))["fields"]
    assert (fields["watches"]["watchCount"], fields["votes"]["votes"]) == (2, 1)
    await jira.do("DELETE", f"issue/{key}/votes", status=204)
    assert (await jira.do("GET", f"issue/{key}/votes"))["votes"] == 0


async def test_work_is_logged(jira: Jira) -> None:
    key = await made(jira)
    path = f"issue/{key}/worklog"
    log = await jira.do("POST", path, {"timeSpent": "1d 2h 30m", "comment": "c"}, status=201)
    assert log["timeSpentSeconds"] == 10 * 3600 + 1800
    assert (await jira.do("PUT", f"{path}/{log['id']}", {"comment": "d"}))["comment"] == "d"
    assert (await jira.do("GET", path))["total"] == 1
    await jira.do("DELETE", f"{path}/{log['id']}", status=204)
    for wrong in ({}, {"timeSpent": "long"}, {"timeSpent": "1h soon"}, {"timeSpentSeconds": -1}):
        await jira.do("POST", path, wrong, status=400)


@pytest.mark.parametrize("part", ["comment", "transitions", "watchers", "votes", "worklog"])
async def test_nothing_hangs_on_an_issue_that_is_not_there(jira: Jira, part: str) -> None:
    await jira.do("GET", f"issue/NO-1/{part}", status=404)


# ── server, people, projects, boards ────────────────────────────────────────────────────────


async def test_the_server_says_what_it_is(jira: Jira) -> None:
    info = await jira.do("GET", "serverInfo")
    assert info["baseUrl"] == jira.sandbox.url
    assert info["deploymentType"] == "Server"
    assert info["versionNumbers"] == [9, 12, 0]
    assert (info["version"], type(info["buildNumber"])) == ("9.12.0", int)


async def test_people_are_found(jira: Jira) -> None:
    assert (await jira.do("GET", "myself"))["displayName"] == "Alana Example"
    assert (await jira.do("GET", "user?username=admin"))["key"] == "admin"
    await jira.do("GET", "user?username=nobody", status=404)
    found = await jira.do("GET", "user/search?username=example")
    assert [user["name"] for user in found] == ["alana", "william"]


async def test_projects_types_and_fields_are_listed(jira: Jira) -> None:
    assert [each["key"] for each in await jira.do("GET", "project")] == ["JJ", "SB"]
    project = await jira.do("GET", "project/JJ")
    assert {kind["name"] for kind in project["issueTypes"]} == {"Bug", "Task", "Story"}
    assert (await jira.do("GET", "project/10200"))["key"] == "JJ"
    await jira.do("GET", "project/NO", status=404)
    fields = {each["id"]: each for each in await jira.do("GET", "field")}
    assert fields["customfield_10006"]["name"] == "Story Points"
    assert fields["customfield_10006"]["custom"] is True
    for name in ("issuetype", "priority", "status", "resolution"):
        first = (await jira.do("GET", name))[0]
        assert await jira.do("GET", f"{name}/{first['id']}") == first


async def test_boards_have_pages(jira: Jira) -> None:
    boards = (await jira.call("GET", "/rest/agile/1.0/board")).json()
    assert (boards["isLast"], boards["values"][0]["id"]) == (True, 1)
    path = "/rest/agile/1.0/board/1/issue?startAt=290&maxResults=50"
    page = (await jira.call("GET", path)).json()
    assert (page["total"], len(page["issues"])) == (300, 10)
    sprints = (await jira.call("GET", "/rest/agile/1.0/board/1/sprint")).json()
    assert sprints["values"][0]["state"] == "active"


# ── session, anonymous, unknown ─────────────────────────────────────────────────────────────


async def test_a_session_is_shown_but_never_begun(jira: Jira) -> None:
    path = "/rest/auth/1/session"
    assert (await jira.call("GET", path)).json()["name"] == "alana"
    login = jira.message("POST", jira.context + path, JSON, body=b'{"username":"a","password":"b"}')
    answers: list[Response] = [await jira.raw(login) for _ in range(4)]
    assert [answer.status for answer in answers] == [401, 401, 401, 403]
    assert "CAPTCHA_CHALLENGE" in answers[-1]["X-Authentication-Denied-Reason"]
    assert (await jira.call("DELETE", path)).status == 204


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("serverInfo", 200),
        ("field", 200),
        ("search", 200),
        ("issue/JJ-2", 401),
        ("myself", 401),
        ("project", 401),
        ("nothing", 404),
    ],
)
async def test_an_anonymous_request_sees_little(jira: Jira, path: str, status: int) -> None:
    answer = await jira.get(jira.context + API + path)
    assert (answer.status, answer["X-AUSERNAME"]) == (status, "anonymous")
    assert bool(answer.all("WWW-Authenticate")) == (status == 401)


async def test_a_method_that_is_not_there_is_a_405(jira: Jira) -> None:
    answer = await jira.call("PATCH", API + "issue/JJ-2", JSON, body=b"{}")
    assert (answer.status, answer["Allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert (await jira.call("OPTIONS", API + "issue/JJ-2")).status == 200


async def test_the_sandbox_is_not_filled_for_ever(
    jira: Jira, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_ISSUES", 300)
    given = {"fields": {"project": {"key": "SB"}, "summary": "s", "issuetype": {"id": "1"}}}
    await jira.do("POST", "issue", given, status=400)
    monkeypatch.setattr("sidecar.sandbox.issues.MOST_PARTS", 1)
    await jira.do("POST", "issue/JJ-2/comment", {"body": "x"}, status=400)

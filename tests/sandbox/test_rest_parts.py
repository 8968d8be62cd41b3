from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.rest_client import API, JSON, Jira, made

NO_CHECK = ("X-Atlassian-Token", "no-check")


@pytest.fixture
def jira(sandbox: Sandbox, private_key: RSAPrivateKey) -> Jira:
    return Jira(sandbox, private_key, sandbox.grant().token)


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

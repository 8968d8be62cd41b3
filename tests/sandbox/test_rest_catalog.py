from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.sandbox import Sandbox
from tests.support.rest_client import Jira


@pytest.fixture
def jira(sandbox: Sandbox, private_key: RSAPrivateKey) -> Jira:
    return Jira(sandbox, private_key, sandbox.grant().token)


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

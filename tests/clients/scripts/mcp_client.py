# mypy: ignore-errors
"""A session with mcp-atlassian, spoken to over stdio as an assistant does."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from session import (
    FILE,
    JQL,
    LONG_JQL,
    LONG_MATCHES,
    MATCHES,
    SHA256,
    SUMMARY,
    TOKEN,
    URL,
    equal,
    sha256,
)  # fmt: skip

SERVER = StdioServerParameters(
    command=str(Path(sys.prefix, "bin", "mcp-atlassian")),
    cwd=str(Path(FILE).parent),  # it takes files from below its working folder only
    env={
        **os.environ,
        "JIRA_URL": URL,
        "JIRA_PERSONAL_TOKEN": TOKEN,
        "TOOLSETS": "all",
        "FASTMCP_CHECK_FOR_UPDATES": "off",
    },
)


async def session(mcp):
    """The session."""

    async def call(tool, **arguments):
        answer = await mcp.call_tool("jira_" + tool, arguments)
        if answer.isError:
            raise SystemExit(f"{tool}: {answer.content}")
        return answer

    async def read(tool, **arguments):
        return json.loads((await call(tool, **arguments)).content[0].text)

    equal((await read("search", jql=JQL, limit=1, fields="summary"))["total"], MATCHES)
    keys = set()
    for start in range(0, LONG_MATCHES, 50):
        page = await read("search", jql=LONG_JQL, limit=50, start_at=start, fields="summary")
        keys |= {issue["key"] for issue in page["issues"]}
    equal(len(keys), LONG_MATCHES)

    about = {"project_key": "JJ", "issue_type": "Bug", "summary": "first"}
    made = await read("create_issue", **about, description="see *this*")
    key = made["issue"]["key"]
    fields = json.dumps({"summary": SUMMARY})
    await read("update_issue", issue_key=key, fields=fields, attachments=json.dumps([FILE]))
    await read("add_comment", issue_key=key, body="a comment")
    steps = await read("get_transitions", issue_key=key)
    (step,) = [each["id"] for each in steps if each["name"] == "Start Progress"]
    await read("transition_issue", issue_key=key, transition_id=str(step))
    issue = await read("get_issue", issue_key=key, fields="*all")
    equal((issue["summary"], issue["status"]["name"]), (SUMMARY, "In Progress"))
    equal([each["body"] for each in issue["comments"]], ["a comment"])

    answer = await call("download_attachments", issue_key=key)
    content = json.loads(answer.content[1].text)["content"]
    equal(sha256(base64.b64decode(content)), SHA256)
    await read("add_watcher", issue_key=key, user_identifier="william")
    boards = await read("get_agile_boards")
    equal([board["name"] for board in boards], ["JJ board"])
    await read("delete_issue", issue_key=key)
    gone = await mcp.call_tool("jira_get_issue", {"issue_key": key})
    equal(gone.isError, True)


async def main():
    """Start the server and talk to it."""
    async with stdio_client(SERVER) as (reader, writer), ClientSession(reader, writer) as mcp:
        await mcp.initialize()
        await session(mcp)


asyncio.run(main())

"""A client of the sandbox's REST surface: JSON in, JSON out."""

from __future__ import annotations

import json
from typing import Any

from tests.support.sandbox_client import SandboxClient

API = "/rest/api/2/"
JSON = ("Content-Type", "application/json")


class Jira(SandboxClient):
    """JSON in, JSON out."""

    async def do(self, method: str, path: str, content: Any = None, *, status: int = 200) -> Any:
        body = b"" if content is None else json.dumps(content).encode()
        answer = await self.call(method, API + path, JSON, body=body)
        assert answer.status == status, answer.body
        return json.loads(answer.body) if answer.body else None


async def made(jira: Jira, **fields: Any) -> str:
    """Make an issue; its key."""
    given = {"project": {"key": "SB"}, "summary": "s", "issuetype": {"name": "Task"}} | fields
    return str((await jira.do("POST", "issue", {"fields": given}, status=201))["key"])

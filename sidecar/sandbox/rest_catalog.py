"""Resources about the server, its people, its projects and its boards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, Call, answer_errors, answer_json, paged
from sidecar.sandbox.issues import Issues
from sidecar.sandbox.rest_issues import shown
from sidecar.sandbox.router import Handler, Router


class CatalogResources:
    """What needs no issue."""

    def __init__(self, base: str, issues: Issues, now: Callable[[], float]) -> None:
        self.base = base
        self.issues = issues
        self._now = now

    def register(self, router: Router) -> None:
        """Take the paths."""
        api = "rest/api/2/"
        base = self.base
        router.add("GET", api + "serverInfo", self.server_info, public=True)
        router.add("GET", api + "myself", self.myself)
        router.add("GET", api + "user", self.user)
        router.add("GET", api + "user/search", self.user_search)
        router.add("GET", api + "user/assignable/search", self.user_search)
        router.add("GET", api + "mypermissions", self.permissions, public=True)
        router.add("GET", api + "field", self.fields, public=True)
        router.add("GET", api + "project", self.projects)
        router.add("GET", api + "project/*", self.project)
        router.add("GET", api + "project/*/statuses", self.project_statuses)
        for part in ("versions", "components"):
            router.add("GET", f"{api}project/*/{part}", _listing([]))
        for name, make, known in (
            ("issuetype", catalog.issue_type, catalog.TYPES),
            ("priority", catalog.priority, catalog.PRIORITIES),
            ("status", catalog.status, catalog.STATUSES),
            ("resolution", catalog.resolution, catalog.RESOLUTIONS),
        ):
            things = [make(base, key) for key in known]
            router.add("GET", api + name, _listing(things), public=True)
            router.add("GET", f"{api}{name}/*", _single(things), public=True)
        router.add("GET", api + "issueLinkType", _fixed({"issueLinkTypes": []}))
        agile = "rest/agile/1.0/"
        router.add("GET", agile + "board", self.boards)
        router.add("GET", agile + "board/*", self.board)
        router.add("GET", agile + "board/*/issue", self.board_issues)
        router.add("GET", agile + "board/*/backlog", self.board_issues)
        router.add("GET", agile + "board/*/sprint", self.sprints)
        router.add("GET", agile + "sprint/*", self.sprint)
        router.add("GET", agile + "sprint/*/issue", self.board_issues)

    # ── server and people ───────────────────────────────────────────────────────────────────

    async def server_info(self, call: Call) -> Answer:
        """Say what this Jira is and what it calls itself."""
        now = datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        return answer_json(
            {
                "baseUrl": self.base,
                "version": ".".join(map(str, catalog.VERSION)),
                "versionNumbers": catalog.VERSION,
                "deploymentType": "Server",
                "buildNumber": catalog.BUILD,
                "buildDate": "2023-11-01T00:00:00.000+0000",
                "databaseBuildNumber": catalog.BUILD,
                "serverTime": now,
                "scmInfo": "0" * 40,
                "serverTitle": "Sandbox Jira",
            }
        )

    async def myself(self, call: Call) -> Answer:
        """Say who the request acts as."""
        groups = {"size": 1, "items": []}
        more = {"locale": "en_AU", "groups": groups, "applicationRoles": groups}
        return answer_json({**catalog.user(self.base, call.user or ""), **more})

    async def user(self, call: Call) -> Answer:
        """Give a user by `username` or `key`."""
        name = call.parameter("username") or call.parameter("key")
        if name not in catalog.USERS:
            return answer_errors(404, f"The user named '{name}' does not exist")
        return answer_json(catalog.user(self.base, name))

    async def user_search(self, call: Call) -> Answer:
        """List the users whose name or display name has a text."""
        wanted = (call.parameter("username") or call.parameter("query")).lower()
        names = [
            name
            for name, display in catalog.USERS.items()
            if wanted in (".", "%", "") or wanted in f"{name}\n{display}".lower()
        ]
        start, size = call.number("startAt", 0), call.number("maxResults", 50)
        window = names[start : start + size]
        return answer_json([catalog.user(self.base, name) for name in window])

    async def permissions(self, call: Call) -> Answer:
        """Say that an authenticated user may do anything."""
        names = ("BROWSE", "CREATE_ISSUE", "EDIT_ISSUE", "COMMENT_ISSUE")
        have = call.user is not None
        every = {name: {"key": name, "havePermission": have} for name in names}
        return answer_json({"permissions": every})

    async def fields(self, call: Call) -> Answer:
        """List the fields of an issue."""
        return answer_json([catalog.field(name) for name in self.issues.field_names])

    # ── projects ────────────────────────────────────────────────────────────────────────────

    async def projects(self, call: Call) -> Answer:
        """List the projects."""
        return answer_json([catalog.project(self.base, key) for key in catalog.PROJECTS])

    def _project(self, name: str) -> str | None:
        return next(
            (key for key, (number, _) in catalog.PROJECTS.items() if name in (key, number)), None
        )

    async def project(self, call: Call, name: str) -> Answer:
        """Give a project by key or id."""
        key = self._project(name)
        if key is None:
            return answer_errors(404, f"No project could be found with key '{name}'.")
        return answer_json(catalog.whole_project(self.base, key))

    async def project_statuses(self, call: Call, name: str) -> Answer:
        """List the states of each type of issue."""
        if self._project(name) is None:
            return answer_errors(404, f"No project could be found with key '{name}'.")
        states = [catalog.status(self.base, key) for key in catalog.STATUSES]
        kinds = [catalog.issue_type(self.base, key) for key in catalog.TYPES]
        return answer_json([{**kind, "statuses": states} for kind in kinds])

    # ── agile ───────────────────────────────────────────────────────────────────────────────

    def _board(self) -> catalog.Thing:
        address = f"{self.base}/rest/agile/1.0/board/1"
        return {"id": 1, "self": address, "name": "JJ board", "type": "scrum"}

    def _sprint(self) -> catalog.Thing:
        return {
            "id": 2,
            "self": f"{self.base}/rest/agile/1.0/sprint/2",
            "state": "active",
            "name": "Sprint 2",
            "originBoardId": 1,
        }

    async def boards(self, call: Call) -> Answer:
        """List the one board."""
        page = paged([self._board()], call.number("startAt", 0), 50, "values")
        return answer_json({**page, "isLast": True})

    async def board(self, call: Call, name: str) -> Answer:
        """Give the one board."""
        if name != "1":
            return answer_errors(404, "The requested board cannot be viewed.")
        return answer_json(self._board())

    async def sprints(self, call: Call, name: str) -> Answer:
        """List the one sprint."""
        page = paged([self._sprint()], call.number("startAt", 0), 50, "values")
        return answer_json({**page, "isLast": True})

    async def sprint(self, call: Call, name: str) -> Answer:
        """Give the one sprint."""
        if name != "2":
            return answer_errors(404, "Sprint does not exist.")
        return answer_json(self._sprint())

    async def board_issues(self, call: Call, name: str) -> Answer:
        """List the issues of project JJ."""
        found = [shown(each, []) for each in self.issues if each["key"].startswith("JJ-")]
        start, size = call.number("startAt", 0), min(call.number("maxResults", 50), 1000)
        return answer_json({"expand": "schema,names", **paged(found, start, size, "issues")})


def _fixed(value: object) -> Handler:
    async def handler(call: Call, *wild: str) -> Answer:
        return answer_json(value)

    return handler


def _listing(things: list[catalog.Thing]) -> Handler:
    return _fixed(things)


def _single(things: list[catalog.Thing]) -> Handler:
    async def handler(call: Call, key: str) -> Answer:
        found = next((thing for thing in things if thing["id"] == key), None)
        return answer_json(found) if found else answer_errors(404, f"Nothing has the id {key}")

    return handler

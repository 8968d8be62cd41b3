"""Resources of issues: search, create, read, update, delete, and what can be put in them."""

from __future__ import annotations

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, BadRequest, Call, answer_errors, answer_json, paged
from sidecar.sandbox.catalog import Thing
from sidecar.sandbox.issues import Issues
from sidecar.sandbox.jql import compile_jql
from sidecar.sandbox.router import Router

MOST_RESULTS = 1000
"""Jira's jira.search.views.default.max."""
_HIDDEN = ("comment", "attachment")
"""Left out of search results unless asked for: *navigable does not have them."""


class IssueResources:
    """The issue resource itself and search."""

    def __init__(self, base: str, issues: Issues) -> None:
        self.base = base
        self.issues = issues

    def register(self, router: Router) -> None:
        """Take the paths."""
        api = "rest/api/2/"
        router.add("GET|POST", api + "search", self.search, public=True)
        router.add("POST", api + "issue", self.create)
        router.add("POST", api + "issue/bulk", self.create_all)
        router.add("GET", api + "issue/createmeta", self.create_meta)
        router.add("GET", api + "issue/createmeta/*/issuetypes", self.create_types)
        router.add("GET", api + "issue/createmeta/*/issuetypes/*", self.create_fields)
        router.add("GET", api + "issue/*", self.read)
        router.add("PUT", api + "issue/*", self.update)
        router.add("DELETE", api + "issue/*", self.delete)
        router.add("GET", api + "issue/*/editmeta", self.edit_meta)
        router.add("GET", "rest/agile/1.0/issue/*", self.read)

    # ── search ──────────────────────────────────────────────────────────────────────────────

    async def search(self, call: Call) -> Answer:
        """Find issues by JQL; an anonymous user sees none, and no error."""
        given = await call.json() if call.method == "POST" else {}
        jql = given.get("jql", "") if given else call.parameter("jql")
        start = _number(given, "startAt", call.number("startAt", 0))
        size = _number(given, "maxResults", call.number("maxResults", 50))
        size = MOST_RESULTS if size < 0 else min(size, MOST_RESULTS)
        fields = given.get("fields") if given else wanted_fields(call)
        expand = given.get("expand") if given else call.parameter("expand")
        if not isinstance(jql, str) or not isinstance(fields or [], list):
            raise BadRequest("Can not deserialize the search request")
        test = compile_jql(jql, call.user)
        found = [] if call.user is None else [each for each in self.issues if test(each)]
        page = paged(found, max(start, 0), size, "issues")
        page["issues"] = [
            shown(each, fields or []) | self._expanded(each, expand) for each in page["issues"]
        ]
        return answer_json({"expand": "names,schema", **page})

    # ── one issue ───────────────────────────────────────────────────────────────────────────

    async def read(self, call: Call, name: str) -> Answer:
        """Give an issue, whole or with the fields asked for."""
        issue = self.issues.find(name)
        if issue is None:
            return no_issue()
        fields = wanted_fields(call)
        answer = shown(issue, fields) if fields else dict(issue)
        return answer_json(answer | self._expanded(issue, call.parameter("expand")))

    def _expanded(self, issue: Thing, expand: object) -> Thing:
        """What `expand`, a text with commas or a list, adds to an issue."""
        names = ",".join(map(str, expand)) if isinstance(expand, list) else str(expand or "")
        more: Thing = {}
        if "changelog" in names:
            more["changelog"] = paged([], 0, 0, "histories")
        if "transitions" in names:
            keys = catalog.steps(issue["fields"]["status"]["id"])
            more["transitions"] = [catalog.transition(self.base, key) for key in keys]
        return more

    async def create(self, call: Call) -> Answer:
        """Make an issue: 201 with its address."""
        issue = self.issues.create(await call.json(), call.user or "")
        return answer_json(_short(issue), 201, Location=issue["self"])

    async def create_all(self, call: Call) -> Answer:
        """Make several issues."""
        updates = (await call.json()).get("issueUpdates")
        if not isinstance(updates, list) or not all(isinstance(each, dict) for each in updates):
            raise BadRequest("issueUpdates: a list is expected")
        made = [self.issues.create(each, call.user or "") for each in updates]
        return answer_json({"issues": [_short(each) for each in made], "errors": []}, 201)

    async def update(self, call: Call, name: str) -> Answer:
        """Change fields."""
        issue = self.issues.find(name)
        if issue is None:
            return no_issue()
        self.issues.update(issue, await call.json(), call.user or "")
        return Answer(204)

    async def delete(self, call: Call, name: str) -> Answer:
        """Delete an issue."""
        issue = self.issues.find(name)
        if issue is None:
            return no_issue()
        self.issues.delete(issue)
        return Answer(204)

    # ── what can be put in ──────────────────────────────────────────────────────────────────

    def _fields(self, *but: str) -> dict[str, Thing]:
        names = [name for name in self.issues.field_names if name not in (*_HIDDEN, *but)]
        return {name: catalog.field_meta(self.base, name) for name in names}

    async def edit_meta(self, call: Call, name: str) -> Answer:
        """List the fields that an update may set."""
        if self.issues.find(name) is None:
            return no_issue()
        return answer_json({"fields": self._fields("project", "status", "created", "updated")})

    async def create_meta(self, call: Call) -> Answer:
        """List projects, their types and, expanded, their fields."""
        keys = call.parameter("projectKeys").split(",")
        expanded = "fields" in call.parameter("expand")
        types = [
            catalog.issue_type(self.base, key) | ({"fields": self._fields()} if expanded else {})
            for key in catalog.TYPES
        ]
        projects = [
            {**catalog.project(self.base, key), "issuetypes": types}
            for key in catalog.PROJECTS
            if key in keys or keys == [""]
        ]
        return answer_json({"expand": "projects", "projects": projects})

    async def create_types(self, call: Call, project: str) -> Answer:
        """List the types of a project, as Jira 8.4 and newer do."""
        types = [catalog.issue_type(self.base, key) for key in catalog.TYPES]
        return answer_json({**paged(types, 0, 50, "values"), "isLast": True})

    async def create_fields(self, call: Call, project: str, kind: str) -> Answer:
        """List the fields of a type, as Jira 8.4 and newer do."""
        fields = list(self._fields().values())
        start, size = call.number("startAt", 0), call.number("maxResults", 50)
        last = start + size >= len(fields)
        return answer_json({**paged(fields, start, size, "values"), "isLast": last})


def no_issue() -> Answer:
    """Give Jira's answer for an issue that nobody can see."""
    return answer_errors(404, "Issue Does Not Exist")


def wanted_fields(call: Call) -> list[str]:
    """The names in every `fields` parameter, each a list with commas."""
    values = [value for name, value in call.parameters if name == "fields"]
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def shown(issue: Thing, names: list[str]) -> Thing:
    """An issue with the fields asked for: names, `-name`, `*all`, `*navigable` (the default)."""
    without = {name[1:] for name in names if name.startswith("-")}
    chosen = {name for name in names if not name.startswith("-")}
    every = "*all" in chosen
    if not chosen or "*navigable" in chosen:
        chosen |= {name for name in issue["fields"] if name not in _HIDDEN}
    fields = {
        name: value
        for name, value in issue["fields"].items()
        if (every or name in chosen) and name not in without
    }
    return {**issue, "fields": fields}


def _short(issue: Thing) -> Thing:
    return {name: issue[name] for name in ("id", "key", "self")}


def _number(given: Thing, name: str, default: int) -> int:
    value = given.get(name, default)
    if not isinstance(value, int):
        raise BadRequest(f"{name} must be a number")
    return value

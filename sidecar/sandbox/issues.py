"""The issues of the sandbox: in memory, and limited in number and size."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import BadRequest
from sidecar.sandbox.catalog import Thing

DOCUMENTED = "https://example-dev1.atlassian.net"
"""Where the documentation's example issue has its links."""
GENERATED = 300
"""JJ-1 to JJ-300, so that a search has pages."""
MOST_ISSUES = 5_000
MOST_PARTS = 1_000
"""Comments, worklogs, links, watchers of one issue."""
LONGEST_TEXT = 32_767
"""Characters in a text field: Jira's jira.text.field.character.limit."""

_THINGS = (
    "logo is not pink enough",
    "crayon no. {n} breaks — “immer wieder” 🖍",
    "paint & glue <mixed> by 50%",
    "Größe des Blattes ist falsch",
)
_CHOICES: dict[str, tuple[Callable[[str, str], Thing], Any]] = {
    "issuetype": (catalog.issue_type, catalog.TYPES),
    "priority": (catalog.priority, catalog.PRIORITIES),
    "resolution": (catalog.resolution, catalog.RESOLUTIONS),
}
_FIXED = ("project", "status", "created", "updated", "creator", "comment", "attachment", "votes")


class Issues:
    """The issues with everything that hangs on them; texts are kept as they were sent."""

    def __init__(self, base: str, now: Callable[[], float]) -> None:
        self.base = base
        self._now = now
        self._by_id: dict[str, Thing] = {}
        self._by_key: dict[str, Thing] = {}
        self._last_key = dict.fromkeys(catalog.PROJECTS, 0)
        self._last_id = 20_000
        self.worklogs: dict[str, list[Thing]] = {}
        self.remote_links: dict[str, list[Thing]] = {}
        self.watchers: dict[str, list[str]] = {}
        self.voters: dict[str, list[str]] = {}
        self._generate()

    def _generate(self) -> None:
        text = files("sidecar.sandbox").joinpath("JJ-2.json").read_text("utf-8")
        documented = json.loads(text.replace(DOCUMENTED, self.base))
        self.field_names = list(documented["fields"])
        for number in range(1, GENERATED + 1):
            if number == 2:
                self._last_key["JJ"] = 2
                self._file(documented)
                continue
            summary = "Jira Junior: " + _THINGS[number % 4].format(n=number)
            fields = {"project": {"key": "JJ"}, "summary": summary, "issuetype": {"name": "Bug"}}
            self.create({"fields": fields}, "admin")

    def _file(self, issue: Thing) -> None:
        self._by_id[issue["id"]] = self._by_key[issue["key"]] = issue
        self.watchers[issue["id"]] = ["admin"]

    # ── finding ─────────────────────────────────────────────────────────────────────────────

    def __iter__(self) -> Iterator[Thing]:
        return iter(list(self._by_id.values()))

    def find(self, name: str) -> Thing | None:
        """Give the issue of a key or id."""
        return self._by_id.get(name) or self._by_key.get(name.upper())

    # ── changing ────────────────────────────────────────────────────────────────────────────

    def timestamp(self) -> str:
        """Now, as Jira writes it."""
        now = datetime.fromtimestamp(self._now(), UTC)
        return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}+0000"

    def next_id(self) -> str:
        """Give an id that nothing else has."""
        self._last_id += 1
        return str(self._last_id)

    def create(self, request: Thing, user: str) -> Thing:
        """Make an issue of `{"fields": {…}}`; raises FieldErrors."""
        given = dict(_object(request.get("fields")))
        key = self._project(given.pop("project", None))
        if not given.get("summary"):
            raise FieldErrors(summary="You must specify a summary of the issue.")
        if "issuetype" not in given:
            raise FieldErrors(issuetype="issue type is required")
        if len(self._by_id) >= MOST_ISSUES:
            raise BadRequest(f"The sandbox keeps no more than {MOST_ISSUES} issues")
        chosen = {name: self._value(name, value) for name, value in given.items()}
        self._last_key[key] += 1
        issue = self._blank(self.next_id(), f"{key}-{self._last_key[key]}", key, user)
        issue["fields"].update(chosen)
        self._file(issue)
        return issue

    def _project(self, value: object) -> str:
        wanted = _object(value)
        for key, (number, _) in catalog.PROJECTS.items():
            if wanted.get("key") == key or str(wanted.get("id")) == number:
                return key
        raise FieldErrors(
            project="project is required" if not wanted else "valid project is required"
        )

    def _blank(self, number: str, key: str, project: str, user: str) -> Thing:
        """An issue with nothing filled in."""
        now, me, base = self.timestamp(), catalog.user(self.base, user), self.base
        this = f"{base}/rest/api/2/issue/{key}"
        fields: Thing = dict.fromkeys(self.field_names)
        for name in ("fixVersions", "versions", "components", "labels", "issuelinks", "subtasks"):
            fields[name] = []
        fields |= {
            "project": catalog.project(base, project),
            "priority": catalog.priority(base, "3"),
            "status": catalog.status(base, "1"),
            "creator": me,
            "reporter": me,
            "created": now,
            "updated": now,
            "attachment": [],
            "workratio": -1,
            "timetracking": {},
            "progress": {"total": 0, "progress": 0},
            "aggregateprogress": {"total": 0, "progress": 0},
            "comment": {"total": 0, "comments": [], "maxResults": 0, "startAt": 0},
            "votes": {"hasVoted": False, "self": f"{this}/votes", "votes": 0},
            "watches": {"self": f"{this}/watchers", "isWatching": False, "watchCount": 1},
        }
        expand = (
            "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations"
        )
        address = f"{base}/rest/api/2/issue/{number}"
        return {"expand": expand, "self": address, "id": number, "fields": fields, "key": key}

    def _value(self, name: str, value: object) -> object:
        """Give what a field then holds; raise FieldErrors if the value does not fit."""
        if name not in self.field_names or name in _FIXED:
            refusal = (
                f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            )
            raise FieldErrors(**{name: refusal})
        if isinstance(value, str) and len(value) > LONGEST_TEXT:
            limit = f"{LONGEST_TEXT:,}"
            text = (
                f"The entered text is too long. It exceeds the allowed limit of {limit} characters."
            )
            raise FieldErrors(**{name: text})
        if value is None:
            return None
        if name in _CHOICES:
            return self._choice(name, _object(value))
        if name in ("assignee", "reporter"):
            who = _object(value).get("name")
            return catalog.user(self.base, who) if isinstance(who, str) and who else None
        return value

    def _choice(self, name: str, wanted: Thing) -> Thing:
        make, known = _CHOICES[name]
        for key, about in known.items():
            title = about if isinstance(about, str) else about[0]
            if str(wanted.get("id")) == key or wanted.get("name") == title:
                return make(self.base, key)
        raise FieldErrors(**{name: f"The {name} selected is invalid."})

    def update(self, issue: Thing, request: Thing, user: str) -> None:
        """Apply `{"fields": {…}, "update": {…}}`, all of it or nothing; raises FieldErrors."""
        fields = issue["fields"]
        given = _object(request.get("fields"))
        chosen = {name: self._value(name, value) for name, value in given.items()}
        comments: list[str] = []
        for name, operations in _object(request.get("update")).items():
            for operation in operations if isinstance(operations, list) else []:
                for verb, value in _object(operation).items():
                    if name == "comment":
                        comments.append(str(_object(value).get("body", "")))
                    else:
                        before = chosen.get(name, fields.get(name))
                        chosen[name] = self._operate(name, before, verb, value)
        fields.update(chosen)
        fields["updated"] = self.timestamp()
        for body in comments:
            self.add_comment(issue, body, user)

    def _operate(self, name: str, before: object, verb: str, value: object) -> object:
        """One operation of `update`: set, add or remove."""
        items = before if isinstance(before, list) else []
        if verb == "set":
            return self._value(name, value)
        self._value(name, value)
        if verb == "add":
            return [*items, value]
        if verb == "remove":
            return [item for item in items if item != value]
        raise FieldErrors(**{name: f"Operation '{verb}' is not supported."})

    def delete(self, issue: Thing) -> None:
        """Forget an issue with everything that hangs on it."""
        del self._by_id[issue["id"]], self._by_key[issue["key"]]
        for parts in (self.worklogs, self.remote_links, self.watchers, self.voters):
            parts.pop(issue["id"], None)

    def add_comment(self, issue: Thing, body: str, user: str) -> Thing:
        """Add a comment."""
        comments = issue["fields"]["comment"]
        check_text(body, "comment")
        me, now, number = catalog.user(self.base, user), self.timestamp(), self.next_id()
        comment = {
            "self": f"{self.base}/rest/api/2/issue/{issue['id']}/comment/{number}",
            "id": number,
            "author": me,
            "body": body,
            "updateAuthor": me,
            "created": now,
            "updated": now,
        }
        keep(comments["comments"], comment)
        comments["total"] = comments["maxResults"] = len(comments["comments"])
        return comment


class FieldErrors(BadRequest):
    """Jira refuses the values of fields and gives a sentence for each."""

    def __init__(self, **errors: str) -> None:
        super().__init__("")
        self.errors = errors


def check_text(text: object, name: str) -> str:
    """Give the text; raise FieldErrors if it is no text, empty or too long."""
    if not isinstance(text, str) or not text.strip():
        raise FieldErrors(**{name: f"{name.capitalize()} body can not be empty!"})
    if len(text) > LONGEST_TEXT:
        raise FieldErrors(**{name: "The entered text is too long."})
    return text


def keep(parts: list[Thing], part: Thing) -> None:
    """Add a part to an issue; raise BadRequest if it has too many already."""
    if len(parts) >= MOST_PARTS:
        raise BadRequest(f"The sandbox keeps no more than {MOST_PARTS} of these")
    parts.append(part)


def _object(value: object) -> Thing:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("Can not deserialize: a JSON object is expected")
    return value

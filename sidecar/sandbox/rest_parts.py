"""What hangs on an issue: comments, transitions, links, watchers, votes, worklogs."""

from __future__ import annotations

import json
import re

from sidecar.sandbox import catalog
from sidecar.sandbox.answers import Answer, BadRequest, Call, answer_errors, answer_json, paged
from sidecar.sandbox.catalog import Thing
from sidecar.sandbox.issues import Issues, check_text, keep
from sidecar.sandbox.rest_issues import no_issue
from sidecar.sandbox.router import Handler, Router

_DURATION = re.compile(r"(\d{1,6})([wdhm])")
_SECONDS = {"w": 5 * 8 * 3600, "d": 8 * 3600, "h": 3600, "m": 60}
"""Jira's working days have 8 hours, its weeks 5 days."""


class PartResources:
    """Every resource below issue/KEY but attachments."""

    def __init__(self, base: str, issues: Issues) -> None:
        self.base = base
        self.issues = issues

    def register(self, router: Router) -> None:
        """Take the paths."""
        for method, path, handler in (
            ("GET", "comment", self.comments),
            ("POST", "comment", self.add_comment),
            ("GET|PUT|DELETE", "comment/*", self.comment),
            ("GET", "transitions", self.transitions),
            ("POST", "transitions", self.transit),
            ("PUT", "assignee", self.assign),
            ("GET", "remotelink", self.links),
            ("POST", "remotelink", self.add_link),
            ("GET|PUT|DELETE", "remotelink/*", self.link),
            ("GET", "watchers", self.watchers),
            ("POST", "watchers", self.watch),
            ("DELETE", "watchers", self.unwatch),
            ("GET", "votes", self.votes),
            ("POST|DELETE", "votes", self.vote),
            ("GET", "worklog", self.worklogs),
            ("POST", "worklog", self.add_worklog),
            ("GET|PUT|DELETE", "worklog/*", self.worklog),
        ):
            router.add(method, "rest/api/2/issue/*/" + path, self._with_issue(handler))

    def _with_issue(self, handler: Handler) -> Handler:
        """Find the issue first; 404 where there is none."""

        async def found(call: Call, name: str, *wild: str) -> Answer:
            issue = self.issues.find(name)
            return no_issue() if issue is None else await handler(call, issue, *wild)

        return found

    # ── comments ────────────────────────────────────────────────────────────────────────────

    async def comments(self, call: Call, issue: Thing) -> Answer:
        """List comments, a page of them."""
        every = issue["fields"]["comment"]["comments"]
        size = call.number("maxResults", len(every))
        return answer_json(paged(every, call.number("startAt", 0), size, "comments"))

    async def add_comment(self, call: Call, issue: Thing) -> Answer:
        """Add a comment: 201."""
        given = await call.json()
        comment = self.issues.add_comment(issue, given.get("body", ""), call.user or "")
        return answer_json(comment, 201, Location=comment["self"])

    async def comment(self, call: Call, issue: Thing, number: str) -> Answer:
        """Give, change or delete a comment."""
        box = issue["fields"]["comment"]
        answer = await self._one(call, box["comments"], number, "body")
        box["total"] = box["maxResults"] = len(box["comments"])
        return answer

    async def _one(self, call: Call, parts: list[Thing], number: str, text: str) -> Answer:
        """GET, PUT and DELETE of one of the things that hang on an issue."""
        part = next((each for each in parts if str(each["id"]) == number), None)
        if part is None:
            return answer_errors(404, f"Nothing with the id {number} hangs on this issue")
        if call.method == "DELETE":
            parts.remove(part)
            return Answer(204)
        if call.method == "PUT":
            given = await call.json()
            if text in given:
                part[text] = check_text(given[text], text)
            part["updated"] = self.issues.timestamp()
            part["updateAuthor"] = catalog.user(self.base, call.user or "")
        return answer_json(part)

    # ── workflow ────────────────────────────────────────────────────────────────────────────

    def _possible(self, issue: Thing) -> list[str]:
        return catalog.steps(issue["fields"]["status"]["id"])

    async def transitions(self, call: Call, issue: Thing) -> Answer:
        """List the steps that the workflow allows now."""
        steps = [catalog.transition(self.base, key) for key in self._possible(issue)]
        wanted = call.parameter("transitionId")
        steps = [step for step in steps if wanted in ("", step["id"])]
        return answer_json({"expand": "transitions", "transitions": steps})

    async def transit(self, call: Call, issue: Thing) -> Answer:
        """Take a step."""
        given = await call.json()
        step = given.get("transition")
        key = str(step.get("id")) if isinstance(step, dict) else ""
        if key not in self._possible(issue):
            return answer_errors(400, "It seems that you have tried to perform an illegal step.")
        self.issues.update(issue, given, call.user or "")
        fields, leads_to = issue["fields"], catalog.TRANSITIONS[key][1]
        fields["status"] = catalog.status(self.base, leads_to)
        over = fields["status"]["statusCategory"]["key"] == "done"
        if not over:
            fields["resolution"] = fields["resolutiondate"] = None
        elif fields["resolution"] is None:
            fields["resolution"] = catalog.resolution(self.base, "1")
            fields["resolutiondate"] = self.issues.timestamp()
        return Answer(204)

    async def assign(self, call: Call, issue: Thing) -> Answer:
        """Set the assignee by name; null for nobody."""
        name = (await call.json()).get("name")
        self.issues.update(issue, {"fields": {"assignee": {"name": name}}}, call.user or "")
        return Answer(204)

    # ── remote links: people's data, never Jira's own ───────────────────────────────────────

    async def links(self, call: Call, issue: Thing) -> Answer:
        """List remote links, or give the one with a globalId."""
        every = self.issues.remote_links.get(issue["id"], [])
        if wanted := call.parameter("globalId"):
            found = [each for each in every if each.get("globalId") == wanted]
            return answer_json(found[0]) if found else answer_errors(404, "No such remote link")
        return answer_json(every)

    async def add_link(self, call: Call, issue: Thing) -> Answer:
        """Add a remote link, or replace the one with the same globalId."""
        given = await call.json()
        target = given.get("object")
        if not isinstance(target, dict) or not target.get("url") or not target.get("title"):
            return answer_errors(400, title="'title' is required.", url="'url' is required.")
        every = self.issues.remote_links.setdefault(issue["id"], [])
        same = [each for each in every if given.get("globalId") and _same(each, given)]
        link: Thing = same[0] if same else {"id": int(self.issues.next_id())}
        link["self"] = f"{self.base}/rest/api/2/issue/{issue['key']}/remotelink/{link['id']}"
        link |= _link(given)
        if not same:
            keep(every, link)
        short = {"id": link["id"], "self": link["self"]}
        return answer_json(short, 200 if same else 201)

    async def link(self, call: Call, issue: Thing, number: str) -> Answer:
        """Give, change or delete a remote link."""
        every = self.issues.remote_links.get(issue["id"], [])
        link = next((each for each in every if str(each["id"]) == number), None)
        if link is None:
            return answer_errors(404, "The remote issue link does not exist")
        if call.method == "GET":
            return answer_json(link)
        if call.method == "PUT":
            link |= _link(await call.json())
        else:
            every.remove(link)
        return Answer(204)

    # ── watchers and votes ──────────────────────────────────────────────────────────────────

    def _crowd(self, issue: Thing, name: str) -> list[str]:
        crowds = self.issues.watchers if name == "watchers" else self.issues.voters
        return crowds.setdefault(issue["id"], [])

    def _recount(self, issue: Thing) -> None:
        issue["fields"]["watches"]["watchCount"] = len(self._crowd(issue, "watchers"))
        issue["fields"]["votes"]["votes"] = len(self._crowd(issue, "votes"))

    async def watchers(self, call: Call, issue: Thing) -> Answer:
        """List who watches."""
        crowd = self._crowd(issue, "watchers")
        people = [catalog.user(self.base, name) for name in crowd]
        count = {"isWatching": call.user in crowd, "watchCount": len(crowd)}
        address = issue["fields"]["watches"]["self"]
        return answer_json({"self": address, **count, "watchers": people})

    async def watch(self, call: Call, issue: Thing) -> Answer:
        """Add a watcher: a JSON string with the name, or nothing for oneself."""
        text = await call.body.read(1 << 16)
        try:
            name = json.loads(text) if text.strip() else call.user
        except ValueError:
            raise BadRequest("A JSON string is expected") from None
        if not isinstance(name, str):
            raise BadRequest("A JSON string is expected")
        crowd = self._crowd(issue, "watchers")
        if name not in crowd and len(crowd) < 1000:
            crowd.append(name)
        self._recount(issue)
        return Answer(204)

    async def unwatch(self, call: Call, issue: Thing) -> Answer:
        """Take a watcher away."""
        crowd = self._crowd(issue, "watchers")
        if (name := call.parameter("username")) in crowd:
            crowd.remove(name)
        self._recount(issue)
        return Answer(204)

    async def votes(self, call: Call, issue: Thing) -> Answer:
        """List who voted."""
        crowd = self._crowd(issue, "votes")
        people = [catalog.user(self.base, name) for name in crowd]
        count = {"votes": len(crowd), "hasVoted": call.user in crowd}
        return answer_json({"self": issue["fields"]["votes"]["self"], **count, "voters": people})

    async def vote(self, call: Call, issue: Thing) -> Answer:
        """Vote, or take the vote back."""
        crowd, user = self._crowd(issue, "votes"), call.user or ""
        if call.method == "POST" and user not in crowd:
            crowd.append(user)
        if call.method == "DELETE" and user in crowd:
            crowd.remove(user)
        self._recount(issue)
        return Answer(204)

    # ── worklogs ────────────────────────────────────────────────────────────────────────────

    async def worklogs(self, call: Call, issue: Thing) -> Answer:
        """List the work."""
        every = self.issues.worklogs.get(issue["id"], [])
        return answer_json(paged(every, 0, len(every), "worklogs"))

    async def add_worklog(self, call: Call, issue: Thing) -> Answer:
        """Log work: `timeSpent` such as `1h 30m`, or `timeSpentSeconds`."""
        given = await call.json()
        seconds = _seconds(given)
        me, now, number = (
            catalog.user(self.base, call.user or ""),
            self.issues.timestamp(),
            self.issues.next_id(),
        )
        worklog = {
            "self": f"{self.base}/rest/api/2/issue/{issue['id']}/worklog/{number}",
            "author": me,
            "updateAuthor": me,
            "comment": str(given.get("comment", "")),
            "created": now,
            "updated": now,
            "started": str(given.get("started") or now),
            "timeSpent": str(given.get("timeSpent") or f"{seconds // 60}m"),
            "timeSpentSeconds": seconds,
            "id": number,
            "issueId": issue["id"],
        }
        keep(self.issues.worklogs.setdefault(issue["id"], []), worklog)
        return answer_json(worklog, 201, Location=str(worklog["self"]))

    async def worklog(self, call: Call, issue: Thing, number: str) -> Answer:
        """Give, change or delete a worklog."""
        return await self._one(call, self.issues.worklogs.get(issue["id"], []), number, "comment")


def _same(link: Thing, given: Thing) -> bool:
    return bool(link.get("globalId") == given["globalId"])


def _link(given: Thing) -> Thing:
    names = ("globalId", "application", "relationship", "object")
    return {name: given[name] for name in names if name in given}


def _seconds(given: Thing) -> int:
    """The time of a worklog in seconds; BadRequest if there is none."""
    seconds = given.get("timeSpentSeconds")
    if isinstance(seconds, int) and seconds > 0:
        return seconds
    parts = str(given.get("timeSpent", "")).split()
    matches = [_DURATION.fullmatch(part) for part in parts]
    total = sum(int(match[1]) * _SECONDS[match[2]] for match in matches if match)
    if not total or None in matches:
        raise BadRequest("Invalid time duration entered.")
    return total

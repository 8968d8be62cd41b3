"""What the page shows, as texts: for its template, and for the events that keep it up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sidecar import __version__
from sidecar.access.callers import Caller
from sidecar.errors import as_sentence
from sidecar.http.shown import full_name, printable
from sidecar.page.charts import charts, duration
from sidecar.page.guide import sign_in_need
from sidecar.page.proof import is_private
from sidecar.page.service import Service
from sidecar.page.state import by_button, clock_difference, clock_time, is_near, left, notices
from sidecar.page.words import remark, repeating, what_happened
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Trouble

_NONE = "–"


class Fact(NamedTuple):
    """A line of the facts."""

    name: str
    label: str
    value: str
    is_code: bool = False


class View:
    """Puts into words what the service knows."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._clock = clock

    def overview(self, caller: Caller) -> dict[str, Any]:
        """Everything, for the template."""
        zone = datetime.now().astimezone().tzname()
        return {
            **self._present(caller),
            "facts": self._facts(),
            "requests": self._requests(0, caller),
            "seen": self._service.history.seen,
            "origin": _origin(caller),
            "zone": printable(zone or "local time"),
            "version": __version__,
            "commands": self._commands(caller),
        }

    def changes(self, caller: Caller, after: int) -> dict[str, Any]:
        """What is to be shown anew, and the requests after the given number."""
        return {
            **self._present(caller),
            "facts": {fact.name: fact.value for fact in self._facts()},
            "requests": self._requests(after, caller),
        }

    def state(self) -> tuple[object, ...]:
        """What the page goes by: while this is the same, there is nothing new to show."""
        service = self._service
        why, history = service.readiness.why_not(), service.history
        problem = why and why.problem
        return history.seen, history.number, problem, service.troubles.last, service.held()

    def _present(self, caller: Caller) -> dict[str, Any]:
        service, now = self._service, self._clock()
        history = service.history
        service.readiness.why_not()  # reads the token anew
        button = self._button(caller)
        noticed = notices(service, now, button)
        return {
            "purpose": self._purpose(caller),
            "sign_in": sign_in_need(service),
            "notices": [asdict(notice) for notice in noticed],
            "charts": [asdict(chart) for chart in charts(history.intervals(), history.age)],
            "troubles": [self._trouble(one, button) for one in service.troubles.recent],
        }

    def _button(self, caller: Caller) -> str:
        """The button that signs in; empty where there is none, or this caller cannot use it."""
        if self._service.config().jira.two_legged or not is_private(caller):
            return ""
        return "Sign in" if sign_in_need(self._service) == "first" else "Sign in again"

    def _purpose(self, caller: Caller) -> str:
        """What the sidecar does, and for whom."""
        identity = self._service.identity()
        token = identity.token.last_read
        who = ""
        if token is not None and token.user:
            who = f" as {full_name(token.user, token.display_name)}"
        elif token is not None and token.is_two_legged:
            who = " as its application link"
        base_url = printable(str(identity.base_url))
        return f"Signs requests to {_origin(caller)}{who} and passes them on to Jira at {base_url}."

    def _facts(self) -> list[Fact]:
        identity = self._service.identity()
        token = identity.token.last_read
        signing = str(identity.signing_url.url)
        is_same = signing == str(identity.base_url)
        difference = identity.clock_difference
        user = _NONE if token is None else full_name(token.user, token.display_name)
        if token is not None and token.is_two_legged and not token.user:
            user = "whoever the application link executes as"
        return [
            Fact("user", "User", user),
            Fact("jira", "Jira", printable(str(identity.base_url)), is_code=True),
            Fact(
                "signing_url", "Signed for", "the same address" if is_same else printable(signing)
            ),
            Fact("token_end", "Token ends", self._end(token.expires_at if token else None)),
            Fact(
                "session_end",
                "Renewable until",
                self._end(token.session_expires_at if token else None),
            ),
            Fact(
                "clock",
                "Jira’s clock",
                "not known yet" if difference is None else clock_difference(difference),
            ),
            Fact("fingerprint", "Public key (SHA-256)", identity.fingerprint, is_code=True),
        ]

    def _end(self, at: float | None) -> str:
        if at is None:
            return _NONE
        day = datetime.fromtimestamp(at)
        form = "%Y-%m-%d %H:%M" if is_near(at, self._clock()) else "%Y-%m-%d"
        return f"{day.strftime(form)} ({left(at - self._clock())})"

    def _requests(self, after: int, caller: Caller) -> list[dict[str, Any]]:
        return [self._request(*found, caller) for found in self._service.history.latest(after)]

    def _request(self, number: int, record: Record, caller: Caller) -> dict[str, Any]:
        began = self._service.history.began(record)
        command = repeating(record, _origin(caller), needs_key=self._needs_key)
        return {
            "number": number,
            "time": clock_time(began),
            "moment": datetime.fromtimestamp(began, UTC).isoformat(timespec="milliseconds"),
            "caller": record.caller,
            "method": record.method,
            "path": record.path,
            "status": str(record.status or _NONE),
            "level": _level(record),
            "remark": remark(record),
            "total": duration(record.total),
            "jira": duration(record.first_byte or None),
            "connecting": duration(record.connecting if record.first_byte else None),
            "signing": duration(record.signing or None),
            "held": duration(record.held) if record.held else "",
            "id": record.request_id,
            "words": " ".join(what_happened(record)) or "All went well.",
            "command": command,
        }

    def _trouble(self, trouble: Trouble, button: str) -> dict[str, str]:
        hint = as_sentence(by_button(trouble.hint, button)) if trouble.hint else ""
        count = trouble.count
        often = f"{count:,} times since {clock_time(trouble.first_at)}" if count > 1 else ""
        return {
            "time": clock_time(trouble.at),
            "problem": trouble.problem,
            "often": often,
            "hint": self._service.complete(hint),
        }

    @property
    def _needs_key(self) -> bool:
        return self._service.config().access.key_file is not None

    def _commands(self, caller: Caller) -> list[dict[str, str]]:
        """Lines to copy."""
        key = " -u sidecar" if self._needs_key else ""
        return [
            {
                "what": "Ask Jira who you are",
                "line": f"curl{key} {_origin(caller)}/rest/api/2/myself",
            },
            {"what": "Look for what is wrong", "line": self._service.complete("sidecar check")},
        ]


def _origin(caller: Caller) -> str:
    return f"{caller.scheme}://{caller.host}"


def _level(record: Record) -> str:
    if record.problem or record.status >= 500 or record.status == 0 or record.closed_early:
        return "bad"
    if record.status >= 400:
        return "note"
    return "good" if record.resent_for else "none"

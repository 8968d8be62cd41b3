"""`sidecar status`: what the running sidecar says of itself, put into lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sidecar.check.ready import exit_code_of
from sidecar.check.running import ask, unexpected
from sidecar.config.load import Config
from sidecar.errors import NotAuthorized, as_sentence
from sidecar.http.shown import full_name, printable

MOST_TROUBLES = 5
_WIDTH = 10
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def running_status(config: Config) -> dict[str, Any]:
    """The document of /_sidecar/status; SidecarError where no sidecar gives it."""
    said = ask(config, "status", shows_key=True)
    if said.status == 401:
        raise NotAuthorized(
            f"The sidecar at {said.where} does not take the key that access.key_file holds.",
            "was the configuration changed since it started? Reload or restart it",
        )
    if said.status != 200 or "version" not in said.document:
        raise unexpected(said)
    return said.document


def exit_code(status: dict[str, Any]) -> int:
    """0 if it is ready, else the code of what is wrong."""
    return 0 if status.get("ready") is True else exit_code_of(str(status.get("problem")))


def lines(status: dict[str, Any], now: datetime) -> Iterator[str]:
    """What people want to know of it, the most important first."""
    yield from _titled("Ready", *_ready(status))
    yield from _titled("Jira", _text(status, "base_url"))
    yield from _titled("As", _who(status))
    yield from _titled("Until", _end(status, now))
    yield from _titled("Running", _running(status, now))
    yield from _titled("Requests", _requests(status))
    yield from _titled("Troubles", *_troubles(status))


def _ready(status: dict[str, Any]) -> Iterator[str]:
    if status.get("ready") is True:
        yield "yes"
        return
    since = _local(_time(status.get("since")))
    yield f"no{f', since {since}' if since else ''} ({_text(status, 'problem')})"
    yield _text(status, "reason")
    if status.get("hint"):
        yield f"What to do: {as_sentence(_text(status, 'hint'))}"


def _who(status: dict[str, Any]) -> str:
    if not status.get("user"):
        return "nobody known"
    name = full_name(_text(status, "user"), _text(status, "display_name"))
    return f"{name}, two-legged" if status.get("two_legged") else name


def _end(status: dict[str, Any], now: datetime) -> str:
    end = _time(status.get("token_expires"))
    if status.get("two_legged"):
        return "for good: two-legged OAuth needs no token"
    if end is None:
        return "no end is known"
    left = (end - now).total_seconds()
    span = f"in {_span(left)}" if left >= 0 else f"{_span(-left)} ago"
    return f"{end.astimezone():%Y-%m-%d} ({span})"


def _running(status: dict[str, Any], now: datetime) -> str:
    version = f"version {_text(status, 'version')}"
    started = _time(status.get("started"))
    if started is None:
        return version
    span = _span((now - started).total_seconds())
    return f"since {_local(started)} ({span}), {version}"


def _requests(status: dict[str, Any]) -> str:
    counters = status.get("counters")
    counters = counters if isinstance(counters, dict) else {}
    classes = counters.get("requests")
    found = {printable(str(name)): _number(count) for name, count in _pairs(classes)}
    by_class = ", ".join(f"{count:,} {name}" for name, count in found.items())
    total = f"{sum(found.values()):,}" + (f" ({by_class})" if by_class else "")
    in_flight, waiting = (_number(counters.get(name)) for name in ("in_flight", "waiting"))
    return f"{total}; {in_flight:,} in flight, {waiting:,} waiting"


def _troubles(status: dict[str, Any]) -> Iterator[str]:
    troubles = status.get("troubles")
    found = [one for one in troubles if isinstance(one, dict)] if isinstance(troubles, list) else []
    if not found:
        yield "none"
    for one in found[:MOST_TROUBLES]:
        count = _number(one.get("count"))
        times = f", {count:,} times" if count > 1 else ""
        hint = f": {_text(one, 'hint')}" if one.get("hint") else ""
        yield f"{_local(_time(one.get('last')))}  {_text(one, 'problem')}{times}{hint}"


def _titled(title: str, *texts: str) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"{'' if number else title:{_WIDTH}}{text}".rstrip()


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    return "" if value is None else printable(str(value), 1000)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _pairs(value: object) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _time(value: object) -> datetime | None:
    """A time as the status has it; None for anything else."""
    try:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _local(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _span(seconds: float) -> str:
    """So many of the largest unit of which there are two; the smallest one otherwise."""
    unit, length = next((one for one in _UNITS if seconds >= 2 * one[1]), _UNITS[-1])
    number = int(seconds / length)
    return f"{number:,} {unit}{'' if number == 1 else 's'}"

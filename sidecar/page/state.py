"""How the sidecar fares, and what to do next: the first thing that the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sidecar.account.clock import TOLERANCE
from sidecar.credentials import WARNING_SECONDS
from sidecar.errors import own_sentence
from sidecar.http.shown import printable
from sidecar.page.service import Service
from sidecar.page.words import failure

_AWAY = frozenset({
    "dns_error",
    "connection_refused",
    "connection_terminated",
    "tls_certificate_error",
    "tls_protocol_error",
    "http_protocol_error",
    "connection_timeout",
    "http_response_timeout",
    "destination_unavailable",
})  # fmt: skip
"""Proxy-Status errors that say that Jira could not be reached."""


_TITLES = {
    "no_token": "Not signed in yet",
    "token_not_ours": "The token is another Jira’s",
    "token_unusable": "The token cannot be used",
    "shutting_down": "Shutting down",
}
LONGEST = 1000
_COMMAND = re.compile(r"`(sidecar [^`]+)`|(?:run|with): (sidecar [a-z -]*[a-z])")

_SIGN_IN = re.compile(r"\brun:? `?sidecar auth\b`?(?! --)")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the reader should know."""

    level: str
    """good, note or bad."""
    title: str
    text: str
    to_do: str = ""
    command: str = ""
    """What to type for that, if that is a command."""


def notices(service: Service, now: float, button: str = "") -> list[Notice]:
    """All that there is to say, the worst first; where nothing is wrong, that.

    `button` is the one on the page that signs in; empty where the reader cannot use it.
    """
    found = [
        *_standing(service, button),
        *_rate_limit(service),
        *_clock(service),
        *_end(service, now, button),
    ]
    found.sort(key=lambda notice: ("bad", "note", "good").index(notice.level))
    return found or [Notice("good", "Ready", "Requests are signed and sent on to Jira.")]


def _standing(service: Service, button: str) -> Iterator[Notice]:
    """Whether requests can be signed, Jira takes them, and they reach it."""
    why = service.readiness.why_not()
    if why is not None:
        since = f" This has been so since {clock_time(why.since)}." if why.since is not None else ""
        text = printable(why.detailed.reason, LONGEST) + since
        title = _TITLES.get(why.problem, "Jira refuses the sidecar")
        yield Notice("bad", title, text, *_advice(service, why.detailed.hint, button))
    yield from _away(service)


def _away(service: Service) -> Iterator[Notice]:
    """Whether the last request that was to reach Jira did not."""
    for _, record in service.history.latest():
        if record.error in _AWAY:
            at = clock_time(service.history.began(record))
            text = f"{failure(record.error)} That was at {at}; each new request tries again."
            advice = _advice(service, _away_hint(service, record.error))
            yield Notice("bad", "Jira cannot be reached", text, *advice)
            return
        if record.answered_by == "jira":
            return


def _away_hint(service: Service, error: str) -> str:
    last = service.troubles.last
    if last is not None and last.problem == error and last.hint:
        return last.hint
    return "`sidecar check` looks closer"


def _rate_limit(service: Service) -> Iterator[Notice]:
    if held := service.held():
        who = "1 request waits" if held == 1 else f"{held:,} requests wait"
        text = f"{who} for its turn." if held == 1 else f"{who} for their turn."
        yield Notice("note", "Jira’s rate limit is used up", text)


def _clock(service: Service) -> Iterator[Notice]:
    difference = service.identity().clock_difference
    if difference is None or abs(difference) <= TOLERANCE:
        return
    yield Notice(
        "note",
        "The clocks differ",
        f"Jira’s clock is {clock_difference(difference)}. The sidecar signs by Jira’s clock, so"
        " requests work.",
        "Set this machine’s clock and Jira’s, with NTP for good.",
    )


def _end(service: Service, now: float, button: str) -> Iterator[Notice]:
    token = service.identity().token
    warning = token.expiry_warning()
    if warning is None or token.last_read is None or token.last_read.expires_at is None:
        return
    seconds = token.last_read.expires_at - now
    title = f"The token ends {left(seconds)}" if seconds > 0 else "The token has ended"
    text, _, to_do = warning.partition(": ")
    level = "note" if seconds > 0 else "bad"
    if to_do:
        yield Notice(level, title, f"{text}.", *_advice(service, to_do, button))
    else:
        yield Notice("note", title, text)


def clock_difference(seconds: float) -> str:
    """Say how far Jira’s clock is from this machine’s."""
    if abs(seconds) < 2:
        return "agrees with this machine’s"
    return f"{_span(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} this machine’s"


def left(seconds: float) -> str:
    """Say how long from now something is: `in 12 days`, `3 hours ago`."""
    return f"in {_span(seconds)}" if seconds >= 0 else f"{_span(-seconds)} ago"


def clock_time(at: float) -> str:
    """A moment by this machine's clock; with its date unless that is today's."""
    moment = datetime.fromtimestamp(at)
    is_today = moment.date() == datetime.now().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def is_near(end: float | None, now: float) -> bool:
    """Whether an end is one to be warned of."""
    return end is not None and end - now <= WARNING_SECONDS


def _span(seconds: float) -> str:
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 2 * length or (unit != "day" and seconds >= length):
            number = int(seconds / length)
            return f"{number:,} {unit}" + ("" if number == 1 else "s")
    number = round(seconds)
    return f"{number} second" + ("" if number == 1 else "s")


def by_button(hint: str, button: str) -> str:
    """A hint for who looks at the page: where it names `sidecar auth`, the button comes first."""
    if not button:
        return hint
    return _SIGN_IN.sub(f"press “{button}” below, or run `sidecar auth`", hint)


def _advice(service: Service, hint: str, button: str = "") -> tuple[str, str]:
    """What to do, as a sentence and, where it names one, as the command to type."""
    if not hint:
        return "", ""
    found = _COMMAND.search(hint)
    command = (found[1] or found[2]).strip() if found else ""
    sentence = own_sentence(by_button(hint, button)).replace("`", "")
    return service.complete(sentence), service.complete(command)

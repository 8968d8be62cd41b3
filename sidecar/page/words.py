"""What happened to a request, in plain words, and how to send it again.

No text repeats what a caller sent: neither its message of an error nor a field's value is kept.
"""

from __future__ import annotations

import re
import shlex

from sidecar.errors import as_sentence
from sidecar.jira.explanations import EXPLANATIONS
from sidecar.telemetry.record import Record

_REFUSED = {
    400: "The request cannot be understood, or could be in more than one way.",
    401: "The request showed no access key, or a wrong one.",
    403: "The request comes from another web page, or access.allow, access.deny or"
    " access.read_only rule it out.",
    404: "The sidecar has no such page.",
    405: "The sidecar does not forward that method.",
    408: "The request paused for too long before it was complete.",
    413: "The form is larger than the sidecar, or Jira, reads.",
    417: "The request expects what the sidecar does not do.",
    421: "The request’s Host is not one that this sidecar answers to (access.hosts).",
    431: "The request’s head is too large (limits.head_bytes).",
    508: "The request was signed by a sidecar already: it came round in a loop. jira.base_url must"
    " be Jira’s own address.",
}
_FAILED = {
    "dns_error": "Jira’s host name has no address.",
    "connection_refused": "Nothing answered at Jira’s address.",
    "connection_terminated": "The connection to Jira ended before its answer came.",
    "tls_certificate_error": "Jira’s TLS certificate cannot be trusted.",
    "tls_protocol_error": "Jira and the sidecar could not agree on TLS.",
    "http_protocol_error": "What answered is not what Jira would say.",
    "connection_timeout": "No connection to Jira came about in time (timeouts.connect).",
    "http_response_timeout": "Jira did not answer in time (timeouts.response).",
    "connection_limit_reached": "Too many requests were waiting, or the sidecar was about to stop.",
    "proxy_configuration_error": "The sidecar could not sign: there is no usable key or token.",
    "proxy_internal_error": "The sidecar met a bug; its log says more.",
}
_JIRAS = {
    401: "Jira did not let the request in.",
    403: "Jira does not allow the user to do this.",
    404: "Jira has no such thing, or does not show it to the user.",
    429: "Jira has had too many requests of this user.",
}
_LEFT = {
    "client": "The client left before its answer was complete.",
    "jira": "Jira’s answer was cut short, and so was the client’s.",
    "sidecar": "The sidecar was stopped before the answer was complete.",
}
_GLOB = re.compile(r"[][{}]")


def remark(record: Record) -> str:
    """The problem by its name, or what was healed; "" where all went well."""
    if record.problem:
        return record.problem
    if record.error:
        return record.error
    if record.closed_early:
        return f"ended early by {_by(record.closed_early)}"
    if record.resent_for:
        return f"healed: {record.resent_for}"
    if record.held:
        return f"held for {record.held:.1f} s"
    return "sent again" if record.retries else ""


def what_happened(record: Record) -> list[str]:
    """Tell it in sentences."""
    told = []
    if record.resent_for:
        told += [
            _sentence(record.resent_for),
            "The sidecar put that right and sent the request again.",
        ]
        if not record.problem:
            told.append("The client saw nothing of it.")
    elif record.retries:
        told.append("The connection to Jira was lost; the sidecar sent the request once more.")
    if record.held:
        told.append(_held(record))
    if record.sent_as:
        told.append(f"It went to Jira by {record.sent_as}: its address was too long for Jira.")
    if record.problem and record.problem != record.resent_for:
        told.append(_sentence(record.problem))
    if record.problem:
        told.append(_to_do(record.problem))
    elif record.error:
        told.append(_own_error(record))
    elif record.answered_by == "jira" and record.status >= 400:
        told.append(_jiras_error(record.status))
    if record.closed_early:
        told.append(_LEFT.get(record.closed_early, ""))
    return [sentence for sentence in told if sentence]


def repeating(record: Record, origin: str, *, needs_key: bool) -> str:
    """A line for a shell that sends the request again, without query and body; "" where none can.

    The method and the path were chosen by whoever sent it, and are quoted whatever they hold.
    """
    path = record.path
    if path.endswith("...") or "\\" in path or not path.startswith(("/", "http")):
        return ""  # it was shortened, or had what no request may have
    words = ["curl"]
    if record.method == "HEAD":
        words.append("--head")
    elif record.method != "GET":
        words += ["-X", record.method]
    if needs_key:
        words += ["-u", "sidecar"]
    if _GLOB.search(path):
        words.append("--globoff")
    if "/." in path:
        words.append("--path-as-is")
    words += [origin + path] if path.startswith("/") else ["-x", origin, path]
    return shlex.join(words)


def _held(record: Record) -> str:
    spared = "" if record.status == 429 or not record.absorbed else ", and the client saw no 429"
    return (
        "Jira’s rate limit for this user was used up: the request waited"
        f" {record.held:.1f} s for its turn{spared}."
    )


def _sentence(problem: str) -> str:
    explanation = EXPLANATIONS.get(problem)
    return explanation.sentence if explanation else "Jira refused the request’s OAuth signature."


def _to_do(problem: str) -> str:
    explanation = EXPLANATIONS.get(problem)
    return f"What to do: {as_sentence(explanation.hint)}" if explanation else ""


def failure(error: str) -> str:
    """What an error of Proxy-Status says of the way to Jira."""
    return _FAILED.get(error, "Jira could not be reached.")


def _own_error(record: Record) -> str:
    if record.status < 500 or record.status == 508:
        return _REFUSED.get(record.status, "The sidecar refused the request.")
    return failure(record.error)


def _jiras_error(status: int) -> str:
    if status >= 500:
        return f"Jira failed ({status}). Its answer was passed on unchanged."
    what = _JIRAS.get(status, f"Jira found fault with the request ({status}).")
    return f"{what} Its answer was passed on unchanged."


def _by(who: str) -> str:
    return {"client": "the client", "jira": "Jira"}.get(who, "the sidecar")

"""The fields that every answer of Jira carries, and the limit on the size of an answer's head."""

from __future__ import annotations

import secrets
from email.utils import formatdate
from typing import Final

from sidecar.sandbox.answers import Answer
from sidecar.sandbox.provider import random_text
from sidecar.sandbox.record import Request

HEAD_LIMIT: Final = 8 << 10
"""Tomcat's maxHttpHeaderSize, which counts for answers as well."""
_FRAMING: Final = 60
"""Bytes of the status line and of the fields that aiohttp adds (Content-Length and the like)."""


def decorate(answer: Answer, record: Request, now: float) -> Answer:
    """Add what every answer carries; an answer whose head is too long becomes a bare 500."""
    fields = answer.fields
    present = {name.lower() for name, _ in fields}
    fields.append(("Date", formatdate(now, usegmt=True)))
    if "server" not in present:
        fields.append(("Server", "nginx" if answer.bare else "sandbox"))
    if answer.bare:
        return answer
    fields += [
        ("X-AREQUESTID", f"{secrets.randbelow(1440)}x{secrets.randbelow(10**6)}x1"),
        ("X-AUSERNAME", record.user or "anonymous"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if "cache-control" not in present:
        fields.append(("Cache-Control", "no-cache, no-store, no-transform"))
    if record.user is not None:
        fields.append(("X-Seraph-LoginReason", "OK"))
    return _too_long(now) if _head_size(answer) > HEAD_LIMIT else answer


def cookies(context_path: str) -> list[tuple[str, str]]:
    """Give two Set-Cookie fields: a session that ends with the answer, and a Secure XSRF cookie."""
    path = context_path or "/"
    session = f"JSESSIONID={secrets.token_hex(16).upper()}; Path={path}; HttpOnly"
    xsrf = f"atlassian.xsrf.token={random_text(16)}_lin; Path={path}; Secure"
    return [("Set-Cookie", session), ("Set-Cookie", xsrf)]


def _head_size(answer: Answer) -> int:
    pairs = [*answer.fields, ("Content-Type", answer.content_type or "")]
    return _FRAMING + sum(len(name) + len(value) + 4 for name, value in pairs)


def _too_long(now: float) -> Answer:
    """What Tomcat sends where the head does not fit into its buffer."""
    date = formatdate(now, usegmt=True)
    return Answer(500, fields=[("Date", date), ("Server", "sandbox"), ("Connection", "close")])

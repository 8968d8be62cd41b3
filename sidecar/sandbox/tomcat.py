"""A request target as Tomcat 9 under Jira reads it: what it refuses, and what it hands to Jira.

Jira's server.xml has relaxedPathChars="[]|" and relaxedQueryChars="[]|{}^\\`\"<>".
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

FORM_LIMIT = 2 << 20
"""Tomcat's maxPostSize: a larger form is not parsed at all (measured on Tomcat 9)."""
HEAD_LIMIT = 8 << 10
"""Tomcat's maxHttpHeaderSize."""

_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_PATH_REFUSED = re.compile(r'[\x00-\x20"#<>\\^`{}\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})')
_QUERY_REFUSED = re.compile(r"[\x00-\x20#\x7f-\U0010ffff]")
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile(r"%2[fF]")
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]?")


class Refused(Exception):
    """Tomcat answers by itself with this status; Jira never sees the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Target(NamedTuple):
    """A target split at its `?`; both parts are as they were sent."""

    path: str
    query: str


def read_target(raw: str, host: str) -> Target:
    """Take a target apart; raises Refused for what Tomcat does not accept.

    An absolute-form target must name the Host (Tomcat's allowHostHeaderMismatch is false).
    """
    if absolute := _ABSOLUTE.fullmatch(raw):
        authority, raw = absolute.groups()
        if authority.lower() != host.lower():
            raise Refused(400, "The host header does not match the request line")
        raw = raw if raw.startswith("/") else "/" + raw
    path, _, query = raw.partition("?")
    if not path.startswith("/") or _PATH_REFUSED.search(path) or _QUERY_REFUSED.search(query):
        raise Refused(400, "Invalid character found in the request target")
    return Target(path, query)


def read_path(path: str, *, refuse_encoded_slash: bool) -> list[str]:
    """Give the decoded segments that Jira's servlets are mapped by, without empty ones.

    Path parameters go, then escapes are decoded, then `.` and `..` are resolved.
    """
    if refuse_encoded_slash and _ENCODED_SLASH.search(path):
        raise Refused(400, "Invalid URI: The encoded slash character is not allowed")
    segments: list[str] = []
    for part in path.split("/"):
        segment = to_text(unquote_to_bytes(part.partition(";")[0]))
        if "\\" in segment or "\x00" in segment:
            raise Refused(400, "Invalid URI")
        if segment == "..":
            if not segments:
                raise Refused(400, "Invalid URI")
            segments.pop()
        elif segment not in ("", "."):
            segments.append(segment)
    return segments


def to_text(data: bytes) -> str:
    """Decode UTF-8 as Java does: every malformed sequence becomes U+FFFD.

    Java takes an encoded surrogate (ED A0 80) for one malformed sequence of three bytes, where
    Unicode's recommendation, and Python, make three of it.
    """
    if b"\xed" in data:
        data = _SURROGATE.sub(b"\xef\xbf\xbd", data)
    return data.decode("utf-8", "replace")


def read_parameters(text: bytes) -> list[tuple[str, str]]:
    """Read a query or form body: an empty name or a stray `%` drops the parameter.

    `;` does not separate, `+` is a space, `x` and `x=` are both empty (measured on Tomcat 9).
    """
    parameters: list[tuple[str, str]] = []
    for pair in text.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name and not _STRAY.search(pair):
            parameters.append((_decode(name), _decode(value)))
    return parameters


def _decode(text: bytes) -> str:
    return to_text(unquote_to_bytes(text.replace(b"+", b" ")))


def is_form(method: str, content_type: str) -> bool:
    """Whether Tomcat makes parameters of a body: only on POST, only for this exact media type."""
    media_type = content_type.partition(";")[0].strip()
    return method == "POST" and media_type == "application/x-www-form-urlencoded"


def split_host(host: str) -> tuple[str, int | None]:
    """Take a Host value apart into name (IPv6 in brackets) and port; Refused if it is none."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::(\d{0,5}))?", host)
    if not match:
        raise Refused(400, "The host header is invalid")
    name, port = match.groups()
    return name, int(port) if port else None

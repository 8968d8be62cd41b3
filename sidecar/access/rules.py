"""Which methods and paths are forwarded: access.read_only, access.allow and access.deny; pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from sidecar.errors import ConfigError, RequestRefused

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that ask for nothing to be done (RFC 9110 §9.2.1): they may be sent again."""
# The session is answered here, with any number of slashes at its end.
_HARMLESS = re.compile(
    r"POST /rest/api/(?:2|latest)/search/?|(?:POST|DELETE) /rest/auth/1/session/*"
)

# What Atlassian's REST plug-in takes off the last segment and reads as an Accept field
# (ExtensionJerseyFilter): /rest/api/2/user.json is /rest/api/2/user.
_EXTENSION = re.compile(r"\.(?:json|xml|atom|html?|txt)(?=/?\Z)", re.IGNORECASE)


class Rule(NamedTuple):
    """A line of access.allow or access.deny with its compiled path."""

    text: str
    methods: frozenset[str]
    pattern: re.Pattern[str]


class Rules:
    """What a request may do, by its method and path."""

    def __init__(
        self,
        context_path: str = "",
        *,
        read_only: bool = False,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
    ) -> None:
        """Compile the rules; ConfigError names one that makes no sense.

        They are matched below `context_path`, Jira's, as in "/jira".
        """
        self._context_path = context_path
        self._read_only = read_only
        # Tomcat minds letter case.  Deny is matched without regard to it and allow with it, so
        # that neither lets more pass than it says where something on the way does not mind.
        self._deny = [compile_rule(rule, context_path, re.IGNORECASE) for rule in deny]
        self._allow = [compile_rule(rule, context_path) for rule in allow]

    def check(self, method: str, path: str) -> None:
        """Judge a request; RequestRefused is 403.

        `path` is the cleaned target's, as sent to Jira: percent-encoded, with the context path.
        """
        if not (self._read_only or self._deny or self._allow):
            return
        if (path + "/").startswith(self._context_path + "/"):
            path = path[len(self._context_path) :]
        reads = method in SAFE_METHODS or _HARMLESS.fullmatch(f"{method} {path}")
        if self._read_only and not reads:
            raise denied(f"This sidecar only reads, and {method} may write.", "access.read_only")
        if self._deny or self._allow:
            self._judge_rules(method, path)

    def _judge_rules(self, method: str, path: str) -> None:
        """Deny wins; a non-empty allow refuses everything that it doesn't name."""
        readings = _readings(path)
        spellings = readings | {_EXTENSION.sub("", reading) for reading in readings}
        for rule in self._deny:
            if method in rule.methods and any(map(rule.pattern.fullmatch, spellings)):
                raise denied(f'access.deny has "{shown(rule.text)}".', "access.deny")
        allowing = [rule.pattern for rule in self._allow if method in rule.methods]
        if self._allow and not all(
            any(pattern.fullmatch(reading) for pattern in allowing) for reading in readings
        ):
            raise denied(f"No rule of access.allow covers this {method}.", "access.allow")


def compile_rule(text: str, context_path: str = "", flags: int = 0) -> Rule:
    """Compile "GET /rest/api/*/issue/**"; ConfigError says what is wrong with it."""
    method, _, path = text.strip().partition(" ")
    method, path = method.upper(), path.strip()
    problem = _rule_problem(method, path, context_path)
    if problem:
        raise ConfigError(
            f'the rule "{text}" makes no sense: {problem}',
            'a rule looks like "GET /rest/api/*/issue/**"',
        )
    methods = {"*": METHODS, "GET": ("GET", "HEAD")}.get(method, (method,))
    return Rule(text, frozenset(methods), re.compile(_path_pattern(path), flags))


def plain_path(path: str) -> str:
    """Return the path that rules are matched against; RequestRefused (403) if it is not plain.

    Decoded once, `;parameters` removed, `//` collapsed; a trailing slash stays.
    """
    decoded = unquote(path)
    if "%" in decoded or "\\" in decoded or "%2f" in path.lower():
        raise denied("The path is encoded in a way that rules cannot be matched against.")
    segments = [segment.partition(";")[0] for segment in decoded.split("/")]
    if "." in segments or ".." in segments:
        raise denied("The path has dot segments.")
    return _joined(segments)


def _readings(path: str) -> set[str]:
    """Return every path that Jira could take this for: deny must match none, allow all of them.

    Tomcat removes `;parameters` before it decodes, so that `%3B` is a letter like any other.
    """
    readings = {plain_path(path)}
    if "%3b" in path.lower():
        segments = [unquote(segment.partition(";")[0]) for segment in path.split("/")]
        readings.add(_joined(segments))
    return readings


def _joined(segments: list[str]) -> str:
    """Put segments together without the empty ones, but with a trailing slash."""
    collapsed = "/" + "/".join(filter(None, segments))
    return collapsed + "/" if not segments[-1] and len(collapsed) > 1 else collapsed


def _rule_problem(method: str, path: str, context_path: str) -> str | None:
    segments = path.split("/")
    if method != "*" and method not in METHODS:
        return f"it begins with neither {', '.join(METHODS)} nor *"
    if not path.startswith("/"):
        return "its path does not begin with /"
    if any(char in path for char in "%;?#\\") or not path.isprintable():
        return "paths are matched decoded, without ;parameters and query"
    if any("*" in segment and segment not in ("*", "**") for segment in segments):
        return "* and ** stand for whole segments"
    if "." in segments or ".." in segments:
        return "it has dot segments, which no request may have"
    if context_path and (path + "/").startswith(context_path + "/"):
        return f"paths are matched without the context path {context_path}"
    return None


def _path_pattern(path: str) -> str:
    """Translate a rule's path so that matching takes time linear in the path's length.

    As fnmatch does since 3.11: what follows a `**` is found at its first place and never tried
    again (an atomic group), only the last `**` reaches to the end.
    """
    chunks = [""]
    for segment in filter(None, path.split("/")):
        if segment == "**":
            chunks.append("")
        else:
            chunks[-1] += "/[^/]++" if segment == "*" else "/" + re.escape(segment) + "(?![^/])"
    first, *rest = chunks
    if not rest:
        return first + "/?"
    middle = "".join(f"(?>(?:/[^/]++)*?{chunk})" for chunk in rest[:-1] if chunk)
    return f"{first}{middle}(?:/[^/]++)*{rest[-1]}/?"


def shown(text: str) -> str:
    """Return the text fit for a message: printable ASCII without quotes, at most 80 characters."""
    return re.sub(r"[^ !#-\[\]-~]", "?", text[:80])


def denied(message: str, key: str = "") -> RequestRefused:
    hint = f"{key} in the sidecar's configuration decides this" if key else ""
    return RequestRefused(403, message, hint, proxy_error="http_request_denied")

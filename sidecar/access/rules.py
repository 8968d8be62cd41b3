"""Which methods and paths are forwarded: access.read_only, access.allow and access.deny."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote

from sidecar.access.logins import is_session_login
from sidecar.errors import ConfigError, RequestRefused
from sidecar.http.methods import METHODS, SAFE_METHODS
from sidecar.http.paths import below, is_wrapped, readings, without_extensions
from sidecar.http.shown import quoted
from sidecar.jira.searches import SEARCH


class Rule(NamedTuple):
    """A line of access.allow or access.deny with its compiled path."""

    text: str
    methods: frozenset[str]
    pattern: re.Pattern[str]


class Rules:
    """What a request may do, by its method and path."""

    def __init__(
        self,
        context_path: str,
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
        # To Tomcat, upper and lower case differ; to a gateway on the way they may not.  Deny
        # ignores case and allow does not, so that neither lets more pass than it says.
        self._deny = [compile_rule(rule, context_path, re.IGNORECASE) for rule in deny]
        self._allow = [compile_rule(rule, context_path, re.NOFLAG) for rule in allow]

    def check(self, method: str, path: str) -> None:
        """Judge a request; RequestRefused is 403.

        `path` is the cleaned target's, as sent to Jira: percent-encoded, with the context path.
        """
        if not (self._read_only or self._deny or self._allow):
            return
        path = below(path, self._context_path)
        paths = readings(path)
        if self._read_only and not _only_reads(method, path, paths):
            raise denied(f"This sidecar only reads, and {method} may write.", "access.read_only")
        if self._deny or self._allow:
            _refuse_odd_encodings(path, paths)
            self._judge_rules(method, paths)

    def _judge_rules(self, method: str, paths: frozenset[str]) -> None:
        """Deny wins; a non-empty allow refuses everything that it doesn't name.

        A path that Jira could read in several ways is denied if any of them is, and allowed if
        all of them are.
        """
        spellings = without_extensions(paths)
        for rule in self._deny:
            if method in rule.methods and any(map(rule.pattern.fullmatch, spellings)):
                raise denied(f"access.deny has {quoted(rule.text)}.", "access.deny")
        allowing = [rule.pattern for rule in self._allow if method in rule.methods]
        if self._allow and not all(
            any(pattern.fullmatch(path) for pattern in allowing)
            for path in paths
            if not is_wrapped(path)
        ):
            raise denied(f"No rule of access.allow covers this {method}.", "access.allow")


def compile_rule(text: str, context_path: str, flags: re.RegexFlag) -> Rule:
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


def _only_reads(method: str, path: str, paths: frozenset[str]) -> bool:
    """Whether a request changes nothing in Jira.  A search by POST must be spelled plainly."""
    if method in SAFE_METHODS or is_session_login(method, paths):
        return True
    return method == "POST" and SEARCH.fullmatch(path) is not None


def _refuse_odd_encodings(path: str, paths: frozenset[str]) -> None:
    """Refuse (403) a path that a server could decode to another one than rules are matched with."""
    decoded = unquote(path)
    if "%" in decoded or "\\" in decoded or "%2f" in path.lower():
        raise denied("The path is encoded in a way that rules cannot be matched against.")
    if any(not {".", ".."}.isdisjoint(reading.split("/")) for reading in paths):
        raise denied("The path has dot segments.")


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

    As fnmatch does since Python 3.11: what follows a `**` is matched at the first place where it
    fits and nowhere else (an atomic group); only the last `**` reaches to the end.
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


def denied(message: str, key: str = "") -> RequestRefused:
    hint = f"{key} in the sidecar's configuration decides this" if key else ""
    return RequestRefused(403, message, hint, proxy_error="http_request_denied")

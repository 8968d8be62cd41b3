"""Compares Jira's signature base string with ours: what differs, why, and what to do about it.

Jira names its own when it finds a signature wrong.  No text holds a parameter's value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from sidecar.http.shown import printable_ascii
from sidecar.jira.explanations import EXPLANATIONS, GIVE_KEY, LEAVE_ALONE
from sidecar.jira.problems import shown_names
from sidecar.signing.signature import DEFAULT_PORTS


@dataclass(frozen=True, slots=True)
class Difference:
    """How Jira's signature base string differs from ours; holds no parameter's value."""

    parts: tuple[str, ...]
    """method, scheme, host, port, path prefix, path, parameters, order, encoding; unreadable."""
    sentence: str
    hint: str
    """What to do: ASCII."""
    perceived: str | None = None
    """The base URL that Jira believes in, if signing for it would be accepted."""
    connector: str = ""
    """The attributes of Tomcat's <Connector> that would make Jira believe in our URL."""
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class _BaseString(NamedTuple):
    method: str
    scheme: str
    host: str
    """Bracketed if IPv6."""
    port: int
    path: str
    parameters: list[tuple[str, str]]

    def __repr__(self) -> str:
        return "_BaseString(…)"

    def base_url(self, prefix: str) -> str:
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{prefix}"


_LONGEST = 16 * 1024
"""Characters: Jira names its base string in a head of 8 KiB at most."""

_PARTS = ("method", "scheme", "host", "port")
_URI = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?(/.*)?", re.DOTALL)


def compare_base_strings(theirs: str, ours: str, context_path: str = "") -> Difference:
    """Compare Jira's base string with ours, part by part (RFC 5849 §3.4.1.1).

    `context_path` is the path of the URL that we signed for: "" or "/jira".
    """
    their, our = _read_base_string(theirs[: _LONGEST + 1]), _read_base_string(ours)
    if their is None or our is None:
        sentence = "Jira names a signature base string that cannot be read."
        return Difference(("unreadable",), sentence, EXPLANATIONS["signature_invalid"].hint)
    if theirs == ours:
        sentence = (
            "Jira signs the very text that we sign, and still finds our signature wrong: "
            "the public key in the application link is not that of our private key."
        )
        return Difference((), sentence, GIVE_KEY)
    missing, extra, changed = _compare_parameters(their.parameters, our.parameters)
    prefix = _path_prefix(their.path, our.path, context_path)
    parts = _differing_parts(their, our, prefix)
    names = {"were lost": missing, "were added": extra, "were changed": changed}
    if prefix is None or not {"scheme", "host", "port", "path prefix"}.issuperset(parts):
        sentence = _changes(their, our, parts, names)
        return Difference(parts, sentence, LEAVE_ALONE, None, "", missing, extra, changed)
    perceived, connector = their.base_url(prefix), _connector(our)
    sentence = (
        f"Jira believes that its URL is {perceived}, and we ask for {our.base_url(context_path)}."
    )
    return Difference(parts, sentence, _fix(parts, perceived, connector), perceived, connector)


def _read_base_string(text: str) -> _BaseString | None:
    parts = text.split("&") if len(text) <= _LONGEST else []
    match = _URI.fullmatch(unquote(parts[1])) if len(parts) == 3 else None
    if match is None or not parts[0].isascii():
        return None
    port = int(match[3] or DEFAULT_PORTS[match[1]])
    if port > 65535:
        return None
    pairs = [pair.partition("=") for pair in unquote(parts[2]).split("&") if pair]
    return _BaseString(
        printable_ascii(parts[0], 20),
        match[1],
        match[2],
        port,
        match[4] or "/",
        [(name, value) for name, _, value in pairs],
    )


def _path_prefix(theirs: str, ours: str, context_path: str) -> str | None:
    """Return Jira's context path if the paths are the same below it, else None."""
    if theirs == ours:
        return context_path
    below = ours.removeprefix(context_path)
    prefix = theirs.removesuffix(below)
    # What is below must be more than a slash, or any path would end with it.
    if len(below) < 2 or prefix == theirs or not re.fullmatch(r"(?:/[A-Za-z0-9._~-]+)*", prefix):
        return None
    return prefix


def _differing_parts(theirs: _BaseString, ours: _BaseString, prefix: str | None) -> tuple[str, ...]:
    parts = [name for name in _PARTS if getattr(theirs, name) != getattr(ours, name)]
    if theirs.path != ours.path:
        parts.append("path" if prefix is None else "path prefix")
    if Counter(theirs.parameters) != Counter(ours.parameters):
        parts.append("parameters")
    elif theirs.parameters != ours.parameters:
        parts.append("order")
    return tuple(parts) or ("encoding",)


def _compare_parameters(
    theirs: list[tuple[str, str]], ours: list[tuple[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the names that are missing from theirs, extra there, or have another value."""
    lost = {name for name, _ in Counter(ours) - Counter(theirs)}
    gained = {name for name, _ in Counter(theirs) - Counter(ours)}
    return shown_names(lost - gained), shown_names(gained - lost), shown_names(lost & gained)


def _connector(ours: _BaseString) -> str:
    """Return what makes Tomcat's getRequestURL() say what the reverse proxy's clients ask for."""
    secure = "true" if ours.scheme == "https" else "false"
    return (
        f'scheme="{ours.scheme}" secure="{secure}" proxyName="{ours.host}" proxyPort="{ours.port}"'
    )


def _fix(parts: Iterable[str], perceived: str, connector: str) -> str:
    """Say how Jira is told its real URL, or we the one that it believes in."""
    fixes = []
    if {"scheme", "host", "port"} & set(parts):
        fixes.append(f"give the <Connector> in Jira's server.xml {connector}")
    if "path prefix" in parts:
        fixes.append("make Jira's context path that of the reverse proxy")
    return f'{" and ".join(fixes)}; or set jira.signing_url = "{perceived}"'


def _changes(
    theirs: _BaseString,
    ours: _BaseString,
    parts: Iterable[str],
    names: Mapping[str, tuple[str, ...]],
) -> str:
    """Say what something on the way made of the request."""
    changes = []
    if "method" in parts:
        changes.append(f"the method {ours.method} became {theirs.method}")
    if {"scheme", "host", "port"} & set(parts):
        changes.append(f"{ours.base_url('')} became {theirs.base_url('')}")
    if "path" in parts:
        changes.append(_path_change(theirs.path, ours.path))
    changes += [f"parameters {verb}: {', '.join(some)}" for verb, some in names.items() if some]
    changes += [f"Jira has another {what}" for what in ("order", "encoding") if what in parts]
    return f"On the way to Jira the request was changed: {'; '.join(changes)}."


def _path_change(theirs: str, ours: str) -> str:
    if unquote(theirs) == unquote(ours):
        return "the path was encoded or decoded"
    if re.sub("/+", "/", theirs) == re.sub("/+", "/", ours):
        return "slashes in the path were merged"
    return f"the path became {printable_ascii(theirs, 100)}"

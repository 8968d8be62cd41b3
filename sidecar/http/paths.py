"""Every path that Jira could take the path of a request for.

Whoever knows a path by its name (rules, logins, people's files, serverInfo) looks at all of them:
servlet filters, Jersey and gateways do not agree on when a path is decoded and what is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from sidecar.errors import RequestRefused
from sidecar.http.cache import Cache

DECODINGS = 3
"""Jira, a gateway and a plugin may each percent-decode a path once."""
MOST_WRAPPINGS = 2
"""A static resource has one `/_/` in its path.  Each one more is a path more that every rule is
matched with: with eight, twenty rules took 76 ms for a path of 60 KB."""

_SPECIAL = re.compile(r"[%;]|//|\A/[sS]/")

# What Atlassian's REST plug-in takes off the last segment and reads as an Accept field
# (ExtensionJerseyFilter): /rest/api/2/user.json is /rest/api/2/user.
_EXTENSION = re.compile(r"\.(?:json|xml|atom|html?|txt)(?=/?\Z)", re.IGNORECASE)


def readings(path: str) -> frozenset[str]:
    """Return every path that Jira could take this one for, itself among them.

    `path` is a clean target's, without the context path.  A reading is percent-decoded, without
    `;parameters`, its slashes collapsed but for one at its end; of `/s/…/_/PATH`, which Jira's
    URL rewriting forwards to `/PATH` in any letter case, `/PATH` is one, too.
    """
    return _known[path]


def _readings(path: str) -> frozenset[str]:
    if not _SPECIAL.search(path):
        return frozenset((path,))
    found: set[str] = set()
    for reading in _decodings(path):
        found.add(reading)
        found.update(_unwrapped(reading))
    return frozenset(found)


_known = Cache(_readings, len, entries=512, size=64 * 1024)


def without_extensions(paths: frozenset[str]) -> frozenset[str]:
    """Return the paths, and each as the REST plug-in reads it: without `.json` at its end."""
    return paths.union(_EXTENSION.sub("", path) for path in paths)


def is_wrapped(reading: str) -> bool:
    """Whether this is `/s/…/_/PATH`: nothing in Jira answers there, but at PATH."""
    return reading[:3].lower() == "/s/" and "/_/" in reading


def below(path: str, context_path: str) -> str:
    """Return a clean target's path without Jira's context path, "" or "/jira"."""
    if path == context_path or path.startswith(context_path + "/"):
        return path[len(context_path) :] or "/"
    return path


def _decodings(path: str) -> Iterator[str]:
    """Yield the path decoded once and more often, with `;parameters` cut off before and after.

    Tomcat cuts them off before it decodes: to it `%3B` is a letter like any other.
    """
    cut = _without_parameters(path)
    is_same = cut == path
    for _ in range(DECODINGS):
        path = unquote(path)
        cut = path if is_same else unquote(cut)
        yield _collapsed(cut)
        if ";" in path:
            yield _collapsed(_without_parameters(path))
        if "%" not in path:
            return


def _without_parameters(path: str) -> str:
    if ";" not in path:
        return path
    return "/".join([segment.partition(";")[0] for segment in path.split("/")])


def _collapsed(path: str) -> str:
    return re.sub("//+", "/", path)


def _unwrapped(reading: str) -> Iterator[str]:
    """Yield what follows each `/_/` of `/s/…/_/PATH`: the last counts, or the first."""
    if not is_wrapped(reading):
        return
    ends = [wrapping.end() for wrapping in re.finditer("/_(?=/)", reading)]
    if len(ends) > MOST_WRAPPINGS:
        raise RequestRefused(400, "The path has too many segments _.", "send what follows them")
    for end in ends:
        yield reading[end:]

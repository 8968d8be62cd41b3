"""The different paths by which Jira finds the same resource, after Tomcat has decoded them."""

from __future__ import annotations

from typing import Final

_VERSIONS: Final = {"api": "2", "auth": "1", "agile": "1.0", "gadget": "1.0"}
"""What `latest` stands for, by the name of the REST module."""
_SUFFIXES: Final = (".json", ".xml")
"""atlassian-rest removes these from the end of a path and reads them as an `Accept` field."""


def without_static_prefix(segments: list[str]) -> list[str]:
    """Give PATH for `/s/…/_/PATH`, as Jira's filter for cached resources forwards it.

    The filter's pattern is greedy: what stands behind the last `/_/` counts.
    """
    if segments[:1] != ["s"] or "_" not in segments[1:-1]:
        return segments
    last = max(place for place, part in enumerate(segments[:-1]) if part == "_")
    behind = segments[last + 1 :]
    return segments if behind[0].upper() in ("WEB-INF", "META-INF") else behind


def rest_resource(segments: list[str]) -> list[str]:
    """Give the one name of a REST resource: a number for `latest`, and no `.json` at the end."""
    if segments[:1] != ["rest"] or len(segments) < 3:
        return segments
    module, version, *parts = segments[1:]
    if version == "latest":
        version = _VERSIONS.get(module, version)
    if parts and parts[-1].endswith(_SUFFIXES):
        parts[-1] = parts[-1].rpartition(".")[0]
    return ["rest", module, version, *parts]

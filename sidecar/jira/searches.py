"""A search by GET, written as the search by POST that means the same; pure.

JQL is often longer than Tomcat lets a request's head be.  Jira's search resource takes the same
parameters as JSON in the body of a POST.
"""

from __future__ import annotations

import json
import re

from sidecar.http.paths import below
from sidecar.signing.signature import decode_query

SEARCH = re.compile(r"/rest/api/(?:2|latest)/search/?")

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")
_MOST = 2**31 - 1
"""Java's Integer.MAX_VALUE: Jira refuses larger numbers."""
_NUMBERS = ("startAt", "maxResults")
_LISTS = ("fields", "expand")
_SWITCH = {"true": True, "false": False}

_ENDS = ("/search", "/search/")
Content = dict[str, str | int | bool | list[str]]


def is_search(path: str, context_path: str) -> bool:
    """Whether a clean target's path is the search's, spelled plainly."""
    return path.endswith(_ENDS) and SEARCH.fullmatch(below(path, context_path)) is not None


def as_json(query: str) -> bytes | None:
    """The content of the POST that means the same as a GET with this query (ASCII).

    None where there is none: for a parameter that the search doesn't have, for a number that
    isn't one, and for a validateQuery that is neither true nor false.  Of a repeated parameter
    Jira takes the first (JAX-RS), but all of `fields` and `expand`.
    """
    content: Content = {}
    for name, value in decode_query(query):
        if name in _LISTS:
            names = [part.strip() for part in value.split(",") if part.strip()]
            content[name] = [*_list(content.get(name)), *names]
            continue
        read = value if name == "jql" else _read(name, value)
        if read is None:
            return None
        content.setdefault(name, read)
    return json.dumps(content, ensure_ascii=False).encode()


def _read(name: str, value: str) -> int | bool | None:
    """A number or a switch; None for anything else."""
    if name == "validateQuery":
        return _SWITCH.get(value.lower())
    if name not in _NUMBERS or not _WHOLE_NUMBER.fullmatch(value):
        return None
    number = int(value)
    return number if -_MOST - 1 <= number <= _MOST else None


def _list(names: object) -> list[str]:
    return names if isinstance(names, list) else []

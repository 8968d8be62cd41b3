"""What people have stored in Jira: it comes back byte for byte, and Jira's own answers need not."""

from __future__ import annotations

import re

from sidecar.http.cache import Cache
from sidecar.http.fields import Fields, values

_STORED = re.compile(
    r"/secure/(?:attachment|thumbnail)/.*"
    r"|/rest/api/[^/]+/attachment/content/.*"
    r"|/rest/.*/properties/.+",
    re.IGNORECASE | re.DOTALL,
)
"""Attachments, and the values of entity properties; `…/properties/` alone is a list of Jira's."""


def is_stored(paths: frozenset[str]) -> bool:
    """Whether what lies here in any reading of a path (http/paths.py) is people's own."""
    return _known[paths]


_known = Cache[frozenset[str], bool](
    lambda paths: any(map(_STORED.fullmatch, paths)),
    lambda paths: sum(map(len, paths)),
    entries=512,
    size=64 * 1024,
)


def is_download(fields: Fields) -> bool:
    """Whether an answer is a file to be saved (RFC 6266 §4.2)."""
    return any(
        value.partition(b";")[0].strip(b" \t").lower() == b"attachment"
        for value in values(fields, b"content-disposition")
    )

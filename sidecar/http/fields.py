"""Header fields as they are carried from one side to the other (RFC 9110 §5).

Fields are ordered lists of (name, value) pairs of bytes, so that duplicates, order, the spelling
of names and values that aren't UTF-8 survive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sidecar import __version__
from sidecar.http.cache import Cache

Field = tuple[bytes, bytes]
Fields = list[Field]

FRAMING = frozenset({b"content-length", b"host", b"transfer-encoding"})
USER_AGENT = b"jira-oauth-sidecar/" + __version__.encode()

CACHED_BYTES = 32 * 1024
"""Names of fields that are remembered, together: all that clients and Jiras send have 2 KiB."""


class Received(list[Field]):
    """The fields of a message as they arrived, with an index of their names."""

    __slots__ = ("firsts",)

    def __init__(self, fields: Iterable[Field]) -> None:
        super().__init__(fields)
        self.firsts = {_lower[name]: value for name, value in reversed(self)}
        """The first value of every field, by name in lower case."""

    def repeats(self, *names: bytes) -> bool:
        """Whether a field of one of these names (lower case) is there more than once."""
        if len(self.firsts) == len(self):
            return False
        found = [lower for name, _ in self if (lower := _lower[name]) in names]
        return len(found) > len(set(found))


_lower = Cache(bytes.lower, len, entries=512, size=CACHED_BYTES)


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """All values of the field called `name` (lower case), in order."""
    if type(fields) is Received and name not in fields.firsts:
        return []
    return [value for key, value in fields if key.lower() == name]


def first(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first value of the field called `name` (lower case), or None."""
    if type(fields) is Received:
        return fields.firsts.get(name)
    for key, value in fields:
        if key.lower() == name:
            return value
    return None


def size_of(fields: Collection[Field]) -> int:
    """Bytes that fields take on the wire, each with its colon, space and line end."""
    return sum([len(name) + len(value) for name, value in fields]) + 4 * len(fields)


def serialize(start_line: bytes, fields: Iterable[Field]) -> bytes:
    """A message head on the wire: bytes out as they came in, nothing re-encoded or dropped.

    Raises ValueError for a line end inside a line.  Parsers and checks let none come this far;
    if one did, it would be another's header field or request.
    """
    lines = [start_line, *map(b": ".join, fields), b"\r\n"]
    head = b"\r\n".join(lines)
    if not head.count(b"\r") == head.count(b"\n") == len(lines):
        raise ValueError("a line of a message's head holds a line end")
    return head

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

_A_NAME_BYTES = 150
"""What is known of a message's fields takes so much for each, besides its name."""
CACHED_BYTES = 32 * 1024
"""Names of fields that are remembered, together: all that clients and Jiras send have 2 KiB."""


class Names:
    """What the names of a message's fields tell, in their order: most messages have the same."""

    __slots__ = ("any_spelling", "firsts", "kept", "repeated")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        lower = [_lower[name] for name in names]
        self.firsts = {name: at for at, name in reversed([*enumerate(lower)])}
        """Where the first field of every name is, by the name in lower case."""
        self.repeated = frozenset(name for name in self.firsts if lower.count(name) > 1)
        self.any_spelling = frozenset(name.replace(b"_", b"-") for name in lower)
        """In lower case; servers that read fields as environment variables cannot tell _ from -."""
        self.kept: object = None
        """Which of an answer's fields pass: for http/forwarding.py."""


class Received(list[Field]):
    """The fields of a message as they arrived, with what their names tell."""

    __slots__ = ("are_plain", "forwarded", "names")

    def __init__(self, fields: Iterable[Field], *, are_plain: bool = False) -> None:
        super().__init__(fields)
        self.are_plain = are_plain
        """Whether they were read by a pattern that lets no control byte into a value."""
        self.names = _known_names[tuple([name for name, _ in self])]
        self.forwarded: object = None
        """What becomes of a request's fields: for http/forwarding.py."""

    def __repr__(self) -> str:
        """Show the names alone: keys and cookies are among the values."""
        return f"<Received {[name for name, _ in self]}>"


_lower = Cache(bytes.lower, len, entries=512, size=CACHED_BYTES)
_known_names = Cache(
    Names,
    lambda names: sum(map(len, names)) + _A_NAME_BYTES * len(names),
    entries=256,
    size=8 * CACHED_BYTES,
)


def lacks(fields: Iterable[Field], name: bytes) -> bool:
    """Whether a field of that name (lower case) is not there; False where one has to look."""
    return type(fields) is Received and name not in fields.names.firsts


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """All values of the field called `name` (lower case), in order."""
    if type(fields) is Received and name not in fields.names.repeated:
        at = fields.names.firsts.get(name)
        return [] if at is None else [fields[at][1]]
    return [value for key, value in fields if key.lower() == name]


def first(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first value of the field called `name` (lower case), or None."""
    if type(fields) is Received:
        at = fields.names.firsts.get(name)
        return None if at is None else fields[at][1]
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
    lines = [start_line, *map(b": ".join, fields)]
    text = b"".join(lines)
    if b"\r" in text or b"\n" in text:
        raise ValueError("a line of a message's head holds a line end")
    lines += (b"", b"")
    return b"\r\n".join(lines)

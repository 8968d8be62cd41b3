"""What the sandbox remembers of each request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any


class Fields(list[tuple[bytes, bytes]]):
    """Header fields in the order of the wire, as pairs of bytes."""

    def all(self, name: str) -> list[str]:
        """Every value of a field, decoded as Latin-1 (RFC 9110 §5.5)."""
        key = name.lower().encode()
        return [value.decode("latin-1") for this, value in self if this.lower() == key]

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return next(iter(self.all(name)), default)


@dataclass(slots=True)
class Request:
    """One request that the sandbox has seen, in the order of arrival."""

    method: str
    target: str
    """Exactly as on the wire; a byte that is not UTF-8 as a surrogate (PEP 383)."""
    fields: Fields
    body_length: int = 0
    body_complete: bool = False
    """Whether the end of the body has arrived."""
    verdict: str | None = None
    """What the OAuth check found: "ok", the oauth_problem, or None if nothing was checked."""
    user: str | None = None
    status: int | None = None
    """The status of the answer; None if there was none, or none yet."""
    _digest: Any = field(default_factory=hashlib.sha256, repr=False)

    @property
    def body_sha256(self) -> str:
        """The SHA-256 of what has arrived of the body, in hexadecimal."""
        return str(self._digest.hexdigest())

    def saw(self, data: bytes) -> None:
        """Note a piece of the body."""
        self.body_length += len(data)
        self._digest.update(data)

"""Access keys: which texts of a request may be one, and whose they are; pure."""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from sidecar.errors import RequestRefused
from sidecar.http.fields import Field

MOST_SHOWN = 4
"""Texts of one request that are compared: more would be more guesses at the price of one."""


class Holder(NamedTuple):
    """Whoever has shown a right key."""

    name: str | None
    """The name of the key; None where there is one key without a name."""


class Keys(Protocol):
    """The access keys of the moment."""

    def holder(self, shown: Sequence[bytes]) -> Holder | None:
        """Whose key is among the texts that were shown; None for nobody's."""


class KeyRefused(RequestRefused):
    """The access key is missing, or the one that was shown is nobody's: 401."""

    def __init__(self, *, is_wrong: bool) -> None:
        super().__init__(
            401,
            "This sidecar asks for its access key, and the request has none or a wrong one.",
            "send it as X-Sidecar-Key, as a Bearer token or as the password of Basic",
            proxy_error="http_request_denied",
            fields=(("WWW-Authenticate", 'Basic realm="sidecar"'),),
        )
        self.is_wrong = is_wrong
        """Whether one was shown: that may be a guess."""


class KeyRing:
    """Access keys by the names of their callers."""

    def __init__(self, digests: Mapping[str | None, bytes]) -> None:
        """`digests` has digest(key) for each caller: the keys themselves are not kept."""
        self._digests = tuple((Holder(name), mine) for name, mine in digests.items())

    def holder(self, shown: Sequence[bytes]) -> Holder | None:
        """Compare every text with every key, so that the time tells nothing of either."""
        found: Holder | None = None
        for text in map(digest, shown):
            for holder, mine in self._digests:
                if hmac.compare_digest(mine, text) and found is None:
                    found = holder
        return found


def digest(key: bytes) -> bytes:
    """What stands for a key in memory: as long as any other's."""
    return hashlib.sha256(key).digest()


def keys_shown(fields: Sequence[Field]) -> list[bytes]:
    """The first texts that might be the key: X-Sidecar-Key, Bearer, or Basic's password."""
    return list(islice(_texts(fields), MOST_SHOWN))


def _texts(fields: Sequence[Field]) -> Iterator[bytes]:
    for name, value in fields:
        name = name.lower()
        if name == b"x-sidecar-key":
            yield value
        elif name == b"authorization":
            auth_scheme, _, credentials = value.partition(b" ")
            if auth_scheme.lower() == b"bearer":
                yield credentials.strip()
            elif auth_scheme.lower() == b"basic":
                try:
                    yield b64decode(credentials.strip(), validate=True).partition(b":")[2]
                except binascii.Error:
                    continue

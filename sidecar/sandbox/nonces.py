"""The nonces that a node of Jira remembers."""

from __future__ import annotations

import heapq
from typing import NamedTuple

MOST_NONCES = 200_000
REMEMBERED = 60.0
"""Seconds for which a consumer's nonce counts as used, whatever timestamp comes with it."""


class Nonce(NamedTuple):
    """A nonce with everything that tells it from another; each node remembers its own."""

    timestamp: int
    nonce: str
    consumer_key: str
    token: str
    node: int = 0


class UsedNonces:
    """Two memories: the OAuth library's, and Jira's own of the last minute."""

    def __init__(self) -> None:
        self._used: set[Nonce] = set()
        self._oldest: list[Nonce] = []
        """A heap, by timestamp."""
        self._recent: dict[tuple[int, str, str], float] = {}
        """When a (node, consumer, nonce) came, in the order in which they came."""

    def __len__(self) -> int:
        return max(len(self._used), len(self._recent))

    def record(self, nonce: Nonce, now: float, earliest: int) -> bool:
        """Remember a nonce; say whether it is new.

        Those whose timestamp is before `earliest` are forgotten: it would refuse them anyway.
        """
        self._forget(now, earliest)
        short = (nonce.node, nonce.consumer_key, nonce.nonce)
        if nonce in self._used or short in self._recent:
            return False
        self._used.add(nonce)
        heapq.heappush(self._oldest, nonce)
        self._recent[short] = now
        return True

    def _forget(self, now: float, earliest: int) -> None:
        while self._oldest and (
            self._oldest[0].timestamp < earliest or len(self._used) >= MOST_NONCES
        ):
            self._used.discard(heapq.heappop(self._oldest))
        while self._recent:
            first = next(iter(self._recent))
            if now - self._recent[first] < REMEMBERED and len(self._recent) < MOST_NONCES:
                break
            del self._recent[first]

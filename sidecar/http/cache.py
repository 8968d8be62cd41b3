"""What is remembered of foreign text, within bounds."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(dict[K, V]):
    """Makes a value where it knows none, and remembers it: so many entries and bytes at most.

    It is emptied when it is full, and a key that would take more than a sixteenth of it is never
    remembered: no caller and no Jira can make it grow, or of no use to others by one long text.
    """

    def __init__(
        self, make: Callable[[K], V], measure: Callable[[K], int], *, entries: int, size: int
    ) -> None:
        """`measure` tells the bytes of a key, to which those of its value must be proportional."""
        super().__init__()
        self._make = make
        self._measure = measure
        self._entries = entries
        self._size = size
        self._held = 0

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        size = self._measure(key)
        if size > self._size // 16:
            return value
        if len(self) >= self._entries or self._held + size > self._size:
            self.clear()
            self._held = 0
        self[key] = value
        self._held += size
        return value

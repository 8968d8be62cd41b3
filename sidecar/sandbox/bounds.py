"""Tables that hold a limited number of entries."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(table: dict[K, V], key: K, value: V, most: int) -> None:
    """Add an entry; remove the oldest while there are more than `most`."""
    table[key] = value
    while len(table) > most:
        del table[next(iter(table))]

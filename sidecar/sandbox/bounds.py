"""Tables that do not grow for ever."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def keep(table: dict[K, V], key: K, value: V, most: int) -> None:
    """Add an entry; past `most` the oldest goes."""
    table[key] = value
    while len(table) > most:
        del table[next(iter(table))]

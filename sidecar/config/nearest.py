"""Which key or table somebody meant who wrote one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from sidecar.config.settings import OPTIONS, TABLES


def nearest_table(name: str) -> str | None:
    """Find the table that a misspelt name may mean."""
    return _closest(name, TABLES, 0.5)


def nearest_option(name: str) -> str | None:
    """Find the option that a misspelt name may mean, in its own table first."""
    table, _, key = name.rpartition(".")
    by_key = {option.partition(".")[2]: option for option in OPTIONS}
    siblings = {option.partition(".")[2] for option in OPTIONS if option.startswith(f"{table}.")}
    sibling = _closest(key, siblings, 0.8)
    if not sibling and key not in by_key:
        sibling = _closest(key, siblings, 0.5)
    if sibling:
        return f"{table}.{sibling}"
    return by_key.get(_closest(key, by_key, 0.7) or "")


def _closest(word: str, words: Iterable[str], cutoff: float) -> str | None:
    from difflib import get_close_matches  # 4 ms that only an error needs

    word = word.lower().replace("-", "_")
    return next(iter(get_close_matches(word, list(words), 1, cutoff)), None)

"""Noticing that a file was replaced or changed, for the price of a stat."""

from __future__ import annotations

from pathlib import Path

Signature = tuple[int, ...]


class FileWatch:
    """Tells whether files are others than when they were last read."""

    def __init__(self, *paths: Path | None) -> None:
        self._paths = [path for path in paths if path is not None]
        self._seen: list[Signature | None] | None = None

    def seen(self) -> None:
        """Take note of the files as they are.

        Call it before reading: a file replaced in between then looks changed once too often,
        never once too seldom.
        """
        self._seen = self._now()

    def changed(self) -> bool:
        """Whether a file has come, gone or changed since `seen`."""
        return self._now() != self._seen

    def _now(self) -> list[Signature | None]:
        return [_signature(path) for path in self._paths]


def _signature(path: Path) -> Signature | None:
    try:
        info = path.stat()
    except OSError:
        return None
    # Mode and owner, too: a chmod that makes a file acceptable is a change.
    return info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode, info.st_uid

"""A token that could not be put in place of the one that it replaces, kept beside it.

Jira drops the old token as it issues the new one.  So room for the new one is reserved before
Jira is asked, and where it cannot take the old one's place (a full disk, a folder that has become
read-only) it is written into that room.  It counts from then on, for every sidecar.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files.private import (
    CREATE,
    fill,
    read_private,
    refuse_unless_private,
    storing,
    sync_folder,
)

_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Successor:
    """`.token.json.new` beside the real `token.json`, whatever links lead to that."""

    def __init__(self, token_path: Path) -> None:
        real = Path(os.path.realpath(token_path))
        self.path = real.with_name(f".{real.name}.new")

    def read(self) -> bytes | None:
        """What it holds, which may be no token; None where it is missing or not ours alone."""
        try:
            return read_private(self.path, "new token")
        except (FileNotFoundError, ConfigError):
            return None

    def reserve(self, room: int) -> None:
        """Hold so many bytes on the disk; StoreError where there are none."""
        with storing(self.path):
            self.path.unlink(missing_ok=True)
            self._fill(os.open(self.path, CREATE, 0o600), bytes(room))

    def keep(self, data: bytes) -> None:
        """Write a token into the room that was reserved, and to the disk; StoreError."""
        with storing(self.path):
            self._fill(self._open(), data)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_folder(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Remove it; one that stays does no harm, for it names the token that it replaces."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _open(self) -> int:
        """Open the room that was reserved, or a new file where there is none that is ours alone."""
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.path, _OPEN)
            try:
                refuse_unless_private(os.fstat(descriptor), self.path, "new token")
            except ConfigError:
                os.close(descriptor)
                self.path.unlink()
            else:
                return descriptor
        return os.open(self.path, CREATE, 0o600)

    @staticmethod
    def _fill(descriptor: int, data: bytes) -> None:
        try:
            fill(descriptor, data)
        finally:
            os.close(descriptor)  # may fail too: NFS reports a full disk here


def digest(token: Secret) -> str:
    """What names a token on disk without telling it."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()

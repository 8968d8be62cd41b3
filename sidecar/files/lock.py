"""The lock that lets one process at a time store a token, by whatever path each reaches it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sidecar.errors import DESCRIPTORS_HINT, StoreError, is_out_of_descriptors

_RETRY_SECONDS = 0.05  # a renewal takes one round trip to Jira


class Lock:
    """A file that stays, beside the real token file; whoever has it open and locked may store.

    StoreError where it cannot be opened: another user's, who ran the sidecar once, or a folder
    that we cannot write to.
    """

    def __init__(self, token_path: Path) -> None:
        real = Path(os.path.realpath(token_path))
        self.path = real.with_name(f".{real.name}.lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            message = f"{self.path}: cannot be written: {error.strerror}"
            hint = DESCRIPTORS_HINT if is_out_of_descriptors(error) else self._hint()
            raise StoreError(message, hint) from None

    def take(self) -> bool:
        """Take the lock if it is free; StoreError where the file system has no locks."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            hint = "keep the token on a file system that knows flock, see token.path"
            raise StoreError(f"{self.path}: cannot be locked: {error.strerror}", hint) from None
        return True

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._descriptor)

    def _hint(self) -> str:
        try:
            owner = os.lstat(self.path).st_uid
        except OSError:
            owner = os.geteuid()
        if owner != os.geteuid():
            file = shlex.quote(str(self.path))
            return f"it is another user's (uid {owner}): chown {os.geteuid()} {file}, or remove it"
        return f"{self.path.parent} must be a folder that the sidecar's user can write to"


@asynccontextmanager
async def locked(token_path: Path, patience: float) -> AsyncIterator[None]:
    """Hold the lock; StoreError where another has held it for `patience` seconds."""
    lock = Lock(token_path)
    try:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while not lock.take():
            if loop.time() > deadline:
                message = f"{lock.path}: another process has held the lock for {patience:g} s"
                raise StoreError(message, "stop the other sidecar that uses this token")
            await asyncio.sleep(_RETRY_SECONDS)
        yield
    finally:
        lock.close()


@contextmanager
def locked_if_free(token_path: Path) -> Iterator[bool]:
    """Hold the lock if nobody else does; whether it is ours."""
    lock = Lock(token_path)
    try:
        yield lock.take()
    finally:
        lock.close()

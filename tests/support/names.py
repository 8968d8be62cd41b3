"""A name server that never answers: glibc looks into a file of ours before it asks one."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.waiting import until

NAME = "jira"
"""A host's name without a dot: only for those does glibc look into HOSTALIASES."""


class MuteNames:
    """Looking a name up opens a FIFO, which holds its thread up like a name server that is mute."""

    def __init__(self, folder: Path) -> None:
        self._fifo = folder / "hostaliases"
        os.mkfifo(self._fifo)
        self.environ = {"HOSTALIASES": str(self._fifo)}

    async def asked(self) -> None:
        """Wait until somebody looks a name up; they wait for an answer from then on."""
        await until(self._opened)

    def _opened(self) -> bool:
        try:
            self._writing = os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # ENXIO: nobody has it open to read
            return False
        return True

    def close(self) -> None:
        """Let those who wait go on."""
        os.close(self._writing)

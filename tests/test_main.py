"""`python -m sidecar` is the command."""

from __future__ import annotations

from sidecar import __version__
from tests.support.processes import Shell, shell

__all__ = ["shell"]


async def test_the_package_runs_as_the_command(shell: Shell) -> None:
    done = await shell.run("--version")
    assert (done.code, done.out) == (0, f"sidecar {__version__}\n")

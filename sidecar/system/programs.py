"""Programs of systemd's that are run, and what comes of them."""

from __future__ import annotations

import subprocess

_PATIENCE = 100  # seconds; a service has 90 to start (DefaultTimeoutStartSec)


def run(*words: str, text: str = "") -> tuple[str, str]:
    """Run a program with `text` as its input: what it printed, and "" or why it failed."""
    try:
        done = subprocess.run(  # noqa: S603 — words of ours, and of root's own files
            words, check=False, capture_output=True, timeout=_PATIENCE, input=text.encode()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    said = done.stderr.decode("utf-8", "replace").strip()
    problem = said or f"{words[0]} exited with {done.returncode}" if done.returncode else ""
    return done.stdout.decode("utf-8", "surrogateescape"), problem

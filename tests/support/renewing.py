"""Renews tokens in processes that kill themselves, each one step later than the one before.

Run as a program with a JSON list of configurations; tells for each the step at which its process
was killed, until one is "done".  A step is a system call on a file, half a write, or the moment
before or after Jira's answer.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from sidecar.account.authorize import Authorizer
from sidecar.account.identity import Identity
from sidecar.account.renewal import Renewal
from sidecar.config.load import load
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Answer, Upstream, UpstreamRequest

SYSTEM_CALLS = ("mkdir", "open", "fsync", "replace", "unlink", "close")


class Fuse:
    """Kills the process at its n-th step, having told which that is."""

    def __init__(self, number: int, told: int) -> None:
        self._left = number
        self._told = told
        self._write = os.write
        self._is_first_half = False

    def step(self, name: str) -> None:
        if self._left == 0:
            self._write(self._told, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1

    def lay(self) -> None:
        """Make every system call from here on a step."""
        for name in SYSTEM_CALLS:
            setattr(os, name, self._before(name, getattr(os, name)))
        setattr(os, "write", self._half_a_write)  # noqa: B010 — mypy knows another signature
        fcntl.flock = self._before("flock", fcntl.flock)
        fetch = Upstream.fetch

        async def stepping_fetch(upstream: Upstream, request: UpstreamRequest) -> Answer:
            self.step("ask Jira")
            answer = await fetch(upstream, request)
            self.step("Jira has answered")
            return answer

        Upstream.fetch = stepping_fetch  # type: ignore[method-assign,assignment]

    def _before(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            self.step(name)
            return call(*arguments, **options)

        return stepping

    def _half_a_write(self, descriptor: int, data: bytes, /) -> int:
        """Write half of a file's content, and the rest when asked again."""
        self.step("write")
        self._is_first_half = not self._is_first_half
        return self._write(descriptor, data[: len(data) // 2] if self._is_first_half else data)


async def renew(values: dict[str, object], fuse: Fuse) -> None:
    settings = load(None, {}, values)
    identity = Identity(settings)
    upstream = Upstream(settings)
    renewal = Renewal(identity, Authorizer(identity, upstream, 60), Troubles())
    token = identity.token.current()
    fuse.lay()
    assert await renewal.replace(token)
    fuse.step("done")


def run(number: int, values: dict[str, object]) -> str:
    """Renew in a process of its own; the step at which it was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            asyncio.run(renew(values, Fuse(number, writing)))
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        step = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), f"step {number} failed"
    return step


def main() -> None:
    for number, values in enumerate(json.loads(sys.stdin.read())):
        step = run(number, values)
        sys.stdout.write(step + "\n")
        if step == "done":
            break


if __name__ == "__main__":
    main()

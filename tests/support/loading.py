"""Requests at a steady pace, for what has to be seen while a sidecar is at work."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from sidecar.credentials import Secret
from sidecar.sandbox import Sandbox
from sidecar.sandbox.provider import Grant
from tests.conftest import Running, store_token
from tests.support.waiting import PATIENCE
from tests.support.wire import Response

PACE = 0.02
"""Seconds between two requests: 50 a second."""
MYSELF = "/rest/api/2/myself"


class Load:
    """Sends GETs while the context lasts, none waiting for another; all are answered at its end."""

    def __init__(self, sidecar: Running, target: str = MYSELF) -> None:
        self.answers: list[Response | None] = []
        """In the order in which they came; None for one that was cut short."""
        self.sent = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._sidecar = sidecar
        self._target = target
        self._answered = asyncio.Condition()
        self._stopping = asyncio.Event()
        self._sender: asyncio.Task[None]

    async def __aenter__(self) -> Load:
        self._sender = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await self._sender

    @property
    def statuses(self) -> Counter[int]:
        """How often each status came; 0 stands for an answer cut short."""
        return Counter(answer.status if answer else 0 for answer in self.answers)

    @property
    def problems(self) -> set[str]:
        """Every Sidecar-Problem; an answer has at most one."""
        fields = [answer.all("Sidecar-Problem") for answer in self.answers if answer]
        assert max(map(len, fields), default=0) <= 1
        return {field for (field,) in filter(None, fields)}

    @property
    def is_flawless(self) -> bool:
        """Whether no client has seen that anything was wrong."""
        return self.statuses == {200: self.sent} and not self.problems

    async def more(self, number: int) -> None:
        """Wait until so many more requests are answered."""
        wanted = len(self.answers) + number
        async with asyncio.timeout(PATIENCE), self._answered:
            await self._answered.wait_for(lambda: len(self.answers) >= wanted)

    async def those_in_flight(self) -> None:
        """Wait until all that were sent by now are answered, and at least one is."""
        await self.more(1)
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def _send(self) -> None:
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                task = group.create_task(self._get())
                self._in_flight.add(task)
                task.add_done_callback(self._in_flight.discard)
                self.sent += 1
                await asyncio.sleep(PACE)

    async def _get(self) -> None:
        answer: Response | None = None
        try:
            answer = await self._sidecar.get(self._target)
        except (ConnectionError, asyncio.IncompleteReadError):
            answer = None
        async with self._answered:
            self.answers.append(answer)
            self._answered.notify_all()


def renewals(sandbox: Sandbox) -> int:
    """How many requests for a renewal the sandbox has seen."""
    return sum(request.target.endswith("/oauth/access-token") for request in sandbox.log)


def store_grant(sidecar: Running, grant: Grant, **facts: Any) -> None:
    """Store a token that can be renewed, as `sidecar auth` would."""
    facts = {"session_handle": Secret(grant.session_handle), **facts}
    store_token(sidecar.config, grant.token, **facts)

"""A client's request as it comes in, and the work on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from sidecar.downstream.malformed import body_refusal
from sidecar.errors import RequestRefused

if TYPE_CHECKING:
    from sidecar.downstream.connection import ClientConnection


class Request:
    """A request as the parser read it, with its body as it arrives."""

    __slots__ = ("_is_broken_off", "body", "connection", "is_answered", "message", "work")

    def __init__(
        self,
        message: RawRequestMessage,
        body: StreamReader,
        connection: ClientConnection,
    ) -> None:
        self.message = message
        self.body = body
        self.connection = connection
        self.is_answered = False
        """Whether a final answer to it has begun."""
        self.work: asyncio.Task[Any] | None = None
        """The task that makes the answer, while it does."""
        self._is_broken_off = False

    def break_off(self) -> None:
        """Its body will never be whole: cancel whoever works on it, unless its answer has begun.

        Whatever that work waits for, what was sent to Jira must end now.  Work that has just had
        the parser look at more of the body finds out by itself.
        """
        work = self.work
        if work is not None and work is not asyncio.current_task() and not self.is_answered:
            self._is_broken_off = True
            work.cancel()

    def broken_off(self) -> RequestRefused | None:
        """What a CancelledError means: a body that failed, or None where it is a cancellation."""
        error = self.body.exception()
        if not self._is_broken_off or error is None or self.work is None:
            return None
        return None if self.work.uncancel() else body_refusal(error)

    def _cancel(self, error: BaseException) -> None:
        """Called by aiohttp when the connection is gone."""
        self.body.set_exception(error)

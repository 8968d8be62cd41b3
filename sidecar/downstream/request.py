"""A client's request as it comes in, and the work on it."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, Protocol

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from sidecar.errors import RequestRefused
from sidecar.http.fields import Received


class Head(NamedTuple):
    """A request's line and fields."""

    method: str
    path: str
    """The target as it was sent."""
    minor_version: int
    """HTTP/1.0 or HTTP/1.1."""
    raw_headers: Received
    should_close: bool
    """Whether the client wants no other request answered on its connection."""
    chunked: bool


UNREAD = Head("UNREAD", "/", 0, Received(()), should_close=True, chunked=False)
"""In place of a request that could not be read, or was not waited for."""

CLIENT_LEFT = "The client left before its request's body was complete."


class Connection(Protocol):
    """What a request needs of the connection that it came on."""

    client: str
    """The client's address, as the log has it."""
    process: int
    """The client's process on a unix socket; 0 where it is unknown."""

    @property
    def scheme(self) -> str:
        """What the client speaks: http or https."""

    @property
    def may_continue(self) -> bool:
        """Whether another request can follow the one being answered."""

    def send(self, data: bytes) -> None:
        """Write bytes of an answer; raises ConnectionResetError where the client is gone."""

    def ask_for_body(self) -> None:
        """Send the interim answer that a client waits for before it sends a body."""

    async def drain(self, seconds: float) -> None:
        """Wait until the client has read enough; TimeoutError where it reads nothing so long."""

    async def answered(self, *, keep_alive: bool) -> None:
        """Follow up an answer: with the next request, once this was read, or with the end."""

    @property
    def can_reset(self) -> bool:
        """Whether there is an end that nobody takes for one in order."""

    def reset(self) -> None:
        """End the connection so that the client cannot take its answer for complete."""

    async def wait_for_end(self, seconds: float) -> None:
        """Wait until the client leaves, but no longer than that."""


class Request:
    """A request as the parser read it, with its body as it arrives."""

    __slots__ = (
        "_failure",
        "_is_broken_off",
        "body",
        "connection",
        "is_answered",
        "message",
        "work",
    )

    def __init__(self, message: Head, body: StreamReader, connection: Connection) -> None:
        self.message = message
        self.body = body
        self.connection = connection
        self.is_answered = False
        """Whether a final answer to it has begun."""
        self.work: asyncio.Task[Any] | None = None
        """The task that makes the answer, while it does."""
        self._failure = ""
        self._is_broken_off = False

    @classmethod
    def unread(cls, connection: Connection) -> Request:
        """What stands for a request of which nothing is known, so that it can be answered."""
        return cls(UNREAD, EMPTY_PAYLOAD, connection)

    @property
    def client(self) -> str:
        """The client's address, as the log has it."""
        return self.connection.client

    def fail(self, why: str) -> None:
        """Its body will never be whole: have its reader, who may wait for more of it, find out."""
        self._failure = why
        if not self.body.is_eof():
            self.body.feed_eof()

    def check_body(self) -> None:
        """RequestRefused where the body will never be whole.

        An error that is raised refers to every function that it passes.  If one of them, or the
        request, kept it, all that they know would wait for the garbage collector.
        """
        if self._failure:
            raise RequestRefused(400, self._failure)

    def break_off(self) -> None:
        """Cancel whoever works on it, unless its answer has begun: its body has failed.

        Whatever that work waits for, what was sent to Jira must end now.  Work that has just had
        more of the body read finds out by itself.
        """
        work = self.work
        if work is not None and work is not asyncio.current_task() and not self.is_answered:
            self._is_broken_off = True
            work.cancel()

    def broken_off(self) -> RequestRefused | None:
        """What a CancelledError means: a body that failed, or None where it is a cancellation."""
        if not self._is_broken_off or self.work is None:
            return None
        return None if self.work.uncancel() else RequestRefused(400, self._failure)

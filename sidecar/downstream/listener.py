"""All connections of clients at one of our addresses, and how they come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from sidecar.downstream import connection
from sidecar.downstream.connection import ClientConnection
from sidecar.downstream.request import Request
from sidecar.errors import RequestRefused

if TYPE_CHECKING:
    from sidecar.downstream.replies import Reply

MAX_FIELDS = 128
"""Fields of a request's head; more are 431 (see malformed.py)."""


class Listener(web.Server):
    """Makes a ClientConnection of each connection that arrives at one of our addresses."""

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Reply]],
        refuse: Callable[[RequestRefused], Reply],
        *,
        head_bytes: int,
        scheme: str = "http",
    ) -> None:
        super().__init__(
            cast(Any, handler),
            handler_cancellation=True,
            keepalive_timeout=connection.IDLE_SECONDS,
            max_line_size=head_bytes,
            max_field_size=head_bytes,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
            access_log=None,
        )
        self.handler = handler
        self.refuse = refuse
        self.head_bytes = head_bytes
        self.scheme = scheme
        self.is_cutting = False
        """Whether connections are ended from here, whatever is under way."""
        self._is_draining = False
        self._arriving: WeakSet[RequestHandler] = WeakSet()  # accepted, perhaps in a TLS handshake

    def __call__(self) -> ClientConnection:
        accepted = ClientConnection(self, self._loop, self._kwargs)
        self._arriving.add(accepted)
        return accepted

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._arriving.discard(handler)
        if self._is_draining:
            cast(ClientConnection, handler).retire()

    async def drain(self, seconds: float) -> None:
        """End every connection once its request is answered; after `seconds` cut off the rest."""
        self._is_draining = True
        deadline = self._loop.time() + seconds
        give_up_arriving = self._loop.time() + connection.FIRST_REQUEST_SECONDS
        for handler in self.connections:
            cast(ClientConnection, handler).retire()
        try:
            while (now := self._loop.time()) < deadline:
                if busy := self._busy():
                    await asyncio.wait(busy, timeout=deadline - now)
                elif self._arriving and now < give_up_arriving:
                    await asyncio.sleep(0.01)
                else:
                    return
        finally:
            self.is_cutting = True
        self.cut()
        if busy := self._busy():
            await asyncio.wait(busy, timeout=connection.LINGER_SECONDS)

    def cut(self) -> None:
        """End every connection at once, so that no answer under way is taken for whole."""
        self.is_cutting = True
        for handler in self.connections:
            cast(ClientConnection, handler).reset()

    def _busy(self) -> list[asyncio.Task[None]]:
        tasks = [handler._task_handler for handler in self.connections]
        return [task for task in tasks if task is not None and not task.done()]

"""aiohttp's server, which ends what arrives after its end."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


class Connections(web.Server):
    """asyncio may hand over a connection that it has accepted after its listener was closed."""

    _is_over = False

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Note a connection, or end it where nobody will do so any more."""
        super().connection_made(handler, transport)
        if self._is_over:
            transport.abort()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 — theirs
        """End all connections, answers under way included, after so many seconds."""
        self._is_over = True
        await super().shutdown(timeout)

"""All connections of clients at one of our addresses, and how they come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast
from weakref import WeakSet

from aiohttp import web

from sidecar.downstream import timers
from sidecar.downstream.connection import ClientConnection
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.downstream.timers import IdleConnections, SlowHeads
from sidecar.errors import DESCRIPTORS_HINT, Overloaded, SidecarError
from sidecar.net.descriptors import MOST_ALLOWED, MOST_CLIENTS

KEPT_FREE = 16
"""Descriptors that no client gets: for files that must be read, and for whoever is told so."""
MOST_TURNED_AWAY = 8


class Listener(web.Server):
    """Makes a ClientConnection of each connection that arrives at one of our addresses."""

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[Reply]],
        refuse: Callable[[SidecarError, str], Reply],
        *,
        head_bytes: int,
        scheme: str = "http",
        most_clients: int = MOST_CLIENTS,
        descriptors: int = MOST_ALLOWED,
    ) -> None:
        """`descriptors` is how many the process may open: before they run out, room is made."""
        super().__init__(cast(Any, handler))  # which aiohttp's own connections would call
        self.handler = handler
        self.refuse = refuse
        self.head_bytes = head_bytes
        self.scheme = scheme
        self.most_clients = most_clients
        """Open connections, but for a few that are told so."""
        self._first_kept_free = descriptors - KEPT_FREE
        self.is_cutting = False
        """Whether connections are ended from here, whatever is under way."""
        self.idle = IdleConnections()
        """Those on which no request is."""
        self.slow_heads = SlowHeads()
        self._is_draining = False
        self._arriving: WeakSet[ClientConnection] = WeakSet()  # accepted, perhaps in a handshake
        self._turned_away: WeakSet[ClientConnection] = WeakSet()
        self._open: dict[ClientConnection, None] = {}  # in the order in which they came

    def __call__(self) -> ClientConnection:  # type: ignore[override]
        """Make a connection; called by asyncio for each that is accepted."""
        accepted = ClientConnection(self)
        self._arriving.add(accepted)
        return accepted

    @property
    def connections(self) -> list[ClientConnection]:  # type: ignore[override]
        """Those that are open, or still worked for."""
        return list(self._open)

    def opened(self, connection: ClientConnection) -> None:
        """Note that a connection is open, its TLS handshake done."""
        self._arriving.discard(connection)
        self._open[connection] = None
        if self._is_draining:
            self._retire(connection)
        elif self._is_crowded_by(connection) and not (
            self.idle.close_longest() or self.slow_heads.close_longest()
        ):
            self._turn_away(connection)

    def _is_crowded_by(self, newest: ClientConnection) -> bool:
        """Whether there are too many connections, or hardly any descriptors left for others.

        A new descriptor gets the lowest number that is free.
        """
        assert newest.transport is not None
        number = newest.transport.get_extra_info("socket").fileno()
        return len(self._open) > self.most_clients or number >= self._first_kept_free

    def _turn_away(self, newest: ClientConnection) -> None:
        """Tell a client that there is no room; where many wait for that to be read, just leave."""
        if len(self._turned_away) >= MOST_TURNED_AWAY:
            newest.reset()
            return
        self._turned_away.add(newest)
        newest.refuse(
            Overloaded(
                "As many clients are connected as may be, and none of them is idle.",
                f"limits.clients sets the limit, or else the descriptors: {DESCRIPTORS_HINT}",
            )
        )

    def over(self, connection: ClientConnection) -> None:
        """Forget a connection that is lost, and that nothing works for any more."""
        self._open.pop(connection, None)

    async def drain(self, seconds: float) -> None:
        """End every connection once its request is answered; after `seconds` cut off the rest."""
        self._is_draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        give_up_arriving = loop.time() + timers.FIRST_REQUEST_SECONDS
        for client in self.connections:
            self._retire(client)
        try:
            while (now := loop.time()) < deadline:
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
            await asyncio.wait(busy, timeout=timers.LINGER_SECONDS)

    def cut(self) -> None:
        """End every connection at once, so that no answer under way is taken for whole."""
        self.is_cutting = True
        for client in self.connections:
            client.reset()

    def _retire(self, client: ClientConnection) -> None:
        """Have a connection end; one that awaits its first request, or the rest of it, may wait."""
        client.retire()
        if client.state.awaits_request:
            loop = asyncio.get_running_loop()
            # After a moment of load the request may be here, and just not yet read.
            late = partial(loop.call_later, 0.01, _close_unused, client)
            loop.call_later(timers.FIRST_REQUEST_SECONDS, late)

    def _busy(self) -> list[asyncio.Task[None]]:
        return [client.task for client in self._open if client.task is not None]


def _close_unused(client: ClientConnection) -> None:
    if client.state.awaits_request:
        client.close()

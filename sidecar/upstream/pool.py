"""The way to Jira: requests written as bytes, on connections that are kept and renewed.

aiohttp parses what Jira answers.  Its client is left out: that re-encodes targets, merges fields
that differ in letter case and deletes bytes that aren't UTF-8.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from time import perf_counter

from sidecar.config.load import Config
from sidecar.errors import ConnectionLost, ProtocolError, UpstreamError
from sidecar.http.fields import Fields, serialize
from sidecar.net.tls import watched_client_context
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.dialling import Dialler
from sidecar.upstream.exchange import UpstreamRequest, UpstreamResponse
from sidecar.upstream.failures import Failures
from sidecar.upstream.incoming import Terms
from sidecar.upstream.resting import KEEP_ALIVE, Resting

__all__ = ["Answer", "Upstream", "UpstreamRequest", "UpstreamResponse"]

log = logging.getLogger(__name__)

MOST_AGE = 60.0
"""Seconds that a connection is old, at most, when it is used again: as many as Jira's name, if it
moves to another machine, is known by its old address."""
_RENEWED_FROM = 30.0
"""Seconds from which on a connection is renewed.  At random, so that not all are at once; early
enough, for a connection that rested for KEEP_ALIVE then is used again before MOST_AGE."""
_TRY_AGAIN = 5.0
_LOOK_SECONDS = 1.0
"""How often it is looked whether the files of TLS have changed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response in memory, for the sidecar's own requests."""

    status: int
    fields: Fields = field(repr=False)
    body: bytes = field(repr=False)


class Upstream:
    """The way to Jira.  Create it inside a running event loop, close it with `close()`.

    Neither proxy variables nor ~/.netrc are looked at, and no cookie is kept.
    """

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for certificates that cannot be used."""
        base = config.jira.base_url
        self._loop = asyncio.get_running_loop()
        failures = Failures(config)
        self._tls = watched_client_context(config.jira) if base.scheme == "https" else None
        self._dialler = Dialler(config, failures, self._tls.latest if self._tls else None)
        self._absolute_form = b""
        self._proxy_fields: Fields = []
        if self._dialler.through_proxy and base.scheme == "http":
            self._absolute_form = base.origin.encode()
            if login := self._dialler.peer.login:
                self._proxy_fields = [(b"Proxy-Authorization", login.encode())]
        self._terms = Terms(
            where=base.authority,
            response_seconds=config.timeouts.response,
            idle_seconds=config.timeouts.idle,
            head_bytes=config.limits.head_bytes,
            asks_proxy=bool(self._absolute_form),
            failures=failures,
        )
        self._resting = Resting()
        self._cannot_renew = False
        self._look_at_files = 0.0  # when next, by the loop's clock
        self._is_closed = False
        self.connections: set[UpstreamConnection] = set()
        """Those that are open, resting or not."""
        self.renewing: dict[UpstreamConnection, asyncio.Task[None]] = {}
        """Those in whose place another is being made."""

    async def close(self) -> None:
        """End every connection, and the exchanges on them."""
        self._is_closed = True
        self._resting.close()
        self._dialler.close()
        for task in self.renewing.values():
            task.cancel()
        for connection in list(self.connections):
            connection.abort()
        while self.connections:  # noqa: ASYNC110 - they end in a turn or two of the loop
            await asyncio.sleep(0)

    async def send(self, request: UpstreamRequest, *, fresh: bool = False) -> UpstreamResponse:
        """Send one request; return when the head of its response is there.

        On a `fresh` connection, if asked for: one that has rested may have ended unnoticed.
        Raises an UpstreamError by its kind, or whatever the body's iterator raised; in both
        cases the connection is gone.
        """
        head = self._head(request)
        started = perf_counter()
        rested = None if fresh else self._take()
        connection = rested or await self._dial()
        response = UpstreamResponse(
            self._loop, self._terms, connection, perf_counter() - started, self._give_back
        )
        try:
            await response.exchange(head, request)
        except ConnectionLost:
            if rested is not None:  # whatever ended it has ended those that rest, too
                self._resting.close()
            raise
        return response

    async def fetch(self, request: UpstreamRequest, *, limit: int = 1 << 20) -> Answer:
        """Send a request of our own and read its whole response, at most `limit` bytes.

        It takes a fresh connection: a renewal that is lost on one that had ended unnoticed cannot
        be told from one that Jira has acted on.
        """
        response = await self.send(request, fresh=True)
        try:
            pieces = []
            size = 0
            while piece := await response.read():
                pieces.append(piece)
                size += len(piece)
                if size > limit:
                    raise ProtocolError(
                        f"{self._terms.where} answered with more than {limit} bytes."
                    )
            return Answer(response.status, response.fields, b"".join(pieces))
        finally:
            response.close()

    def _head(self, request: UpstreamRequest) -> bytes:
        """The request's head on the wire; absolute-form where an HTTP proxy is asked."""
        start = b"%b %b%b HTTP/1.1" % (
            request.method.encode("ascii"),
            self._absolute_form,
            request.target.encode("ascii"),
        )
        return serialize(start, [*request.fields, *self._proxy_fields])

    def _take(self) -> UpstreamConnection | None:
        """A connection that has rested, unless it was made with certificates of the past."""
        now = self._loop.time()
        if self._tls is not None and now >= self._look_at_files:
            self._look_at_files = now + _LOOK_SECONDS
            if self._tls.refresh():
                self._resting.close()
        return self._resting.take()

    async def _dial(self) -> UpstreamConnection:
        if self._is_closed:
            raise ConnectionLost("The connections to Jira are closed.", "send the request again")
        connection = await self._dialler.dial(
            lambda: UpstreamConnection(self._loop, self._terms, self.connections.discard)
        )
        lifetime = random.uniform(_RENEWED_FROM, MOST_AGE - KEEP_ALIVE)  # noqa: S311
        connection.renew_at = connection.born + lifetime
        if connection.transport is not None:
            self.connections.add(connection)
        return connection

    def _give_back(self, connection: UpstreamConnection, kept_for: float | None) -> None:
        """Keep a connection, and have another made in its place if it is getting old."""
        now = self._loop.time()
        is_too_old = now - connection.born > MOST_AGE and not self._cannot_renew
        if self._is_closed or connection.is_retired or is_too_old:
            connection.close()
            return
        self._resting.put(connection, kept_for)
        if now >= connection.renew_at and connection not in self.renewing:
            task = self._loop.create_task(self._renew(connection, kept_for))
            self.renewing[connection] = task

    async def _renew(self, old: UpstreamConnection, kept_for: float | None) -> None:
        """Make a connection, and only then end the old one: there may be no way to Jira now."""
        try:
            new = await self._dial()
        except UpstreamError as error:
            log.debug("a connection to Jira is kept, for it cannot be renewed: %s", error)
            self._cannot_renew = True
            old.renew_at = self._loop.time() + _TRY_AGAIN
        else:
            self._cannot_renew = False
            self._resting.put(new, kept_for)
            old.is_retired = True
            if self._resting.remove(old):
                old.close()
        finally:
            del self.renewing[old]

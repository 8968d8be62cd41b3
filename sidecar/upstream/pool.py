"""The connections to Jira: one pool, requests written as bytes, every foreign exception mapped.

aiohttp's connector does what an HTTP client needs a library for: pooling, name resolution, happy
eyeballs, TLS, CONNECT through a proxy.  Its ClientSession is left out: that re-encodes targets,
merges fields that differ in letter case and deletes bytes that aren't UTF-8.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import NEEDS_CLEANUP_CLOSED, Connection
from yarl import URL

from sidecar.config.load import Config
from sidecar.errors import ProtocolError
from sidecar.http.fields import Fields, serialize
from sidecar.net import tls
from sidecar.upstream.connection import Terms, UpstreamConnection
from sidecar.upstream.exchange import UpstreamRequest, UpstreamResponse
from sidecar.upstream.failures import FOREIGN, connecting_failed

__all__ = ["Answer", "Upstream", "UpstreamRequest", "UpstreamResponse"]

KEEP_ALIVE = 15.0
"""Seconds that an idle connection is kept: less than Tomcat's keepAliveTimeout of 20."""


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
        jira = config.jira
        base = jira.base_url
        self._loop = asyncio.get_running_loop()
        self._connect_timeout = aiohttp.ClientTimeout(connect=config.timeouts.connect)
        context: ssl.SSLContext | bool = True
        if base.scheme == "https":
            context = tls.client_context(jira.ca_file, jira.client_certificate, jira.client_key)
        proxy, login = _proxy(jira.proxy.reveal()) if jira.proxy else (None, None)
        # Never sent: it tells the connector where to connect to.
        self._destination = ClientRequest(
            "GET",
            URL(base.origin),
            loop=self._loop,
            ssl=context,
            proxy=proxy,
            # Unlike proxy_auth this leaves no password in anybody's repr.  aiohttp adds a Host
            # to it and pools by it: without one here the first connection is never found again.
            proxy_headers={"Host": base.authority, "Proxy-Authorization": login} if login else None,
        )
        self._absolute_form = b""
        self._proxy_fields: Fields = []
        if proxy is not None and base.scheme == "http":
            self._absolute_form = base.origin.encode()
            if login is not None:
                self._proxy_fields = [(b"Proxy-Authorization", login.encode())]
        self._terms = Terms(
            where=base.authority,
            response_seconds=config.timeouts.response,
            idle_seconds=config.timeouts.idle,
            head_bytes=config.limits.head_bytes,
            asks_proxy=bool(self._absolute_form),
        )
        self._connector = _Connector(self._loop, self._terms)

    async def close(self) -> None:
        """Close every connection."""
        await self._connector.close()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send one request; return when the head of its response is there.

        Raises an UpstreamError by its kind, or whatever the body's iterator raised; in both
        cases the connection is gone.
        """
        head = self._head(request)
        started = perf_counter()
        connection = await self._connect()
        response = UpstreamResponse(self._terms, connection, perf_counter() - started)
        await response.exchange(head, request)
        return response

    async def fetch(self, request: UpstreamRequest, *, limit: int = 1 << 20) -> Answer:
        """Send a request of our own and read its whole response, at most `limit` bytes."""
        response = await self.send(request)
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

    async def _connect(self) -> Connection:
        while True:
            try:
                connection = await self._connector.connect(
                    self._destination, [], self._connect_timeout
                )
            except FOREIGN as error:
                raise connecting_failed(
                    error, self._terms.where, self._connect_timeout.connect or 0
                ) from error
            if cast(UpstreamConnection, connection.protocol).is_usable:
                return connection
            connection.close()


class _Connector(aiohttp.TCPConnector):
    """A pool of UpstreamConnections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, terms: Terms) -> None:
        super().__init__(
            limit=0,  # the proxy has slots of its own
            keepalive_timeout=KEEP_ALIVE,
            enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,
        )
        self._factory = cast("partial[ResponseHandler]", partial(UpstreamConnection, loop, terms))


def _proxy(url: str) -> tuple[URL, str | None]:
    """The proxy's URL without user and password, and these as a Basic credential (RFC 7617)."""
    proxy = URL(url)
    if proxy.user is None:
        return proxy, None
    login = f"{proxy.user}:{proxy.password or ''}".encode()
    return proxy.with_user(None), f"Basic {b64encode(login).decode()}"

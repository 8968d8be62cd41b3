"""The running sidecar: listeners, start-up checks, signals, draining."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, MutableMapping
from contextlib import suppress

from aiohttp import http_parser

from sidecar import tls
from sidecar.access import Access
from sidecar.authorize import Authorizer
from sidecar.config import Config
from sidecar.connection import ClientConnection, Listener
from sidecar.errors import ConfigError, SidecarError
from sidecar.healing import Healer
from sidecar.identity import Identity
from sidecar.listeners import BACKLOG, Listening, open_sockets
from sidecar.local import LocalPages
from sidecar.logs import log_request
from sidecar.private_files import read_secret
from sidecar.proxy import Proxy
from sidecar.troubles import Troubles
from sidecar.upstream import Upstream

log = logging.getLogger("sidecar.server")


class Server:
    """Listens, and hands every request to the proxy."""

    def __init__(self, config: Config, environ: MutableMapping[str, str]) -> None:
        """Check what can be checked before listening; raises ConfigError."""
        require_c_parser()
        self._config = config
        self._environ = environ
        self.identity = Identity(config)
        self._tls = _tls_context(config)
        self._access = _access(config)
        self._listening: list[Listening] = []
        self._servers: list[asyncio.Server] = []
        self._listener: Listener
        self._upstream: Upstream
        self._healer: Healer
        self._pages: LocalPages

    async def start(self) -> list[str]:
        """Listen; return the URL of each listener.  Raises AddressInUse or ConfigError."""
        config = self._config
        self._listening = open_sockets(
            config.listen.addresses, config.listen.unix_mode, self._environ
        )
        self._upstream = Upstream(config)
        troubles = Troubles()
        authorizer = Authorizer(
            config.jira, self.identity, self._upstream, fingerprint=self.identity.fingerprint
        )
        self._healer = Healer(self.identity, authorizer, troubles)
        self._pages = LocalPages(str(config.jira.base_url), self.identity, troubles, dict)
        proxy = Proxy(
            config,
            identity=self.identity,
            upstream=self._upstream,
            access=self._access,
            healer=self._healer,
            troubles=troubles,
            local=self._pages.answer,
            finished=log_request,
        )
        scheme = "https" if self._tls else "http"
        self._listener = Listener(
            proxy.handle, proxy.refuse, head_bytes=config.limits.head_bytes, scheme=scheme
        )
        for listening in self._listening:
            self._servers.append(await self._serve(listening.socket))
        return [listening.url(scheme) for listening in self._listening]

    async def stop(self, seconds: float) -> None:
        """Take no more connections, let requests in flight finish for `seconds`, then close."""
        self._pages.stopping = True
        for server in self._servers:
            server.close()
        for listening in self._listening:
            listening.remove()
        connections = [c for c in self._listener.connections if isinstance(c, ClientConnection)]
        for connection in connections:
            connection.retire()
        await self._listener.shutdown(seconds)
        await self._healer.close()
        await self._upstream.close()

    async def _serve(self, sock: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(
                self._listener, sock=sock, ssl=self._tls, backlog=BACKLOG
            )
        return await loop.create_server(self._listener, sock=sock, ssl=self._tls, backlog=BACKLOG)


async def serve(
    config: Config, environ: MutableMapping[str, str], announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once."""
    server = Server(config, environ)
    stop = asyncio.Event()
    at_once = asyncio.Event()

    def on_signal() -> None:
        (at_once if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    for url in await server.start():
        announce(f"listening on {url}")
    for warning in (*config.warnings(), *server.identity.warnings()):
        log.warning("%s", warning)
    with suppress(SidecarError):
        server.identity.token()
    await stop.wait()
    log.info("stopping: finishing what is in flight, for at most %g s", config.timeouts.shutdown)
    draining = asyncio.create_task(server.stop(config.timeouts.shutdown))
    ended = asyncio.create_task(at_once.wait())
    await asyncio.wait({draining, ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, ended):
        task.cancel()
    await asyncio.gather(draining, ended, return_exceptions=True)


def require_c_parser() -> None:
    """Refuse to serve with aiohttp's pure-Python parser: it lets malformed requests through."""
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise ConfigError(
            "aiohttp runs without its C parser, which lets malformed requests through",
            "unset AIOHTTP_NO_EXTENSIONS, and install aiohttp from a wheel or with a compiler",
        )


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if config.listen.tls_certificate is None:
        return None
    return tls.server_context(config.listen.tls_certificate, config.listen.tls_key)


def _access(config: Config) -> Access:
    key = None
    if config.access.key_file is not None:
        key = read_secret(config.access.key_file, "access key").rstrip(b"\r\n")
    return Access(
        base_url=config.jira.base_url,
        hosts=config.access.hosts,
        origins=config.access.origins,
        key=key,
        read_only=config.access.read_only,
        allow=config.access.allow,
        deny=config.access.deny,
    )

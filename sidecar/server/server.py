"""The running sidecar: listeners, what answers their requests, reloading, draining."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from aiohttp import http_parser

from sidecar.account.identity import Identity
from sidecar.account.readiness import Readiness
from sidecar.account.standing import Refusal
from sidecar.config.load import Config
from sidecar.downstream import timers
from sidecar.downstream.listener import Listener
from sidecar.downstream.replies import Reply
from sidecar.downstream.request import Request
from sidecar.errors import ConfigError, SidecarError
from sidecar.files.access_keys import without_key
from sidecar.files.watched import Watched
from sidecar.net import descriptors, sockets, tls
from sidecar.net.accepting import stop_accepting
from sidecar.net.sockets import BACKLOG, Listening, open_sockets
from sidecar.pacing.lines import Lines
from sidecar.page.service import Service
from sidecar.server.generation import Generation, access_rules, merged
from sidecar.server.local import LocalAnswers
from sidecar.server.pages import AdminPages, LocalPages
from sidecar.server.words import introduction, status_line
from sidecar.signin.ownership import Ownership
from sidecar.telemetry.history import History
from sidecar.telemetry.logs import log_request
from sidecar.telemetry.metrics import Gauges, Metrics
from sidecar.telemetry.record import Record
from sidecar.telemetry.troubles import Troubles

RENEWAL_SECONDS = 3.0
"""Seconds that a renewal of the token has beyond timeouts.shutdown.  The process is to end within
5 s of that, and systemd is told 10 (notify.py)."""
MOST_ADMINS = 16
"""Connections to the admin listener: a few probes, and whoever looks after the service."""


class Server:
    """Listens, and passes every request to the current generation."""

    def __init__(
        self,
        config: Config,
        environ: MutableMapping[str, str],
        complete: Callable[[str], str] = str,
        named: Callable[[str], str] = str,
    ) -> None:
        """Check what can be checked before listening; raises ConfigError.

        `complete` completes the commands that a text for people names, and `named` those of
        everything else: no path of ours is in these.
        """
        require_c_parser()
        self._environ = environ
        self._named = named
        self._config = config
        self._identity = Identity(config)
        self._access = access_rules(config)
        self._certificate = _Certificate(config) if config.listen.tls_certificate else None
        self.troubles = Troubles()
        self.metrics = Metrics(self.troubles, self._gauges)
        self.history = History()
        self.generations: list[Generation] = []
        self.readiness = Readiness(lambda: self.identity, self._refusal)
        self._pages = LocalPages(
            lambda: self.identity, self.readiness, self.troubles, self.metrics, named
        )
        self.ownership = Ownership()
        self._local = LocalAnswers(
            self._pages,
            Service(
                lambda: self._config,
                lambda: self.identity,
                self.readiness,
                lambda: self.generations[-1].authorizer,
                self.ownership,
                self.troubles,
                self.history,
                self._held,
                complete,
            ),
        )
        self._lines = Lines()  # a reload leaves Jira's limits as they are
        self._retiring: set[asyncio.Task[None]] = set()
        self.listening: list[Listening] = []
        """Open after `start`."""
        self._servers: list[tuple[Listening, asyncio.Server]] = []
        self.listener: Listener
        self._admin: Listener

    @property
    def identity(self) -> Identity:
        """Who we are to Jira now."""
        return self._identity

    async def start(self) -> list[str]:
        """Listen; return the URL of each listener.  Raises AddressInUse or ConfigError."""
        config = self._config
        pages = AdminPages(self._pages, log_request)
        self.listener = Listener(
            self._handle,
            self._refuse,
            head_bytes=config.limits.head_bytes,
            most_clients=descriptors.most_clients(config.limits),
            descriptors=descriptors.allowed(),
            scheme="https" if self._certificate else "http",
        )
        self._admin = Listener(
            pages.handle,
            self._refuse,
            head_bytes=config.limits.head_bytes,
            most_clients=MOST_ADMINS,
        )
        try:
            self.generations.append(
                self._generation(config, self._identity, self._access, self._lines)
            )
            # In a thread: a name among the addresses may be asked of a name server.
            self.listening = await asyncio.to_thread(open_sockets, config, self._environ)
            for listening in self.listening:
                self._servers.append((listening, await self._serve(listening)))
        except BaseException:
            for listening in self.listening[len(self._servers) :]:
                listening.remove()
                listening.socket.close()
            await self.stop(0)
            raise
        main = [one.url(self.listener.scheme) for one in self.listening if not one.is_admin]
        self.ownership.listens(config.token.path, main)
        return [self._url(listening) for listening in self.listening]

    def reload(self, config: Config) -> list[str]:
        """Answer new requests by another configuration; return the keys that need a restart.

        Requests in flight go on by the old one.  Raises SidecarError, and nothing has changed.
        """
        config, waiting = merged(self._config, config)
        sockets.refuse_strangers(self.listening, config)
        access = access_rules(config)
        certificate = _Certificate.load(config) if self._certificate else None
        stays = (config.jira, config.token) == (self._config.jira, self._config.token)
        identity = self._identity if stays else Identity(config)
        lines = self._lines if stays else Lines()
        generation = self._generation(config, identity, access, lines)
        if self._certificate and certificate:
            self._certificate.watched = certificate
        if stays:
            identity.reload()
        self._config, self._identity, self._lines = config, identity, lines
        self.ownership.moves(config.token.path)
        self.listener.most_clients = descriptors.most_clients(config.limits)
        self.generations.append(generation)
        self._local.reload()
        self._retire(self.generations[-2])
        return waiting

    async def stop(self, seconds: float) -> None:
        """Take no more connections, let requests in flight finish for `seconds`, then close.

        The admin listener goes on until then: it tells whoever asks that we are not ready.  A
        renewal of the token has a little longer.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds + RENEWAL_SECONDS
        self.readiness.stopping = True
        self._local.end_streams()
        self.ownership.close()
        for generation in self.generations:
            generation.lines.stop()
        await self._stop_accepting(is_admin=False)
        await self.listener.drain(seconds)
        await self._stop_accepting(is_admin=True)
        await self._admin.drain(0)
        await self._local.stop()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for generation in self.generations:
            generation.lines.close()
            await generation.close(max(0.0, end - loop.time()))

    def cut(self) -> None:
        """End every client's connection at once: the process is about to end."""
        self.listener.cut()

    def warnings(self) -> Iterator[str]:
        """What `run` says at its start and after a reload."""
        yield from self._config.warnings()
        yield from without_key(self._config.access)
        yield from sockets.warnings(self.listening, self._config)
        yield from tls.environment_warnings(self._environ)
        yield from self._identity.warnings()

    def look_after_token(self) -> None:
        """Read a key or token that has changed, and renew a token whose end is near."""
        try:
            self._identity.refresh()
        except SidecarError:
            return  # /_sidecar/ready says so
        self.generations[-1].look_after_token()

    def summary(self) -> str:
        """What is served, as whom and until when, in one line for systemd."""
        return status_line(self._identity, self.readiness.why_not(), self._named)

    def introduction(self) -> str:
        """For which Jira, as whom and until when, as people say it."""
        return introduction(self._identity)

    def _handle(self, request: Request) -> Awaitable[Reply]:
        return self.generations[-1].handle(request)

    def _refuse(self, error: SidecarError, client: str) -> Reply:
        self.metrics.refused(error.status, error.proxy_error)
        return self.generations[-1].refuse(error, client)

    def _finished(self, record: Record) -> None:
        if record.closed_early == "client" and self.listener.is_cutting:
            record.closed_early = "sidecar"
        self.metrics.finished(record)
        self.history.finished(record)
        log_request(record)

    def _refusal(self) -> Refusal | None:
        return self.generations[-1].standing.refusal if self.generations else None

    def _held(self) -> int:
        return sum(lines.waiting for lines in {each.lines for each in self.generations})

    def _gauges(self) -> Gauges:
        why = self.readiness.why_not()  # first: it looks at the token on disk
        token = self._identity.token.last_read
        return Gauges(
            is_ready=why is None,
            not_ready=why.label if why else "",
            in_flight=sum(generation.in_flight for generation in self.generations)
            - self._local.visits,
            waiting=sum(generation.waiting for generation in self.generations),
            held=self._held(),
            connections=len(self.listener.connections),
            token_expires_at=token.expires_at if token else None,
            clock_difference=self._identity.clock_difference,
            session_expires_at=token.session_expires_at if token else None,
            is_renewal_failing=any(one.renewal_trouble for one in self.generations),
        )

    def _generation(
        self, config: Config, identity: Identity, access: Any, lines: Lines
    ) -> Generation:
        generation = Generation(
            config,
            identity,
            access,
            troubles=self.troubles,
            local=self._local,
            finished=self._finished,
            named=self._named,
            lines=lines,
        )
        generation.start(self.generations[-1] if self.generations else None)
        return generation

    def _retire(self, generation: Generation) -> None:
        async def retire() -> None:
            await generation.retire()
            self.generations.remove(generation)
            if all(other.lines is not generation.lines for other in self.generations):
                generation.lines.close()

        task = asyncio.create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _url(self, listening: Listening) -> str:
        if listening.is_admin:
            return f"{listening.url('http')} for /_sidecar/ alone"
        return listening.url(self.listener.scheme)

    async def _serve(self, listening: Listening) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        listener = self._admin if listening.is_admin else self.listener
        options: dict[str, Any] = {"sock": listening.socket, "backlog": BACKLOG}
        if self._certificate and not listening.is_admin:
            options["ssl"] = self._certificate.context
            options["ssl_handshake_timeout"] = timers.HEAD_SECONDS
        if listening.socket.family != socket.AF_UNIX:
            return await loop.create_server(listener, **options)
        if sys.version_info >= (3, 13):
            options["cleanup_socket"] = False  # the file is systemd's, or has another name
        return await loop.create_unix_server(listener, **options)

    async def _stop_accepting(self, *, is_admin: bool) -> None:
        closing = [pair for pair in self._servers if pair[0].is_admin == is_admin]
        await stop_accepting([server for _, server in closing])
        for listening, server in closing:
            listening.remove()
            self._servers.remove((listening, server))


class _Certificate:
    """The listener's TLS certificate, shown to each new connection as its files are then."""

    def __init__(self, config: Config) -> None:
        self.watched = self.load(config)
        self.context = self.watched.current
        self.context.sni_callback = self._present  # called for each handshake, with SNI or without

    @staticmethod
    def load(config: Config) -> Watched[ssl.SSLContext]:
        """Read certificate and key; raises ConfigError."""
        certificate = config.listen.tls_certificate
        assert certificate is not None
        return tls.watched_server_context(certificate, config.listen.tls_key)

    def _present(self, connection: ssl.SSLObject, _: str, context: ssl.SSLContext) -> None:
        latest = self.watched.latest()
        if latest is not context:
            connection.context = latest


def require_c_parser() -> None:
    """Refuse to serve with aiohttp's pure-Python parser: it lets malformed requests through."""
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise ConfigError(
            "aiohttp runs without its C parser, which lets malformed requests through",
            "unset AIOHTTP_NO_EXTENSIONS, and install aiohttp from a wheel or with a compiler",
        )

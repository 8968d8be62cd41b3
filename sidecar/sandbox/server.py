"""The sandbox as a server: it listens, hands each request to Jira and sends the answer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from ssl import SSLContext

from aiohttp import HttpVersion11, web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar.net.accepting import stop_accepting
from sidecar.sandbox.answers import Answer
from sidecar.sandbox.body import WireBody
from sidecar.sandbox.catalog import ADMINISTRATORS
from sidecar.sandbox.connections import Connections
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.jira import Jira, Wire
from sidecar.sandbox.link import Link
from sidecar.sandbox.provider import ACCESS_TOKEN_LIFE, SESSION_LIFE, Grant, Provider
from sidecar.sandbox.record import Fields, Request
from sidecar.sandbox.send import reset, send
from sidecar.sandbox.validator import Validator

HEAD_LIMIT = 64 << 10
"""Of the line and of each field; what aiohttp allows beyond Tomcat's 8 KiB."""
LOG_SIZE = 20_000
SMALL_BODY = 1 << 20
STOP_GRACE = 0.05
"""Seconds that answers being sent have to finish when the sandbox stops."""


class Sandbox:
    """A Jira on loopback; start() it, talk to `url`, throw `faults`, look at `log`, stop() it.

    A stopped sandbox may be started again: tokens and issues are kept.
    """

    def __init__(
        self,
        *,
        public_key: RSAPublicKey | None,
        consumer_key: str = "OauthKey",
        context_path: str = "",
        base_url: str | None = None,
        clock: Callable[[], float] = time.time,
        ssl: SSLContext | None = None,
        callback_url: str | None = None,
        consumer_name: str | None = None,
        two_legged: bool = False,
        execute_as: str | None = "builds",
        impersonation: bool = False,
    ) -> None:
        """Set up the application link.  ValueError for a user that it must not execute as."""
        if execute_as in ADMINISTRATORS:
            raise ValueError(f"a link must not execute as {execute_as}, an administrator")
        self.faults = Faults()
        self.link = Link(
            consumer_key,
            public_key,
            consumer_name or consumer_key,
            callback_url,
            two_legged=two_legged,
            execute_as=execute_as,
            impersonation=impersonation,
        )
        self.log: deque[Request] = deque(maxlen=LOG_SIZE)
        self.context_path = "/" + context_path.strip("/") if context_path.strip("/") else ""
        self.url = ""
        """How to reach it, context path included; empty before start()."""
        self.base_url = base_url
        self._now = lambda: clock() + self.faults.clock_offset
        self.provider = Provider(
            Validator(self.link, self.faults, self._now), self.faults, self._now
        )
        self._ssl = ssl
        self._server: Connections | None = None
        self._listener: asyncio.Server | None = None
        self._jira: Jira | None = None

    # ── life ────────────────────────────────────────────────────────────────────────────────

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; OSError if the port is taken.  Port 0 picks one."""
        self._server = Connections(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            max_headers=1000,
        )
        self._listener = await asyncio.get_running_loop().create_server(
            self._server, host, port, ssl=self._ssl, backlog=1024
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        name = f"[{host}]" if ":" in host else host
        scheme = "https" if self._ssl else "http"
        self.url = f"{scheme}://{name}:{bound}{self.context_path}"
        if self._jira is None:
            self._jira = Jira(self.base_url or self.url, self.context_path, self.provider)

    async def stop(self) -> None:
        """Stop listening and close every connection, answers under way included."""
        if self._listener is not None and self._server is not None:
            await stop_accepting([self._listener])
            self._server.pre_shutdown()
            await self._server.shutdown(STOP_GRACE)
            await self._listener.wait_closed()
            self._listener = self._server = None

    async def __aenter__(self) -> Sandbox:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # ── what tests ask for ──────────────────────────────────────────────────────────────────

    @property
    def jira(self) -> Jira:
        """The Jira inside; only after start()."""
        if self._jira is None:
            raise RuntimeError("the sandbox has not been started")
        return self._jira

    @property
    def canned(self) -> dict[str, Callable[[], Answer]]:
        """By raw target, context path included: what to answer in place of the REST surface."""
        return self.jira.canned

    def release(self, gate: str, pieces: int = 1) -> None:
        """Let so many pieces of `/_sandbox/drip?gate=…` go."""
        self.jira.rest.tools.release(gate, pieces)

    @property
    def public_key(self) -> RSAPublicKey | None:
        """The application link's public key; may be changed at any time."""
        return self.link.public_key

    @public_key.setter
    def public_key(self, key: RSAPublicKey | None) -> None:
        self.link.public_key = key

    def grant(
        self,
        user: str = "alana",
        *,
        expires_in: int = ACCESS_TOKEN_LIFE,
        session_expires_in: int = SESSION_LIFE,
    ) -> Grant:
        """Issue an access token without the dance; lives in seconds."""
        return self.provider.grant(
            user, expires_in=expires_in, session_expires_in=session_expires_in
        )

    def revoke(self, token: str | None = None) -> None:
        """Forget an access token, or all of them: token_rejected."""
        for text in self._tokens(token):
            self.provider.access_tokens.pop(text, None)

    def expire(self, token: str | None = None, *, session: bool = False) -> None:
        """End the life of an access token, or of all that there are; with its session if asked."""
        for text in self._tokens(token):
            if held := self.provider.access_tokens.get(text):
                held.expires_at = self.provider.now()
                if session:
                    held.session_expires_at = self.provider.now()

    def _tokens(self, token: str | None) -> list[str]:
        return list(self.provider.access_tokens) if token is None else [token]

    # ── one request ─────────────────────────────────────────────────────────────────────────

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        record = Request(request.method, request.raw_path, Fields(request.raw_headers))
        self.log.append(record)
        body = WireBody(request, record)
        try:
            return await self._serve(request, record, body)
        except web.RequestPayloadError as error:
            raise ConnectionResetError("the request's body ended early") from error

    async def _serve(
        self, request: web.BaseRequest, record: Request, body: WireBody
    ) -> web.StreamResponse:
        """Answer; a refusal is sent without waiting for the rest of a large body."""
        faults = Faults() if self.jira.is_control(record) else self.faults
        await asyncio.sleep(faults.latency)
        answer = await self.jira.answer(self._wire(request, record, body))
        if answer.status < 400 or _is_small(record):
            await body.drain()
        await asyncio.sleep(faults.slow)
        if faults.reset:
            return await reset(request)
        record.status = answer.status
        response = await send(request, answer, faults.cut_off)
        await body.drain()
        return response

    def _wire(self, request: web.BaseRequest, record: Request, body: WireBody) -> Wire:
        local = ""
        if request.version < HttpVersion11 and request.transport is not None:
            host, port = request.transport.get_extra_info("sockname")[:2]
            local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return Wire(record, body, "https" if self._ssl else "http", local)


def _is_small(record: Request) -> bool:
    """Whether a body is read before a refusal; a larger one is refused while it arrives."""
    if record.fields.all("transfer-encoding"):
        return False
    length = record.fields.get("content-length", "0")
    return length.isdigit() and int(length) <= SMALL_BODY

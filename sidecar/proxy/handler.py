"""Answers a client's request, from its head to the last byte of the answer.

The handler asks whether the caller is allowed, cleans the target, has the request signed and sent,
and streams Jira's answer back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

from sidecar.access.acting import Acting
from sidecar.access.callers import AccessControl, Caller, without_site
from sidecar.access.keys import KeyRefused
from sidecar.access.logins import is_session_login, refuse_login
from sidecar.account.healing import SEND_AGAIN, Healer
from sidecar.account.identity import Identity
from sidecar.account.standing import Standing
from sidecar.config.load import Config
from sidecar.downstream.bodies import RequestBody
from sidecar.downstream.replies import Reply, bug, complete, error_reply, json_reply
from sidecar.downstream.request import Request
from sidecar.errors import (
    ConfigError,
    NotAuthorized,
    RequestRefused,
    SidecarError,
    UpstreamError,
)
from sidecar.http.fields import Field, Fields, first, values
from sidecar.http.forwarding import request_fields
from sidecar.http.framing import check_expectation
from sidecar.http.methods import METHODS, SAFE_METHODS
from sidecar.http.paths import below, readings
from sidecar.http.target import BaseURL, Target, absolute_form, clean, refuse_requestor
from sidecar.jira.problems import problem_field
from sidecar.jira.stored import is_stored
from sidecar.pacing.kept import KeptResponse
from sidecar.pacing.lines import Lines
from sidecar.proxy.absorbing import Absorber
from sidecar.proxy.outgoing import Exchanged
from sidecar.proxy.relay import Relay
from sidecar.proxy.rewriting import JiraLinks
from sidecar.proxy.sending import Sender, first_bytes
from sidecar.proxy.slots import Slots
from sidecar.proxy.visit import Local, Visit
from sidecar.proxy.wrong_keys import WrongKeys
from sidecar.signing.signatures import Signatures
from sidecar.telemetry.logs import RefusedLine
from sidecar.telemetry.record import RESERVED, RESERVED_ROOT, Record, new_id
from sidecar.telemetry.troubles import Troubles
from sidecar.upstream.pool import Upstream, UpstreamResponse

log = logging.getLogger(__name__)

_SERVER_INFO = re.compile(r"/rest/api/[0-9a-z.]+/serverInfo/?")
_LONG_TARGET = 8 * 1024
_SERVER_INFO_BYTES = 64 * 1024


class Proxy:
    """The handler of every request."""

    def __init__(
        self,
        config: Config,
        *,
        identity: Identity,
        upstream: Upstream,
        access: AccessControl,
        healer: Healer,
        standing: Standing,
        troubles: Troubles,
        local: Local,
        finished: Callable[[Record], None],
        named: Callable[[str], str] = str,
        lines: Lines,
    ) -> None:
        """`named` completes the commands that hints for callers name."""
        self._base = config.jira.base_url
        self._timeouts = config.timeouts
        self._form_bytes = config.limits.form_bytes
        self._identity = identity
        self._access = access
        self._acting = Acting(
            config.access.act_as, two_legged=config.jira.two_legged, user=config.jira.act_as
        )
        self._healer = healer
        self._standing = standing
        self._troubles = troubles
        self._local = local
        self._finished = finished
        self._named = named
        self._links = JiraLinks(self._base, rewrite=config.links.rewrite)
        self._host = self._base.authority.encode()
        self._wrong_keys = WrongKeys()
        self.slots = Slots(config.limits.connections, config.limits.waiting)
        self._signatures = Signatures(lambda: self.slots.in_use > 1)
        self._lines = lines
        self._absorber = Absorber(lines, self.slots, identity, troubles, config.limits.rate_wait)
        self._sender = Sender(
            identity,
            upstream,
            healer,
            self._signatures,
            self._absorber,
            lines,
            config.limits.form_bytes,
        )

    async def handle(self, request: Request) -> Reply:
        """Answer one request; called by the connection for each."""
        message = request.message
        fields = message.raw_headers
        record = Record.of(message.method, message.path, fields, request.client)
        caller: Caller | None = None
        try:
            try:
                caller = self._admit(request)
                reply = await self._answer(request, caller, record)
            except (Exception, asyncio.CancelledError) as raised:  # each is answered, or goes on
                error = self._answerable(raised, request)
                if error is None:
                    record.closed_early = record.closed_early or "client"
                    raise
                record.error = error.proxy_error
                reply = self._local.show(self._error(error, message.method, caller), error, request)
            if record.answered_by == "sidecar":
                complete(reply, record)
            return reply
        finally:
            record.total = perf_counter() - record.started
            self._finished(record)

    def _answerable(self, raised: BaseException, request: Request) -> SidecarError | None:
        """What to tell the client of what was raised; None where there is no client any more."""
        if isinstance(raised, SidecarError):
            if isinstance(raised, (UpstreamError, NotAuthorized, ConfigError)):
                self._troubles.failed(raised)
            return raised
        if isinstance(raised, ConnectionResetError):
            return None
        if isinstance(raised, asyncio.CancelledError):
            return request.broken_off()
        return bug(f"answering {request.message.method}")

    async def close(self) -> None:
        """End what runs beside the event loop."""
        await self._signatures.close()

    def refuse(self, error: SidecarError, client: str) -> Reply:
        """Answer what never became a request, from a client at that address."""
        own_id = new_id()
        log.info(RefusedLine(error, own_id, client))
        reply = error_reply(error, head_only=False, named=self._named)
        reply.fields.append((b"X-Request-Id", own_id.encode()))
        return reply

    def _error(self, error: SidecarError, method: str, caller: Caller | None) -> Reply:
        extra = self._access.cors_fields(caller) if caller is not None else None
        return error_reply(error, extra=extra, head_only=method == "HEAD", named=self._named)

    def _admit(self, request: Request) -> Caller:
        """The checks that come before anything else; RequestRefused if one fails."""
        message = request.message
        fields = message.raw_headers
        target = message.path
        absolute = None
        if not target.startswith("/"):
            absolute = absolute_form(target)[:2]
        scheme = request.connection.scheme
        try:
            caller = self._access.check_caller(fields, scheme, absolute)
        except RequestRefused:
            if not self._local.awaits(target.partition("?")[0]):
                raise
            caller = self._access.check_caller(without_site(fields), scheme)
        check_expectation(fields)
        return caller

    async def _answer(self, request: Request, caller: Caller, record: Record) -> Reply:
        message = request.message
        method = message.method
        fields = message.raw_headers
        target = message.path if message.path.startswith("/") else absolute_form(message.path)[2]
        if preflight := self._access.preflight(method, fields, caller):
            return Reply(204, preflight)
        if target.startswith(RESERVED_ROOT) and target[len(RESERVED_ROOT) :][:1] in ("", "/", "?"):
            return await self._reserved(request, caller, target, record)
        if (name := await self._holder_of_key(fields, record)) is not None:
            caller = caller._replace(name=name)
        if method not in METHODS:
            raise RequestRefused(
                405,
                f"The method {method} is not forwarded.",
                proxy_error="http_request_denied",
                fields=(("Allow", ", ".join(METHODS)),),
            )
        is_long = len(target) > _LONG_TARGET  # each look at it takes 5 ms and more
        cleaned = clean(target, self._base.path)
        if is_long:
            await asyncio.sleep(0)
        self._access.check_request(method, cleaned.path)
        acting_as = self._acting.user(fields, caller.name)
        if cleaned.query and self._identity.two_legged:
            refuse_requestor(cleaned.query, "query")
        if is_long:
            await asyncio.sleep(0)
        paths = readings(below(cleaned.path, self._base.path))
        if is_session_login(method, paths):
            return await self._session(request, method, record)
        refuse_login(method, paths)
        if is_long:
            await asyncio.sleep(0)
        return await self._forward(request, caller, acting_as, cleaned, paths, record)

    async def _reserved(
        self, request: Request, caller: Caller, target: str, record: Record
    ) -> Reply:
        fields = request.message.raw_headers
        path = target.partition("?")[0]
        if path not in (RESERVED + "health", RESERVED + "ready"):
            await self._holder_of_key(fields, record)
        body = self._body(request)
        visit = Visit(request, caller, path, body, lambda: self._access.check_key(fields))
        try:
            return await self._local.answer(visit)
        finally:
            record.received = body.size

    async def _holder_of_key(self, fields: Sequence[Field], record: Record) -> str | None:
        """The name of the caller whose access key the request shows; a wrong one takes a while."""
        try:
            name = self._access.check_key(fields)
        except KeyRefused as refused:
            if refused.is_wrong:
                refused.ends_connection = not await self._wrong_keys.hold_back()
            raise
        record.caller = name or ""
        return name

    async def _session(self, request: Request, method: str, record: Record) -> Reply:
        """Answer a login here: made-up credentials would trigger Jira's CAPTCHA."""
        body = self._body(request)
        await body.skip(self._form_bytes)
        record.received = body.size
        if method == "DELETE":
            return Reply(204)
        return json_reply(
            200,
            {
                "session": {"name": "JSESSIONID", "value": "signed-by-the-sidecar"},
                "loginInfo": {"failedLoginCount": 0, "loginCount": 1},
            },
        )

    async def _forward(
        self,
        request: Request,
        caller: Caller,
        acting_as: str | None,
        target: Target,
        paths: frozenset[str],
        record: Record,
    ) -> Reply:
        message, method = request.message, request.message.method
        self._refuse_loop(message.raw_headers)
        await self._standing.wait_tried()
        token = self._identity.refresh()  # no slot is taken, and no body read, for a 503
        self._links.learn_first(token.server_url)
        if token.is_two_legged:
            record.acts_as = acting_as or token.user or ""
        self._healer.renewal.renew_if_near_end()
        fields = request_fields(message.raw_headers, self._host, record.request_id.encode())
        body = self._body(request)
        links, cors = self._links.for_caller(caller), self._access.cors_fields(caller)
        if self._lines.lines:
            refusal = await self._absorber.wait_first(request, record, acting_as)
            if refusal is not None:
                relay = Relay(request, refusal, record, links, paths, self._timeouts.idle)
                return await relay.run(cors)
        async with self.slots.take() as slot:
            try:
                exchanged = await self._sender.send(
                    request, target, fields, body, record, slot, acting_as
                )
                response = exchanged.response
                try:
                    if response.status == 200 and _is_server_info(method, paths):
                        await self._learn_server_url(response)
                        links = self._links.for_caller(caller)
                    relay = Relay(request, response, record, links, paths, self._timeouts.idle)
                    return await relay.run(self._explained(exchanged, record) + cors)
                finally:
                    self._sender.close(exchanged)
            finally:
                record.received = body.size

    def _explained(self, exchanged: Exchanged, record: Record) -> Fields:
        """Tell the log and the client what a problem means; the field to add to the answer."""
        problem = exchanged.problem
        if problem is None:
            return []
        record.problem = problem.label
        if exchanged.is_put_right:
            sentence, hint = "", SEND_AGAIN
        else:
            if problem.may_be_about_us:
                self._standing.doubt()
            is_safe = record.method in SAFE_METHODS
            sentence, hint = self._healer.explanation(problem, exchanged.signed, is_safe=is_safe)
        hint = self._troubles.seen(problem, sentence, hint)
        return [(b"Sidecar-Problem", problem_field(problem, self._named(hint)))]

    async def _learn_server_url(self, response: UpstreamResponse | KeptResponse) -> None:
        """Take from a serverInfo answer what Jira calls itself; its links are led to us, too."""
        try:
            info = json.loads(await first_bytes(response, _SERVER_INFO_BYTES))
            url = info.get("baseUrl") if isinstance(info, dict) else None
            self._links.learn(str(BaseURL.parse(url if isinstance(url, str) else "")))
        except (ValueError, RecursionError):
            log.debug("a serverInfo answer names no usable baseUrl")

    def _body(self, request: Request) -> RequestBody:
        return RequestBody(
            request,
            self._timeouts.idle,
            expects_continue=first(request.message.raw_headers, b"expect") is not None
            and request.message.minor_version > 0,
        )

    def _refuse_loop(self, fields: Iterable[Field]) -> None:
        for value in values(fields, b"authorization"):
            if value[:5].lower() == b"oauth" and self._identity.has_signed(value):
                raise RequestRefused(
                    508,
                    "This request was signed by the sidecar already: it has come round in a loop.",
                    "jira.base_url leads back to the sidecar; it must be Jira's own address",
                    proxy_error="proxy_loop_detected",
                )


def _is_server_info(method: str, paths: frozenset[str]) -> bool:
    """Whether Jira speaks of itself; an attachment may be called serverInfo, too."""
    return method == "GET" and any(map(_SERVER_INFO.fullmatch, paths)) and not is_stored(paths)

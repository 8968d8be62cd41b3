"""A request's way through the sandbox: gateway, Tomcat, OAuth filter, XSRF check, handlers."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from html import escape

from sidecar.sandbox import tomcat
from sidecar.sandbox.answers import (
    Answer,
    BadRequest,
    Call,
    TooLarge,
    answer_errors,
    answer_json,
    answer_page,
    tomcat_error,
)
from sidecar.sandbox.body import WireBody
from sidecar.sandbox.message import (
    JavaException,
    Message,
    OAuthProblem,
    answer_problem,
    base_string_uri,
    is_complete,
    read_authorization,
    realm_challenge,
)
from sidecar.sandbox.paths import without_static_prefix
from sidecar.sandbox.provider import Provider, random_text
from sidecar.sandbox.record import Request
from sidecar.sandbox.rest import Rest
from sidecar.sandbox.servlet import answer_oauth
from sidecar.sandbox.tomcat import Refused

OAUTH = ["plugins", "servlet", "oauth"]
_FORGEABLE = (
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/plain",
    "",
)
"""The media types that a browser sends across sites without asking."""


@dataclass(slots=True)
class Wire:
    """A request as it arrived, with what only the socket knows."""

    record: Request
    body: WireBody
    scheme: str
    local: str
    """host:port of the socket, for an HTTP/1.0 request without Host; else empty."""


class Jira:
    """One Jira: its provider, its issues, and the canned answers that tests put in front."""

    def __init__(self, base_url: str, context_path: str, provider: Provider) -> None:
        self.base_url = base_url
        self.context = [part for part in context_path.split("/") if part]
        self.context_path = context_path
        self.provider = provider
        self.faults = provider.faults
        self.rest = Rest(base_url, provider)
        self.canned: dict[str, Callable[[], Answer]] = {}
        """By raw target: what to answer in place of the REST surface."""

    async def answer(self, wire: Wire) -> Answer:
        """Answer one request, whatever happens to it on the way."""
        try:
            answer = self._gateway(wire.record) or await self._tomcat(wire)
        except Refused as refusal:
            answer = tomcat_error(refusal.status, refusal.message)
        except JavaException as error:
            answer = answer_page(
                "Oops - an error has occurred", f"<p>{escape(str(error))}</p>", 500
            )
        return self._decorate(answer, wire.record)

    def is_control(self, record: Request) -> bool:
        """Whether a request is for the switches themselves, which no fault may cut off."""
        return record.target == f"{self.context_path}/_sandbox/faults"

    def _gateway(self, record: Request) -> Answer | None:
        """What stands in front of Jira may answer everything by itself."""
        if self.is_control(record):
            return None
        if self.faults.unavailable:
            return Answer(503, b"Service Unavailable\n", "text/plain", bare=True)
        if self.faults.sso_redirect:
            where = "https://sso.example.com/login?RelayState=jira"
            return Answer(302, b"", fields=[("Location", where)], bare=True)
        if self.faults.sso_html:
            page = answer_page("Single Sign-On", "<h1>Log in</h1><form><input></form>")
            page.bare = True
            return page
        return None

    # ── Tomcat ──────────────────────────────────────────────────────────────────────────────

    async def _tomcat(self, wire: Wire) -> Answer:
        record = wire.record
        hosts = record.fields.all("host")
        if len(hosts) > 1:
            raise Refused(400, "The request has more than one host header")
        host = hosts[0] if hosts else wire.local
        if self.faults.refuse_long_heads and _head_size(record) > tomcat.HEAD_LIMIT:
            raise Refused(400, "Request header is too large")
        name, port = tomcat.split_host(host)
        target = tomcat.read_target(record.target, host)
        segments = tomcat.read_path(
            target.path, refuse_encoded_slash=self.faults.refuse_encoded_slash
        )
        if segments[: len(self.context)] != self.context:
            return tomcat_error(404, "The requested resource is not available")
        parameters = await self._parameters(wire, target.query)
        behind = without_static_prefix(segments[len(self.context) :])
        call = Call(record, target.path, behind, parameters, wire.body, self.base_url)
        return await self._filter(call, wire, name, port)

    async def _parameters(self, wire: Wire, query: str) -> list[tuple[str, str]]:
        parameters = tomcat.read_parameters(query.encode())
        if tomcat.is_form(wire.record.method, wire.record.fields.get("content-type")):
            form = await wire.body.peek(tomcat.FORM_LIMIT)
            parameters += tomcat.read_parameters(form or b"")
        dropped = self.faults.dropped_parameter
        return [pair for pair in parameters if pair[0] != dropped]

    # ── OAuth ───────────────────────────────────────────────────────────────────────────────

    def _message(self, call: Call, scheme: str, host: str, port: int | None) -> Message:
        """What the OAuth library sees, with the URL that the connector believes in."""
        faults = self.faults
        if faults.perceived_host is not None:
            host, port = faults.perceived_host, None
        if faults.perceived_port is not None:
            port = faults.perceived_port
        path = call.path
        if faults.perceived_prefix is not None:
            path = faults.perceived_prefix + path.removeprefix(self.context_path)
        authorization = [] if faults.strip_authorization else call.fields.all("authorization")
        parameters = [*read_authorization(authorization), *call.parameters]
        uri = base_string_uri(faults.perceived_scheme or scheme, host, port, path)
        return Message(call.method, uri, parameters)

    async def _filter(self, call: Call, wire: Wire, host: str, port: int | None) -> Answer:
        message = self._message(call, wire.scheme, host, port)
        try:
            if call.segments[:3] == OAUTH and len(call.segments) == 4:
                found = answer_oauth(self.provider, call.segments[3], call, message)
                if call.method == "POST" and call.segments[3] != "authorize":
                    wire.record.verdict = "ok"
                return found or answer_page("Not found", "<p>No such servlet.</p>", 404)
            if not _has_session(call) and is_complete(message.parameters):
                call.user = self.provider.authenticate(message)
                wire.record.verdict = "ok"
        except OAuthProblem as problem:
            wire.record.verdict = problem.problem
            return answer_problem(problem, self.base_url)
        if call.user is not None and self.faults.inactive_user:
            return Answer(401, fields=[("WWW-Authenticate", realm_challenge(self.base_url))])
        wire.record.user = call.user
        return await self._resource(call, wire.record)

    # ── behind the filters ──────────────────────────────────────────────────────────────────

    async def _resource(self, call: Call, record: Request) -> Answer:
        try:
            canned = self.canned.get(record.target)
            answer = self._refuse(call) or (canned() if canned else await self.rest.answer(call))
        except BadRequest as error:
            answer = answer_errors(400, str(error))
        except TooLarge as error:
            answer = answer_errors(413, f"The request is too large: {error}")
        if answer.status == 401:
            answer.fields.append(("WWW-Authenticate", realm_challenge(self.base_url)))
        if call.user is not None and not answer.bare:
            answer.fields += self._cookies()
        return answer

    def _refuse(self, call: Call) -> Answer | None:
        """Rate limit, XSRF, and made-up passwords."""
        if self.faults.rate_limited is not None and call.segments[:1] == ["rest"]:
            limited = answer_json({"message": "Rate limit exceeded."}, 429)
            limited.fields.append(("Retry-After", str(self.faults.rate_limited)))
            return limited
        if call.segments[:1] == ["rest"] and call.method == "POST" and _is_forgeable(call):
            return Answer(403, b"XSRF check failed", "text/plain;charset=UTF-8")
        if not self.faults.strip_authorization and call.user is None:
            return _refuse_password(call)
        return None

    def _cookies(self) -> list[tuple[str, str]]:
        """Set-Cookie for a session that is dead when the answer is sent, and a Secure one."""
        path = self.context_path or "/"
        session = f"JSESSIONID={secrets.token_hex(16).upper()}; Path={path}; HttpOnly"
        xsrf = f"atlassian.xsrf.token={random_text(16)}_lin; Path={path}; Secure"
        return [("Set-Cookie", session), ("Set-Cookie", xsrf)]

    def _decorate(self, answer: Answer, record: Request) -> Answer:
        """Add what every answer carries."""
        fields = answer.fields
        present = {name.lower() for name, _ in fields}
        fields.append(("Date", formatdate(self.provider.now(), usegmt=True)))
        if "server" not in present:
            fields.append(("Server", "nginx" if answer.bare else "sandbox"))
        if answer.bare:
            return answer
        fields += [
            ("X-AREQUESTID", f"{secrets.randbelow(1440)}x{secrets.randbelow(10**6)}x1"),
            ("X-AUSERNAME", record.user or "anonymous"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if "cache-control" not in present:
            fields.append(("Cache-Control", "no-cache, no-store, no-transform"))
        if record.user is not None:
            fields += [
                ("X-Seraph-LoginReason", "OK"),
                ("X-RateLimit-Limit", "1000"),
                ("X-RateLimit-Remaining", "999" if answer.status != 429 else "0"),
                ("X-RateLimit-FillRate", "1000"),
                ("X-RateLimit-Interval-Seconds", "1"),
            ]
            if "retry-after" not in present:
                fields.append(("Retry-After", "0"))
        return answer


def _has_session(call: Call) -> bool:
    """A client's session cookie goes before its signature, and no session is alive here."""
    pairs = ";".join(call.fields.all("cookie")).split(";")
    return any(pair.strip().startswith("JSESSIONID=") for pair in pairs)


def _is_forgeable(call: Call) -> bool:
    """Whether Jira's XSRF filter refuses a POST."""
    if call.fields.get("user-agent").startswith("Mozilla/"):
        return True
    media_type = call.fields.get("content-type").partition(";")[0].strip().lower()
    allowed = call.fields.get("x-atlassian-token").lower() in ("no-check", "nocheck")
    return media_type in _FORGEABLE and not allowed


def _refuse_password(call: Call) -> Answer | None:
    """Nobody has a password here; every try counts towards Jira's login CAPTCHA."""
    scheme = call.fields.get("authorization").partition(" ")[0].lower()
    if scheme not in ("basic", "bearer"):
        return None
    page = answer_page("Unauthorized (401)", "<h1>Basic Authentication Failure</h1>", 401)
    page.fields.append(("X-Seraph-LoginReason", "AUTHENTICATED_FAILED"))
    return page


def _head_size(record: Request) -> int:
    fields = sum(len(name) + len(value) + 4 for name, value in record.fields)
    return len(record.method) + len(record.target) + 12 + fields + 2

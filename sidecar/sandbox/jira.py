"""A request's way through the sandbox: gateway, Tomcat, Jira's filters, resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

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
from sidecar.sandbox.common_fields import cookies, decorate
from sidecar.sandbox.java import JavaException
from sidecar.sandbox.login import Login
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.oauth_filter import OAuthFilter, Origin
from sidecar.sandbox.paths import without_static_prefix
from sidecar.sandbox.provider import Provider
from sidecar.sandbox.rate_limits import RateLimits
from sidecar.sandbox.record import Request
from sidecar.sandbox.refusals import answer_problem, realm_challenge
from sidecar.sandbox.rest import Rest
from sidecar.sandbox.servlet import answer_oauth
from sidecar.sandbox.tomcat import Refused

OAUTH: Final = ["plugins", "servlet", "oauth"]
_FORGEABLE: Final = (
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
        self.oauth = OAuthFilter(provider, base_url, context_path)
        self.login = Login(base_url)
        self.limits = RateLimits(provider.faults)
        self.rest = Rest(base_url, provider, self.login)
        self.canned: dict[str, Callable[[], Answer]] = {}
        """By raw target: what to answer in place of the REST surface."""

    async def answer(self, wire: Wire) -> Answer:
        """Answer one request, whatever happens to it on the way."""
        try:
            answer = self._gateway(wire.record) or await self._tomcat(wire)
        except Refused as refusal:
            answer = tomcat_error(refusal.status, refusal.message)
        except JavaException as error:
            text = f"<p>{escape(str(error))}</p>"
            answer = answer_page("Oops - an error has occurred", text, 500)
        return decorate(answer, wire.record, self.provider.now())

    def is_control(self, record: Request) -> bool:
        """Whether a request is for the switches themselves, which no fault may cut off."""
        return record.target == f"{self.context_path}/_sandbox/faults"

    def _gateway(self, record: Request) -> Answer | None:
        """Answer in place of Jira where a fault says that a gateway in front of it does."""
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
        call.node = self.oauth.next_node()
        return await self._filters(call, self.oauth.message(call, Origin(wire.scheme, name, port)))

    async def _parameters(self, wire: Wire, query: str) -> list[tuple[str, str]]:
        """The parameters of query and form, as many as Tomcat reads."""
        parameters = tomcat.read_parameters(query.encode())
        if tomcat.is_form(wire.record.method, wire.record.fields.get("content-type")):
            form = await wire.body.peek(tomcat.FORM_LIMIT)
            parameters += tomcat.read_parameters(form or b"")
        dropped = self.faults.dropped_parameter
        counted = parameters[: self.faults.parameter_limit]
        return [pair for pair in counted if pair[0] != dropped]

    # ── Jira's filters ──────────────────────────────────────────────────────────────────────

    async def _filters(self, call: Call, message: Message) -> Answer:
        record = call.record
        refused = self.oauth.pass_through(call, message)
        refused = refused or self.login.admit(call, basic=not self.faults.strip_authorization)
        if refused is not None:
            return refused
        record.user = call.user
        if call.segments[:3] == OAUTH and len(call.segments) == 4:
            return self._servlet(call, message)
        return await self._resource(call, record)

    def _servlet(self, call: Call, message: Message) -> Answer:
        """Answer one of the provider's own addresses."""
        name = call.segments[3]
        is_signed = call.method == "POST" and name in ("request-token", "access-token")
        try:
            found = answer_oauth(self.provider, name, call, message)
        except OAuthProblem as problem:
            call.record.verdict = problem.problem
            return answer_problem(problem, self.base_url)
        if is_signed:
            call.record.verdict = "ok"
        return found or answer_page("Not found", "<p>No such servlet.</p>", 404)

    async def _resource(self, call: Call, record: Request) -> Answer:
        limited: list[tuple[str, str]] = []
        try:
            answer = self._refuse(call, limited) or await self._found(call, record)
        except BadRequest as error:
            answer = answer_errors(400, str(error))
        except TooLarge as error:
            answer = answer_errors(413, f"The request is too large: {error}")
        if answer.status == 401:
            answer.fields.append(("WWW-Authenticate", realm_challenge(self.base_url)))
        if call.user is not None and not answer.bare:
            present = {name for name, _ in answer.fields}
            answer.fields += [pair for pair in limited if pair[0] not in present]
            answer.fields += cookies(self.context_path)
        return answer

    async def _found(self, call: Call, record: Request) -> Answer:
        canned = self.canned.get(record.target)
        return canned() if canned else await self.rest.answer(call)

    def _refuse(self, call: Call, limited: list[tuple[str, str]]) -> Answer | None:
        """Refuse what is over a limit or could be forged; note what the limit lets its user do."""
        if call.segments[:1] != ["rest"]:
            return None
        if call.user is not None:
            allowance = self.limits.take(call.node, call.user, self.provider.now())
            limited += allowance.fields()
            if not allowance.allowed:
                return answer_json({"message": "Rate limit exceeded."}, 429)
        if self.faults.rate_limited is not None:
            limited[1:2] = [("X-RateLimit-Remaining", "0")]
            return answer_json(
                {"message": "Rate limit exceeded."}, 429, Retry_After=str(self.faults.rate_limited)
            )
        if call.method == "POST" and _is_forgeable(call):
            return Answer(403, b"XSRF check failed", "text/plain;charset=UTF-8")
        return None


def _is_forgeable(call: Call) -> bool:
    """Whether Jira's XSRF filter refuses a POST."""
    if call.fields.get("user-agent").startswith("Mozilla/"):
        return True
    media_type = call.fields.get("content-type").partition(";")[0].strip().lower()
    allowed = call.fields.get("x-atlassian-token").lower() in ("no-check", "nocheck")
    return media_type in _FORGEABLE and not allowed


def _head_size(record: Request) -> int:
    fields = sum(len(name) + len(value) + 4 for name, value in record.fields)
    return len(record.method) + len(record.target) + 12 + fields + 2

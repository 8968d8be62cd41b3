"""One signed request without a server: what `sidecar request` does."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.access.acting import Acting
from sidecar.account.identity import Identity
from sidecar.account.own_requests import limited
from sidecar.account.remedies import Remedies
from sidecar.account.request_signer import Signed
from sidecar.commands import where
from sidecar.config.load import Config
from sidecar.errors import RequestRefused, UsageError
from sidecar.http.fields import Fields, first
from sidecar.http.forwarding import request_fields
from sidecar.http.methods import BODY_METHODS, METHODS, SAFE_METHODS
from sidecar.http.shown import quoted
from sidecar.http.target import acting_as, refuse_requestor, refuse_reserved
from sidecar.jira.problems import ActsAs, Problem, explain, foreign_answer, parse_problem
from sidecar.signing import signature
from sidecar.upstream.pool import Upstream, UpstreamRequest, UpstreamResponse

_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:([\t -~\x80-\xff]*)")
"""A field line as RFC 9110 §5 has it; space before the colon is forgiven, and not sent."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    where: str
    """A path, or a URL on the configured Jira."""
    method: str | None = None
    fields: Sequence[str] = field(default=(), repr=False)
    """`Name: value`, as curl's -H takes it."""
    data: bytes | None = field(default=None, repr=False)


class Finding(NamedTuple):
    """What an OAuth problem means; neither text holds a secret."""

    name: str
    sentence: str
    hint: str


class _Signed(NamedTuple):
    """A request that is ready to be sent."""

    request: UpstreamRequest
    signed: Signed
    acts_as: ActsAs


class Sent:
    """A signed request with its response, which is there to be read."""

    def __init__(
        self,
        identity: Identity,
        request: _Signed,
        response: UpstreamResponse,
    ) -> None:
        self._base = identity.base_url
        self._signing_url = identity.signing_url.url
        self._remedies = Remedies(identity.request_signer)
        self._request, self._signed, self._acts_as = request
        self.response = response

    def trouble(self, body: bytes) -> Finding | None:
        """What OAuth has to do with the answer, if anything; `body` is its first 64 KiB."""
        problem = self._problem(body)
        if problem is None:
            return None
        is_safe, signed = self._request.method in SAFE_METHODS, self._signed
        self._remedies.heal(problem, signed, self.response.fields, is_safe=is_safe)
        if more := self._remedies.explanation(problem, signed, is_safe=is_safe):
            return Finding(problem.name, *more)
        explanation = explain(problem)
        hint = explanation.hint
        if problem.name == "token_expired" and signed.token and signed.token.session_handle:
            hint = "sidecar run renews it by itself with its next request; or " + hint
        return Finding(problem.name, explanation.sentence, hint)

    def hint(self, body: bytes) -> str:
        """What to do about a status that OAuth has nothing to do with; "" where nobody knows."""
        if self.response.status != 404:
            return ""
        if b'"errorMessages"' in body:
            return "Jira says 404, too, of what this user may not see"
        path = f"the context path {self._base.path}" if self._base.path else "no context path"
        return (
            f"no part of Jira answers at that path. jira.base_url has {path}: `sidecar check` says"
            " whether that is right"
        )

    def _problem(self, body: bytes) -> Problem | None:
        status, fields = self.response.status, self.response.fields
        form = body if status >= 400 else None
        return parse_problem(status, fields, form, self._acts_as) or foreign_answer(
            self._request.target.partition("?")[0].removeprefix(self._base.path),
            status,
            fields,
            (self._base.origin, self._signing_url.origin),
        )


@asynccontextmanager
async def send(config: Config, wanted: Wanted) -> AsyncIterator[Sent]:
    """Sign and send; the response is there to be read inside the context.

    Raises UsageError for what cannot be sent, and whatever Identity and Upstream raise.  The whole
    may take as long as timeouts.response, or it is a ResponseTimeout.
    """
    identity = Identity(config)
    try:
        request = _request(config, identity, wanted)
    except RequestRefused as refused:
        raise UsageError(refused.message, refused.hint) from None
    upstream = Upstream(config)
    try:
        async with limited(config.jira.base_url, config.timeouts.response):
            response = await upstream.send(request.request)
            try:
                yield Sent(identity, request, response)
            finally:
                response.close()
    finally:
        await upstream.close()


def check_usage(wanted: Wanted) -> None:
    """Raise UsageError for what makes no sense, whatever the configuration says."""
    try:
        where.check_form(wanted.where)
        _method(wanted)
        request_fields(_given(wanted.fields), b"localhost", b"0")
    except RequestRefused as refused:
        raise UsageError(refused.message, refused.hint) from None


def _method(wanted: Wanted) -> str:
    method = "GET" if wanted.data is None else "POST"
    if wanted.method is not None:
        method = wanted.method.upper()
    if method not in METHODS:
        raise UsageError(f"-X takes no method {quoted(method)}", f"there are {', '.join(METHODS)}")
    return method


def _request(config: Config, identity: Identity, wanted: Wanted) -> _Signed:
    target = where.target(config, wanted.where)
    method = _method(wanted)
    given = _given(wanted.fields)
    user = Acting(
        config.access.act_as, two_legged=config.jira.two_legged, user=config.jira.act_as
    ).user(given, None)
    fields = _fields(config, given, has_data=wanted.data is not None)
    body = wanted.data or b""
    content_type = first(fields, b"content-type")
    is_form = signature.is_form(method, content_type.decode("latin-1") if content_type else None)
    _refuse_reserved(target.query or "", body if is_form else b"", two_legged=identity.two_legged)
    target = acting_as(target, user)
    parameters = signature.encode_query(target.query) if target.query else []
    if is_form:
        parameters += signature.encode_form(body)
    if body or method in BODY_METHODS:
        fields.append((b"Content-Length", b"%d" % len(body)))
    signed = identity.sign(method, target.path, parameters)
    fields.append((b"Authorization", signed.authorization))
    request = UpstreamRequest(method, str(target), fields, body)
    return _Signed(request, signed, ActsAs.of(signed.token, user))


def _refuse_reserved(query: str, form: bytes, *, two_legged: bool) -> None:
    """Refuse parameters that could change who we are; of a query, clean() has refused most."""
    text = form.decode("latin-1")
    refuse_reserved(text, "form")
    if two_legged:
        refuse_requestor(query, "query")
        refuse_requestor(text, "form")


def _given(lines: Sequence[str]) -> Fields:
    """The fields of the command line, but Content-Length."""
    given: Fields = []
    for line in lines:
        match = _FIELD.fullmatch(line.encode("utf-8", "surrogateescape").strip())
        if match is None:
            # It may be a credential whose colon was forgotten: it is not quoted.
            raise UsageError(
                "-H takes a header field: a name, a colon, and a value without control characters",
                "for example: -H 'Accept: text/csv'",
            )
        given.append((match[1], match[2].strip()))
    return [field for field in given if field[0].lower() != b"content-length"]


def _fields(config: Config, given: Fields, *, has_data: bool) -> Fields:
    fields = request_fields(
        given, config.jira.base_url.authority.encode(), secrets.token_hex(8).encode()
    )
    if has_data and first(fields, b"content-type") is None:
        fields.append((b"Content-Type", b"application/json"))
    if first(fields, b"accept") is None:
        fields.append((b"Accept", b"*/*"))
    return fields

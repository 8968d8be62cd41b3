"""One signed request without a server: what `sidecar request` does."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.account.identity import Identity
from sidecar.account.own_requests import limited
from sidecar.account.remedies import Remedies
from sidecar.account.request_signer import Signed
from sidecar.config.load import Config
from sidecar.errors import RequestRefused, UsageError
from sidecar.http.fields import Fields, first
from sidecar.http.forwarding import request_fields
from sidecar.http.methods import BODY_METHODS, METHODS, SAFE_METHODS
from sidecar.http.shown import quoted
from sidecar.http.target import Target, absolute_form, clean, refuse_reserved
from sidecar.jira.problems import Problem, explain, foreign_answer, parse_problem
from sidecar.signing import signature
from sidecar.upstream.pool import Upstream, UpstreamRequest, UpstreamResponse


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


class Sent:
    """A signed request with its response, which is there to be read."""

    def __init__(
        self,
        identity: Identity,
        request: UpstreamRequest,
        signed: Signed,
        response: UpstreamResponse,
    ) -> None:
        self._base = identity.base_url
        self._signing_url = identity.signing_url.url
        self._remedies = Remedies(identity.request_signer)
        self._request = request
        self._signed = signed
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

    def _problem(self, body: bytes) -> Problem | None:
        status, fields = self.response.status, self.response.fields
        return parse_problem(status, fields, body if status >= 400 else None) or foreign_answer(
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
        request, signed = _request(config, identity, wanted)
    except RequestRefused as refused:
        raise UsageError(refused.message, refused.hint) from None
    upstream = Upstream(config)
    try:
        async with limited(config.jira.base_url, config.timeouts.response):
            response = await upstream.send(request)
            try:
                yield Sent(identity, request, signed, response)
            finally:
                response.close()
    finally:
        await upstream.close()


def _request(config: Config, identity: Identity, wanted: Wanted) -> tuple[UpstreamRequest, Signed]:
    target = _target(config, wanted.where)
    method = (wanted.method or ("GET" if wanted.data is None else "POST")).upper()
    if method not in METHODS:
        raise UsageError(f"-X takes no method {quoted(method)}", f"there are {', '.join(METHODS)}")
    fields = _fields(config, wanted)
    body = wanted.data or b""
    parameters = signature.encode_query(target.query) if target.query else []
    content_type = first(fields, b"content-type")
    if signature.is_form(method, content_type.decode("latin-1") if content_type else None):
        refuse_reserved(body.decode("latin-1"), "form")
        parameters += signature.encode_form(body)
    if body or method in BODY_METHODS:
        fields.append((b"Content-Length", b"%d" % len(body)))
    signed = identity.sign(method, target.path, parameters)
    fields.append((b"Authorization", signed.authorization))
    return UpstreamRequest(method, str(target), fields, body), signed


def _target(config: Config, where: str) -> Target:
    """A URL must be on the configured Jira: nothing is ever signed for another host."""
    base = config.jira.base_url
    if "://" in where and not where.startswith("/"):
        scheme, authority, where = absolute_form(where)
        if scheme != base.scheme or not base.is_same_authority(scheme, authority):
            raise UsageError(
                "that URL is not on the configured Jira",
                f"jira.base_url is {base}; a path such as /rest/api/2/myself will do",
            )
    return clean(where if where.startswith("/") else "/" + where, base.path)


def _fields(config: Config, wanted: Wanted) -> Fields:
    given: Fields = []
    for line in wanted.fields:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or "\n" in line or "\r" in line:
            # It may be a credential whose colon was forgotten: it is not quoted.
            raise UsageError("-H takes a header field", "for example: -H 'Accept: text/csv'")
        given.append((name.strip().encode(), value.strip().encode("utf-8", "surrogateescape")))
    given = [field for field in given if field[0].lower() != b"content-length"]
    fields = request_fields(
        given, config.jira.base_url.authority.encode(), secrets.token_hex(8).encode()
    )
    if wanted.data is not None and first(fields, b"content-type") is None:
        fields.append((b"Content-Type", b"application/json"))
    if first(fields, b"accept") is None:
        fields.append((b"Accept", b"*/*"))
    return fields

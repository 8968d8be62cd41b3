"""Signs a client's request, sends it to Jira, and sends it again if that heals a problem."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter

from sidecar.account.healing import Healer
from sidecar.account.identity import Identity
from sidecar.account.request_signer import Prepared, Signed
from sidecar.downstream.bodies import RequestBody
from sidecar.downstream.request import Request
from sidecar.errors import ConnectionLost, RequestRefused
from sidecar.http.fields import Fields, first
from sidecar.http.methods import BODY_METHODS, SAFE_METHODS
from sidecar.http.target import BaseURL, Target, acting_as, refuse_requestor, refuse_reserved
from sidecar.jira.problems import ActsAs, Problem, foreign_answer, hides_its_reason, parse_problem
from sidecar.jira.rate_limits import is_empty
from sidecar.jira.searches import is_search
from sidecar.pacing.kept import KeptResponse
from sidecar.pacing.lines import Lines
from sidecar.proxy.absorbing import Absorber
from sidecar.proxy.long_heads import LongHeads, is_too_long, send_as_post
from sidecar.proxy.outgoing import Exchanged, Outgoing
from sidecar.proxy.slots import Slot
from sidecar.signing import signature
from sidecar.signing.long_parameters import (
    MOST_PARAMETERS,
    STEP,
    LongParameters,
    count_parameters,
)
from sidecar.signing.signature import EncodedPair
from sidecar.signing.signatures import Signatures
from sidecar.signing.turns import Turns
from sidecar.telemetry.record import Record
from sidecar.upstream.pool import Upstream, UpstreamResponse

_PROBLEM_BYTES = 64 * 1024
_PROBLEM_STATUSES = frozenset({400, 401, 403, 503})
_FEW_PARAMETERS = 1000
"""Newer Tomcats read no more of query and form (maxParameterCount)."""
_LONG_BASE_STRING = 2000
"""Characters: encoded once more, as a refusal quotes it, a shorter one fits into 8 KiB."""
_RETRIED_METHODS = frozenset({"GET", "HEAD"})


class Sender:
    """Sends requests to Jira in our name."""

    def __init__(
        self,
        identity: Identity,
        upstream: Upstream,
        healer: Healer,
        signatures: Signatures,
        absorber: Absorber,
        lines: Lines,
        form_bytes: int,
    ) -> None:
        """`form_bytes` is the size of the largest form that is read."""
        self._identity = identity
        self._base = identity.base_url
        self._upstream = upstream
        self._healer = healer
        self._signatures = signatures
        self._absorber = absorber
        self._lines = lines
        self._form_bytes = form_bytes
        self._turns = Turns()
        self._long_heads = LongHeads()

    async def send(
        self,
        request: Request,
        target: Target,
        fields: Fields,
        body: RequestBody,
        record: Record,
        slot: Slot,
        user: str | None,
    ) -> Exchanged:
        """Sign and send, at most twice more: after a lost connection, and after healing.

        A lost connection is retried for GET and HEAD; any request, once it is healed and if
        Jira's refusal proves that nothing was done (healing.py).  Either needs the body to be
        still in memory, if there is one.  What waits for a renewal gives up its `slot`.  `user` is
        the one that a two-legged request names to Jira.
        """
        outgoing = await self._outgoing(request, acting_as(target, user), fields, body)
        outgoing.acting_as = user
        if outgoing.method == "GET" and is_search(target.path, self._base.path):
            outgoing.search = target.query
            if is_too_long(outgoing):
                await send_as_post(outgoing, record)
        if isinstance(outgoing.content, RequestBody) and self._healer.renewal.has_just_begun:
            async with slot.given_up():  # it can be sent only once
                await self._healer.renewal.wait_while_new()
        exchanged = await self._exchange(outgoing, record, slot)
        response = exchanged.response
        if response.status == 429 or self._lines.lines or is_empty(response.fields):
            exchanged = await self._absorber.absorb(
                exchanged,
                request,
                record,
                slot,
                user,
                lambda: self._exchange(outgoing, record, slot),
                self.close,
                may_repeat=outgoing.is_replayable and self._may_repeat(record, outgoing),
            )
        record.connecting = exchanged.response.connect_seconds
        record.first_byte = exchanged.response.first_byte_seconds
        return exchanged

    async def _exchange(self, outgoing: Outgoing, record: Record, slot: Slot) -> Exchanged:
        """Send, and send again what can be healed by that."""
        exchanged = await self._try(outgoing, record, None)
        if exchanged.problem is not None:
            exchanged = await self._heal(exchanged, outgoing, record, slot)
        elif hides_its_reason(exchanged.response.status, exchanged.response.fields):
            exchanged = await self._heal_long(exchanged, outgoing, record, slot)
        if exchanged.response.status == 400:
            self._long_heads.hint(outgoing, exchanged.signed.authorization)
        return exchanged

    async def _heal(
        self, exchanged: Exchanged, outgoing: Outgoing, record: Record, slot: Slot
    ) -> Exchanged:
        """Heal a problem and try again; what was exchanged before if that is of no use."""
        response, problem, signed, _ = exchanged
        assert problem is not None
        is_safe = record.method in SAFE_METHODS
        try:
            async with slot.given_up() if self._healer.takes_time(problem) else nullcontext():
                url = await self._healer.heal(problem, signed, response.fields, is_safe=is_safe)
        except BaseException:
            self.close(exchanged)
            raise
        if url is None:
            return exchanged
        if not outgoing.is_replayable:
            self._healer.believe(url)
            return exchanged._replace(is_put_right=True)
        self.close(exchanged)
        return await self._send_again(problem, outgoing, record, url)

    async def _heal_long(
        self, exchanged: Exchanged, outgoing: Outgoing, record: Record, slot: Slot
    ) -> Exchanged:
        """Ask by a short request what is wrong with a long one; send that again if it is safe."""
        signed = exchanged.signed
        if 0 < len(signed.base_string) < _LONG_BASE_STRING:
            return exchanged
        try:
            async with slot.given_up():
                problem = await self._healer.probe(signed)
        except BaseException:
            self.close(exchanged)
            raise
        is_healed = self._identity.signing_url.url != signed.url or self._healer.has_new_key
        if problem is None and len(outgoing.parameters) > _FEW_PARAMETERS:
            problem = Problem("signature_invalid", meaning="too_many_parameters")
            return exchanged._replace(problem=problem)
        may_resend = record.method in _RETRIED_METHODS and outgoing.is_replayable
        if problem is None or not is_healed or not may_resend:
            return exchanged._replace(problem=problem, is_put_right=is_healed)
        self.close(exchanged)
        return await self._send_again(problem, outgoing, record, None)

    async def _send_again(
        self, problem: Problem, outgoing: Outgoing, record: Record, url: BaseURL | None
    ) -> Exchanged:
        """Try once more what was healed of a problem, and tell the healer how that went."""
        record.retries += 1
        record.resent_for = problem.label
        exchanged = await self._try(outgoing, record, url)
        self._healer.tried(problem, exchanged.signed, exchanged.problem)
        return exchanged

    async def _try(self, outgoing: Outgoing, record: Record, url: BaseURL | None) -> Exchanged:
        """Sign, for `url` if given, and send; once more if the connection is lost and may be."""
        fresh = False
        while True:
            started = perf_counter()
            prepared = self._identity.prepare(
                outgoing.method, outgoing.target.path, outgoing.parameters, url
            )
            signed = prepared.signed(await self._signature(prepared))
            record.signing += perf_counter() - started
            if outgoing.search is not None and is_too_long(outgoing, signed.authorization):
                await send_as_post(outgoing, record)
                continue
            self._identity.in_flight.add(signed.nonce)
            try:
                response = await self._upstream.send(
                    outgoing.signed(signed.authorization), fresh=fresh
                )
            except BaseException as error:
                self._identity.in_flight.discard(signed.nonce)
                if not (outgoing.may_reconnect and isinstance(error, ConnectionLost)):
                    raise
                outgoing.may_reconnect = False
                fresh = True
                record.retries += 1
                continue
            try:
                problem = await self._problem(outgoing, response, signed)
            except BaseException:
                self.close(Exchanged(response, None, signed))
                raise
            return Exchanged(response, problem, signed)

    def close(self, exchanged: Exchanged) -> None:
        """End an exchange: its response was read, or is of no use."""
        exchanged.response.close()
        self._identity.in_flight.discard(exchanged.signed.nonce)

    async def _signature(self, prepared: Prepared) -> bytes:
        """Make the signature; of long parameters in steps, of which each is a turn of the loop."""
        hashing = prepared.unsigned.hashing
        if hashing is None:
            return await self._signatures.make(prepared.signer, prepared.base_string)
        return prepared.signer.sign_hash(await self._turns.finish(hashing))

    async def _outgoing(
        self, request: Request, target: Target, fields: Fields, body: RequestBody
    ) -> Outgoing:
        method, chunked = request.message.method, request.message.chunked
        content: bytes | RequestBody
        form = b""
        if signature.is_form(method, _content_type(fields)):
            content = form = await body.read_all(self._form_bytes)
        else:
            whole = body.at_hand()
            content = body if whole is None else whole
        return Outgoing(
            method,
            target,
            _parameters(target.query or "", form, self._check_form),
            fields + _framing(method, content, fields, chunked=chunked),
            content,
            chunked=chunked and content is body,
            may_reconnect=method in _RETRIED_METHODS,
        )

    async def _problem(
        self, outgoing: Outgoing, response: UpstreamResponse, signed: Signed
    ) -> Problem | None:
        """What is wrong with the answer as far as OAuth goes; its body stays readable."""
        body = None
        may_tell = response.status in _PROBLEM_STATUSES and outgoing.method != "HEAD"
        if may_tell and not _is_document(response.fields):
            body = await first_bytes(response, _PROBLEM_BYTES)
        acts_as = ActsAs.of(signed.token, outgoing.acting_as)
        problem = parse_problem(response.status, response.fields, body, acts_as) or foreign_answer(
            outgoing.target.path.removeprefix(self._base.path),
            response.status,
            response.fields,
            (self._base.origin, self._identity.signing_url.url.origin),
        )
        if problem is None:
            self._identity.clock.watch(
                response.fields, signed.clock_correction, response.first_byte_seconds
            )
        return problem

    def _may_repeat(self, record: Record, outgoing: Outgoing) -> bool:
        """Whether a request may be sent again that Jira has refused before it looked at it."""
        return record.method in SAFE_METHODS or (
            record.method == "POST" and is_search(outgoing.target.path, self._base.path)
        )

    def _check_form(self, text: str) -> None:
        """Raise RequestRefused where a form could change who we are."""
        refuse_reserved(text, "form")
        if self._identity.two_legged:
            refuse_requestor(text, "form")


def _parameters(
    query: str, form: bytes, check_form: Callable[[str], None]
) -> list[EncodedPair] | LongParameters:
    """What is signed of a query and a form; RequestRefused where Jira would read it otherwise."""
    if len(form) > signature.FORM_LIMIT:
        form = b""  # it is not parsed
    if form and count_parameters(query.encode()) + count_parameters(form) > MOST_PARAMETERS:
        raise RequestRefused(
            413,
            f"The form has more than {MOST_PARAMETERS:,} parameters, and Jira reads no more.",
            "send JSON, or several requests",
        )
    if len(query) + len(form) > STEP:
        return LongParameters(query, form, check_form)
    parameters = signature.encode_query(query) if query else []
    if form:
        check_form(form.decode("latin-1"))
        parameters += signature.encode_form(form)
    return parameters


async def first_bytes(response: UpstreamResponse | KeptResponse, limit: int) -> bytes:
    """The first bytes of a body, decoded; they are still there to be relayed."""
    data = await response.peek(limit)
    if (first(response.fields, b"content-encoding") or b"").lower() != b"gzip":
        return data
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, limit)
    except zlib.error:
        return b""


def _is_document(fields: Fields) -> bool:
    """Whether a body is JSON or a page, as Jira's ordinary errors are, and no OAuth problem."""
    content_type = (first(fields, b"content-type") or b"").lower()
    return b"json" in content_type or b"html" in content_type


def _framing(method: str, content: bytes | RequestBody, fields: Fields, *, chunked: bool) -> Fields:
    """The framing field to add: the client's Content-Length passes by itself."""
    if isinstance(content, RequestBody):
        return [(b"Transfer-Encoding", b"chunked")] if chunked else []
    if first(fields, b"content-length") is not None:
        return []
    if content or method in BODY_METHODS:
        return [(b"Content-Length", b"%d" % len(content))]
    return []


def _content_type(fields: Fields) -> str | None:
    value = first(fields, b"content-type")
    return None if value is None else value.decode("latin-1")

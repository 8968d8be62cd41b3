"""The sidecar's own answers: Jira's shape, RFC 9209's field, framing that fits."""

from __future__ import annotations

import asyncio
import json
import re
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.replies import RETRY_AFTER_SECONDS, error_reply, json_reply
from sidecar.errors import ConfigError, NotAuthorized, Overloaded, RequestRefused, SidecarError
from sidecar.proxy import relay
from tests.conftest import Running
from tests.support.raw_upstream import Exchange, RawUpstream


@given(st.text(), st.text())
def test_an_error_says_what_and_what_to_do(message: str, hint: str) -> None:
    reply = error_reply(SidecarError(message, hint), head_only=False)
    content = json.loads(reply.body)
    assert content["errors"] == {}
    assert content["errorMessages"][0].startswith(f"sidecar: {message}")
    assert hint in content["errorMessages"][0]
    for name, value in reply.fields:
        assert re.fullmatch(rb"[A-Za-z-]+", name)
        assert not re.search(rb"[\x00-\x1f\x7f-\xff]", value)


def test_an_error_names_its_kind_for_machines() -> None:
    fields = dict(error_reply(NotAuthorized('No "token".', "run it"), head_only=False).fields)
    assert fields[b"Proxy-Status"] == (
        b'sidecar; error=proxy_configuration_error; details="No \\"token\\". Hint: run it."'
    )
    assert b"Retry-After" not in fields


def test_what_is_wrong_ends_before_the_hint_begins() -> None:
    """A message that names a file has no full stop of its own."""
    reply = error_reply(ConfigError("token.json: is damaged", "move it away"), head_only=True)
    said = "token.json: is damaged. Hint: move it away."
    assert json.loads(reply.body)["errorMessages"] == [f"sidecar: {said}"]
    assert dict(reply.fields)[b"Proxy-Status"].endswith(f'details="{said}"'.encode())


def test_overload_says_when_to_come_again() -> None:
    fields = dict(error_reply(Overloaded("full"), head_only=False).fields)
    assert int(fields[b"Retry-After"]) == RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("kind", "stays"), [("http_request_error", False), ("http_request_denied", True)]
)
def test_what_was_not_understood_ends_the_connection(kind: str, stays: bool) -> None:
    refused = RequestRefused(400, "no", proxy_error=kind, fields=(("Allow", "GET"),))
    reply = error_reply(refused, extra=[(b"Vary", b"Origin")], head_only=False)
    assert reply.keep_alive is stays
    assert reply.fields[-2:] == [(b"Allow", b"GET"), (b"Vary", b"Origin")]


def test_json_is_utf_8() -> None:
    reply = json_reply(200, {"name": "Jürgen"})
    assert json.loads(reply.body.decode()) == {"name": "Jürgen"}
    assert (b"Cache-Control", b"no-store") in reply.fields


async def test_an_answer_of_our_own_is_complete_http(edge: Running) -> None:
    answer = await edge.get("/_sidecar/health")
    assert int(answer["Content-Length"]) == len(answer.body)
    assert parsedate_to_datetime(answer["Date"]).tzinfo is not None
    assert (answer.reason, answer.all("Connection")) == (b"OK", [])


async def test_an_answer_to_head_has_the_fields_of_the_one_to_get(edge: Running) -> None:
    got = await edge.get("/_sidecar/nothing")
    head = await edge.request("HEAD", "/_sidecar/nothing")
    dated = (b"Date", b"X-Request-Id")
    assert [f for f in head.fields if f[0] not in dated] == [
        f for f in got.fields if f[0] not in dated
    ]


async def test_204_has_neither_body_nor_length(edge: Running) -> None:
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("DELETE", "/rest/auth/1/session"))
            answer = await wire.receive()
            assert (answer.status, answer.all("Content-Length")) == (204, [])


async def test_http_1_0_is_told_whether_the_connection_stays(edge: Running) -> None:
    message = edge.message("GET", "/_sidecar/health", ("Connection", "keep-alive"))
    async with await edge.wire() as wire:
        await wire.send(message.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await wire.receive())["Connection"] == "keep-alive"
        await wire.send(edge.message("GET", "/_sidecar/health").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await wire.receive())["Connection"] == "close"
        assert await wire.end() == (b"", False)


async def test_a_refused_request_with_its_body_here_leaves_the_connection_open(
    edge: Running,
) -> None:
    async with await edge.wire() as wire:
        for _ in range(2):
            await wire.send(edge.message("POST", "/x", ("Origin", "http://evil.test"), body=b"{}"))
            answer = await wire.receive()
            assert (answer.status, answer.all("Connection")) == (403, [])


async def test_what_goes_wrong_within_an_answer_is_not_told_in_the_middle_of_it(
    edge: Running, upstream: RawUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest would be taken for its body: it is cut short."""

    def broken(self: relay.Relay, out: bytes) -> bytes:
        if out == b"second":
            raise ZeroDivisionError
        return whole(self, out)

    whole = relay.Relay._framed
    monkeypatch.setattr(relay.Relay, "_framed", broken)
    go_on = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
        await go_on.wait()
        await exchange.answer(b"second")

    upstream.handler = answer
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/x"))
        await wire.head()
        assert await wire.reader.readexactly(5) == b"first"
        go_on.set()
        assert await wire.end() == (b"", True)

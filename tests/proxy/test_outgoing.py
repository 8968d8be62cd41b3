"""A request that waits for its signature."""

from __future__ import annotations

from sidecar.downstream.bodies import RequestBody
from sidecar.http.target import Target
from sidecar.proxy.outgoing import Outgoing
from sidecar.signing.signature import encode_parameters


def test_the_signature_comes_last_and_shows_in_no_repr() -> None:
    fields = [(b"Host", b"jira.example.com")]
    signed = encode_parameters([("n4me", "v4lue")])
    outgoing = Outgoing("POST", Target("/a", "b=c"), signed, fields, b"body", False, False)
    assert outgoing.is_replayable
    for authorization in (b"OAuth 1", b"OAuth 2"):
        request = outgoing.signed(authorization)
        assert (request.method, request.target, request.body) == ("POST", "/a?b=c", b"body")
        assert request.fields == [*fields, (b"Authorization", authorization)]
    for hidden in ("body", "n4me", "v4lue", "jira.example.com"):
        assert hidden not in repr(outgoing)
    assert outgoing.fields == fields


def test_a_request_is_framed_as_it_was_made_up() -> None:
    for chunked in (False, True):
        outgoing = Outgoing("POST", Target("/a", None), [], [], b"", chunked, False)
        assert outgoing.signed(b"OAuth").chunked == chunked
        assert outgoing.acting_as is None


def test_a_body_that_was_streamed_begins_again_with_each_signature() -> None:
    body = RequestBody.__new__(RequestBody)  # nothing of it is read here
    outgoing = Outgoing("POST", Target("/a", None), [], [], body, True, False)
    for replayed in (0, 7):
        body._replayed = replayed
        assert outgoing.signed(b"OAuth").body is body
        assert body._replayed == 0

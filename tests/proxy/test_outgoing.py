"""A request that waits for its signature."""

from __future__ import annotations

from sidecar.downstream.bodies import RequestBody
from sidecar.http.target import Target
from sidecar.jira.problems import Problem, explain
from sidecar.proxy.outgoing import Outgoing
from sidecar.sandbox import Sandbox
from sidecar.signing.signature import encode_parameters
from tests.conftest import Running


def test_the_signature_comes_last_and_shows_in_no_repr() -> None:
    fields = [(b"Host", b"jira.example.com")]
    signed = encode_parameters([("n4me", "v4lue")])
    outgoing = Outgoing("POST", Target("/a", "b=c"), signed, fields, b"body", False, False)
    outgoing.search = "jql=s3cret"
    assert outgoing.is_replayable
    for authorization in (b"OAuth 1", b"OAuth 2"):
        request = outgoing.signed(authorization)
        assert (request.method, request.target, request.body) == ("POST", "/a?b=c", b"body")
        assert request.fields == [*fields, (b"Authorization", authorization)]
    for hidden in ("body", "n4me", "v4lue", "jira.example.com", "s3cret"):
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


async def test_what_nothing_has_put_right_is_not_to_be_sent_again(
    sandbox: Sandbox, sidecar: Running
) -> None:
    sandbox.faults.problem = "consumer_key_unknown"
    for method in ("GET", "POST"):
        answer = await sidecar.request(method, "/rest/api/2/issue", body=b"{}")
        assert explain(Problem("consumer_key_unknown")).hint in answer["Sidecar-Problem"]
        assert "send" not in answer["Sidecar-Problem"]

"""Hostile header fields: what leaves us is one well-formed head, ours where it must be."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from sidecar.access.acting import Acting
from sidecar.errors import ProtocolError, RequestRefused
from sidecar.http.fields import Field, Fields, Received, first, lacks, serialize, values
from sidecar.http.forwarding import request_fields, response_fields
from sidecar.telemetry.record import shown_id
from tests.fuzz.pieces import attempt, words

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
OURS = b"jira.example.com"
NEVER_SENT = re.compile(
    r"authorization|proxy-authorization|cookie2?|origin|referer|sec-.*|forwarded|x-forwarded-.*"
    r"|x-real-ip|x-sidecar-act-as|x-sidecar-key|x-http-method(-override)?|x-method-override"
    r"|x-original-ur[il]|x-rewrite-url|te|trailer|transfer-encoding|upgrade|connection|keep-alive|proxy-connection"
    r"|expect|http2-settings"
)
NEVER_RECEIVED = re.compile(
    r"set-cookie2?|strict-transport-security|access-control-.*|alt-svc|proxy-status"
    r"|sidecar-problem|transfer-encoding|connection|keep-alive|proxy-authenticate|upgrade|trailer"
)

known_names = st.sampled_from(
    words(
        "Host Content-Length Transfer-Encoding Connection Authorization Cookie Origin Referer"
        " Sec-Fetch-Site X-Forwarded-For X_Forwarded_For X_Forwarded-Host Content_Length"
        " Transfer_Encoding HOST host X-Sidecar-Key X_Sidecar_Key X-HTTP-Method-Override"
        " X_HTTP_Method_Override X-Original-URL X-Rewrite-URL Accept-Encoding Range User-Agent"
        " X-Atlassian-Token x_atlassian_token X-Request-Id Expect TE Upgrade Set-Cookie Location"
        " Access-Control-Allow-Origin Strict-Transport-Security Sidecar-Problem Proxy-Status ETag"
        " Content-Type Keep-Alive Proxy-Connection"
    )
).map(str.encode)
any_names = st.text(TOKEN_BYTES.decode(), min_size=1, max_size=12).map(str.encode)


@st.composite
def recased(draw: st.DrawFn) -> bytes:
    """A known name in letters of any case."""
    name = draw(known_names).decode()
    return "".join(draw(st.sampled_from([c.lower(), c.upper()])) for c in name).encode()


names = known_names | any_names | recased()
nominations = st.lists(names | st.sampled_from([b"close", b"", b" "]), max_size=4).map(b" , ".join)
field_values = (
    nominations
    | st.sampled_from([b"chunked", b"0", b"Mozilla/5.0", b"gzip;q=0, *", b"bytes=0-", b"no-check"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.encode)
    | st.binary(max_size=6)
)
received = st.lists(
    st.tuples(names, field_values.map(lambda value: value.strip(b" \t"))), max_size=10
)
from_clients = received.map(
    lambda fields: [(n, v) for n, v in fields if not re.search(rb"[\x00\r\n]", v)]
)
"""aiohttp's parser lets none of NUL, CR and LF through; the raw cases prove that."""


def lines_of(head: bytes) -> list[bytes]:
    """The lines of a head as any reader finds them: bare CR and LF end one, too."""
    return re.split(rb"\r\n|\r|\n", head.removesuffix(b"\r\n\r\n"))


def names_of(fields: Fields) -> list[str]:
    """Names as a server has them that reads fields as environment variables."""
    return [name.decode().lower().replace("_", "-") for name, _ in fields]


@given(from_clients)
def test_what_goes_to_jira_is_one_head_that_only_we_frame_and_sign(raw: list[Field]) -> None:
    sent = attempt(lambda: request_fields(raw, OURS, b"id"))
    if not isinstance(sent, list):
        assert isinstance(sent, RequestRefused)
        assert sent.status == 400
        assert any(not _is_utf8(value) for _, value in raw)
        return
    assert sent[0] == (b"Host", OURS)
    assert names_of(sent).count("host") == 1
    assert not [name for name in names_of(sent) if NEVER_SENT.fullmatch(name)]
    assert lines_of(serialize(b"GET / HTTP/1.1", sent)) == [
        b"GET / HTTP/1.1",
        *(b"%b: %b" % field for field in sent),
    ]
    added = [field for field in sent[1:] if field not in raw]
    assert {name.lower() for name, _ in added} <= {
        b"accept-encoding",
        b"user-agent",
        b"x-atlassian-token",
        b"x-request-id",
    }
    kept = [field for field in sent[1:] if field not in added]
    rest = iter(raw)
    assert all(field in rest for field in kept if field[0].lower() != b"accept-encoding")
    assert {b"x-atlassian-token", b"x-request-id"} <= {name.lower() for name, _ in sent}


@given(from_clients)
def test_nothing_that_connection_names_can_take_our_framing_away(raw: list[Field]) -> None:
    lengths = [field for field in raw if field[0].lower() == b"content-length"]
    hostile = [*raw, (b"Connection", b"Host, Content-Length, Authorization, X-Request-Id")]
    try:
        sent = request_fields(hostile, OURS, b"id")
    except RequestRefused:
        return
    assert [field for field in sent if field[0].lower() == b"content-length"] == lengths
    assert [value for name, value in sent if name.lower() == b"x-request-id"] == [b"id"]


@given(received)
def test_what_comes_from_jira_is_one_head_without_what_is_ours_to_say(raw: list[Field]) -> None:
    try:
        kept = response_fields(raw)
    except ProtocolError:
        assert any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value) for _, value in raw)
        return
    assert not [name for name, _ in kept if NEVER_RECEIVED.fullmatch(name.decode().lower())]
    assert lines_of(serialize(b"HTTP/1.1 200 OK", kept))[1:] == [
        b"%b: %b" % field for field in kept
    ]
    rest = iter(raw)
    assert all(field in rest for field in kept), "in their order, unchanged"


@given(st.binary(max_size=300))
def test_a_request_id_is_shown_without_harm(value: bytes) -> None:
    assert re.fullmatch(r"[!-~]{0,128}", shown_id(value))


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def outcome(call: Callable[..., Fields], *arguments: object, **more: bool) -> Fields | str:
    try:
        return call(*arguments, **more)
    except (ProtocolError, RequestRefused) as error:
        return error.message


@given(received, st.booleans())
def test_fields_whose_names_are_known_are_treated_as_any_others(
    fields: list[Field], body_changes: bool
) -> None:
    known = Received(fields)
    for host, own_id in ((OURS, b"1"), (OURS, b"2"), (b"other.example.com", b"3")):
        expected = outcome(request_fields, fields, host, own_id)
        found = outcome(request_fields, known, host, own_id)
        assert found == expected
        if isinstance(found, list):
            found.append((b"X", b"y"))  # what is done with it changes nothing for the next request
    for _ in range(2):
        expected = outcome(response_fields, fields, body_changes=body_changes)
        assert outcome(response_fields, known, body_changes=body_changes) == expected


@given(received, st.sampled_from([None, "ci-bot"]))
def test_what_is_looked_up_by_known_names_is_what_a_search_finds(
    fields: list[Field], user: str | None
) -> None:
    known = Received(fields)
    for name in {field[0].lower() for field in fields} | {b"host", b"x-sidecar-act-as"}:
        assert values(known, name) == values(fields, name)
        assert first(known, name) == first(fields, name)
        assert lacks(known, name) is (first(fields, name) is None)
        assert (name in known.names.repeated) is (len(values(fields, name)) > 1)

    def judged(what: list[Field]) -> object:
        try:
            return Acting(["ci-*"], two_legged=True, user=user).user(what, None)
        except RequestRefused as refused:
            return refused.message

    assert judged(known) == judged(fields)

"""Searches that Tomcat would refuse for their length, and what is said of other long requests."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from sidecar.http.target import Target
from sidecar.proxy.long_heads import LongHeads
from sidecar.proxy.outgoing import Outgoing
from sidecar.sandbox import Sandbox
from tests.conftest import MakeSidecar, Running
from tests.support.raw_upstream import Exchange, RawUpstream
from tests.support.wire import Response

SEARCH = "/rest/api/2/search"
TOMCAT = 8 * 1024
KEYS = ", ".join(f"JJ-{number}" for number in range(1, 31))
LONG = f"key in ({KEYS}) AND (" + " OR ".join([f'summary ~ "Größe 🖍 {n}"' for n in range(300)])
LONG += " OR project = JJ) ORDER BY key"


def query(**parameters: Any) -> str:
    return urlencode(parameters, doseq=True)


@pytest.fixture
def strict(sandbox: Sandbox) -> Sandbox:
    """A Jira whose Tomcat takes heads of 8 KiB, as it does unless somebody has raised that."""
    sandbox.faults.refuse_long_heads = True
    return sandbox


@pytest.mark.parametrize("context", ["", "/jira"])
@pytest.mark.parametrize("path", [SEARCH, "/rest/api/latest/search/"])
async def test_a_long_search_is_answered_page_by_page(
    strict: Sandbox, sidecar: Running, context: str, path: str
) -> None:
    found = []
    for start in (0, 10, 20):
        more = query(jql=LONG, startAt=start, maxResults=10, fields=["summary,status", "labels"])
        answer = await sidecar.get(f"{context}{path}?{more}")
        assert answer.status == 200
        page = answer.json()
        assert (page["startAt"], page["maxResults"], page["total"]) == (start, 10, 30)
        assert set(page["issues"][0]["fields"]) == {"summary", "status", "labels"}
        assert page["issues"][0]["self"].startswith(f"http://{sidecar.authority}/jira/")
        found += [issue["key"] for issue in page["issues"]]
    assert len(set(found)) == 30
    assert {request.method for request in strict.log} == {"POST"}
    assert {request.target for request in strict.log} == {f"/jira{path}"}


async def test_the_answer_is_the_one_that_the_get_would_have_had(
    sandbox: Sandbox, sidecar: Running
) -> None:
    short = query(jql=f"key in ({KEYS})", expand="transitions,changelog", maxResults=7)
    padded = query(jql=f"key in ({KEYS}){' ' * 9000}", expand=["transitions", "changelog"])
    padded += "&maxResults=7"
    answers = [await sidecar.get(f"{SEARCH}?{each}") for each in (short, padded)]
    assert [request.method for request in sandbox.log] == ["GET", "POST"]
    assert answers[0].json() == answers[1].json()


async def sent(edge: Running, upstream: RawUpstream, method: str, target: str, *f: Any) -> Exchange:
    """What reaches Jira of a request."""
    answer = await edge.request(method, target, *f)
    assert answer.status == 200 or method == "HEAD"  # which this upstream answers as a GET
    exchange = upstream.exchanges[-1]
    await exchange.read_body()
    return exchange


def start(exchange: Exchange) -> list[str]:
    return exchange.head.split(b"\r\n")[0].decode().split(" ")[:2]


async def test_a_head_that_fits_goes_as_it_came(edge: Running, upstream: RawUpstream) -> None:
    """The head is that which Jira gets: the signature and all fields count."""
    target = f"{SEARCH}?jql="
    whole = len((await sent(edge, upstream, "GET", target)).head)
    room = TOMCAT - whole
    for left_over in range(40, 60, 4):  # the signature's length varies by its + and /
        exchange = await sent(edge, upstream, "GET", target + "x" * (room - left_over))
        assert start(exchange)[0] == "GET"
        assert len(exchange.head) <= TOMCAT
    exchange = await sent(edge, upstream, "GET", target + "x" * (room + 60))
    assert start(exchange) == ["POST", SEARCH]
    exchange = await sent(edge, upstream, "GET", target, ("X-Long", "x" * (room + 60)))
    assert start(exchange) == ["POST", SEARCH]


async def test_no_head_is_over_what_tomcat_takes_at_the_border(
    edge: Running, upstream: RawUpstream
) -> None:
    whole = len((await sent(edge, upstream, "GET", f"{SEARCH}?jql=")).head)
    for more in range(-40, 40, 3):
        target = f"{SEARCH}?jql=" + "x" * (TOMCAT - whole + more)
        assert len((await sent(edge, upstream, "GET", target)).head) <= TOMCAT


async def test_the_body_of_the_post_is_framed_and_named_as_json(
    edge: Running, upstream: RawUpstream
) -> None:
    fields = [
        ("Content-Type", "text/plain"),
        ("Content-Encoding", "gzip"),
        ("Content-MD5", "of the body"),
        ("Content-Digest", "of the body"),
        ("DIGEST", "of the body"),
        ("Repr-Digest", "of the body"),
        ("If-None-Match", '"x"'),
        ("Accept", "application/json"),
        ("Transfer-Encoding", "chunked"),
    ]
    head = edge.message("GET", f"{SEARCH}?{query(jql=LONG, startAt='3')}", *fields)
    async with await edge.wire() as wire:
        await wire.send(head, b"2\r\n{}\r\n", b"0\r\n\r\n")  # as jira-client sends with a GET
        exchange = await upstream.request()
        body = await exchange.read_body()
        assert (await wire.receive()).status == 200
    assert json.loads(body) == {"jql": LONG, "startAt": 3}
    assert exchange.all("content-type") == ["application/json"]
    assert ("Content-Type", "application/json") in exchange.fields
    assert exchange.all("content-length") == [str(len(body))]
    assert ("Content-Length", str(len(body))) in exchange.fields
    assert not exchange.all("content-encoding") + exchange.all("transfer-encoding")
    assert "of the body" not in dict(exchange.fields).values()
    assert exchange.all("if-none-match") == ['"x"']
    assert exchange.all("accept") == ["application/json"]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", f"{SEARCH}?jql={'x' * 9000}"),
        ("GET", f"{SEARCH}?jql={'x' * 9000}&other=1"),
        ("GET", f"{SEARCH}?jql={'x' * 9000}&startAt=one"),
        ("GET", f"/rest/api/2/user/search?jql={'x' * 9000}"),
        ("GET", f"/rest/api/2/search/jql?jql={'x' * 9000}"),
        ("DELETE", f"{SEARCH}?jql={'x' * 9000}"),
    ],
)
async def test_what_is_no_such_search_goes_unchanged(
    edge: Running, upstream: RawUpstream, method: str, target: str
) -> None:
    assert start(await sent(edge, upstream, method, target)) == [method, target]


async def test_it_is_retried_like_the_get_that_it_is(edge: Running, upstream: RawUpstream) -> None:
    async def lose_first(exchange: Exchange) -> None:
        await exchange.read_body()
        if len(upstream.exchanges) == 1:
            exchange.writer.close()
        else:
            await exchange.say(b"{}", "Content-Type: application/json")

    upstream.handler = lose_first
    assert (await edge.get(f"{SEARCH}?{query(jql=LONG)}")).status == 200
    assert [start(exchange)[0] for exchange in upstream.exchanges] == ["POST", "POST"]
    bodies = [bytes(exchange.body) for exchange in upstream.exchanges]
    assert bodies[0] == bodies[1] != b""


async def test_it_is_healed_like_the_get_that_it_is(strict: Sandbox, sidecar: Running) -> None:
    """A used nonce may mean that a copy was acted upon: only a safe request is sent again."""
    strict.faults.nonce_used = 1
    assert (await sidecar.get(f"{SEARCH}?{query(jql=LONG)}")).status == 200
    assert [request.verdict for request in strict.log] == ["nonce_used", "ok"]


async def answered(sidecar: Running) -> Response:
    return await sidecar.get(f"{SEARCH}?{query(jql=LONG)}")


async def test_rules_see_the_request_as_it_came(
    strict: Sandbox, make_sidecar: MakeSidecar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    token = strict.grant().token
    denies = await make_sidecar(strict.url, token=token, access__deny=[f"POST {SEARCH}"])
    assert (await answered(denies)).status == 200
    reads = await make_sidecar(strict.url, access__read_only=True, access__allow=["GET /**"])
    assert (await answered(reads)).status == 200
    denies_get = await make_sidecar(strict.url, access__deny=[f"GET {SEARCH}"])
    assert (await answered(denies_get)).status == 403
    assert f"GET {SEARCH} 200" in caplog.text
    assert "sent_as=POST" in caplog.text


async def test_a_two_legged_search_still_names_its_user(
    make_sandbox: Any, make_sidecar: MakeSidecar
) -> None:
    link = await make_sandbox(two_legged=True, impersonation=True)
    link.faults.refuse_long_heads = True
    sidecar = await make_sidecar(link.url, jira__two_legged=True, access__act_as=["*"])
    target = f"{SEARCH}?{query(jql=LONG)}"
    answer = await sidecar.get(target, ("X-Sidecar-Act-As", "william"))
    assert answer.status == 200
    assert (link.log[-1].method, link.log[-1].user) == ("POST", "william")
    assert link.log[-1].target == f"{SEARCH}?xoauth_requestor_id=william"


@pytest.mark.parametrize(("over", "is_hinted"), [(0, False), (1, True)])
def test_a_head_of_as_many_bytes_as_tomcat_takes_is_not_too_long(
    caplog: pytest.LogCaptureFixture, over: int, is_hinted: bool
) -> None:
    authorization = b"OAuth " + b"x" * 500
    rest = len("GET  HTTP/1.1\r\nAuthorization: \r\n\r\n") + len(authorization)
    target = Target("/" + quote("x" * (TOMCAT + over - 1 - rest)), None)
    outgoing = Outgoing("GET", target, [], [], b"", chunked=False, may_reconnect=True)
    LongHeads().hint(outgoing, authorization)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == is_hinted
    for message in told:
        assert message.startswith(
            "Jira answered 400 to a request whose head has 8193 bytes; Tomcat refuses those over"
            " 8 KiB. What to do: send less in the query"
        )

"""Connections to Jira: which one is taken, kept, renewed or given up."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import (
    ConnectionLost,
    ConnectionRefused,
    NameNotResolved,
    ProtocolError,
    UpstreamError,
)
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.exchange import UpstreamResponse
from sidecar.upstream.pool import MOST_AGE
from tests.conftest import MakeSidecar
from tests.support.clocks import LoopClock
from tests.support.jira_edge import (
    Connect,
    Serve,
    connect,
    get,
    nothing_is_left,
    request,
    serve,
    whole,
)
from tests.support.raw_server import Peer, answers, field, once
from tests.support.waiting import SOON, until

__all__ = ["connect", "nothing_is_left", "serve"]

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Resolve = Callable[..., list[str]]


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# The pool


async def test_requests_one_after_another_share_a_connection(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    for number in range(5):
        assert await get(upstream, f"/{number}") == b"GET /%d HTTP/1.1" % number
    assert len(server.peers) == 1


async def test_requests_at_once_have_connections_of_their_own_that_are_kept(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    for _ in range(3):
        found = await asyncio.gather(*(get(upstream, f"/{number}") for number in range(8)))
        assert found == [b"GET /%d HTTP/1.1" % number for number in range(8)]
    assert len(server.peers) == 8


async def test_every_connection_is_bounded(serve: Serve, connect: Connect) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert {type(connection) for connection in upstream.connections} == {UpstreamConnection}
    await whole(response)


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset, Peer.cut])
async def test_a_connection_that_ended_while_idle_is_not_used_again(
    serve: Serve, connect: Connect, end: Callable[[Peer], None]
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    end(server.peers[0])
    if end is not Peer.cut:  # which the loop has not seen yet, only the kernel
        await server.end()
    # A POST, which is never retried.
    assert await whole(await upstream.send(request("POST"))) == b"POST / HTTP/1.1"
    assert len(server.peers) == 2


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "still in the kernel"])
@pytest.mark.parametrize(
    "poison",
    [
        OK + b"Content-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        OK + b"X-Evil: ",
        b"HTTP/1.1 2",
        b"\r\n",
        b"\x00",
    ],
    ids=repr,
)
async def test_bytes_that_nobody_asked_for_are_not_taken_for_the_next_answer(
    serve: Serve, connect: Connect, poison: bytes, seen: bool
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    first = server.peers[0]
    first.writer.write(poison)
    if seen:
        await server.end()  # we ended it
    assert await get(upstream, "/next") == b"GET /next HTTP/1.1"
    assert len(server.peers) == 2


async def test_an_answer_behind_the_answer_is_discarded_with_its_connection(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    assert await get(upstream) == b"ok"
    assert await get(upstream) == b"ok"
    assert len(server.peers) == 2


async def test_a_server_that_speaks_first_is_an_error_and_not_a_loop(
    serve: Serve, connect: Connect
) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    with pytest.raises(ProtocolError):
        await upstream.send(request())
    assert len(server.peers) == 1


@pytest.mark.parametrize(
    ("early", "error"), [(b"SSH-2.0-x\r\n", ProtocolError), (b"", ConnectionLost)], ids=repr
)
async def test_what_happens_between_connecting_and_asking_is_noticed(
    serve: Serve, connect: Connect, early: bytes, error: type[UpstreamError]
) -> None:
    async def script(peer: Peer) -> None:
        if early:
            await peer.send(early)
            await peer.gone()

    server = await serve(script)
    upstream = await connect(server.url)
    connection = await upstream._dial()
    await until(lambda: connection.transport is None, SOON)
    response = UpstreamResponse(
        asyncio.get_running_loop(), upstream._terms, connection, 0.0, upstream._give_back
    )
    with pytest.raises(error):
        await response.exchange(b"GET / HTTP/1.1\r\n\r\n", request())


async def test_what_was_peeked_at_is_still_read(serve: Serve, connect: Connect) -> None:
    body = bytes(range(256)) * 1024
    server = await serve(once(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    upstream = await connect(server.url)
    response = await upstream.send(request())
    start = await response.peek(1000)
    assert len(start) >= 1000
    assert body.startswith(start)
    assert not response.at_end()
    assert response.read_nowait() == start
    assert start + await whole(response) == body


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 20", OK, OK + b"X-A: "], ids=repr)
async def test_a_connection_that_ends_before_the_head_is_lost(
    serve: Serve, connect: Connect, end: Callable[[Peer], None], part: bytes
) -> None:
    server = await serve(once(part, end=end))
    upstream = await connect(server.url)
    with pytest.raises(ConnectionLost):
        await upstream.send(request())


async def test_no_cookie_is_kept_and_nothing_is_added(serve: Serve, connect: Connect) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.answer(b"", "Set-Cookie: JSESSIONID=1; Path=/")

    server = await serve(script)
    upstream = await connect(server.url)
    for _ in range(2):
        await get(upstream, "/a?b=%20&c")
    assert seen == [b"GET /a?b=%20&c HTTP/1.1\r\nHost: jira\r\n\r\n"] * 2


# Connections that fail over, or grow old


async def test_a_retry_takes_a_fresh_connection_and_no_other_that_rested(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    together = asyncio.Barrier(4)
    failed_over = False

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if failed_over and peer in server.peers[:4]:
                return peer.reset()
            if not failed_over:
                await together.wait()
            await peer.answer(b"ok")

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    await asyncio.gather(*(sidecar.get("/x") for _ in range(4)))
    assert len(server.peers) == 4
    failed_over = True
    answer = await sidecar.get("/x")
    assert (answer.status, answer.body) == (200, b"ok")
    assert len(server.peers) == 5
    # The others that rested are gone, too: a POST, which is never sent twice, does not meet them.
    posts = [sidecar.request("POST", "/x", body=b"{}") for _ in range(2)]
    assert [answer.status for answer in await asyncio.gather(*posts)] == [200, 200]
    assert len(server.peers) == 6


async def test_requests_of_our_own_take_a_fresh_connection(serve: Serve, connect: Connect) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    for number in range(2, 4):
        answer = await upstream.fetch(request("POST", "/plugins/servlet/oauth/access-token"))
        assert answer.status == 200
        assert len(server.peers) == number


async def test_a_busy_connection_is_renewed_within_a_minute_the_new_one_first(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    ages: list[float] = []
    for _ in range(60):
        await get(upstream)
        now = asyncio.get_running_loop().time()
        ages.append(now - min(connection.born for connection in upstream.connections))
        assert upstream.connections  # an old one goes when the new one is there
        await until(lambda: not upstream.renewing)
        await loop_clock.skip(3)
    assert 3 <= len(server.peers) <= 7  # in three minutes, at 30 to 45 s
    assert max(ages) < MOST_AGE


async def test_a_connection_that_cannot_be_renewed_goes_on(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    server = await serve(answers)
    upstream = await connect(server.url)
    await get(upstream)
    server.stop_listening()
    for _ in range(30):
        assert await get(upstream) == b"GET / HTTP/1.1"
        await loop_clock.skip(4)
    assert len(server.peers) == 1


async def test_a_connection_that_was_busy_for_long_is_not_kept(
    serve: Serve, connect: Connect, loop_clock: LoopClock
) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await go_on.wait()
            await peer.answer(b"%d" % server.peers.index(peer))

    server = await serve(script)
    upstream = await connect(server.url, timeouts__response=1000)
    waiting = asyncio.create_task(get(upstream))
    await until(lambda: server.peers)
    await loop_clock.skip(MOST_AGE + 1)
    go_on.set()
    assert await waiting == b"0"
    assert await get(upstream) == b"1"


# Connecting


@pytest.fixture
async def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make every name resolve to the addresses given; the list returned fills with the names."""

    def to(*addresses: str) -> list[str]:
        asked: list[str] = []

        async def answer(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
            asked.append(host)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = [socket.getaddrinfo(one, port, type=socket.SOCK_STREAM) for one in addresses]
            return [info for infos in found for info in infos]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        return asked

    return to


async def test_nothing_listens(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(f"http://127.0.0.1:{sock.getsockname()[1]}")
        with pytest.raises(ConnectionRefused, match=r"connection refused"):
            await upstream.send(request())


async def test_a_name_without_address(connect: Connect, resolve: Resolve) -> None:
    upstream = await connect("http://jira.invalid")
    resolve()
    with pytest.raises(NameNotResolved, match=r"name of jira.invalid .* not known"):
        await upstream.send(request())


@pytest.mark.parametrize("host", ["my_jira", "my_jira.example.com", "xn--bcher-kva.example"])
async def test_a_host_with_an_underscore(
    serve: Serve, connect: Connect, resolve: Resolve, host: str
) -> None:
    server = await serve(answers)
    upstream = await connect(f"http://{host}:{server.port}")
    asked = resolve("127.0.0.1")
    assert await get(upstream) == b"GET / HTTP/1.1"
    assert asked == [host]


async def test_an_address_of_version_6(serve: Serve, connect: Connect) -> None:
    server = await serve(answers, host="::1")
    upstream = await connect(server.url)
    assert await get(upstream) == b"GET / HTTP/1.1"


async def test_the_next_address_is_tried(serve: Serve, connect: Connect, resolve: Resolve) -> None:
    server = await serve(answers)
    upstream = await connect(f"http://jira.example.com:{server.port}")
    resolve("::1", "127.0.0.1")
    assert await get(upstream) == b"GET / HTTP/1.1"


async def test_all_addresses_refuse(connect: Connect, resolve: Resolve) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(f"http://jira.example.com:{sock.getsockname()[1]}")
        resolve("::1", "127.0.0.1")
        with pytest.raises(ConnectionRefused, match=r"connection refused"):
            await upstream.send(request())


async def test_proxy_variables_and_netrc_are_not_looked_at(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.answer(b"direct")

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://user:password@127.0.0.1:1")
    netrc = tmp_path / "netrc"
    netrc.write_text("default login alana password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = await serve(script)
    upstream = await connect(server.url)
    assert await get(upstream) == b"direct"
    assert seen == [b"GET / HTTP/1.1\r\nHost: jira\r\n\r\n"]


async def test_closed_while_requests_are_under_way(serve: Serve, connect: Connect) -> None:
    server = await serve(once(OK + b"\r\nhello"))
    upstream = await connect(server.url)
    response = await upstream.send(request())
    assert await response.read() == b"hello"
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    await upstream.close()
    with pytest.raises(ConnectionLost):
        await reading
    response.close()
    with pytest.raises(UpstreamError):
        await upstream.send(request())


# Through an HTTP proxy, without TLS


async def test_a_proxy_is_asked_in_absolute_form(serve: Serve, connect: Connect) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.answer(b"proxied")

    server = await serve(script)
    for login, expected in {
        "": None,
        "alana:s3cret@": "Basic YWxhbmE6czNjcmV0",
        "al%C3%A4na:%E2%82%AC%3A%40@": "Basic YWzDpG5hOuKCrDpA",
        "alana@": "Basic YWxhbmE6",
    }.items():
        upstream = await connect(
            "http://jira.example.com:8080/jira",
            jira__proxy=f"http://{login}127.0.0.1:{server.port}",
        )
        peers = len(server.peers)
        for _ in range(2):
            assert await get(upstream, "/jira/x?y") == b"proxied"
            head = seen.pop()
            assert head.startswith(b"GET http://jira.example.com:8080/jira/x?y HTTP/1.1\r\n")
            assert field(head, "proxy-authorization") == expected
            assert field(head, "authorization") is None
        assert len(server.peers) == peers + 1


async def test_a_proxy_that_wants_a_password_is_not_taken_for_jira(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(
        once(b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
    )
    upstream = await connect(
        "http://jira.example.com", jira__proxy=f"http://127.0.0.1:{server.port}"
    )
    with pytest.raises(ConnectionRefused, match="407") as caught:
        await upstream.send(request())
    assert "password" in caught.value.hint
    server = await serve(
        once(b"HTTP/1.1 407 Login\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")
    )
    upstream = await connect(
        "http://jira.example.com", jira__proxy=f"http://127.0.0.1:{server.port}"
    )
    with pytest.raises(ConnectionRefused, match="by NTLM alone") as caught:
        await upstream.send(request())
    assert "cntlm" in caught.value.hint


async def test_a_proxy_that_is_down(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        upstream = await connect(
            "http://jira.example.com", jira__proxy=f"http://127.0.0.1:{sock.getsockname()[1]}"
        )
        with pytest.raises(ConnectionRefused, match=r"proxy in jira.proxy cannot be reached"):
            await upstream.send(request())


async def test_a_proxy_without_address_is_named(connect: Connect, resolve: Resolve) -> None:
    upstream = await connect("http://jira.example.com", jira__proxy="http://proxy.invalid:3128")
    resolve()
    with pytest.raises(NameNotResolved, match=r"name of proxy.invalid cannot"):
        await upstream.send(request())


# The sidecar's own requests


async def test_fetch_reads_all_up_to_a_limit(serve: Serve, connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"x" * 1000, "X-A: b")

    server = await serve(script)
    upstream = await connect(server.url)
    answer = await upstream.fetch(request(), limit=1000)
    assert answer.status == 200
    assert answer.fields == [(b"Content-Length", b"1000"), (b"X-A", b"b")]
    assert answer.body == b"x" * 1000
    with pytest.raises(ProtocolError, match="more than 999 bytes"):
        await upstream.fetch(request(), limit=999)


# Through a whole sidecar


def nonce(head: bytes) -> str:
    found = re.search(r'oauth_nonce="([^"]+)"', field(head, "authorization") or "")
    assert found is not None
    return found[1]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_lost_get_is_sent_once_more_with_a_new_nonce(
    serve: Serve, make_sidecar: MakeSidecar, method: str
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        if len(seen) > 1:
            await peer.answer(b"" if method == "HEAD" else b"second")

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.request(method, "/x")
    assert answer.status == 200
    assert len(seen) == 2
    assert nonce(seen[0]) != nonce(seen[1])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_other_lost_request_is_sent_once(
    serve: Serve, make_sidecar: MakeSidecar, method: str
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.request(method, "/x")
    assert answer.status == 502
    assert "error=connection_terminated" in answer["proxy-status"]
    assert len(seen) == 1


async def test_a_get_that_is_lost_twice_is_an_error(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 502
    assert "error=connection_terminated" in answer["proxy-status"]
    assert len(seen) == 2


async def test_a_413_reaches_a_client_that_is_still_sending(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await peer.gone()

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    async with await sidecar.wire() as wire:
        await wire.send(
            b"PUT /x HTTP/1.1\r\nHost: %b\r\nContent-Length: 1000000\r\n\r\n"
            % sidecar.authority.encode(),
            b"x" * 1000,
        )
        answer = await wire.receive()
    assert (answer.status, answer.body) == (413, b"too large")
    await server.end()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X-A", b"a\x01b"),
        (b"X-AUSERNAME", b"alana\x7f"),
        (b"Location", b"http://jira/\x0bX"),
        (b"X-A", b"a\rb"),
    ],
    ids=repr,
)
async def test_a_field_with_control_bytes_makes_it_502(
    serve: Serve, make_sidecar: MakeSidecar, name: bytes, value: bytes
) -> None:
    server = await serve(once(OK + name + b": " + value + b"\r\nContent-Length: 2\r\n\r\nok"))
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 502
    assert "error=http_protocol_error" in answer["proxy-status"]


async def test_fields_reach_the_client_as_they_came(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    fields = [
        (b"X-Latin", b"caf\xe9"),
        (b"x-a", b"2"),
        (b"X-A", b"1"),
        (b"X-Utf", "caf\u00e9 \u20ac".encode()),
        (b"X-Bytes", bytes(range(0x80, 0x100))),
        (b"X-Empty", b""),
    ]
    head = b"".join(b"%b: %b\r\n" % pair for pair in fields)
    server = await serve(once(OK + head + b"Content-Length: 2\r\n\r\nok"))
    sidecar = await make_sidecar(server.url, token="t")
    answer = await sidecar.get("/x")
    assert answer.status == 200
    names = {name for name, _ in fields}
    assert [pair for pair in answer.fields if pair[0] in names] == fields


@pytest.mark.parametrize("stage", ["waiting", "uploading", "streaming"])
async def test_a_client_that_leaves_ends_its_request_to_jira(
    serve: Serve, make_sidecar: MakeSidecar, stage: str
) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        if stage == "streaming":
            await peer.send(OK + b"Content-Length: 50\r\n\r\nhello")
        reached.set()
        await peer.gone()

    server = await serve(script)
    sidecar = await make_sidecar(server.url, token="t")
    length = b"Content-Length: 50\r\n" if stage == "uploading" else b""
    wire = await sidecar.wire()
    await wire.send(b"PUT /x HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (sidecar.authority.encode(), length))
    await reached.wait()
    if stage == "streaming":
        await wire.head()
    wire.writer.transport.abort()
    await server.end()
    await wire.close()

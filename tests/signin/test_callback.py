"""The loopback callback: what it takes, what it refuses, what it shows."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.credentials import Secret, TokenCredentials
from sidecar.signin.callback import PATIENCE, Callback, parse_head
from sidecar.signin.callback_pages import DENIED, signed_in
from tests.support.clocks import LoopClock
from tests.support.late import TURNS, ends_what_arrives
from tests.support.wire import Client, Response, turns

TOKEN = "R" * 32
STORED = signed_in(
    TokenCredentials(Secret("t"), Secret(""), user="alana", display_name="Alana Example")
)


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    """A callback that waits for TOKEN, and whose sign-in goes well at once."""
    async with Callback() as callback:
        callback.expect(Secret(TOKEN))
        callback.show(STORED)
        yield callback


def client(callback: Callback) -> Client:
    parts = urlsplit(callback.url)
    return Client(parts.hostname or "", parts.port or 0)


def target(callback: Callback, token: str = TOKEN, verifier: str = "qTJkPi") -> str:
    path = urlsplit(callback.url).path
    return f"{path}?oauth_token={token}&oauth_verifier={verifier}"


async def still_waits(callback: Callback) -> None:
    """It has taken nothing, and takes the right request."""
    answer = await client(callback).get(target(callback))
    assert answer.status == 200
    assert await callback.verifier() == Secret("qTJkPi")


def text(answer: Response) -> str:
    return answer.body.decode()


async def test_the_browser_brings_the_verifier_and_is_told_what_to_do_next(
    callback: Callback,
) -> None:
    answer = await client(callback).get(target(callback))
    assert answer.status == 200
    assert "Signed in as Alana Example (alana)" in text(answer)
    assert "You can close this tab" in text(answer)
    assert await callback.verifier() == Secret("qTJkPi")


async def test_the_browser_waits_until_the_sign_in_is_over() -> None:
    """Nothing is approved before the token is stored."""
    async with Callback() as callback:
        callback.expect(Secret(TOKEN))
        answer = asyncio.ensure_future(client(callback).get(target(callback)))
        assert await callback.verifier() == Secret("qTJkPi")
        await turns(10)
        assert not answer.done()
        callback.show(DENIED)
        callback.show(STORED)
        assert "Access denied" in text(await answer), "the first counts"


async def test_a_sign_in_that_is_broken_off_is_said_to_be() -> None:
    async with Callback() as callback:
        callback.expect(Secret(TOKEN))
        answer = asyncio.ensure_future(client(callback).get(target(callback)))
        await callback.verifier()
    assert "was ended in the terminal" in text(await answer)


async def test_a_browser_that_leaves_holds_up_nobody() -> None:
    async with Callback() as callback:
        callback.expect(Secret(TOKEN))
        async with await client(callback).wire() as wire:
            await wire.send(client(callback).message("GET", target(callback)))
            await callback.verifier()
            wire.leave()
        callback.show(STORED)


async def test_it_listens_on_loopback_alone_at_a_path_that_nobody_guesses() -> None:
    async with Callback() as one, Callback() as other:
        parts = urlsplit(one.url)
        assert (parts.scheme, parts.hostname) == ("http", "127.0.0.1")
        assert len(parts.path) > 30
        assert parts.path != urlsplit(other.url).path
        assert parts.port != urlsplit(other.url).port


async def test_it_takes_one_verifier_only(callback: Callback) -> None:
    await client(callback).get(target(callback))
    again = await client(callback).get(target(callback, verifier="other1"))
    assert again.status == 410
    assert await callback.verifier() == Secret("qTJkPi")


async def test_of_many_at_once_it_takes_one(callback: Callback) -> None:
    codes = [f"code{number:02}" for number in range(20)]
    answers = await asyncio.gather(
        *(client(callback).get(target(callback, verifier=code)) for code in codes)
    )
    assert sorted(answer.status for answer in answers) == [200] + [410] * 19
    winner = codes[[answer.status for answer in answers].index(200)]
    assert await callback.verifier() == Secret(winner)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        f"?oauth_token={TOKEN}",
        f"?oauth_token={TOKEN}&oauth_verifier=",
        "?oauth_verifier=qTJkPi",
        "?oauth_token=&oauth_verifier=qTJkPi",
        f"?oauth_token={'Q' * 32}&oauth_verifier=qTJkPi",
        f"?oauth_token={TOKEN}x&oauth_verifier=qTJkPi",
        f"?oauth_token={TOKEN}%C3%A9&oauth_verifier=qTJkPi",
        f"?oauth_token={TOKEN}&oauth_token={TOKEN}&oauth_verifier=qTJkPi",
        f"?oauth_token={TOKEN}&oauth_verifier=qTJkPi&oauth_verifier=qTJkPi",
    ],
)
async def test_without_our_request_token_or_a_verifier_it_goes_on_waiting(
    query: str, callback: Callback
) -> None:
    answer = await client(callback).get(urlsplit(callback.url).path + query)
    assert answer.status == 400
    assert "it is still waiting" in text(answer)
    await still_waits(callback)


@pytest.mark.parametrize(
    "path", ["/", "/favicon.ico", "/apple-touch-icon.png", "{}/", "{}x", "/{}", "//{}", "{}%20"]
)
async def test_every_other_path_is_not_found(path: str, callback: Callback) -> None:
    own, query = target(callback).split("?")
    answer = await client(callback).get(f"{path.format(own)}?{query}")
    assert answer.status == 404
    await still_waits(callback)


async def test_absolute_form_is_not_found(callback: Callback) -> None:
    answer = await client(callback).get(f"{callback.url}?oauth_token={TOKEN}&oauth_verifier=x")
    assert answer.status == 404
    await still_waits(callback)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "DELETE", "CONNECT"])
async def test_every_method_but_get_is_refused(method: str, callback: Callback) -> None:
    wire = await client(callback).wire()
    async with wire:
        await wire.send(client(callback).message(method, target(callback)))
        assert (await wire.ends()).startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    await still_waits(callback)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["localhost:{port}"],
        ["127.0.0.1"],
        ["127.0.0.1:1"],
        ["evil.example.com"],
        ["127.0.0.1:{port}", "127.0.0.1:{port}"],
        ["127.0.0.1:{port}.evil.example.com"],
    ],
)
async def test_another_host_is_misdirected(hosts: list[str], callback: Callback) -> None:
    lines = [f"GET {target(callback)} HTTP/1.1"]
    lines += [f"Host: {host.format(port=client(callback).port)}" for host in hosts]
    answer = await client(callback).raw("\r\n".join([*lines, "", ""]).encode())
    assert answer.status == 421
    await still_waits(callback)


@pytest.mark.parametrize(
    "field",
    [
        ("Sec-Purpose", "prefetch;prerender"),
        ("Sec-Purpose", "prefetch"),
        ("Purpose", "prefetch"),
        ("X-Purpose", "preview"),
        ("X-Moz", "prefetch"),
    ],
)
async def test_looking_ahead_takes_nothing(field: tuple[str, str], callback: Callback) -> None:
    answer = await client(callback).get(target(callback), field)
    assert answer.status == 503
    await still_waits(callback)


async def test_before_it_knows_what_to_wait_for_it_takes_nothing() -> None:
    async with Callback() as callback:
        assert (await client(callback).get(target(callback))).status == 400
        callback.expect(Secret(TOKEN))
        callback.show(STORED)
        await still_waits(callback)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \x00\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(garbage: bytes, callback: Callback) -> None:
    assert (await client(callback).raw(garbage)).status == 400
    await still_waits(callback)


async def test_an_endless_head_is_refused(callback: Callback) -> None:
    wire = await client(callback).wire()
    async with wire:
        await wire.send(b"GET / HTTP/1.1\r\nCookie: " + b"x" * 40_000)
        received = await wire.ends()
        assert received == b"" or received.startswith(b"HTTP/1.1 431 ")  # RST may overtake it
    await still_waits(callback)


async def test_a_request_may_come_byte_by_byte(callback: Callback) -> None:
    message = client(callback).message("GET", target(callback))
    answer = await client(callback).raw(*(bytes([byte]) for byte in message))
    assert answer.status == 200


async def test_connections_that_ask_nothing_hinder_nobody(callback: Callback) -> None:
    idle = [await client(callback).wire() for _ in range(10)]
    await idle[0].send(b"GET / HT")
    await idle[1].close()
    await still_waits(callback)
    await callback.close()
    assert [await wire.ends() for wire in idle[2:]] == [b""] * 8
    for wire in idle:
        await wire.close()


async def test_a_head_that_does_not_come_is_given_up(
    callback: Callback, loop_clock: LoopClock
) -> None:
    async with await client(callback).wire() as wire:
        await wire.send(b"GET / HTTP/1.1\r\n")
        await loop_clock.skip(PATIENCE + 1)
        assert await wire.ends() == b""
    await still_waits(callback)


async def test_pages_hold_nothing_from_elsewhere_and_are_kept_nowhere(callback: Callback) -> None:
    paths = (target(callback, "Q"), "/", target(callback), target(callback))
    for answer in [await client(callback).get(path) for path in paths]:
        assert answer["Cache-Control"] == "no-store"
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Content-Type"] == "text/html; charset=utf-8"
        page = text(answer)
        assert not re.search(r"src=|href=\"[^#]|url\(|<script|<link|http", page)
        assert TOKEN not in page
        style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer["Content-Security-Policy"]
        assert policy.startswith("default-src 'none';")
        assert f"style-src 'sha256-{digest}'" in policy


async def test_closed_it_listens_no_more_and_whoever_waits_is_let_go() -> None:
    callback = Callback()
    await callback.open()
    waiting = asyncio.create_task(callback.verifier())
    await asyncio.sleep(0)
    await callback.close()
    await callback.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ConnectionRefusedError):
        await client(callback).wire()


async def test_waiting_may_be_given_up_and_taken_up_again(callback: Callback) -> None:
    waiting = asyncio.create_task(callback.verifier())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await still_waits(callback)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(head: bytes) -> None:
    request = parse_head(head)
    assert request is None or request.target.isascii()


@given(
    st.sampled_from(["GET", "POST"]),
    st.from_regex(r"/[!-~]{0,40}", fullmatch=True),
    st.lists(
        st.tuples(
            st.from_regex(rb"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True),
            st.from_regex(rb"[!-~\x80-\xff]{0,10}", fullmatch=True),
        ),
        max_size=5,
    ),
)
def test_every_well_formed_head_is_read(
    method: str, target: str, fields: list[tuple[bytes, bytes]]
) -> None:
    lines = [f"{method} {target} HTTP/1.1".encode(), *(b"%b:  %b " % field for field in fields)]
    request = parse_head(b"\r\n".join([*lines, b"", b""]))
    assert request is not None
    assert (request.method, request.target) == (method, target)
    assert list(request.fields) == [(name.lower(), value) for name, value in fields]


@pytest.mark.parametrize("after", TURNS)
async def test_a_connection_that_arrives_at_the_end_is_ended(after: int) -> None:
    """Browsers open some that they do not need, at any time."""
    assert await ends_what_arrives(Callback(), lambda one: urlsplit(one.url).port or 0, after)

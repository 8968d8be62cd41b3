"""What somebody tries who can upload to Jira, answer in its place, or share the machine."""

from __future__ import annotations

import asyncio
import gzip
import socket
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.access.callers import AccessControl
from sidecar.errors import RequestRefused
from sidecar.http.target import BaseURL
from sidecar.net.sockets import open_sockets
from tests.conftest import MakeSidecar, Running, make_config
from tests.support.raw_upstream import Exchange, RawUpstream

JSON = "Content-Type: application/json"
TEACHING = b'{"baseUrl": "http://evil.test"}'
EVIL_LINK = b'{"self": "http://evil.test/rest/api/2/issue/1"}'


def answer_with(upstream: RawUpstream, bodies: dict[str, bytes], *fields: str) -> None:
    """Have each target answered with its body."""

    async def answer(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.say(bodies.get(exchange.target, b"{}"), JSON, *fields)

    upstream.handler = answer


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "target",
    [
        "/secure/attachment/10000/serverInfo",
        "/rest/api/2/issue/JJ-1/properties/serverInfo",
        "/rest/api/2/serverInfo/../serverInfo",
        "/plugins/servlet/rest/api/2/serverInfo",
    ],
)
async def test_a_file_or_property_called_server_info_teaches_nothing(
    edge: Running, upstream: RawUpstream, target: str
) -> None:
    """Whoever may write in Jira could otherwise say which links are led to the client."""
    answer_with(upstream, {target: TEACHING, "/rest/api/2/issue/1": EVIL_LINK})
    await edge.get(target)
    assert (await edge.get("/rest/api/2/issue/1")).body == EVIL_LINK


@pytest.mark.parametrize("target", ["/rest/api/2/serverInfo", "/rest/api/latest/serverInfo/"])
async def test_server_info_itself_does_teach(
    edge: Running, upstream: RawUpstream, target: str
) -> None:
    answer_with(upstream, {target: TEACHING, "/rest/api/2/issue/1": EVIL_LINK})
    assert (await edge.get(target)).status == 200
    assert edge.authority.encode() in (await edge.get("/rest/api/2/issue/1")).body


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"baseUrl":' * 10_000,
        b'{"baseUrl": [["http://evil.test"]]}',
        b'{"baseUrl": {"http://evil.test": 1}}',
        b'{"baseUrl": "http://' + b"a" * 60_000 + b'"}',
        b'{"baseUrl": 1' + b"0" * 60_000 + b"}",
        b'{"baseUrl": "http://\\ud800/"}',
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_no_server_info_makes_us_fail(
    edge: Running, upstream: RawUpstream, body: bytes
) -> None:
    answer_with(upstream, {"/rest/api/2/serverInfo": body})
    answer = await edge.get("/rest/api/2/serverInfo")
    assert (answer.status, answer.body) == (200, body)


@pytest.mark.usefixtures("quiet")
async def test_a_bomb_that_claims_to_be_server_info_is_not_inflated_to_be_read(
    edge: Running, upstream: RawUpstream
) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    answer_with(upstream, {"/rest/api/2/serverInfo": bomb}, "Content-Encoding: gzip")
    async with await edge.wire() as wire:
        await wire.send(edge.message("GET", "/rest/api/2/serverInfo", ("Accept-Encoding", "gzip")))
        assert (await wire.head())[0] == 200


@pytest.mark.usefixtures("quiet")
async def test_a_bomb_leaves_time_for_others(edge: Running, upstream: RawUpstream) -> None:
    """However fast its client reads: the loop goes round between two pieces of it."""
    size = 64 << 20
    bomb = gzip.compress(b" " * size)
    answer_with(upstream, {"/rest/bomb": bomb}, "Content-Encoding: gzip")
    reading = asyncio.create_task(asyncio.to_thread(read_all, edge, "/rest/bomb"))
    rounds = 0
    while not reading.done():
        await asyncio.sleep(0)
        rounds += 1
    assert await reading > size
    assert rounds > size // 65536


def read_all(sidecar: Running, target: str) -> int:
    """Read an answer as fast as it comes, on a thread of its own; how many bytes it has."""
    head = sidecar.message("GET", target, ("Accept-Encoding", "gzip"), ("Connection", "close"))
    total = 0
    with socket.create_connection((sidecar.host, sidecar.port)) as connection:
        connection.sendall(head)
        while piece := connection.recv(1 << 20):
            total += len(piece)
    return total


@pytest.mark.parametrize(
    "path",
    [
        "/rest/api/2/issue%3B/JJ-1",
        "/rest/api/2/issue%3b%3bx/JJ-1",
        "/rest/api/2/iss%75e%3Bx=/JJ-1",
        "/rest%3B/api/2/issue/JJ-1",
    ],
)
def test_an_encoded_semicolon_gets_nothing_in_that_no_rule_allows(path: str) -> None:
    """To Tomcat it is a letter: this is no path below /rest/api/2/issue."""
    access = AccessControl(
        base_url=BaseURL.parse("https://jira.example.com"), allow=["GET /rest/api/2/issue/**"]
    )
    access.check_request("GET", "/rest/api/2/issue/JJ-1;x=%3B")
    access.check_request("GET", "/rest/api/2/issue/a%3Bb")
    with pytest.raises(RequestRefused):
        access.check_request("GET", path)


async def test_a_token_of_odd_characters_is_known_when_it_comes_round(
    upstream: RawUpstream, make_sidecar: MakeSidecar
) -> None:
    sidecar = await make_sidecar(upstream.url, token="odd token/+=%")
    assert (await sidecar.get("/rest")).status == 200
    ours = upstream.exchanges[0].all("authorization")[0]
    again = await sidecar.get("/rest", ("Authorization", ours))
    assert again.status == 508


def listen_at(path: Path, mode: str, private_key: RSAPrivateKey) -> None:
    """Open a unix socket as `run` does, and close it."""
    config = make_config(
        "http://127.0.0.1:1",
        path.parent,
        private_key,
        listen__addresses=[f"unix:{path}"],
        listen__unix_mode=mode,
    )
    for listening in open_sockets(config, {}):
        listening.socket.close()


def test_a_socket_s_mode_is_given_to_nothing_else(
    tmp_path: Path, private_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who can write to the folder puts a link in the socket's place as it is made."""
    victim = tmp_path / "victim"
    victim.touch(0o600)
    listen = socket.socket.listen

    def swap(self: socket.socket, backlog: int) -> None:
        listen(self, backlog)
        bound = Path(self.getsockname())
        bound.unlink()
        bound.symlink_to(victim)

    monkeypatch.setattr(socket.socket, "listen", swap)
    path = tmp_path / "jira.sock"
    listen_at(path, "0666", private_key)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", ["0600", "0660", "0666"])
def test_a_socket_has_its_mode_from_the_start(
    tmp_path: Path, private_key: RSAPrivateKey, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    listen = socket.socket.listen
    seen = []

    def look(self: socket.socket, backlog: int) -> None:
        seen.append(stat.S_IMODE(Path(self.getsockname()).stat().st_mode))
        listen(self, backlog)

    monkeypatch.setattr(socket.socket, "listen", look)
    path = tmp_path / "jira.sock"
    listen_at(path, mode, private_key)
    assert seen == [int(mode, 8)]
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)

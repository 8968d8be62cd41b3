"""Making a connection: one look-up for all, the next address in time, a tunnel, nothing left."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.errors import ConnectTimeout, NameNotResolved, ProtocolError
from sidecar.upstream.dialling import Dialler, is_address
from sidecar.upstream.failures import Failures
from tests.conftest import make_config
from tests.support.jira_edge import Serve, nothing_is_left, serve
from tests.support.raw_server import answers, once

__all__ = ["nothing_is_left", "serve"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


class Make:
    """Makes diallers."""

    def __init__(self, folder: Path, key: RSAPrivateKey) -> None:
        self._folder = folder
        self._key = key

    def __call__(self, url: str, **options: Any) -> Dialler:
        config = make_config(url, self._folder, self._key, **options)
        return Dialler(config, Failures(config), None)


@pytest.fixture
def dialler(folder: Path, private_key: RSAPrivateKey) -> Make:
    return Make(folder, private_key)


def addresses(*hosts: tuple[str, int]) -> list[Any]:
    return [socket.getaddrinfo(*host, type=socket.SOCK_STREAM)[0] for host in hosts]


async def test_those_who_ask_for_a_name_at_once_wait_for_one_answer(
    dialler: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    go_on = asyncio.Event()

    async def answer(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        await go_on.wait()
        return addresses(("127.0.0.1", port))

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    jira = dialler("http://jira.example.com:8080")
    waiting = [asyncio.create_task(jira.resolve()) for _ in range(100)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who leaves takes nothing from the others
    go_on.set()
    found = await asyncio.gather(*waiting[1:])
    assert {address for infos in found for *_, address in infos} == {("127.0.0.1", 8080)}
    assert asked == ["jira.example.com"]
    await jira.resolve()
    assert asked == ["jira.example.com"] * 2  # and nothing is remembered: a name may move


async def test_a_name_that_all_wait_for_in_vain(
    dialler: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(host: str, port: int, **_: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    jira = dialler("http://jira.example.com:8080")
    found = await asyncio.gather(*(jira.resolve() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [NameNotResolved] * 3


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_an_address_asks_no_name_server(
    dialler: Make, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
    found = await dialler(f"http://{host}:8080").resolve()
    assert [address[:2] for *_, address in found] == [(host.strip("[]"), 8080)]
    assert is_address(host.strip("[]"))
    assert not is_address("jira.example.com")


async def test_an_address_that_says_nothing_holds_the_next_up_for_a_moment(
    dialler: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(answers)
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect
    tried: list[str] = []

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if address[0] == "127.0.0.2":
            await asyncio.Event().wait()
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    jira = dialler(server.url)
    sock = await jira.connect(addresses(("127.0.0.2", server.port), ("127.0.0.1", server.port)))
    assert sock.getpeername()[0] == "127.0.0.1"
    assert tried == ["127.0.0.2", "127.0.0.1"]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    sock.close()


async def test_the_login_of_a_proxy_is_no_part_of_what_is_shown(dialler: Make) -> None:
    jira = dialler("http://jira.example.com", jira__proxy="http://alana:s3cret@[::1]:3128")
    assert jira.through_proxy
    assert jira.peer.login.startswith("Basic ")
    assert jira.peer.login not in repr(jira.peer)
    assert jira.peer.name == "the proxy [::1]:3128"


async def test_a_look_up_that_never_ends_is_given_up(
    dialler: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(*_: Any, **__: Any) -> list[Any]:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    jira = dialler("http://jira.example.com", timeouts__connect=0.05)
    with pytest.raises(ConnectTimeout):
        await jira.dial(asyncio.Protocol)
    jira.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 abc\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000],
    ids=lambda value: repr(value)[:30],
)
async def test_what_is_no_proxy_is_known_by_its_answer(
    folder: Path, private_key: RSAPrivateKey, serve: Serve, answer: bytes
) -> None:
    from sidecar.net.tls import client_context

    proxy = await serve(once(answer, end=lambda peer: peer.finish()))
    config = make_config(
        "https://jira.example.com",
        folder,
        private_key,
        jira__proxy=f"http://127.0.0.1:{proxy.port}",
    )
    jira = Dialler(config, Failures(config), lambda: client_context(None, None, None))
    with pytest.raises(ProtocolError, match="does not answer as an HTTP proxy"):
        await jira.dial(asyncio.Protocol)

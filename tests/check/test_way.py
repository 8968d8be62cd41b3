"""The way to Jira: name, connection, TLS and proxy; the step that fails says why."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.checking import (
    TLS,
    Diagnose,
    MakeSandbox,
    always,
    certificates,
    diagnose,
    page,
    untried,
)
from tests.support.raw_server import Peer, RawServer

__all__ = ["certificates", "diagnose"]


async def test_a_name_without_an_address(diagnose: Diagnose) -> None:
    result = await diagnose("http://jira.invalid:8080/jira", token="T" * 32)
    assert result.failed == ["name_resolution"]
    assert result.code == 69
    assert "jira.invalid" in result["name_resolution"].message
    assert result.of("skipped") == untried("connection")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_port_where_nothing_listens(diagnose: Diagnose, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = await diagnose(f"{scheme}://127.0.0.1:{port}", token="T" * 32)
    assert result.failed == ["connection"]
    assert result.code == 69
    assert "connection refused" in result["connection"].message


async def test_tls_that_is_in_order(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    for context, noted in (
        (certificates.server(), False),
        (certificates.server("127.0.0.1", not_after=soon), True),
    ):
        sandbox = await make_sandbox(ssl=context)
        token = sandbox.grant().token
        result = await diagnose(sandbox.url, token=token, jira__ca_file=certificates.ca_file)
        assert result.code == 0, result.text
        assert "TLSv1.3" in result["tls"].message
        assert ("renewed" in result["tls"].hint) == noted


async def test_tls_failures_by_kind(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    ours = {"jira__ca_file": certificates.ca_file}
    for context, options, message, hint in (
        (certificates.server(), {}, "CA unknown here", "jira.ca_file"),
        (certificates.server("other.example"), ours, "for another name", "in the certificate"),
        (certificates.server("127.0.0.1", not_after=past), ours, "has expired", "renewed"),
    ):
        sandbox = await make_sandbox(ssl=context)
        result = await diagnose(sandbox.url, token="T" * 32, **options)
        assert result.failed == ["tls"]
        assert result.code == 69
        assert message in result["tls"].message
        assert hint in result["tls"].hint
        assert result.of("skipped") == untried("jira")
        assert not sandbox.log


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[str]:
    """A TLS server as others than asyncio's are: it says why it refuses a handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with (
                connection,
                suppress(OSError),
                context.wrap_socket(connection, server_side=True) as secured,
            ):
                secured.recv(65536)
                secured.sendall(page(404))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def wants_certificates(request: pytest.FixtureRequest, certificates: TLS) -> ssl.SSLContext:
    """A server's context with mutual TLS, of either version."""
    context = certificates.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = request.param
    certificates.ca.configure_trust(context)
    return context


async def test_a_client_certificate_that_is_wanted(
    diagnose: Diagnose, certificates: TLS, wants_certificates: ssl.SSLContext
) -> None:
    trust = {"jira__ca_file": certificates.ca_file, "token": "T" * 32}
    with strict_server(wants_certificates) as url:
        result = await diagnose(url, **trust)
        assert (result.failed, result.code) == (["tls"], 69)
        assert "want" in result["tls"].message
        assert "a client certificate" in result["tls"].message
        assert "jira.client_certificate" in result["tls"].hint
        stranger = TLS(certificates.folder)
        certificates.ca.cert_pem.write_to_path(certificates.ca_file)
        result = await diagnose(url, **trust, **stranger.client_files())
        assert (result.failed, result.code) == (["tls"], 69)
        assert "does not accept our client certificate" in result["tls"].message


async def test_a_client_certificate_whose_lack_ends_the_connection(
    make_sandbox: MakeSandbox,
    diagnose: Diagnose,
    certificates: TLS,
    wants_certificates: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """asyncio's own server says nothing before it closes."""
    sandbox = await make_sandbox(ssl=wants_certificates)
    trust = {"jira__ca_file": certificates.ca_file, "token": sandbox.grant().token}
    result = await diagnose(sandbox.url, **trust)
    assert (result.failed, result.code) == (["tls"], 69)
    assert "jira.client_certificate" in result["tls"].hint
    result = await diagnose(sandbox.url, **trust, **certificates.client_files())
    assert result.code == 0, result.text


async def test_a_client_certificate_that_nginx_wants(diagnose: Diagnose) -> None:
    body = "<html><center>No required SSL certificate was sent</center><hr>nginx</html>"
    async with RawServer(always(page(400, body))) as server:
        result = await diagnose(server.url)
    assert "wants a client certificate" in result["jira"].message


async def test_plain_http_and_https_taken_for_each_other(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    plain = await make_sandbox()
    result = await diagnose(plain.url.replace("http:", "https:"))
    assert (result.failed, result.code) == (["tls", "token"], 69)
    assert "does not speak TLS" in result["tls"].message
    assert f'"{plain.url}"' in result["tls"].hint
    secure = await make_sandbox(ssl=certificates.server(), context_path="/jira")
    result = await diagnose(secure.url.replace("https:", "http:"))
    assert not {"tls", "jira"}.isdisjoint(result.failed)
    assert result.code == 69
    nginx = page(400, "<center>The plain HTTP request was sent to HTTPS port</center>")
    async with RawServer(always(nginx)) as server:
        result = await diagnose(server.url)
    assert (result.failed, result.code) == (["jira", "token"], 69)
    assert f'"{server.url.replace("http:", "https:")}"' in result["jira"].hint


async def test_tls_alerts_are_told_apart(diagnose: Diagnose) -> None:
    for alert, message in (
        (70, "TLS 1.2 or newer"),  # protocol_version
        (112, "does not know itself by the name"),  # unrecognized_name
        (80, "failed"),  # internal_error
    ):

        async def refuse(peer: Peer, alert: int = alert) -> None:
            await peer.reader.read(1)
            await peer.send(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))

        async with RawServer(refuse) as server:
            result = await diagnose(server.url.replace("http:", "https:"), token="T" * 32)
        assert result.failed == ["tls"]
        assert message in result["tls"].message

    async def vanish(peer: Peer) -> None:
        await peer.reader.read(1)

    async with RawServer(vanish) as server:
        result = await diagnose(server.url.replace("http:", "https:"), token="T" * 32)
    assert "while TLS was being agreed on" in result["tls"].message


async def test_http_spoken_to_a_tls_port_is_known_by_its_alert(diagnose: Diagnose) -> None:
    async with RawServer(always(b"\x15\x03\x03\x00\x02\x02\x46")) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.failed == ["tls"]
    assert "speaks TLS" in result["tls"].message
    assert 'jira.base_url = "https://' in result["tls"].hint


async def test_a_port_that_hangs_up_on_plain_http_may_speak_tls(diagnose: Diagnose) -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.head()

    async with RawServer(hang_up) as server:
        result = await diagnose(f"{server.url}/jira", token="T" * 32)
    assert (result.failed, result.code) == (["jira"], 69)
    https = f"{server.url.replace('http:', 'https:')}/jira"
    assert f'if that port speaks https, jira.base_url = "{https}"' in result["jira"].hint
    assert "firewall" in result["jira"].hint


async def test_a_connection_that_ends_inside_an_answer_speaks_http(diagnose: Diagnose) -> None:
    async def cut_off(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    async with RawServer(cut_off) as server:
        result = await diagnose(server.url, token="T" * 32)
    assert result.failed == ["jira"]
    assert "firewall" in result["jira"].hint
    assert "https" not in result["jira"].hint


async def test_a_ca_file_that_cannot_be_used_is_the_configurations_fault(
    diagnose: Diagnose, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    async with RawServer(always(b"")) as server:
        url = server.url.replace("http:", "https:")
        result = await diagnose(url, token="T" * 32, jira__ca_file=str(tmp_path / "ca.pem"))
    assert (result.failed, result.code) == (["tls"], 78)
    assert "jira.ca_file" in result["tls"].message


# --- a proxy on the way ---


@asynccontextmanager
async def tunnel(refusal: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    """An HTTP proxy that knows CONNECT alone, or answers with `refusal`; what it was asked."""
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        asked.append(await peer.head())
        if refusal:
            await peer.send(refusal)
            return
        host, _, port = asked[-1].split()[1].decode().rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(peer.reader, writer), _pump(reader, peer.writer))
        finally:
            writer.transport.abort()

    async with RawServer(script) as server:
        yield server.url.removeprefix("http://"), asked


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.transport.abort()


async def test_through_a_proxy_jira_is_reached_and_the_password_not_shown(
    make_sandbox: MakeSandbox, diagnose: Diagnose, certificates: TLS
) -> None:
    sandbox = await make_sandbox(ssl=certificates.server())
    async with tunnel() as (address, asked):
        result = await diagnose(
            sandbox.url,
            token=sandbox.grant().token,
            jira__ca_file=certificates.ca_file,
            jira__proxy=f"http://me:hunter2@{address}",
        )
    assert result.code == 0, result.text
    assert f"the proxy {address} takes connections" in result["connection"].message
    assert b"Proxy-Authorization: Basic bWU6aHVudGVyMg==" in asked[0]


async def test_a_proxy_that_refuses_or_is_none(diagnose: Diagnose) -> None:
    for refusal, message in (
        (page(403), "status 403"),
        (page(407), "does not accept the user name and password"),
        (
            page(407, "", "Proxy-Authenticate: NTLM", "proxy-authenticate:Negotiate"),
            "by NTLM or Negotiate alone (407)",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer as an HTTP proxy"),
        (b"HTTP/1.1 200", "does not answer as an HTTP proxy"),
    ):
        async with tunnel(refusal) as (address, _):
            proxy = f"http://me:hunter2@{address}"
            result = await diagnose("https://jira.invalid", token="T" * 32, jira__proxy=proxy)
        assert result.failed == ["connection"]
        assert message in result["connection"].message
        assert "jira.proxy" in result["connection"].hint
        assert result.code == 69


async def test_a_proxy_whose_name_has_no_address(diagnose: Diagnose) -> None:
    result = await diagnose("https://127.0.0.1", jira__proxy="http://proxy.invalid:3128")
    assert "proxy.invalid" in result["name_resolution"].message
    assert "jira.proxy" in result["name_resolution"].hint

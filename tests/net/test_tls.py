"""TLS towards Jira and for the listener: what is trusted, what is refused, and why it says so."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidecar.errors import (
    CertificateError,
    ConfigError,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    ProtocolError,
    TLSError,
    UpstreamError,
)
from sidecar.net import tls
from tests.conftest import MakeSidecar
from tests.support.jira_edge import Connect, Serve, connect, get, nothing_is_left, request, serve
from tests.support.raw_server import Peer, RawServer, answers, field, once
from tests.support.waiting import PATIENCE

__all__ = ["connect", "nothing_is_left", "serve"]

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """A server's context, for 127.0.0.1."""
    return server_context(authority.issue_cert("127.0.0.1"))


def private(path: Path, *pieces: bytes) -> Path:
    """Write a file that only we can read."""
    path.touch(0o600)
    path.write_bytes(b"".join(pieces))
    return path


def self_signed(folder: Path, name: str) -> Path:
    """Make a certificate that vouches for itself; it and its key are in the file returned."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jira")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return private(
        folder / "self-signed.pem",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def resolve_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every name resolve to 127.0.0.1."""

    async def answer(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)


# What is trusted


async def test_a_ca_file_is_trusted_and_connections_are_kept(
    serve: Serve, connect: Connect, ca_file: str, context: ssl.SSLContext
) -> None:
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    for number in range(3):
        assert await get(upstream, f"/{number}") == b"GET /%d HTTP/1.1" % number
    assert len(server.peers) == 1
    version = server.peers[0].writer.get_extra_info("ssl_object").version()
    assert version == "TLSv1.3"


async def test_the_system_s_trust_store_is_trusted(
    serve: Serve,
    connect: Connect,
    ca_file: str,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    server = await serve(answers, context=context)
    assert await get(await connect(server.url)) == b"GET / HTTP/1.1"


async def test_the_distribution_s_bundle_is_found_where_openssl_looks_elsewhere(
    serve: Serve,
    connect: Connect,
    ca_file: str,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(tls, "_BUNDLES", (str(tmp_path / "missing too"), ca_file))
    server = await serve(answers, context=context)
    assert await get(await connect(server.url)) == b"GET / HTTP/1.1"


async def test_a_folder_of_certificates_is_the_system_s_trust_store(
    serve: Serve,
    connect: Connect,
    authority: trustme.CA,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # OpenSSL looks for an issuer below the hash of its name, which ssl cannot tell: all are there.
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "0a1b2c3d.0").write_bytes(authority.cert_pem.bytes())
    assert tls._holds_certificates(str(folder))
    assert not tls._holds_certificates(str(tmp_path))
    assert not tls._holds_certificates(None)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.setattr(tls, "_BUNDLES", ("/dev/null",))
    server = await serve(answers, context=context)
    with pytest.raises(CertificateError):  # the folder is used, and the bundle is not
        await get(await connect(server.url))


async def test_an_unknown_authority(
    serve: Serve, connect: Connect, context: ssl.SSLContext
) -> None:
    server = await serve(answers, context=context)
    upstream = await connect(server.url)
    with pytest.raises(CertificateError, match="unable to get local issuer") as caught:
        await upstream.send(request())
    assert caught.value.proxy_error == "tls_certificate_error"
    assert "jira.ca_file" in caught.value.hint


async def test_a_certificate_that_vouches_for_itself(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path, "localhost"))
    server = await serve(answers, context=context)
    upstream = await connect(server.url)
    with pytest.raises(CertificateError, match="self-signed") as caught:
        await upstream.send(request())
    assert "jira.ca_file" in caught.value.hint


async def test_a_host_with_an_underscore_can_be_verified(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "my_jira.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await serve(answers, context=context)
    resolve_all(monkeypatch)
    upstream = await connect(
        f"https://my_jira.example.com:{server.port}", jira__ca_file=str(certificate)
    )
    assert await get(upstream) == b"GET / HTTP/1.1"


async def test_another_s_name(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: str
) -> None:
    context = server_context(authority.issue_cert("jira.example.com"))
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    with pytest.raises(CertificateError, match="another name") as caught:
        await upstream.send(request())
    assert "a name that stands in the certificate" in caught.value.hint


async def test_an_expired_certificate(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: str
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    context = server_context(
        authority.issue_cert("127.0.0.1", not_before=past - timedelta(days=1), not_after=past)
    )
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    with pytest.raises(CertificateError, match="expired") as caught:
        await upstream.send(request())
    assert "clock" in caught.value.hint


# Protocols


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_refused(
    serve: Serve,
    connect: Connect,
    ca_file: str,
    context: ssl.SSLContext,
    version: ssl.TLSVersion,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    with pytest.raises(TLSError) as caught:
        await upstream.send(request())
    assert caught.value.proxy_error == "tls_protocol_error"
    assert "TLS 1.2" in caught.value.hint


async def test_tls_1_2_will_do(
    serve: Serve, connect: Connect, ca_file: str, context: ssl.SSLContext
) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await serve(answers, context=context)
    assert await get(await connect(server.url, jira__ca_file=ca_file)) == b"GET / HTTP/1.1"


async def test_https_to_a_plain_port(serve: Serve, connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    server = await serve(script)
    upstream = await connect(f"https://127.0.0.1:{server.port}")
    with pytest.raises(TLSError, match=r"does not speak TLS .* wrong version number") as caught:
        await upstream.send(request())
    assert 'jira.base_url = "http://' in caught.value.hint


async def test_plain_http_to_a_tls_port(
    serve: Serve, connect: Connect, context: ssl.SSLContext
) -> None:
    server = await serve(answers, context=context)
    upstream = await connect(f"http://127.0.0.1:{server.port}")
    with pytest.raises((ConnectionLost, ProtocolError)) as caught:
        await upstream.send(request())
    assert "jira.base_url" in caught.value.hint


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset], ids=["FIN", "RST"])
async def test_a_connection_that_ends_inside_the_handshake(
    serve: Serve, connect: Connect, end: Callable[[Peer], None]
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        end(peer)

    server = await serve(script)
    upstream = await connect(f"https://127.0.0.1:{server.port}")
    with pytest.raises(TLSError, match="closed the connection"):
        await upstream.send(request())


async def test_a_handshake_that_never_ends(serve: Serve, connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.gone()

    server = await serve(script)
    upstream = await connect(f"https://127.0.0.1:{server.port}", timeouts__connect=0.2)
    with pytest.raises(ConnectTimeout):
        await upstream.send(request())
    await server.end()


async def test_giving_up_inside_the_handshake(serve: Serve, connect: Connect) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        reached.set()
        await peer.gone()

    server = await serve(script)
    upstream = await connect(f"https://127.0.0.1:{server.port}")
    sending = asyncio.create_task(upstream.send(request()))
    await reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await server.end()
    assert not upstream.connections


async def test_a_client_that_leaves_ends_a_handshake_in_its_name(
    serve: Serve, make_sidecar: MakeSidecar
) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        reached.set()
        await peer.gone()

    server = await serve(script)
    sidecar = await make_sidecar(f"https://127.0.0.1:{server.port}", token="t")
    wire = await sidecar.wire()
    await wire.send(sidecar.message("GET", "/x"))
    await reached.wait()
    wire.writer.transport.abort()
    await server.end()
    await wire.close()


# Ends of bodies


async def test_close_notify_ends_a_body(
    serve: Serve, connect: Connect, ca_file: str, context: ssl.SSLContext
) -> None:
    server = await serve(once(OK + b"\r\nhello", end=Peer.finish), context=context)
    assert await get(await connect(server.url, jira__ca_file=ca_file)) == b"hello"


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 50\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("end", [Peer.cut, Peer.reset], ids=["FIN", "RST"])
async def test_an_end_without_close_notify_may_be_an_attacker_s(
    serve: Serve,
    connect: Connect,
    ca_file: str,
    context: ssl.SSLContext,
    head: bytes,
    end: Callable[[Peer], None],
) -> None:
    server = await serve(once(head + b"hello", end=end), context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    with pytest.raises(ConnectionLost):
        await get(upstream)


async def test_a_body_of_known_length_needs_no_close_notify(
    serve: Serve, connect: Connect, ca_file: str, context: ssl.SSLContext
) -> None:
    server = await serve(
        once(OK + b"Content-Length: 5\r\n\r\nhello", end=Peer.cut), context=context
    )
    upstream = await connect(server.url, jira__ca_file=ca_file)
    for _ in range(2):
        assert await get(upstream) == b"hello"
    assert len(server.peers) == 2


async def test_bytes_that_nobody_asked_for_are_not_taken_for_the_next_answer(
    serve: Serve, connect: Connect, ca_file: str, context: ssl.SSLContext
) -> None:
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file)
    await get(upstream)
    server.peers[0].writer.write(OK + b"Content-Length: 4\r\n\r\nevil")
    assert await get(upstream, "/next") == b"GET /next HTTP/1.1"
    assert len(server.peers) == 2


# Client certificates


@contextmanager
def one_blocking_answer(context: ssl.SSLContext) -> Iterator[int]:
    """A server that answers once, at the port yielded; its alerts are sent, unlike asyncio's."""

    def serve(listening: socket.socket) -> None:
        sock = listening.accept()[0]
        sock.settimeout(PATIENCE)
        with context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False) as wrapped:
            try:
                wrapped.do_handshake()
                while not wrapped.recv(1 << 16).endswith(b"\r\n\r\n"):
                    pass
                wrapped.sendall(OK + b"Content-Length: 2\r\n\r\nok")
            except ssl.SSLError:
                with suppress(ConnectionError):
                    # What is left unread would turn our end into a RST, and the alert would go.
                    while socket.socket.recv(wrapped, 1 << 16):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("files", ["two", "one", "none"])
async def test_jira_asks_for_a_client_certificate(
    connect: Connect,
    authority: trustme.CA,
    ca_file: str,
    context: ssl.SSLContext,
    tmp_path: Path,
    version: ssl.TLSVersion,
    files: str,
) -> None:
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    client = authority.issue_cert("alana@example.com")
    key = private(tmp_path / "client.key", client.private_key_pem.bytes())
    chain = tmp_path / "client.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in client.cert_chain_pems))
    both = private(tmp_path / "both.pem", client.private_key_and_cert_chain_pem.bytes())
    options: dict[str, dict[str, Any]] = {
        "two": {"jira__client_certificate": str(chain), "jira__client_key": str(key)},
        "one": {"jira__client_certificate": str(both)},
        "none": {},
    }
    with one_blocking_answer(context) as port:
        upstream = await connect(
            f"https://127.0.0.1:{port}", jira__ca_file=ca_file, **options[files]
        )
        if files != "none":
            assert await get(upstream) == b"ok"
            return
        with pytest.raises(TLSError) as caught:
            await upstream.send(request())
    assert "jira.client_certificate" in caught.value.hint


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("kind", "text"), [("expired", "it has expired"), ("stranger", "the CA that signed it")]
)
async def test_an_alert_about_our_certificate_says_that_it_is_ours(
    connect: Connect,
    authority: trustme.CA,
    ca_file: str,
    context: ssl.SSLContext,
    tmp_path: Path,
    version: ssl.TLSVersion,
    kind: str,
    text: str,
) -> None:
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    past = datetime.now(UTC) - timedelta(days=1)
    times: dict[str, Any] = (
        {"not_before": past - timedelta(1), "not_after": past} if kind == "expired" else {}
    )
    issuer = authority if kind == "expired" else trustme.CA()
    client = issuer.issue_cert("alana@example.com", **times)
    both = private(tmp_path / "both.pem", client.private_key_and_cert_chain_pem.bytes())
    with one_blocking_answer(context) as port:
        upstream = await connect(
            f"https://127.0.0.1:{port}",
            jira__ca_file=ca_file,
            jira__client_certificate=str(both),
        )
        with pytest.raises(TLSError) as caught:
            await upstream.send(request())
    assert "does not accept our client certificate (jira.client_certificate)" in str(caught.value)
    assert text in str(caught.value)


# Files that cannot be used


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    leaf = authority.issue_cert("localhost")
    certificate = tmp_path / "localhost.pem"
    certificate.write_bytes(leaf.cert_chain_pems[0].bytes())
    return certificate, private(tmp_path / "localhost.key", leaf.private_key_pem.bytes())


@dataclass
class Load:
    """Loads a certificate and key as a client does or as a server does."""

    certificate: str
    key: str
    """Their names in the configuration."""

    def __call__(self, certificate: Path, key: Path | None) -> ssl.SSLContext:
        if self.certificate.startswith("jira"):
            return tls.client_context(None, certificate, key)
        return tls.server_context(certificate, key)


@pytest.fixture(
    params=[
        Load("jira.client_certificate", "jira.client_key"),
        Load("listen.tls_certificate", "listen.tls_key"),
    ],
    ids=["client", "server"],
)
def load(request: pytest.FixtureRequest) -> Load:
    load: Load = request.param
    return load


async def test_a_pair_is_loaded(load: Load, pair: tuple[Path, Path]) -> None:
    context = load(*pair)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


async def test_both_in_one_file_are_loaded_if_nobody_else_can_read_it(
    load: Load, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    both = private(tmp_path / "both.pem", *(file.read_bytes() for file in pair))
    assert load(both, None)
    both.chmod(0o644)
    with pytest.raises(ConfigError, match=r"both.pem: the TLS private key file is open to others"):
        load(both, None)


async def test_a_certificate_without_a_key_wants_the_key_and_no_other_mode(
    load: Load, pair: tuple[Path, Path]
) -> None:
    certificate, _ = pair
    assert certificate.stat().st_mode & 0o077
    with pytest.raises(ConfigError) as caught:
        load(certificate, None)
    assert str(caught.value) == (
        f"{certificate}: {load.certificate}: there is no private key in it"
    )
    assert f"set {load.key} to the file" in caught.value.hint


async def test_an_encrypted_key_is_an_error_and_no_prompt(
    load: Load, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = pair
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted = private(
        tmp_path / "encrypted.key",
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        ),
    )
    with pytest.raises(ConfigError, match=r"encrypted.key: the TLS private key is encrypted"):
        load(certificate, encrypted)


async def test_a_key_that_others_can_read(load: Load, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"localhost.key: .* open to others") as caught:
        load(certificate, key)
    assert "chmod 600" in caught.value.hint


async def test_line_breaks_that_came_through_json(
    load: Load, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, broken in zip((load.certificate, load.key), pair, strict=True):
        escaped = private(tmp_path / name, broken.read_bytes().replace(b"\n", rb"\n"))
        files = [escaped if file == broken else file for file in pair]
        message = rf"{name} has \\n, two characters, in place of its line breaks"
        with pytest.raises(ConfigError, match=message) as caught:
            load(*files)
        assert "awk" in caught.value.hint


async def test_another_certificate_s_key(
    load: Load, pair: tuple[Path, Path], authority: trustme.CA, tmp_path: Path
) -> None:
    key = private(tmp_path / "other", authority.issue_cert("other").private_key_pem.bytes())
    with pytest.raises(ConfigError, match="does not belong to the certificate"):
        load(pair[0], key)


async def test_missing_files(load: Load, pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    missing = tmp_path / "missing"
    with pytest.raises(ConfigError, match=r"missing: .* does not exist") as caught:
        load(certificate, missing)
    assert load.key in caught.value.hint
    for private_key in (key, None):
        with pytest.raises(ConfigError) as caught:
            load(missing, private_key)
        assert str(caught.value) == (
            f"{missing}: {load.certificate} cannot be read: No such file or directory"
        )
        assert load.certificate in caught.value.hint


async def test_files_that_are_something_else(
    load: Load, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = pair
    noise = private(tmp_path / "noise", bytes(range(256)))
    empty = private(tmp_path / "empty")
    mangled = private(tmp_path / "mangled", key.read_bytes().replace(b"\n", b"\n!"))
    for wrong in (noise, empty):
        with pytest.raises(ConfigError, match="cannot be used: it is not valid PEM") as caught:
            load(wrong, key)
        assert "PEM" in caught.value.hint
        with pytest.raises(
            ConfigError, match=rf"{load.key}: there is no PEM private key"
        ) as caught:
            load(certificate, wrong)
        assert "BEGIN PRIVATE KEY" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be used: it is not valid PEM"):
        load(certificate, mangled)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(certificate, tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, key)


async def test_a_ca_file_that_is_none(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    empty = private(tmp_path / "empty")
    broken = private(tmp_path / "broken", b"-----BEGIN CERTIFICATE-----\n!")
    for wrong, reason, hint in (
        (empty, "no PEM certificate in it", "BEGIN CERTIFICATE"),
        (pair[1], "no PEM certificate in it", "BEGIN CERTIFICATE"),
        (broken, "not valid PEM", "BEGIN CERTIFICATE"),
        (tmp_path, "Is a directory", "jira.ca_file must name a file"),
        (tmp_path / "missing", "No such file", "jira.ca_file must name a file"),
    ):
        with pytest.raises(ConfigError, match=rf"jira.ca_file cannot be .*{reason}") as caught:
            tls.client_context(wrong, None, None)
        assert hint in caught.value.hint
        assert "both" not in caught.value.hint


# The environment


async def test_keys_are_not_logged_and_the_log_says_what_openssl_s_variables_do(
    serve: Serve,
    connect: Connect,
    ca_file: str,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    server = await serve(answers, context=context)
    assert await get(await connect(server.url, jira__ca_file=ca_file)) == b"GET / HTTP/1.1"
    assert not keys.exists()
    assert tls.client_context(None, None, None).keylog_filename is None
    assert list(tls.environment_warnings({})) == []
    ignored, obeyed = tls.environment_warnings(
        {"SSLKEYLOGFILE": "x", "OPENSSL_CONF": "/etc/my.cnf"}
    )
    assert "SSLKEYLOGFILE" in obeyed + ignored
    assert "/etc/my.cnf" in obeyed + ignored


async def test_verification_is_on_and_a_connection_costs_no_reading_of_the_trust_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = tls.client_context(None, None, None)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    calls: list[str] = []
    monkeypatch.setattr(
        ssl.SSLContext, "set_default_verify_paths", lambda self: calls.append("read")
    )
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="jira")
    assert not calls


# Through a proxy


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


def tunnel(to: RawServer, seen: list[bytes]) -> Callable[[Peer], Any]:
    """A script for a proxy that connects every client to one server."""

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        reader, writer = await asyncio.open_connection("127.0.0.1", to.port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(peer.reader, writer), pump(reader, peer.writer))

    return script


@pytest.mark.parametrize("login", ["", "al%C3%A4na:%E2%82%AC%3A%40@"])
async def test_a_tunnel_through_a_proxy(
    serve: Serve,
    connect: Connect,
    authority: trustme.CA,
    ca_file: str,
    login: str,
) -> None:
    jira = await serve(answers, context=server_context(authority.issue_cert("jira.example.com")))
    seen: list[bytes] = []
    proxy = await serve(tunnel(jira, seen))
    upstream = await connect(
        "https://jira.example.com/jira",
        jira__proxy=f"http://{login}127.0.0.1:{proxy.port}",
        jira__ca_file=ca_file,
    )
    for _ in range(3):
        assert await get(upstream, "/jira/x") == b"GET /jira/x HTTP/1.1"
    assert len(jira.peers) == 1
    (head,) = seen
    assert head.startswith(b"CONNECT jira.example.com:443 HTTP/1.1\r\n")
    assert field(head, "proxy-authorization") == ("Basic YWzDpG5hOuKCrDpA" if login else None)
    assert field(head, "authorization") is None


async def test_jira_s_certificate_is_verified_behind_a_proxy(
    serve: Serve, connect: Connect, context: ssl.SSLContext, ca_file: str
) -> None:
    jira = await serve(answers, context=context)  # for 127.0.0.1
    proxy = await serve(tunnel(jira, []))
    upstream = await connect(
        "https://jira.example.com",
        jira__proxy=f"http://127.0.0.1:{proxy.port}",
        jira__ca_file=ca_file,
    )
    with pytest.raises(CertificateError, match="another name"):
        await upstream.send(request())
    assert not upstream.connections


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n", ConnectionRefused, r"\(407\)"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", ConnectionRefused, "status 403"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://x\r\n\r\n", ConnectionRefused, "status 302"),
        (b"220 mail.example.com\r\n", UpstreamError, None),
        (b"", UpstreamError, None),
        (b"HTTP/1.1 200 OK\r\n\r\nnot TLS", TLSError, None),
    ],
    ids=repr,
)
async def test_a_proxy_that_makes_no_tunnel(
    serve: Serve, connect: Connect, answer: bytes, error: type[UpstreamError], text: str | None
) -> None:
    proxy = await serve(once(answer, end=Peer.finish))
    upstream = await connect(
        "https://jira.example.com", jira__proxy=f"http://127.0.0.1:{proxy.port}"
    )
    with pytest.raises(error, match=text):
        await upstream.send(request())
    await proxy.end()
    assert not upstream.connections


async def test_a_proxy_that_never_answers(serve: Serve, connect: Connect) -> None:
    proxy = await serve(once())
    upstream = await connect(
        "https://jira.example.com",
        jira__proxy=f"http://127.0.0.1:{proxy.port}",
        timeouts__connect=0.2,
    )
    with pytest.raises(ConnectTimeout):
        await upstream.send(request())
    await proxy.end()


async def test_giving_up_on_a_proxy(serve: Serve, connect: Connect) -> None:
    reached = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        reached.set()
        await peer.gone()

    proxy = await serve(script)
    upstream = await connect(
        "https://jira.example.com", jira__proxy=f"http://127.0.0.1:{proxy.port}"
    )
    sending = asyncio.create_task(upstream.send(request()))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await proxy.end()
    assert not upstream.connections


async def test_no_error_shows_the_proxy_s_password(serve: Serve, connect: Connect) -> None:
    proxy = await serve(once(b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n"))
    upstream = await connect(
        "https://jira.example.com", jira__proxy=f"http://alana:s3cret@127.0.0.1:{proxy.port}"
    )
    with pytest.raises(ConnectionRefused) as caught:
        await upstream.send(request())
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__


# Files that change


def replace(path: Path, data: bytes) -> None:
    """Put another private file in its place, as whoever renews one does."""
    private(path.with_name("other"), data).replace(path)


async def test_a_changed_client_certificate_counts_without_a_restart(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    """Its first one has expired; resting connections that were made with the old one are ended."""
    context = server_context(authority.issue_cert("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    authority.configure_trust(context)
    past = datetime.now(UTC) - timedelta(days=1)
    old = authority.issue_cert("a@example.com", not_before=past - timedelta(1), not_after=past)
    both = private(tmp_path / "both.pem", old.private_key_and_cert_chain_pem.bytes())
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=ca_file, jira__client_certificate=str(both))
    with pytest.raises(UpstreamError):
        await upstream.send(request())
    for number in range(1, 3):
        new = authority.issue_cert(f"{number}@example.com")
        replace(both, new.private_key_and_cert_chain_pem.bytes())
        upstream._look_at_files = 0.0  # a second has passed
        assert await get(upstream) == b"GET / HTTP/1.1"
        assert len(server.peers) == number
        shown = server.peers[-1].writer.get_extra_info("peercert")
        assert ("email", f"{number}@example.com") in shown["subjectAltName"]


async def test_a_changed_ca_file_counts_without_a_restart_and_a_broken_one_changes_nothing(
    serve: Serve,
    connect: Connect,
    context: ssl.SSLContext,
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ca_file = private(tmp_path / "ca.pem", trustme.CA().cert_pem.bytes())
    server = await serve(answers, context=context)
    upstream = await connect(server.url, jira__ca_file=str(ca_file))
    with pytest.raises(CertificateError):
        await get(upstream)
    replace(ca_file, authority.cert_pem.bytes())
    assert await get(upstream) == b"GET / HTTP/1.1"
    replace(ca_file, b"broken")
    upstream._look_at_files = 0.0
    assert await get(upstream) == b"GET / HTTP/1.1"
    assert "jira.ca_file cannot be used" in caplog.text


@pytest.mark.parametrize("alone", ["an intermediate", "the certificate itself", "self-signed"])
async def test_what_is_trusted_may_be_any_part_of_the_chain(
    serve: Serve, connect: Connect, authority: trustme.CA, tmp_path: Path, alone: str
) -> None:
    intermediate = authority.create_child_ca()
    leaf = intermediate.issue_cert("localhost")
    context = server_context(leaf)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(
        intermediate.cert_pem.bytes()
        if alone == "an intermediate"
        else leaf.cert_chain_pems[0].bytes()
    )
    if alone == "self-signed":
        trusted = self_signed(tmp_path, "localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(trusted)
    server = await serve(answers, context=context)
    url = f"https://localhost:{server.port}"
    assert await get(await connect(url, jira__ca_file=str(trusted))) == b"GET / HTTP/1.1"
    other = f"https://127.0.0.1:{server.port}"  # a name is verified all the same
    with pytest.raises(CertificateError, match="another name"):
        await get(await connect(other, jira__ca_file=str(trusted)))


# What the listener offers

INTERMEDIATE = {  # https://ssl-config.mozilla.org/guidelines/5.7.json, "intermediate"
    *("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    *("DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-CHACHA20-POLY1305"),
}


def test_the_listener_offers_forward_secrecy_and_aead_alone(pair: tuple[Path, Path]) -> None:
    offered = tls.server_context(*pair).get_ciphers()
    assert {cipher["name"] for cipher in offered} <= INTERMEDIATE
    for cipher in offered:
        assert cipher["aead"]
        assert cipher["kea"] in ("kx-any", "kx-ecdhe")
        assert cipher["strength_bits"] >= 128


@pytest.mark.parametrize(
    ("suite", "agreed"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES256-SHA384", False),  # CBC
        ("ECDHE-RSA-AES128-SHA", False),
        ("AES128-GCM-SHA256", False),  # no forward secrecy
        ("AES256-SHA", False),
    ],
)
async def test_a_client_of_tls_1_2_agrees_on_nothing_weaker(
    authority: trustme.CA, tmp_path: Path, suite: str, agreed: bool
) -> None:
    kind = trustme.KeyType.RSA if "ECDSA" not in suite else trustme.KeyType.ECDSA
    leaf = authority.issue_cert("localhost", key_type=kind)
    both = private(tmp_path / "both.pem", leaf.private_key_and_cert_chain_pem.bytes())
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(suite)
    authority.configure_trust(client)
    async with RawServer(answers, context=tls.server_context(both, None)) as server:
        reaching = asyncio.open_connection(
            "127.0.0.1", server.port, ssl=client, server_hostname="localhost"
        )
        if not agreed:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await reaching
            return
        _, writer = await reaching
        assert writer.get_extra_info("cipher")[0] == suite
        writer.close()

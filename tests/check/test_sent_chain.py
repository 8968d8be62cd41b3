"""Whether Jira's server leaves a certificate out of its chain, or is from a CA unknown here."""

from __future__ import annotations

import datetime
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from sidecar.check.sent_chain import certificates_in, distrust, sent_chain
from tests.support.checking import Diagnose, always, diagnose, page
from tests.support.raw_server import RawServer

__all__ = ["diagnose"]

SUBJECT = "The TLS certificate of jira.example.com"


def serving(folder: Path, leaf: trustme.LeafCert, certificates: int) -> ssl.SSLContext:
    """A server that sends so many certificates of the chain."""
    file = folder / f"{certificates}.pem"
    blobs = [leaf.private_key_pem, *leaf.cert_chain_pems[:certificates]]
    file.write_bytes(b"".join(blob.bytes() for blob in blobs))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def test_an_intermediate_that_is_left_out_is_told_from_an_unknown_ca(
    tmp_path: Path, diagnose: Diagnose
) -> None:
    root = trustme.CA(organization_name="Root")
    middle = root.create_child_ca()
    leaf = middle.issue_cert("127.0.0.1")
    trusted = tmp_path / "root.pem"
    root.cert_pem.write_to_path(trusted)
    for sent, options, message, hint in (
        (
            1,
            {"jira__ca_file": str(trusted)},
            "whose own certificate Jira's server does not send",
            "fullchain",
        ),
        (2, {}, 'from a CA unknown here: "Root"', "jira.ca_file"),
    ):
        async with RawServer(always(page(200)), context=serving(tmp_path, leaf, sent)) as server:
            result = await diagnose(server.url, token="T" * 32, **options)
        assert (result.failed, result.code) == (["tls"], 69)
        assert message in result["tls"].message
        assert hint in result["tls"].hint
    async with RawServer(always(page(200)), context=serving(tmp_path, leaf, 2)) as server:
        result = await diagnose(server.url, token="T" * 32, jira__ca_file=str(trusted))
    assert result["tls"].status == "pass"


@pytest.mark.parametrize("speaks", ["nothing", "TLS 1.3 alone"])
async def test_a_server_that_shows_nothing_leaves_what_openssl_says(
    tmp_path: Path, diagnose: Diagnose, speaks: str
) -> None:
    context = serving(tmp_path, trustme.CA().issue_cert("127.0.0.1"), 1)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with RawServer(always(page(200)), context=context) as server:
        if speaks != "nothing":
            result = await diagnose(server.url, token="T" * 32)
            assert "from a CA unknown here: unable to get" in result["tls"].message
            return
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.close()
    assert await sent_chain(ours, "localhost") == []
    assert ours.fileno() == -1


def made(
    key: RSAPrivateKey, subject: str, issuer: str, *extensions: x509.ExtensionType
) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])

    day = datetime.datetime(2031, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name(issuer), name(subject), key.public_key(), 7, day, day)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, SHA256())


def issuers_at(url: str) -> x509.AuthorityInformationAccess:
    where = x509.UniformResourceIdentifier(url)
    kind = AuthorityInformationAccessOID.CA_ISSUERS
    return x509.AuthorityInformationAccess([x509.AccessDescription(kind, where)])


def test_where_the_missing_certificate_can_be_had_is_said(private_key: RSAPrivateKey) -> None:
    leaf = made(private_key, "jira", "Middle", issuers_at("http://pki.example.com/middle.crt"))
    other = made(private_key, "Other", "Root")
    for chain in ([leaf], [leaf, other]):
        error = distrust(chain, SUBJECT)
        assert error is not None
        assert error.message.startswith(f'{SUBJECT} was issued by "Middle", and Jira\'s server')
        assert "leaves out" in error.message
        assert "http://pki.example.com/middle.crt" in error.hint
    by_ldap = made(private_key, "jira", "Middle", issuers_at("ldap://pki/cn=Middle"))
    error = distrust([by_ldap], SUBJECT)
    assert error is not None
    assert "ldap" not in error.hint


def test_a_chain_that_is_whole_ends_with_the_ca_that_is_unknown(private_key: RSAPrivateKey) -> None:
    leaf = made(private_key, "jira", "Middle")
    middle, root = made(private_key, "Middle", "Root"), made(private_key, "Root", "Root")
    circle = made(private_key, "Middle", "jira")
    for chain, unknown in (
        ([leaf, root, middle], '"Root"'),
        ([leaf, middle], '"Root"'),
        ([root], '"Root"'),
        ([made(private_key, "jira", ""), made(private_key, "", "")], "a CA without a name"),
        ([leaf, circle], '"'),
    ):
        error = distrust(chain, SUBJECT)
        assert error is not None
        assert f"{SUBJECT} is from a CA unknown here: {unknown}" in error.message
    assert distrust([], SUBJECT) is None


def test_certificates_are_found_whatever_the_records_they_are_cut_into() -> None:
    certificates = [b"a" * 300, b"b", b"c" * 70_000]
    vector = b"".join(len(one).to_bytes(3, "big") + one for one in certificates)
    body = len(vector).to_bytes(3, "big") + vector
    hello = b"\x02" + (4).to_bytes(3, "big") + b"helo"
    messages = hello + b"\x0b" + len(body).to_bytes(3, "big") + body
    for size in (16_384, 1000, 3):
        pieces = [messages[at : at + size] for at in range(0, len(messages), size)]
        records = [b"\x16\x03\x03" + len(one).to_bytes(2, "big") + one for one in pieces]
        assert certificates_in(b"".join(records)) == certificates
        assert certificates_in(b"".join(records)[:-1]) == []
    assert certificates_in(b"\x15\x03\x03\x00\x02\x02\x28") == []
    assert certificates_in(b"") == []

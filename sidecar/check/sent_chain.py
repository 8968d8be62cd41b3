"""The certificates that Jira's server sends, looked at where they do not verify.

Python shows none of a chain that it distrusts.  In TLS 1.2 a server sends it in the clear
(RFC 5246 §7.4.2), so it is read from the bytes of a handshake that is then given up.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from sidecar.errors import CertificateError
from sidecar.http.shown import printable

_HANDSHAKE_RECORD, _CERTIFICATE = 22, 11  # RFC 5246 §6.2.1, §7.4
_MOST_BYTES = 256 * 1024


async def sent_chain(sock: socket.socket, server_name: str) -> list[x509.Certificate]:
    """What the server at the other end sends, its own certificate first; closes the socket.

    Empty where it speaks no TLS 1.2, or nothing that can be read.
    """
    loop = asyncio.get_running_loop()
    incoming, outgoing, received = ssl.MemoryBIO(), ssl.MemoryBIO(), b""
    tls = _trusting_context().wrap_bio(incoming, outgoing, server_hostname=server_name)
    with sock, suppress(OSError, ValueError):
        while len(received) < _MOST_BYTES and not (encoded := certificates_in(received)):
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            await loop.sock_sendall(sock, outgoing.read())
            piece = await loop.sock_recv(sock, 16 * 1024)
            if not piece:
                return []
            received += piece
            incoming.write(piece)
        return [x509.load_der_x509_certificate(one) for one in encoded]
    return []


def _trusting_context() -> ssl.SSLContext:
    """Nothing is sent or believed: the connection ends with the first message of the server's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def certificates_in(records: bytes) -> list[bytes]:
    """The certificates in the first flight of a TLS 1.2 server; none before they have arrived."""
    messages = b"".join(_handshake_payloads(records))
    while len(messages) >= 4:
        kind, length = messages[0], int.from_bytes(messages[1:4], "big")
        body, messages = messages[4 : 4 + length], messages[4 + length :]
        if kind == _CERTIFICATE and len(body) == length:
            return _vector(body[3:])
    return []


def _handshake_payloads(records: bytes) -> list[bytes]:
    payloads = []
    while len(records) >= 5 and records[0] == _HANDSHAKE_RECORD:
        length = int.from_bytes(records[3:5], "big")
        payloads.append(records[5 : 5 + length])
        records = records[5 + length :]
    return payloads


def _vector(data: bytes) -> list[bytes]:
    found = []
    while len(data) >= 3:
        length = int.from_bytes(data[:3], "big")
        found.append(data[3 : 3 + length])
        data = data[3 + length :]
    return found


def distrust(chain: list[x509.Certificate], subject: str) -> CertificateError | None:
    """The error for a chain that leads to nothing that is trusted; `subject` names Jira's.

    None where it shows no more than OpenSSL said.
    """
    if not chain:
        return None
    end, passed = chain[0], 0
    while end.issuer != end.subject and passed < len(chain):
        above = next((one for one in chain[1:] if one.subject == end.issuer), None)
        if above is None:
            break
        end, passed = above, passed + 1
    issuer = _name(end.issuer)
    if end is chain[0] and end.issuer != end.subject:
        return _left_out(subject, issuer, _issuers_address(end))
    return CertificateError(
        f"{subject} is from a CA unknown here: {issuer}.",
        f"if that is your company's, add the CA certificate of {issuer} to the system's trust"
        " store, or name its PEM file in jira.ca_file",
    )


def _left_out(subject: str, issuer: str, address: str | None) -> CertificateError:
    """Only an intermediate has an address as a rule: a root is what everybody has already."""
    send = (
        "have whoever runs Jira put it behind the server's own, in the chain that the server sends"
        " (fullchain.pem)"
    )
    if address is not None:
        return CertificateError(
            f"{subject} was issued by {issuer}, and Jira's server leaves out the certificate of"
            " that intermediate CA.",
            f"{send}; until then name it in jira.ca_file, as PEM: it is at {address}",
        )
    return CertificateError(
        f"{subject} is from a CA unknown here, {issuer}, whose own certificate Jira's server does"
        " not send.",
        f"if {issuer} is an intermediate CA, {send}; if it is your company's root, name its PEM"
        " file in jira.ca_file, which helps in the other case, too",
    )


def _issuers_address(certificate: x509.Certificate) -> str | None:
    """Where the certificate says that its issuer's is (RFC 5280 §4.2.2.1), by http."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (x509.ExtensionNotFound, ValueError):
        return None
    for one in access.value:
        location = getattr(one.access_location, "value", None)
        is_issuer = one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        if is_issuer and isinstance(location, str) and location.startswith("http"):
            return printable(location)
    return None


def _name(name: x509.Name) -> str:
    """A name as people know it: its common name, else its organisation, in quotation marks."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return f'"{printable(str(attribute.value), 80)}"'
    return "a CA without a name"

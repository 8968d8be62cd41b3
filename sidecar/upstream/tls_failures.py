"""Why TLS with Jira failed, by the kind of failure, and what is to be done about it.

OpenSSL tells kinds apart by the names of its reason codes (ERR_reason_error_string(3)) and by
X509_V_ERR_* numbers; what it says in English is only quoted.
"""

from __future__ import annotations

import ssl
import time

from sidecar.errors import CertificateError, TLSError, UnknownIssuer, UpstreamError
from sidecar.http.target import BaseURL

_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNEXPECTED_MESSAGE"}
"""What answers speaks no TLS, or no TLS that begins with a handshake."""
_NO_COMMON_VERSION = {
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "SSLV3_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "UNSUPPORTED_SSL_VERSION",
    "NO_PROTOCOLS_AVAILABLE",
}
_REFUSED_CERTIFICATE = {
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it was revoked",
    "UNKNOWN_CA": "the CA that signed it is unknown there",
    "BAD_CERTIFICATE": "it is corrupt, or its signature is wrong",
    "UNSUPPORTED_CERTIFICATE": "it is not of a kind that is supported there",
    "CERTIFICATE_UNKNOWN": "it is not acceptable there",
    "ACCESS_DENIED": "it is valid, and its owner has no access",
    "DECRYPT_ERROR": "its key did not prove to be its own",
}
"""What an alert about a peer's certificate means (RFC 8446 §6.2); the peer of Jira's is us."""

_OTHER_NAME = (62, 63, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, EMAIL, IP_ADDRESS
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21, 24, 27)


def is_plain_end(error: Exception | None) -> bool:
    """Whether a connection ended without a word about why, in TLS or below it."""
    if not isinstance(error, ssl.SSLError):
        return True
    name = _name(error)
    return not isinstance(error, ssl.SSLCertVerificationError) and (
        not name or "EOF" in name.split("_")
    )


def tls_failed(error: ssl.SSLError, base: BaseURL, *, has_certificate: bool) -> UpstreamError:
    """Why TLS with the Jira at `base` failed; `has_certificate` says that we can show one."""
    where = base.authority
    look = f"`openssl s_client -connect {base.host}:{base.port}` shows it"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrusted(error, base, look)
    name = _name(error)
    said = name.replace("_", " ").lower()
    if name in _NO_TLS:
        plain = f"http{base.origin.removeprefix('https')}{base.path}"
        return TLSError(
            f"{where} does not speak TLS at that port: {said}.",
            f'if it is plain http, jira.base_url = "{plain}"; else another port is meant',
        )
    if name in _NO_COMMON_VERSION:
        return TLSError(
            f"{where} and this machine have no TLS version in common: TLS 1.2 or newer is needed.",
            "have TLS 1.2 enabled in Jira's server.xml, or in the reverse proxy in front of it",
        )
    if name.endswith("UNRECOGNIZED_NAME"):
        return TLSError(
            f"{where} does not know itself by the name {base.host}.",
            "jira.base_url must have the name that Jira, or its reverse proxy, is set up for",
        )
    alert = name.partition("_ALERT_")[2]
    if alert in _REFUSED_CERTIFICATE and has_certificate:
        return _refused_ours(where, alert, said)
    if alert in _REFUSED_CERTIFICATE or alert in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"):
        return _wants_certificate(where, alert, said, has_certificate=has_certificate)
    return TLSError(f"TLS with {where} failed: {said}.", f"TLS 1.2 or newer is needed; {look}")


def _name(error: ssl.SSLError) -> str:
    """OpenSSL's name for the reason; errors that are made in Python have none."""
    return getattr(error, "reason", None) or ""


def _refused_ours(where: str, alert: str, said: str) -> TLSError:
    hint = "have one issued by a CA that Jira's side trusts, and name it in jira.client_certificate"
    if alert == "CERTIFICATE_EXPIRED":
        hint = (
            "have it renewed by whoever issued it, and put the new one where"
            " jira.client_certificate says: it counts without a restart. Jira's own certificate"
            " is not meant"
        )
    return TLSError(
        f"{where} does not accept our client certificate (jira.client_certificate):"
        f" {_REFUSED_CERTIFICATE[alert]} ({said}).",
        hint,
    )


def _wants_certificate(where: str, alert: str, said: str, *, has_certificate: bool) -> TLSError:
    if has_certificate:
        return TLSError(
            f"{where} does not accept our client certificate (jira.client_certificate), or no"
            f" cipher that we offer: {said}.",
            "have one issued by a CA that Jira's side trusts, and see that it has not expired",
        )
    maybe = "wants" if alert == "CERTIFICATE_REQUIRED" else "may want"
    return TLSError(
        f"{where} {maybe} a client certificate: {said}.",
        "get one from whoever runs Jira; jira.client_certificate and jira.client_key name it."
        " TLS 1.2 or newer is needed, too",
    )


def _distrusted(error: ssl.SSLCertVerificationError, base: BaseURL, look: str) -> CertificateError:
    """X509_V_ERR_*, as X509_STORE_CTX_get_error(3) lists them."""
    code = getattr(error, "verify_code", 0)
    message = (getattr(error, "verify_message", "") or "it does not verify").rstrip(".")
    subject = f"The TLS certificate of {base.authority}"
    if code in _OTHER_NAME:
        return CertificateError(
            f"{subject} is for another name than {base.host}: {message}.",
            f"jira.base_url must have a name that stands in the certificate: {look}",
        )
    if code in (_NOT_YET_VALID, _EXPIRED):
        fault = "is not valid yet" if code == _NOT_YET_VALID else "has expired"
        return CertificateError(
            f"{subject} {fault}.",
            "have it renewed by whoever runs Jira; if it is new, this machine's clock is wrong:"
            f" it shows {time.strftime('%Y-%m-%d %H:%M')}",
        )
    if code in _UNKNOWN_ISSUER:
        return UnknownIssuer(
            f"{subject} is from a CA unknown here: {message}.",
            "add your company's CA to the system's trust store, or name its PEM file in"
            " jira.ca_file; if Jira's server leaves an intermediate certificate out, which"
            f" `sidecar check` sees, have it send that; {look} (add -showcerts)",
        )
    return CertificateError(f"{subject} is not to be trusted: {message}.", look)

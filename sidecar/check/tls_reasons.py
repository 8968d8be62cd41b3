"""Why TLS with Jira failed, by the kind of failure, and what is to be done about it."""

from __future__ import annotations

import ssl
import time

from sidecar.config.load import Config
from sidecar.errors import CertificateError, ConnectionLost, TLSError, UpstreamError
from sidecar.upstream.failures import NO_TLS


def tls_failed(error: Exception, config: Config) -> UpstreamError:
    """Why TLS with Jira failed, by the kind of failure."""
    base = config.jira.base_url
    where = base.authority
    look = f"`openssl s_client -connect {base.host}:{base.port}` shows it"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrusted(error, where, base.host, look)
    reason = (getattr(error, "reason", None) or "").replace("_", " ").lower()
    if any(sign in reason for sign in NO_TLS):
        plain = str(base).replace("https", "http", 1)
        return TLSError(
            f"{where} does not speak TLS at that port.",
            f'if it is plain http, jira.base_url = "{plain}"; else another port is meant',
        )
    if "protocol version" in reason or "unsupported protocol" in reason:
        return TLSError(
            f"{where} and this machine have no TLS version in common: TLS 1.2 or newer is needed.",
            "have TLS 1.2 enabled in Jira's server.xml, or in the reverse proxy in front of it",
        )
    if "unrecognized name" in reason:
        return TLSError(
            f"{where} does not know itself by the name {base.host}.",
            "jira.base_url must have the name that Jira, or its reverse proxy, is set up for",
        )
    ours = config.jira.client_certificate
    about_ours = ("certificate required", "handshake failure", "unknown ca", "certificate")
    if any(sign in reason for sign in about_ours):
        return _wants_client_certificate(where, reason, str(ours) if ours else "")
    if not reason or "eof" in reason:
        return ConnectionLost(
            f"{where} closes the connection while TLS is being agreed on, or right after.",
            "it may want a client certificate (jira.client_certificate), or not speak TLS at that"
            " port; a firewall does this too",
        )
    return TLSError(f"TLS with {where} failed: {reason}.", f"TLS 1.2 or newer is needed; {look}")


def _wants_client_certificate(where: str, reason: str, ours: str) -> TLSError:
    if ours:
        return TLSError(
            f"{where} does not accept our client certificate {ours}: {reason}.",
            "have one issued by a CA that Jira's side trusts, and see that it has not expired",
        )
    maybe = "wants" if "required" in reason else "may want"
    return TLSError(
        f"{where} {maybe} a client certificate: {reason}.",
        "get one from whoever runs Jira; jira.client_certificate and jira.client_key name it",
    )


def _distrusted(
    error: ssl.SSLCertVerificationError, where: str, host: str, look: str
) -> CertificateError:
    """X509_V_ERR_*, as X509_STORE_CTX_get_error(3) lists them."""
    message = (error.verify_message or "it does not verify").rstrip(".")
    lower = message.lower()
    if error.verify_code in (62, 64) or "mismatch" in lower:
        return CertificateError(
            f"The TLS certificate of {where} is for another name than {host}.",
            f"jira.base_url must have a name that stands in the certificate: {look}",
        )
    if error.verify_code in (9, 10) or "expired" in lower:
        fault = "is not valid yet" if error.verify_code == 9 else "has expired"
        return CertificateError(
            f"The TLS certificate of {where} {fault}.",
            "have it renewed by whoever runs Jira; if it is new, this machine's clock is wrong:"
            f" it shows {time.strftime('%Y-%m-%d %H:%M')}",
        )
    if error.verify_code in (2, 18, 19, 20, 21, 24, 27) or "issuer" in lower:
        return CertificateError(
            f"The TLS certificate of {where} is from a CA unknown here: {message}.",
            "add your company's CA to the system's trust store, or name its PEM file in"
            f" jira.ca_file; {look} (add -showcerts)",
        )
    return CertificateError(
        f"The TLS certificate of {where} is not to be trusted: {message}.", look
    )

"""TLS contexts: towards Jira, and for the sidecar's own listener."""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from sidecar.errors import ConfigError
from sidecar.private_files import read_secret

_BUNDLES = (
    "/etc/ssl/cert.pem",  # Alpine, Arch, BSD
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
"""Where distributions keep their trust store, for a Python whose OpenSSL looks elsewhere."""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")


def client_context(
    ca_file: Path | None, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """TLS 1.2 or newer towards Jira, verified against the system's trust store and `ca_file`.

    `certificate` and `key` are for mutual TLS; the key may be in the certificate's file.  Unlike
    ssl.create_default_context() this does not honour SSLKEYLOGFILE.  Raises ConfigError for
    files that cannot be used.
    """
    context = _trusting_the_system()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        _load("jira.ca_file", ca_file, lambda: context.load_verify_locations(ca_file))
    if certificate is not None:
        _load_pair(context, "jira.client_certificate", certificate, key)
    return context


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer for the listener; raises ConfigError for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, "listen.tls_certificate", certificate, key)
    return context


def environment_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Say which variables of OpenSSL's are obeyed or ignored, so that none works silently."""
    if environ.get("OPENSSL_CONF"):
        yield (
            f"OPENSSL_CONF is set: OpenSSL obeys {environ['OPENSSL_CONF']}; whatever stands there,"
            " certificates are verified and TLS is 1.2 or newer"
        )
    if environ.get("SSLKEYLOGFILE"):
        yield "SSLKEYLOGFILE is set and ignored: the sidecar shows its TLS keys to nobody"


def _trusting_the_system() -> ssl.SSLContext:
    """A client's context that verifies names, and certificates as the system does.

    truststore asks macOS for each certificate.  Elsewhere the trust store is files that OpenSSL
    reads, and truststore reads them anew for each connection (20 ms, in which the loop stands
    still): here they are read once.
    """
    if sys.platform == "darwin":
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual = ssl.get_default_verify_paths()
    bundles = [bundle for bundle in _BUNDLES if os.path.isfile(bundle)]
    if usual.cafile or _holds_certificates(usual.capath) or not bundles:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(bundles[0])
    return context


def _holds_certificates(folder: str | None) -> bool:
    """Whether there are certificates under names that OpenSSL looks for."""
    return bool(folder) and any(map(_HASHED.fullmatch, os.listdir(folder)))


def _load_pair(context: ssl.SSLContext, name: str, certificate: Path, key: Path | None) -> None:
    private = key or certificate
    read_secret(private, "TLS private key")  # by the rule for every key; OpenSSL opens it by name

    def encrypted() -> NoReturn:
        # Without this OpenSSL would ask for a passphrase on the terminal.
        raise ConfigError(
            f"{private}: the TLS private key is encrypted",
            "store it without a passphrase, in a 0600 file",
        )

    _load(name, certificate, lambda: context.load_cert_chain(certificate, key, password=encrypted))


def _load(name: str, path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        reason = {
            "NO_CERTIFICATE_OR_CRL_FOUND": "there is no PEM certificate in it",
            "KEY_VALUES_MISMATCH": "the private key does not belong to the certificate",
        }.get(error.reason or "", "it is not what a PEM certificate and key look like")
        raise ConfigError(
            f"{path}: {name} cannot be used: {reason}", "both files are PEM"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{error.filename or path}: {name} cannot be read: {error.strerror}"
        ) from None

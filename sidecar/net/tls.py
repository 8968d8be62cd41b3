"""TLS contexts: towards Jira, and for the sidecar's own listener."""

from __future__ import annotations

import os
import re
import shlex
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from sidecar.config.tables import Jira
from sidecar.errors import ConfigError
from sidecar.files.keys import refuse_literal_breaks
from sidecar.files.private import SECRET_LIMIT, read_secret
from sidecar.files.regular import open_regular
from sidecar.files.watched import Watched

_BUNDLES = (
    "/etc/ssl/cert.pem",  # Alpine, Arch, BSD
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/ssl/ca-bundle.pem",  # SUSE
)
"""Where distributions keep their trust store, for a Python whose OpenSSL looks elsewhere."""

_INTERMEDIATE = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""Mozilla's "intermediate" for TLS 1.2 (its DHE suites would want parameters of our own): forward
secrecy and AEAD alone.  TLS 1.3 has no others."""

_KEY_MARK = b"PRIVATE KEY-----"  # the end of every label that PEM has for one (RFC 7468)
_DER = b"\x30\x82"  # an ASN.1 SEQUENCE of 256 bytes or more
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
    # As curl does: what is trusted may be an intermediate, or Jira's own certificate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if ca_file is not None:
        hint = "it must be a file of PEM certificates, each from BEGIN CERTIFICATE to END"
        _load("jira.ca_file", ca_file, lambda: context.load_verify_locations(ca_file), hint)
    if certificate is not None:
        _load_pair(context, ("jira.client_certificate", "jira.client_key"), certificate, key)
    return context


def server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer for the listener; raises ConfigError for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_INTERMEDIATE)
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, ("listen.tls_certificate", "listen.tls_key"), certificate, key)
    return context


def watched_client_context(jira: Jira) -> Watched[ssl.SSLContext]:
    """The context towards Jira, by what its files hold now and later."""
    files = jira.ca_file, jira.client_certificate, jira.client_key
    return Watched("TLS certificate or CA for Jira", lambda: client_context(*files), *files)


def watched_server_context(certificate: Path, key: Path | None) -> Watched[ssl.SSLContext]:
    """The listener's context, by what its files hold now and later."""
    what = "TLS certificate of the listener"
    return Watched(what, lambda: server_context(certificate, key), certificate, key)


def holds_key(certificate: Path) -> bool:
    """Whether a certificate's file holds a private key as well; OSError if it can't be read."""
    with open_regular(certificate) as file:
        return _KEY_MARK in file.read(SECRET_LIMIT)


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


def _load_pair(
    context: ssl.SSLContext, names: tuple[str, str], certificate: Path, key: Path | None
) -> None:
    """Load a certificate and its key, which the configuration has under two `names`."""
    private = _find_key(names, certificate, key)

    def encrypted() -> NoReturn:
        # Without this OpenSSL would ask for a passphrase on the terminal.
        raise ConfigError(
            f"{private}: the TLS private key is encrypted",
            "store it without a passphrase, in a 0600 file",
        )

    _load(
        names[0],
        certificate,
        lambda: context.load_cert_chain(certificate, key, password=encrypted),
        "certificate and private key must be PEM, and belong together",
    )


def _find_key(names: tuple[str, str], certificate: Path, key: Path | None) -> Path:
    """Return the file that holds the key, if it is one that may be used; else ConfigError."""
    name, key_name = names
    try:
        has_key = holds_key(certificate)
    except OSError as error:
        raise _unreadable(name, certificate, error) from None
    if key is None and not has_key:
        raise ConfigError(
            f"{certificate}: {name}: there is no private key in it",
            f"set {key_name} to the file that holds the certificate's private key",
        )
    private = key or certificate
    # By the rule for every key; OpenSSL opens it by name.
    data = read_secret(private, "TLS private key", _path_hint(key_name))
    refuse_literal_breaks(data, key_name, str(private))
    if _KEY_MARK not in data:
        raise ConfigError(
            f"{private}: {key_name}: there is no PEM private key in it",
            "a private key begins with -----BEGIN PRIVATE KEY-----, or the like",
        )
    return private


def _load(name: str, path: Path, load: Callable[[], None], hint: str) -> None:
    """Have OpenSSL load the file at `path`; `hint` says what it must be."""
    try:
        with open_regular(path) as file:  # OpenSSL would wait for a FIFO's writer
            _refuse_what_is_no_pem(file.read(SECRET_LIMIT), name, path)
        load()
    except ssl.SSLError as error:
        reason = {
            "NO_CERTIFICATE_OR_CRL_FOUND": "there is no PEM certificate in it",
            "KEY_VALUES_MISMATCH": "the private key does not belong to the certificate",
        }.get(error.reason or "", "it is not valid PEM")
        raise ConfigError(f"{path}: {name} cannot be used: {reason}", hint) from None
    except OSError as error:
        raise _unreadable(name, path, error) from None


def _refuse_what_is_no_pem(data: bytes, name: str, path: Path) -> None:
    """Refuse what has a form that can be made PEM of, and say how."""
    refuse_literal_breaks(data, name, str(path))
    if data.startswith(_DER):
        file = shlex.quote(str(path))
        raise ConfigError(
            f"{path}: {name} is in binary (DER), as Windows exports certificates",
            f"make it PEM, and name that: openssl x509 -inform DER -in {file} -out {file}.pem",
        )


def _unreadable(name: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {name} cannot be read: {error.strerror}", _path_hint(name))


def _path_hint(name: str) -> str:
    return f"{name} must name a file that the user who runs the sidecar can read"

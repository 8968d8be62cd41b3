"""RSA keys: the private key read once, and what is wrong where it cannot be.

Parsing costs far more than signing; nothing here is called again for a request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shlex
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA1, Hash
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
)

from sidecar.credentials import Secret
from sidecar.errors import ConfigError
from sidecar.files.private import read_secret

LEAST_BITS = 1024  # the size that Atlassian's documentation uses
SAFE_BITS = 2048  # NIST SP 800-131A: at least 112 bits of strength

_FORBIDDEN = "OpenSSL refuses to sign with RSA and SHA-1, which Jira's OAuth needs"
_FORBIDDEN_HINT = (
    "this system's policy (or OPENSSL_CONF) forbids SHA-1 signatures; on Red Hat's systems "
    "`update-crypto-policies --set DEFAULT:SHA1` allows them"
)
_PEM = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----(?P<body>.*?)(?P<end>-----END (?P=label)-----|\Z)",
    re.DOTALL,
)
_ESCAPED = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----(?:\\r)?\\n")
_RSA_HINT = "Jira takes RSA alone: run `sidecar init` to make a key"
_PUBLIC_FILE_HINT = "this is the half that Jira gets; jira.private_key is the other one"


def load_private_key(path: Path, passphrase_file: Path | None = None) -> RSAPrivateKey:
    """Read the private key of the configuration; ConfigError says what is wrong with the file."""
    data = read_secret(path, "private key", "run `sidecar init` to make one")
    passphrase = read_passphrase(passphrase_file) if passphrase_file else None
    return parse_private_key(data, passphrase, str(path))


def read_passphrase(path: Path) -> Secret:
    """Read a passphrase; one newline at the end is not part of it."""
    data = read_secret(path, "passphrase", "write the passphrase into it, mode 0600")
    text = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{path}: the passphrase is empty", "write the key's passphrase into it")
    return Secret(text)


def parse_private_key(data: bytes, passphrase: Secret | None, where: str) -> RSAPrivateKey:
    """Parse PKCS#1 or PKCS#8 PEM, or bare base64 PKCS#8; `where` names the source in messages.

    Raises ConfigError; a passphrase for a key that is not encrypted is ignored.
    """
    key = _load(_private_key_block(data, where), passphrase, where)
    if not isinstance(key, RSAPrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey")
        raise ConfigError(
            f"{where}: the private key is not RSA but {kind}",
            _RSA_HINT,
        )
    if key.key_size < LEAST_BITS:
        raise ConfigError(
            f"{where}: an RSA key of {key.key_size} bits is too short to be safe",
            f"{LEAST_BITS} bits are the least; run `sidecar init` to make one of {SAFE_BITS}",
        )
    return key


def _load(encoded: bytes, passphrase: Secret | None, where: str) -> PrivateKeyTypes:
    load = load_pem_private_key if encoded.startswith(b"-----BEGIN") else load_der_private_key
    secret = passphrase.reveal().encode("utf-8", "surrogateescape") if passphrase else None
    try:
        try:
            return load(encoded, secret)
        except TypeError:  # encrypted and no passphrase, or the other way round
            if secret is None:
                raise ConfigError(
                    f"{where}: the private key is encrypted, and there is no passphrase",
                    "set jira.private_key_passphrase_file",
                ) from None
            return load(encoded, None)
    except UnsupportedAlgorithm:
        raise ConfigError(f"{where}: the private key is not RSA", _RSA_HINT) from None
    except ValueError as error:
        _refuse_broken(where, str(error), is_encrypted=secret is not None)


def _refuse_broken(where: str, reason: str, *, is_encrypted: bool) -> NoReturn:
    if "encryption algorithm" in reason:
        raise ConfigError(
            f"{where}: the private key is encrypted in a way that is not supported",
            f"openssl pkcs8 -topk8 -v2 aes-256-cbc -in {shlex.quote(where)} -out NEW",
        ) from None
    if is_encrypted and "password" in reason.lower():
        raise ConfigError(
            f"{where}: the passphrase does not open the private key",
            "see jira.private_key_passphrase_file",
        ) from None
    _refuse_forbidding_openssl()  # then nothing can be read, and the key is not to blame
    raise ConfigError(
        f"{where}: the private key is damaged",
        "copy it again, from BEGIN to END, without a change",
    ) from None


def _private_key_block(data: bytes, where: str) -> bytes:
    """Find the PEM block of a private key, or decode bare base64; ConfigError for anything else."""
    if not data.strip():
        raise ConfigError(f"{where}: the private key file is empty", "run `sidecar init`")
    refuse_literal_breaks(data, "the private key", where)
    blocks = {match["label"].decode(): match for match in _PEM.finditer(data)}
    for label, match in blocks.items():
        if label == "OPENSSH PRIVATE KEY":
            raise ConfigError(
                f"{where}: the private key is in OpenSSH's own format",
                f"convert a copy of it: ssh-keygen -p -m PKCS8 -f {shlex.quote(where)}.copy",
            )
        if label.endswith("PRIVATE KEY"):
            if not match["end"]:
                raise ConfigError(
                    f"{where}: the private key is truncated: there is no -----END {label}-----",
                    "copy it again, from BEGIN to END",
                )
            return match[0]
    if blocks:
        _refuse_label(next(iter(blocks)), where)
    return _bare_der(data, where)


def refuse_literal_breaks(data: bytes, what: str, where: str) -> None:
    """Raise ConfigError for PEM that came through JSON or a variable, with `\\n` in each break."""
    if _ESCAPED.search(data) is None:
        return
    program = r"""'{gsub(/(\\r)?\\n/, "\n")} 1'"""
    command = f"(umask 077; awk {program} {shlex.quote(where)} > NEW)"
    raise ConfigError(
        rf"{where}: {what} has \n, two characters, in place of its line breaks",
        f"make line breaks of them, in a file that is named in its place: {command}",
    )


def _refuse_label(label: str, where: str) -> NoReturn:
    if label.endswith("PUBLIC KEY"):
        raise ConfigError(f"{where}: this is a public key, not a private key", _PUBLIC_FILE_HINT)
    if label.endswith("CERTIFICATE"):
        raise ConfigError(f"{where}: this is a certificate, not a private key", _PUBLIC_FILE_HINT)
    raise ConfigError(
        f"{where}: there is no private key in it, but a {label.lower()}",
        "a private key begins with -----BEGIN PRIVATE KEY-----",
    )


def _bare_der(data: bytes, where: str) -> bytes:
    if data.startswith(b"\x30"):  # ASN.1 SEQUENCE
        file = shlex.quote(where)
        raise ConfigError(
            f"{where}: the private key is in binary (DER)",
            f"make it PEM: openssl pkey -inform DER -in {file} -out {file}.pem",
        )
    if data.startswith((b"ssh-", b"ecdsa-")):
        raise ConfigError(f"{where}: this is a public key, not a private key", _PUBLIC_FILE_HINT)
    text = b"".join(data.removeprefix(b"\xef\xbb\xbf").split()).rstrip(b"=")
    text = text[:-1] if len(text) % 4 == 1 else text  # truncated: damaged, but still a key
    try:
        der = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        der = b""
    if not der.startswith(b"\x30"):
        raise ConfigError(
            f"{where}: this is not a private key",
            "it is PEM, beginning with -----BEGIN, or bare base64 PKCS#8 on one line",
        )
    try:
        load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return der
    raise ConfigError(f"{where}: this is a public key, not a private key", _PUBLIC_FILE_HINT)


def generate_private_key(bits: int = SAFE_BITS) -> RSAPrivateKey:
    """Make a key; 2048 bits take about 0.1 s, 4096 about a second."""
    _refuse_forbidding_openssl()
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def private_key_pem(key: RSAPrivateKey, passphrase: Secret | None = None) -> bytes:
    """Write the key as PKCS#8 PEM; encrypted, if there is a passphrase."""
    secret = passphrase.reveal().encode("utf-8", "surrogateescape") if passphrase else b""
    encryption = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_key_pem(key: RSAPrivateKey) -> str:
    """Return the public key as Jira's form takes it: SubjectPublicKeyInfo PEM, never PKCS#1."""
    spki = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return spki.decode("ascii")


def public_key_base64(key: RSAPrivateKey) -> str:
    """Return the public key as Jira's form takes it too: the PEM's content, on one line."""
    return base64.b64encode(_spki(key)).decode("ascii")


def fingerprint(key: RSAPrivateKey) -> str:
    """Return the public key's SHA-256 in hex: `openssl pkey -pubin -outform DER | sha256sum`."""
    return hashlib.sha256(_spki(key)).hexdigest()


def _spki(key: RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_warnings(key: RSAPrivateKey) -> list[str]:
    """Say what is allowed but unwise about a key."""
    if key.key_size >= SAFE_BITS:
        return []
    warning = (
        f"the private key has {key.key_size} bits, too few today: `sidecar init --rotate-key` makes"
        f" one of {SAFE_BITS}, which then has to be entered in Jira's application link"
    )
    return [warning]


def verify_signing(key: RSAPrivateKey) -> None:
    """Sign and verify once, so that a key or library that cannot do it is an error at start.

    RSASSA-PKCS1-v1_5 with SHA-1 (RFC 5849 §3.4.3) is what OAuth 1.0a needs, and what an
    operating system's crypto policy may forbid.
    """
    text = b"GET&https%3A%2F%2Fjira.example.com%2F&"
    try:
        signature = key.sign(text, PKCS1v15(), SHA1())  # noqa: S303
        key.public_key().verify(signature, text, PKCS1v15(), SHA1())  # noqa: S303
    except InvalidSignature:
        raise ConfigError(
            "a signature made with the private key does not verify",
            "the key is damaged: restore it, or run `sidecar init --force` for a new one",
        ) from None
    except (UnsupportedAlgorithm, InternalError, ValueError):
        raise ConfigError(_FORBIDDEN, _FORBIDDEN_HINT) from None


def _refuse_forbidding_openssl() -> None:
    try:
        Hash(SHA1())  # noqa: S303
    except (UnsupportedAlgorithm, InternalError):
        raise ConfigError(_FORBIDDEN, _FORBIDDEN_HINT) from None

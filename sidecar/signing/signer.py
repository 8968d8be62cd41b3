"""Makes the value of `Authorization` from a key, a clock and a nonce (RFC 5849 §3.1 to §3.5)."""

from __future__ import annotations

import os
import secrets
import time
from binascii import b2a_base64
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1

from sidecar.signing.long_parameters import LongParameters
from sidecar.signing.signature import (
    Encoded,
    EncodedPair,
    authorization_header,
    encode_parameters,
    percent_encode,
    signature_base_string,
)

_NONCE, _TIMESTAMP = Encoded("oauth_nonce"), Encoded("oauth_timestamp")
_NONCES_A_BLOCK = 256
_unused_nonces: list[str] = []
os.register_at_fork(after_in_child=_unused_nonces.clear)


def random_nonce() -> str:
    """Return 128 random bits in hexadecimal, never twice the same, not in a forked child either.

    They are drawn in blocks: one system call yields many.
    """
    while True:
        try:
            return _unused_nonces.pop()
        except IndexError:
            block = secrets.token_hex(16 * _NONCES_A_BLOCK)
            _unused_nonces.extend(block[i : i + 32] for i in range(0, len(block), 32))


class Unsigned:
    """A request's signature base string and protocol parameters, waiting for the signature."""

    __slots__ = ("_header", "base_string", "hashing", "nonce")

    def __init__(
        self,
        header: str,
        nonce: str,
        base_string: bytes = b"",
        hashing: Generator[None, None, bytes] | None = None,
    ) -> None:
        self.base_string = base_string
        """What is signed; empty where it is too long.  It holds the token: not for a log."""
        self.hashing = hashing
        """Of a base string that is too long, the steps that return its SHA-1."""
        self.nonce = nonce
        """What tells this request from all others of the consumer."""
        self._header = header

    def authorization(self, signature: bytes) -> bytes:
        """Return the value of `Authorization` with this RSA signature."""
        text = b2a_base64(signature, newline=False).decode()
        text = text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        return f'{self._header}, oauth_signature="{text}"'.encode()


class _Constants(NamedTuple):
    """What is the same for all requests with one token."""

    token: str | None
    parameters: list[EncodedPair]
    header: str

    def __repr__(self) -> str:
        return "_Constants(…)"


class Signer:
    """Signs requests for one consumer with RSA-SHA1; thread-safe."""

    def __init__(
        self,
        private_key: RSAPrivateKey,
        consumer_key: str,
        *,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = random_nonce,
    ) -> None:
        self._private_key = private_key
        self._consumer_key = consumer_key
        self._clock = clock
        self._nonce = nonce
        self._padding = PKCS1v15()
        self._hash = SHA1()  # noqa: S303 — RSA-SHA1 is the only method that Jira accepts
        self._constants = self._encode_constants(None)

    def prepare(
        self,
        method: str,
        uri: str,
        parameters: Iterable[EncodedPair] | LongParameters,
        token: str | None,
        extra: Sequence[tuple[str, str]] = (),
    ) -> Unsigned:
        """Take a nonce and a timestamp, and prepare everything but the signature.

        `uri` is the base string URI, `parameters` are the query's and the form's; `extra` are
        more protocol parameters, not yet encoded, such as oauth_callback.
        """
        constants = self._constants
        if constants.token != token:
            constants = self._constants = self._encode_constants(token)
        nonce = percent_encode(self._nonce())
        timestamp = Encoded(str(int(self._clock())))
        header = f'{constants.header}, oauth_nonce="{nonce}", oauth_timestamp="{timestamp}"'
        signed = [
            *constants.parameters,
            (_NONCE, nonce),
            (_TIMESTAMP, timestamp),
        ]
        if extra:
            more = encode_parameters(extra)
            signed += more
            header += "".join([f', {name}="{value}"' for name, value in more])
        if isinstance(parameters, LongParameters):
            return Unsigned(header, nonce, hashing=parameters.base_string_hash(method, uri, signed))
        base_string = signature_base_string(method, uri, [*parameters, *signed])
        return Unsigned(header, nonce, base_string.encode())

    @property
    def private_key(self) -> RSAPrivateKey:
        """The key that it signs with."""
        return self._private_key

    def signature(self, base_string: bytes) -> bytes:
        """Return the RSA signature (RFC 5849 §3.4.3); the one costly call, without the GIL."""
        return self._private_key.sign(base_string, self._padding, self._hash)

    def sign_hash(self, sha1: bytes) -> bytes:
        """Return the RSA signature of a base string by its SHA-1."""
        return self._private_key.sign(sha1, self._padding, Prehashed(self._hash))

    def has_made(self, signature: bytes, base_string: bytes) -> bool:
        """Whether this is the signature of a base string by our key."""
        try:
            public_key = self._private_key.public_key()
            public_key.verify(signature, base_string, self._padding, self._hash)
        except InvalidSignature:
            return False
        return True

    def authorization(
        self,
        method: str,
        uri: str,
        parameters: Iterable[EncodedPair],
        token: str | None,
        extra: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """Prepare and sign in one: the value of `Authorization`."""
        unsigned = self.prepare(method, uri, parameters, token, extra)
        return unsigned.authorization(self.signature(unsigned.base_string))

    def _encode_constants(self, token: str | None) -> _Constants:
        parameters = [
            ("oauth_consumer_key", self._consumer_key),
            ("oauth_signature_method", "RSA-SHA1"),
            ("oauth_version", "1.0"),
        ]
        if token is not None:
            parameters.append(("oauth_token", token))
        encoded = encode_parameters(parameters)
        return _Constants(token, encoded, authorization_header(encoded))

"""What net.oauth checks of every signed message, in its order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

from sidecar.sandbox.faults import Faults
from sidecar.sandbox.java import JavaException, decode_base64, parse_double, parse_long
from sidecar.sandbox.link import Link
from sidecar.sandbox.message import Message, OAuthProblem
from sidecar.sandbox.nonces import Nonce, UsedNonces

TIMESTAMP_WINDOW: Final = 300_000
"""Milliseconds that a timestamp may be off, either way; 500 are added before they are divided."""
SINGLE: Final = frozenset(
    "oauth_" + name
    for name in (
        *("consumer_key", "token", "token_secret", "callback", "signature_method"),
        *("signature", "timestamp", "nonce", "version"),
    )
)
"""The parameters that must not be repeated; any other may be."""


@dataclass(slots=True)
class Validator:
    """Checks messages against the link's public key, and remembers nonces."""

    link: Link
    faults: Faults
    now: Callable[[], float]
    nonces: UsedNonces = field(default_factory=UsedNonces)

    def validate(self, message: Message) -> None:
        """Check method, duplicates, version, timestamp, nonce and signature, in this order."""
        message.require("oauth_signature_method")
        if message.get("oauth_signature_method") != "RSA-SHA1":
            raise OAuthProblem("signature_method_rejected")
        _check_single(message)
        if (text := message.get("oauth_version")) is not None:
            version = parse_double(text)
            if version < 1.0 or version > 1.0:  # as net.oauth compares, which lets NaN pass
                raise OAuthProblem("version_rejected", oauth_acceptable_versions="1.0-1.0")
        message.require("oauth_timestamp", "oauth_nonce")
        self._check_time(message)
        self._verify(message)

    def _check_time(self, message: Message) -> None:
        """Check the timestamp and remember the nonce, before the signature is checked."""
        timestamp = parse_long(message.get("oauth_timestamp") or "")
        now = int(self.now() * 1000)
        earliest = (now - TIMESTAMP_WINDOW + 500) // 1000
        latest = (now + TIMESTAMP_WINDOW + 500) // 1000
        if not earliest <= timestamp <= latest:
            acceptable = f"{earliest}-{latest}"
            raise OAuthProblem("timestamp_refused", oauth_acceptable_timestamps=acceptable)
        if self.faults.nonce_used > 0:
            self.faults.nonce_used -= 1
            raise OAuthProblem("nonce_used")
        consumer_key, token = message.get("oauth_consumer_key"), message.get("oauth_token")
        text = message.get("oauth_nonce") or ""
        nonce = Nonce(timestamp, text, consumer_key or "", token or "", message.node)
        if not self.nonces.record(nonce, self.now(), earliest):
            raise OAuthProblem("nonce_used")

    def _verify(self, message: Message) -> None:
        """RFC 5849 §3.4.3, RSASSA-PKCS1-v1_5 with SHA-1; the answer shows Jira's base string."""
        message.require("oauth_consumer_key", "oauth_signature")
        key = self.link.public_key
        if key is None:
            raise JavaException("java.lang.IllegalStateException: need to set public key")
        signature = decode_base64(message.get("oauth_signature") or "")
        length = (key.key_size + 7) // 8
        if len(signature) != length:
            raise JavaException(
                "java.security.SignatureException: Bad signature length: "
                f"got {len(signature)} but was expecting {length}"
            )
        base_string = message.signature_base_string()
        try:
            key.verify(signature, base_string.encode(), PKCS1v15(), hashes.SHA1())  # noqa: S303
        except InvalidSignature:
            raise OAuthProblem(
                "signature_invalid",
                oauth_signature=message.get("oauth_signature") or "",
                oauth_signature_base_string=base_string,
                oauth_signature_method="RSA-SHA1",
            ) from None


def _check_single(message: Message) -> None:
    """Refuse repeated parameters; the answer lists each with all of its values."""
    values: dict[str, list[str]] = {}
    for name, value in message.parameters:
        if name in SINGLE:
            values.setdefault(name, []).append(value)
    repeated = [
        f"{name}={quote(value, safe='~', errors='replace')}"
        for name, every in values.items()
        if len(every) > 1
        for value in every
    ]
    if repeated:
        raise OAuthProblem("parameter_rejected", oauth_parameters_rejected="&".join(repeated))

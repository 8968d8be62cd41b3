"""What net.oauth checks of every signed message, in its order."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar.sandbox.bounds import keep
from sidecar.sandbox.faults import Faults
from sidecar.sandbox.message import JavaException, Message, OAuthProblem

TIMESTAMP_WINDOW = 300
"""Seconds that a timestamp may be off, either way."""
MOST_NONCES = 200_000


@dataclass(slots=True)
class Validator:
    """Checks messages against one public key, and remembers nonces."""

    public_key: RSAPublicKey | None
    faults: Faults
    now: Callable[[], float]
    nonces: dict[tuple[str, str], int] = field(default_factory=dict)

    def validate(self, message: Message) -> None:
        """Check method, duplicates, version, timestamp, nonce and signature, in this order."""
        message.require("oauth_signature_method")
        if message.get("oauth_signature_method") != "RSA-SHA1":
            raise OAuthProblem(
                "signature_method_rejected", oauth_acceptable_signature_methods="RSA-SHA1"
            )
        self._check_single(message)
        version = message.get("oauth_version")
        if version not in (None, "1.0"):
            raise OAuthProblem("version_rejected", oauth_acceptable_versions="1.0-1.0")
        message.require("oauth_timestamp", "oauth_nonce")
        timestamp = self._check_timestamp(message.get("oauth_timestamp") or "")
        self._record_nonce(message, timestamp)
        self._verify(message)

    @staticmethod
    def _check_single(message: Message) -> None:
        names = [name for name, _ in message.parameters if name.startswith("oauth_")]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise OAuthProblem("parameter_rejected", oauth_parameters_rejected="&".join(repeated))

    def _check_timestamp(self, text: str) -> int:
        """Give the timestamp in seconds; Long.parseLong throws at anything but a number."""
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise JavaException(f'java.lang.NumberFormatException: For input string: "{text}"')
        now = int(self.now())
        earliest, latest = now - TIMESTAMP_WINDOW, now + TIMESTAMP_WINDOW
        if not earliest <= int(text) <= latest:
            raise OAuthProblem(
                "timestamp_refused", oauth_acceptable_timestamps=f"{earliest}-{latest}"
            )
        return int(text)

    def _record_nonce(self, message: Message, timestamp: int) -> None:
        """Remember a nonce, whether or not the signature then turns out right."""
        key = (message.get("oauth_consumer_key") or "", message.get("oauth_nonce") or "")
        if self.faults.nonce_used > 0:
            self.faults.nonce_used -= 1
            raise OAuthProblem("nonce_used")
        if key in self.nonces:
            raise OAuthProblem("nonce_used")
        keep(self.nonces, key, timestamp, MOST_NONCES)

    def _verify(self, message: Message) -> None:
        """RFC 5849 §3.4.3, RSASSA-PKCS1-v1_5 with SHA-1; the answer shows Jira's base string."""
        message.require("oauth_consumer_key", "oauth_signature")
        signature = message.get("oauth_signature") or ""
        base_string = message.signature_base_string()
        try:
            if self.public_key is None:
                raise InvalidSignature
            self.public_key.verify(
                base64.b64decode(signature),
                base_string.encode(),
                PKCS1v15(),
                hashes.SHA1(),  # noqa: S303
            )
        except (InvalidSignature, binascii.Error, ValueError):
            raise OAuthProblem(
                "signature_invalid",
                oauth_signature=signature,
                oauth_signature_base_string=base_string,
                oauth_signature_method="RSA-SHA1",
            ) from None

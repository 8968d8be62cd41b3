"""The process that signs for a busy sidecar; process.py starts it and talks to it.

Standard input brings a private key (its length in 4 bytes, then PKCS #8 in DER), then SHA-1 digests
of 20 bytes each; standard output takes a signature for each, in the same order.  It ends with its
input, so it never outlives the sidecar.  Nothing of the sidecar is imported here: that keeps it
small, and quick to start.
"""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from time import perf_counter

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import load_der_private_key

DIGEST_BYTES = 20
LENGTH_BYTES = 4
_READ_BYTES = 64 * DIGEST_BYTES
_TOGETHER = 4
"""Signatures that are written together when there are more: each write wakes the sidecar up."""
_TOGETHER_SECONDS = 0.001
"""But whoever waits for the first of them does not wait so long for the others."""


def main() -> None:
    """Sign until the input ends.  Signals to the whole group are ignored: the sidecar decides."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.disable()  # nothing here makes cycles
    with suppress(AttributeError, OSError):  # not Linux, or not allowed
        # This process always has more to sign: any other, above all the sidecar, runs first.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with suppress(BrokenPipeError):  # the sidecar is gone
        sign_all(0, 1)


def sign_all(source: int, sink: int) -> None:
    """Read a key and digests from one descriptor, write signatures to another, to the end."""
    length = int.from_bytes(_read(source, LENGTH_BYTES), "big")
    key = load_der_private_key(_read(source, length), None)
    assert isinstance(key, RSAPrivateKey)
    padding, digest_only = PKCS1v15(), Prehashed(SHA1())  # noqa: S303 — Jira accepts no other
    received = b""
    while more := os.read(source, _READ_BYTES):
        received += more
        whole = len(received) - len(received) % DIGEST_BYTES
        digests = [received[at : at + DIGEST_BYTES] for at in range(0, whole, DIGEST_BYTES)]
        received = received[whole:]
        signed: list[bytes] = []
        began = perf_counter()
        for digest in digests:
            signed.append(key.sign(digest, padding, digest_only))
            if len(signed) == _TOGETHER or perf_counter() - began > _TOGETHER_SECONDS:
                _write(sink, b"".join(signed))
                signed, began = [], perf_counter()
        _write(sink, b"".join(signed))


def _read(source: int, size: int) -> bytes:
    """Exactly so many bytes; the process ends here if its input does."""
    data = b""
    while len(data) < size:
        piece = os.read(source, size - len(data))
        if not piece:
            raise SystemExit
        data += piece
    return data


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]


if __name__ == "__main__":
    main()

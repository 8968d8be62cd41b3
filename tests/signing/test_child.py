"""The process that signs: a key and digests in, signatures out, and an end with its input."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.signing import child as signing_child
from sidecar.signing.signer import Signer
from tests.support.waiting import PATIENCE

# An odd length of the key, too: a signature is as long as the modulus, in whole bytes.
KEYS = {bits: generate_private_key(65537, bits) for bits in (1024, 1030)}
DIGESTS = st.lists(st.binary(min_size=20, max_size=20), max_size=200)


def opening(key: RSAPrivateKey) -> bytes:
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return len(der).to_bytes(4, "big") + der


def signed_in_this_process(message: bytes, piece: int) -> bytes:
    """What comes out of `sign_all` when `message` comes in pieces."""
    (source, writer), (reader, sink) = os.pipe(), os.pipe()
    out: list[bytes] = []

    def write() -> None:
        for start in range(0, len(message), piece):
            os.write(writer, message[start : start + piece])
        os.close(writer)

    def read() -> None:
        while data := os.read(reader, 65536):
            out.append(data)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        with suppress(SystemExit):
            signing_child.sign_all(source, sink)
    finally:
        os.close(sink)
        for thread in threads:
            thread.join(10)
        os.close(source)
        os.close(reader)
    return b"".join(out)


@settings(max_examples=20, deadline=None)
@given(DIGESTS, st.integers(1, 5000), st.sampled_from(sorted(KEYS)))
def test_however_digests_arrive_each_gets_its_signature_in_their_order(
    digests: list[bytes], piece: int, bits: int
) -> None:
    key = KEYS[bits]
    made = signed_in_this_process(opening(key) + b"".join(digests), piece)
    size = (bits + 7) // 8
    signatures = [made[start : start + size] for start in range(0, len(made), size)]
    assert len(signatures) == len(digests)
    for digest, signature in zip(digests, signatures, strict=True):
        recovered = pow(
            int.from_bytes(signature, "big"), 65537, key.public_key().public_numbers().n
        )
        assert recovered.to_bytes(size, "big").endswith(digest)


def test_a_signature_is_the_one_that_the_signer_makes_itself() -> None:
    base_string = b"GET&https%3A%2F%2Fjira.example.com%2Frest&a%3Db"
    digest = hashlib.sha1(base_string).digest()
    made = signed_in_this_process(opening(KEYS[1024]) + digest, 4096)
    assert made == Signer(KEYS[1024], "OauthKey").signature(base_string)


@pytest.mark.parametrize("cut", [0, 3, 100])
def test_an_input_that_ends_within_the_key_ends_it_quietly(cut: int) -> None:
    assert signed_in_this_process(opening(KEYS[1024])[:cut], 4096) == b""


@contextmanager
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-P", signing_child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(opening(KEYS[1024]) + bytes(20))
        process.stdin.flush()
        assert len(process.stdout.read(128)) == 128
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_ends_with_its_input_and_says_nothing() -> None:
    with child() as process:
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (0, b"", b"")


def test_it_ends_when_nobody_takes_its_signatures() -> None:
    with child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(bytes(20))
        process.stdin.flush()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_group_are_the_sidecars_to_heed(number: signal.Signals) -> None:
    with child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.send_signal(number)
        process.stdin.write(bytes(20))
        process.stdin.flush()
        assert len(process.stdout.read(128)) == 128


def test_it_imports_nothing_of_the_sidecar() -> None:
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        " print([name for name in sys.modules if name.partition('.')[0] in ('sidecar', 'asyncio')])"
    )
    command = [sys.executable, "-c", program, signing_child.__file__]
    assert subprocess.check_output(command, text=True, timeout=PATIENCE).strip() == "[]"

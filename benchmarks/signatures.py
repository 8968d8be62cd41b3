"""What the bare signature costs: the RSA operation in a loop, nothing around it."""

from __future__ import annotations

import threading
import time

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1

TEXT = b"GET&http%3A%2F%2F127.0.0.1%2Frest%2Fapi%2F2%2Fuser&" + b"oauth_" * 40


def bare(key: RSAPrivateKey, seconds: float = 0.5) -> float:
    """Microseconds of CPU for one signature, in one thread."""
    padding, digest = PKCS1v15(), SHA1()
    key.sign(TEXT, padding, digest)  # the first one prepares what the others use
    signatures = 0
    began, ends = time.thread_time(), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for _ in range(20):
            key.sign(TEXT, padding, digest)
        signatures += 20
    return (time.thread_time() - began) / signatures * 1e6


def at_once(key: RSAPrivateKey, threads: int, seconds: float = 0.5) -> float:
    """The same with so many threads at a time: the mean of what each says."""
    found: list[float] = []
    workers = [
        threading.Thread(target=lambda: found.append(bare(key, seconds))) for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(found) / len(found)

"""RSA signatures, made beside the event loop while it is busy and on it while it is not.

A signature is the one costly step of a request: 0.2 ms for 2048 bits, 3 ms for 4096.  OpenSSL
makes it without the GIL, so that a thread makes it on another core while the loop goes on.
Handing it over and back costs the loop some 20 µs and a lone request more than that, which had
better sign at once.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

Sign = Callable[[bytes], bytes]


class _Job(NamedTuple):
    sign: Sign
    data: bytes
    done: asyncio.Future[bytes]


class Signatures:
    """Makes signatures in threads while `is_busy()`.  Use it inside one running event loop.

    The threads wake the loop once for all signatures that are ready by then, not for each.
    """

    def __init__(self, is_busy: Callable[[], bool], threads: int | None = None) -> None:
        """Without a number, one thread for each core, at most two; none is started before need."""
        self._loop = asyncio.get_running_loop()
        self._is_busy = is_busy
        self._count = threads or min(2, os.cpu_count() or 1)
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._ready: deque[tuple[asyncio.Future[bytes], bytes | Exception]] = deque()
        self._is_woken = False

    async def make(self, sign: Sign, data: bytes) -> bytes:
        """Return `sign(data)`, or raise what it raises."""
        if not self._is_busy():
            return sign(data)
        if not self._threads:
            self._start()
        done: asyncio.Future[bytes] = self._loop.create_future()
        self._jobs.put(_Job(sign, data, done))
        return await done

    def close(self) -> None:
        """End the threads once what was asked for is signed."""
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _start(self) -> None:
        for number in range(self._count):
            thread = threading.Thread(target=self._work, name=f"signing-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                made: bytes | Exception = job.sign(job.data)
            except Exception as error:  # noqa: BLE001 — raised where the signature is awaited
                made = error
            self._ready.append((job.done, made))
            if not self._is_woken:
                self._is_woken = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return

    def _deliver(self) -> None:
        # Cleared first: what is ready from here on either is delivered below or wakes us again.
        self._is_woken = False
        while self._ready:
            done, made = self._ready.popleft()
            if done.done():  # its client has left
                continue
            if isinstance(made, bytes):
                done.set_result(made)
            else:
                done.set_exception(made)

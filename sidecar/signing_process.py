"""A process that signs with our key, as the event loop sees it.

A thread that signs and the loop would wait for each other's hold on the GIL at every signature,
which costs 70 to 120 µs of CPU (measured); a process has a GIL of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections import deque
from collections.abc import Callable
from subprocess import DEVNULL
from typing import cast

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar import signing_child
from sidecar.signer import Signer

LOOK_SECONDS = 5.0
"""A process that makes nothing for so long, though it was asked, is given up."""
IDLE_LOOKS = 12
"""It ends after so many looks, a minute, without anything to do."""


class SigningProcessEnded(Exception):
    """The process ended before it made a signature that it was asked for."""


class SigningProcess(asyncio.SubprocessProtocol):
    """Starts a process that signs as `signer` does, and asks it for signatures."""

    def __init__(self, signer: Signer, ended: Callable[[SigningProcess, str], None]) -> None:
        """To be made in a running event loop.

        `ended` is called once, when the process is gone or could not be started; with the reason,
        which is empty if it ended in order.
        """
        self.signer = signer
        self.is_ready = False
        """Whether signatures can be asked for: the process is up, and was not closed."""
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._signature_bytes = (signer.private_key.key_size + 7) // 8
        self._is_closing = False
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._received = b""
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._made = self._made_before = 0
        self._idle_looks = 0
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        self._starting = self._loop.create_task(self._start())

    def sign(self, base_string: bytes) -> asyncio.Future[bytes]:
        """Ask for a signature; SigningProcessEnded if it cannot be had any more."""
        return self._ask(hashlib.sha1(base_string, usedforsecurity=False).digest())

    @property
    def waiting(self) -> int:
        """How many signatures it was asked for and has not yet made."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the process end, once what it was asked for is signed."""
        self._is_closing = True
        self.is_ready = False
        if self._input is not None:
            self._input.close()

    async def wait_closed(self) -> None:
        """Return when the process is gone; it is killed if that takes too long."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self._give_up("it did not end")

    async def _start(self) -> None:
        try:
            await self._loop.subprocess_exec(
                lambda: self, sys.executable, "-P", signing_child.__file__, stderr=DEVNULL
            )
        except OSError as error:
            self._give_up(f"it could not be started: {error.strerror}")

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        if self._gone.done():  # nobody waits for it any more
            self._transport.close()
            return
        self._input = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        key = self.signer.private_key.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
        self._input.write(len(key).to_bytes(signing_child.LENGTH_BYTES, "big") + key)
        self._ask(bytes(signing_child.DIGEST_BYTES)).add_done_callback(self._is_up)
        if self._is_closing:
            self._input.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        data = self._received + data
        size = self._signature_bytes
        whole = len(data) - len(data) % size
        for start in range(0, whole, size):
            waiting = self._waiting.popleft()
            if not waiting.done():  # else its client has left
                waiting.set_result(data[start : start + size])
            self._made += 1
        self._received = data[whole:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._fail_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        # It has ended, and all that it wrote was received.
        assert self._transport is not None
        status = self._transport.get_returncode()
        self._give_up("" if self._is_closing else f"it ended with status {status}")

    # Looking after it

    def _ask(self, digest: bytes) -> asyncio.Future[bytes]:
        assert self._input is not None
        signature: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.append(signature)
        self._input.write(digest)
        return signature

    def _is_up(self, first: asyncio.Future[bytes]) -> None:
        self.is_ready = first.exception() is None and not self._is_closing

    def _look(self) -> None:
        is_still, self._made_before = self._made == self._made_before, self._made
        if is_still and (self._waiting or self._is_closing):
            self._give_up("it did not answer")
            return
        self._idle_looks = self._idle_looks + 1 if is_still else 0
        if self._idle_looks >= IDLE_LOOKS:
            self.close()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _fail_waiting(self) -> None:
        self.is_ready = False
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(SigningProcessEnded())

    def _give_up(self, why: str) -> None:
        """See to it that it is gone."""
        self._timer.cancel()
        self._fail_waiting()
        if self._gone.done():
            return
        self._gone.set_result(None)
        if self._transport is not None:
            self._transport.close()  # kills it, if it runs
        self._ended(self, why)

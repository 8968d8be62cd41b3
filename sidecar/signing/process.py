"""Starts the process that signs with our key, and asks it for signatures.

A thread would not do: it and the loop would wait for the GIL at every signature, which costs 70 to
120 µs of CPU (measured).  A process has a GIL of its own.
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

from sidecar.signing import child
from sidecar.signing.signer import Signer

PATIENCE = 2.0
"""Seconds: a process that was asked for a signature and makes none for this long is given up."""
STARTING_SECONDS = 10.0
"""How long it has for its first signature."""
LOOK_SECONDS = 0.5
"""How often its progress is checked."""
IDLE_SECONDS = 60.0
"""It is ended when it has had nothing to do for this long."""

_PROBE = b"Is anybody there?"


class SigningProcessEnded(Exception):
    """The process ended before it made a signature that it was asked for."""


class SigningProcess(asyncio.SubprocessProtocol):
    """Starts a process that signs as `signer` does, and asks it for signatures."""

    def __init__(
        self,
        signer: Signer,
        ended: Callable[[SigningProcess, str], None],
        has_room: Callable[[], None] = lambda: None,
    ) -> None:
        """To be made in a running event loop.

        `ended` is called once, when the process is gone or could not be started; with the reason,
        which is empty if it ended in order.  `has_room` is called when it has made signatures.
        """
        self.signer = signer
        self.is_ready = False
        """Whether signatures can be asked for: the process is up, and was not closed."""
        self._ended = ended
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._signature_bytes = (signer.private_key.key_size + 7) // 8
        self._is_closing = False
        self._is_given_up = False
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._input: asyncio.WriteTransport | None = None
        self._received = b""
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._moved_at = self._loop.time()  # when it last was given something to do, or did it
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        self._starting = self._loop.create_task(self._start())

    def sign(
        self, base_string: bytes, signature: asyncio.Future[bytes] | None = None
    ) -> asyncio.Future[bytes]:
        """Ask for a signature, to be put into that future.

        It gets SigningProcessEnded, now or later, where it cannot be had any more.
        """
        if signature is None:
            signature = self._loop.create_future()
        if self._input is None or self._input.is_closing():
            signature.set_exception(SigningProcessEnded())
            return signature
        if not self._waiting:
            self._moved_at = self._loop.time()
        self._input.write(hashlib.sha1(base_string, usedforsecurity=False).digest())
        self._waiting.append(signature)
        return signature

    @property
    def waiting(self) -> int:
        """How many signatures it was asked for and has not yet made."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the process end, once what it was asked for is signed."""
        self._is_closing = True
        self.is_ready = False
        self._moved_at = self._loop.time()
        if self._input is not None:
            self._input.close()

    async def wait_closed(self) -> None:
        """Return when the process is gone; it is killed if that takes too long."""
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(self._exited)
        except TimeoutError:
            self._give_up("it did not end")

    async def _start(self) -> None:
        try:
            await self._loop.subprocess_exec(
                lambda: self, sys.executable, "-P", child.__file__, stderr=DEVNULL
            )
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            # No more processes or threads, or an embedded Python without an executable.
            self._give_up(f"it could not be started: {error}")

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        if self._is_given_up:  # nobody waits for it any more
            self._transport.close()
            return
        self._input = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        key = self.signer.private_key.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
        self._input.write(len(key).to_bytes(child.LENGTH_BYTES, "big") + key)
        self.sign(_PROBE).add_done_callback(self._is_up)
        if self._is_closing:
            self._input.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if self._is_given_up:
            return
        self._moved_at = self._loop.time()
        data = self._received + data
        size = self._signature_bytes
        whole = len(data) - len(data) % size
        for start in range(0, whole, size):
            waiting = self._waiting.popleft()
            if not waiting.done():  # else its client has left
                waiting.set_result(data[start : start + size])
        self._received = data[whole:]
        self._has_room()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.is_ready = False
        if fd == 1:
            self._fail_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        # It has ended, and all that it wrote was received.
        if not self._exited.done():
            self._exited.set_result(None)
        assert self._transport is not None
        status = self._transport.get_returncode()
        self._give_up("" if self._is_closing else f"it ended with status {status}")

    # Looking after it

    def _is_up(self, probe: asyncio.Future[bytes]) -> None:
        if probe.exception() is not None:
            return
        if self.signer.has_made(probe.result(), _PROBE):
            self.is_ready = not self._is_closing
        else:  # something else writes to its output
            self._give_up("its signatures are wrong")

    def _look(self) -> None:
        rested = self._loop.time() - self._moved_at
        patience = PATIENCE if self.is_ready or self._is_closing else STARTING_SECONDS
        if rested >= patience and (self._waiting or self._is_closing):
            self._give_up("it did not answer")
            return
        if rested >= IDLE_SECONDS:
            self.close()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _fail_waiting(self) -> None:
        self.is_ready = False
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(SigningProcessEnded())

    def _give_up(self, why: str) -> None:
        """Have nothing to do with it any more, and see to it that it ends."""
        if self._is_given_up:
            return
        self._is_given_up = True
        self._timer.cancel()
        self._fail_waiting()
        if self._transport is not None:
            self._transport.close()  # kills it, if it runs
        elif not self._exited.done():
            self._exited.set_result(None)
        self._ended(self, why)

"""Makes RSA signatures: on the event loop, or in a process of their own when many are wanted.

A signature is the one costly step of a request: 0.25 ms for 2048 bits, 3 ms for 4096.  To have it
made by another process costs a lone request more than it gains, so that is done in a rush only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

from sidecar.signing.process import SigningProcess, SigningProcessEnded
from sidecar.signing.signer import Signer

log = logging.getLogger(__name__)

WINDOW = 100
"""After this many signatures it is decided whether there is a rush."""
RUSH = 4
"""There is one if they were asked for within this many times what it takes to make them."""
QUICK = 0.0005
"""Seconds: in a rush the loop makes a signature only if that takes no longer."""
ENOUGH = 16
"""When this many signatures wait for the process, a loop that is quick enough helps it."""
SHARE = 8
"""Then the loop makes every eighth signature itself."""
FULL = 256
"""When this many wait, even a slow loop signs: clients that leave keep their place in the queue."""
PAUSE_SECONDS = 60.0
"""After a process has failed, no other is started for this long."""


class Signatures:
    """Makes signatures, in a rush by one process of its own.  Use it in one running event loop.

    Whatever becomes of that process, signatures are made: on the loop where it can't.
    """

    def __init__(
        self, is_busy: Callable[[], bool], clock: Callable[[], float] = perf_counter
    ) -> None:
        """`is_busy` tells whether there is more than one request to be served."""
        self._is_busy = is_busy
        self._clock = clock
        self._signer: Signer | None = None
        self._process: SigningProcess | None = None
        self._ending: set[SigningProcess] = set()
        self._is_closed = False
        self._start_after = 0.0
        self._quickest = float("inf")  # seconds that a signature takes on the loop
        self._is_rush = False
        self._passed_on = 0  # signatures since the loop last helped the process
        self._asked = 0
        self._window_began = self._clock()

    async def make(self, signer: Signer, base_string: bytes) -> bytes:
        """Return the signature of a base string by this signer's key."""
        if signer is not self._signer:
            self._change_signer(signer)
        self._asked += 1
        if self._asked == WINDOW:
            self._judge_window()
        if self._is_rush and self._is_busy() and (process := self._free_process()) is not None:
            try:
                return await process.sign(base_string)
            except SigningProcessEnded:
                pass  # then here
        began = self._clock()
        signature = signer.signature(base_string)
        self._quickest = min(self._quickest, self._clock() - began)
        return signature

    async def close(self) -> None:
        """End the process, once what it was asked for is signed."""
        self._is_closed = True
        self._retire()
        for process in list(self._ending):
            await process.wait_closed()

    def _change_signer(self, signer: Signer) -> None:
        self._signer = signer
        self._quickest = float("inf")
        self._retire()

    def _judge_window(self) -> None:
        now = self._clock()
        self._is_rush = now - self._window_began < RUSH * WINDOW * self._quickest
        self._window_began = now
        self._asked = 0

    def _free_process(self) -> SigningProcess | None:
        """Return the process if it is up and not too busy; start it if there is none."""
        process = self._process
        if process is not None:
            return process if process.is_ready and not self._is_to_help(process) else None
        if self._signer is not None and not self._is_closed and self._clock() >= self._start_after:
            self._process = SigningProcess(self._signer, self._ended)
        return None

    def _is_to_help(self, process: SigningProcess) -> bool:
        """Whether the loop should sign this time: seldom, or the process has nothing to do."""
        if process.waiting >= FULL:
            return True
        self._passed_on += 1
        if process.waiting < ENOUGH or self._passed_on < SHARE or self._quickest > QUICK:
            return False
        self._passed_on = 0
        return True

    def _retire(self) -> None:
        if self._process is not None:
            self._ending.add(self._process)
            self._process.close()
            self._process = None

    def _ended(self, process: SigningProcess, why: str) -> None:
        self._ending.discard(process)
        if process is self._process:
            self._process = None
            self._is_rush = False  # it is over, or has to show itself anew
        if why:
            self._start_after = self._clock() + PAUSE_SECONDS
            log.warning(
                "the process that signs while there is much to do is gone: %s. Nothing is lost, but"
                " fewer requests a second are served; another is started after %g s if needed.",
                why,
                PAUSE_SECONDS,
            )

"""Makes RSA signatures: on the event loop, or in processes of their own when many are wanted.

A signature is the one costly step of a request: 0.25 ms for 2048 bits, 3 ms for 4096.  To have it
made by another process costs a lone request more than it gains, so that is done in a rush only.
Then every core has something to sign: what processes have no room for waits here, and the loop
makes of that what it can, if its signatures are quick.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from math import inf
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
LEAST_AHEAD, MOST_AHEAD = 6, 16
"""Signatures that a process is asked for ahead, or three quarters of all: of a few it writes four
together and has two more to make until the loop has taken those; of many it never runs out."""
MOST_PROCESSES = 4
"""Each takes some 20 MB; four sign more than one loop can relay, but for the longest keys."""
PAUSE_SECONDS = 60.0
"""After a process has failed, no other is started for this long."""


class Signatures:
    """Makes signatures, in a rush by processes.  Use it in one running event loop.

    Whatever becomes of a process, signatures are made: on the loop where it can't.
    """

    def __init__(
        self,
        is_busy: Callable[[], bool],
        clock: Callable[[], float] = perf_counter,
        cores: int | None = None,
    ) -> None:
        """`is_busy` tells whether there is more than one request to be served."""
        self._is_busy = is_busy
        self._clock = clock
        self._cores = cores or _cores()
        self._signer: Signer | None = None
        self._processes: list[SigningProcess] = []
        self._ending: set[SigningProcess] = set()
        self._wanted: deque[tuple[bytes, asyncio.Future[bytes]]] = deque()  # of nobody yet
        self._is_helping = False  # the loop makes one of these in its next turn
        self._is_closed = False
        self._start_after = 0.0
        self._quickest = inf  # seconds that a signature takes on the loop
        self._is_rush = False
        self._asked = 0
        self._window_began = self._clock()

    async def make(self, signer: Signer, base_string: bytes) -> bytes:
        """Return the signature of a base string by this signer's key."""
        if signer is not self._signer:
            self._change_signer(signer)
        self._asked += 1
        if self._asked == WINDOW:
            self._judge_window()
        if self._is_rush and self._is_busy() and self._has_process():
            try:
                return await self._wait_for(base_string)
            except SigningProcessEnded:
                pass  # then here
        began = self._clock()
        signature = signer.signature(base_string)
        self._quickest = min(self._quickest, self._clock() - began)
        return signature

    async def close(self) -> None:
        """End the processes, once what they were asked for is signed."""
        self._is_closed = True
        self._retire()
        for process in list(self._ending):
            await process.wait_closed()

    def _change_signer(self, signer: Signer) -> None:
        self._retire()
        self._signer = signer
        self._quickest = inf

    def _judge_window(self) -> None:
        now = self._clock()
        self._is_rush = now - self._window_began < RUSH * WINDOW * self._quickest
        self._window_began = now
        self._asked = 0

    def _has_process(self) -> bool:
        """Whether a process is up; start one if there is none."""
        if not self._processes:
            self._start_process()
        return any(process.is_ready for process in self._processes)

    def _start_process(self) -> None:
        """Start a process, unless there are enough, or one that is not up yet."""
        cores = self._cores - (self._quickest <= QUICK)  # the loop signs on one itself
        if len(self._processes) >= max(1, min(cores, MOST_PROCESSES)):
            return
        if not all(process.is_ready for process in self._processes):
            return
        if self._signer is not None and not self._is_closed and self._clock() >= self._start_after:
            process = SigningProcess(self._signer, self._ended, self._pass_on)
            self._processes.append(process)

    def _wait_for(self, base_string: bytes) -> asyncio.Future[bytes]:
        """Have a signature made by whoever is free first."""
        signature: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._wanted.append((base_string, signature))
        self._pass_on()
        return signature

    def _pass_on(self) -> None:
        """Ask processes for what is wanted, as far as they have room; have the loop help then."""
        wanted = len(self._wanted) + sum(map(_waiting, self._processes))
        ahead = max(LEAST_AHEAD, min(MOST_AHEAD, wanted * 3 // 4))
        while self._wanted:
            ready = [process for process in self._processes if process.is_ready]
            if not ready:
                self._fail_wanted()
                return
            process = min(ready, key=_waiting)
            if process.waiting >= ahead:
                break
            base_string, signature = self._wanted.popleft()
            if not signature.done():  # else its client has left
                process.sign(base_string, signature)
        else:
            return
        self._start_process()
        if self._quickest <= QUICK and not self._is_helping:
            self._is_helping = True
            asyncio.get_running_loop().call_soon(self._help)

    def _help(self) -> None:
        """Make one of the signatures that no process has room for."""
        self._is_helping = False
        while self._wanted and self._signer is not None:
            base_string, signature = self._wanted.popleft()
            if not signature.done():
                signature.set_result(self._signer.signature(base_string))
                break
        self._pass_on()

    def _fail_wanted(self) -> None:
        """Have everybody who waits for any process sign on the loop."""
        while self._wanted:
            _, signature = self._wanted.popleft()
            if not signature.done():
                signature.set_exception(SigningProcessEnded())

    def _retire(self) -> None:
        processes, self._processes = self._processes, []
        for process in processes:
            self._ending.add(process)
            process.close()
        self._fail_wanted()

    def _ended(self, process: SigningProcess, why: str) -> None:
        self._ending.discard(process)
        if process in self._processes:
            self._processes.remove(process)
        if not self._processes:
            self._is_rush = False  # it is over, or has to show itself anew
        self._pass_on()
        if why:
            self._start_after = self._clock() + PAUSE_SECONDS
            log.warning(
                "a process that signs while there is much to do is gone: %s. Nothing is lost, but"
                " fewer requests a second are served; another is started after %g s if needed.",
                why,
                PAUSE_SECONDS,
            )


def _waiting(process: SigningProcess) -> int:
    return process.waiting


def _cores() -> int:
    """On how many cores we may run."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1

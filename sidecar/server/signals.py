"""What signals ask of `sidecar run`: to stop, to stop at once, to reload."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

log = logging.getLogger(__name__)

AT_ONCE_SECONDS = 1.0
"""What a second signal leaves for cutting off the connections of clients."""
SHELL_SECONDS = 1.0
"""Shells and xterm send SIGHUP, and give the terminal up when they end, a moment later."""


class Signals:
    """SIGTERM and SIGINT stop, and a second one at once; SIGHUP reloads, or tells of a hangup.

    It tells of a hangup where there was a terminal at the start and is none any more.  Under nohup,
    which had SIGHUP ignored at the start, it never does.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.reload = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stops = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, lambda: None)  # wakes the loop up
            # Handled by Python, not by the loop: a second signal ends even one that is held up.
            signal.signal(number, self._on_stop)
        self._ends_with_terminal = (
            signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and has_terminal()
        )
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self, *_: object) -> None:
        self._stops += 1
        self._tell(self.stop if self._stops == 1 else self.at_once)
        if self._stops == 2:
            end_after(AT_ONCE_SECONDS)

    def _on_hangup(self) -> None:
        if not self._end_if_hung_up():
            self.reload.set()
            self._loop.call_later(SHELL_SECONDS, self._end_if_hung_up)

    def _end_if_hung_up(self) -> bool:
        """Stop if the terminal is gone; kernel and shell may both tell of that, and once counts."""
        is_hung_up = self._ends_with_terminal and not has_terminal()
        if is_hung_up and not self._stops:
            log.info("the terminal that this was started in is gone")
            self._on_stop()
        return is_hung_up

    def _tell(self, event: asyncio.Event) -> None:
        self._loop.call_soon_threadsafe(event.set)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def end_after(seconds: float) -> None:
    """End the process after so many seconds, even if the event loop is held up for ever."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, seconds)

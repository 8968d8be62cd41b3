"""What systemd is told, by the protocol of sd_notify(3): one datagram for each message."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Mapping

from sidecar.http.shown import printable

log = logging.getLogger(__name__)

STOP_RESERVE = 10.0
"""Seconds that stopping may take beyond timeouts.shutdown before systemd loses patience."""

_RETRY_SECONDS = 0.1
"""When a message is sent again for which there was no room in systemd's queue."""
_MOST_UNSENT = 64
"""Messages that wait for room; of more, the oldest is given up."""


class Notifier:
    """Speaks to $NOTIFY_SOCKET; says nothing where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._status = ""
        self._unsent: deque[bytes] = deque(maxlen=_MOST_UNSENT)

    def ready(self, status: str) -> None:
        """The service is up, or done with reloading."""
        self._status = status
        self._send(f"READY=1\nSTATUS={printable(status, 1000)}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading")

    def stopping(self, status: str, seconds: float) -> None:
        """The service is about to end, within so many seconds at most."""
        limit = int((seconds + STOP_RESERVE) * 1_000_000)
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={limit}\nSTATUS={printable(status, 1000)}")

    def status(self, status: str) -> None:
        """What `systemctl status` shows, if it is something new."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={printable(status, 1000)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address:
            self._unsent.append(message.encode())
            if len(self._unsent) == 1:
                self._send_all()

    def _send_all(self) -> None:
        """Send what is to be sent, in its order, now or later: the event loop does not wait."""
        kind = socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)
        with socket.socket(socket.AF_UNIX, kind) as sock:
            sock.setblocking(False)
            while self._unsent:
                try:
                    sock.sendto(self._unsent[0], self._address)
                except BlockingIOError:
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._send_all)
                    return
                except OSError as error:
                    log.debug("systemd cannot be notified: %s", error)
                self._unsent.popleft()


class Watchdog:
    """Feeds systemd's watchdog from the event loop: a loop that is stuck feeds nothing."""

    def __init__(self, notifier: Notifier, environ: Mapping[str, str]) -> None:
        self._notifier = notifier
        self._interval = watchdog_interval(environ)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Feed now, and from now on."""
        if self._interval is not None:
            self._notifier.alive()
            self._timer = asyncio.get_running_loop().call_later(self._interval, self.start)

    def stop(self) -> None:
        """Feed no more."""
        if self._timer is not None:
            self._timer.cancel()


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds between two feedings, half of what sd_watchdog_enabled(3) allows; None without."""
    limit = environ.get("WATCHDOG_USEC", "")
    if not (limit.isascii() and limit.isdecimal()) or int(limit) == 0:
        return None
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(limit) / 2 / 1_000_000


def _address(path: str) -> str:
    """A socket's address: a path, or a name in the abstract namespace, written with an @."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else ""  # vsock: and the like are for machines

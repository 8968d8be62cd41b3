"""`sidecar run`: the server, told what to do by signals, and what it tells a service manager."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
from collections.abc import Callable, MutableMapping
from typing import Any

from sidecar.config.load import Config
from sidecar.errors import DESCRIPTORS_HINT, SidecarError, in_brackets, is_out_of_descriptors
from sidecar.net import descriptors
from sidecar.server.notify import Notifier, Watchdog
from sidecar.server.server import Server
from sidecar.server.signals import Signals, end_after
from sidecar.telemetry.troubles import Quiet

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 5.0
"""How often token and status are looked at when no request and no signal comes."""
CLOSE_SECONDS = 4.2
"""What closing may take beyond timeouts.shutdown; a renewed token is stored meanwhile."""
END_SECONDS = 4.7
"""Beyond timeouts.shutdown; then the process ends, whatever it still waits for."""


async def serve(
    load: Callable[[], Config],
    environ: MutableMapping[str, str],
    announce: Callable[[str], None],
    set_up_logs: Callable[[Config], None],
    complete: Callable[[str], str] = str,
    named: Callable[[str], str] = str,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once.

    `load` reads the configuration, now and at each reload; `set_up_logs` goes by it.  `complete`
    completes the commands that the page names, and `named` those in what everybody may read.
    Raises SidecarError where the service cannot start.
    """
    signals = Signals()
    asyncio.get_running_loop().set_exception_handler(report)
    service = _Service(load, environ, set_up_logs, complete, named)
    await _first(service.start(announce), signals.stop.wait())
    if not service.is_up:
        return
    _calm_collector()
    try:
        await service.run(signals)
    finally:  # whatever ends it: a renewed token may be in memory only
        seconds = service.shutdown_seconds
        end_after(seconds + END_SECONDS)
        await _first(service.stop(), signals.at_once.wait(), asyncio.sleep(seconds + CLOSE_SECONDS))
        service.cut()


def _calm_collector() -> None:
    """Keep what lives as long as the process out of garbage collections, and make those rarer.

    A request leaves few cycles behind, and Python would look for them every 700 objects: a tenth
    of what a request costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


class _Service:
    """The server, its log and what systemd is told about it."""

    def __init__(
        self,
        load: Callable[[], Config],
        environ: MutableMapping[str, str],
        set_up_logs: Callable[[Config], None],
        complete: Callable[[str], str],
        named: Callable[[str], str],
    ) -> None:
        self._load = load
        self._set_up_logs = set_up_logs
        self._config = load()
        self._set_up_logs(self._config)
        self._server = Server(self._config, environ, complete, named)
        self._notifier = Notifier(environ)
        self._watchdog = Watchdog(self._notifier, environ)
        self.is_up = False
        """Whether it has started; a signal may come before that."""
        self._note = ""  # what the status line says besides what is served

    async def start(self, announce: Callable[[str], None]) -> None:
        """Listen, and tell everybody."""
        descriptors.raise_limit()
        for url in await self._server.start():
            announce(f"listening on {url}")
        announce(f"for {self._server.introduction()}")
        for warning in (*self._server.warnings(), *descriptors.warnings(self._config)):
            log.warning("%s", warning)
        self._server.look_after_token()
        self._notifier.ready(self._status())
        self._watchdog.start()
        self.is_up = True

    async def run(self, signals: Signals) -> None:
        """Reload when asked, and look after things, until the first signal to stop."""
        while not signals.stop.is_set():
            await _first(signals.stop.wait(), signals.reload.wait(), asyncio.sleep(UPKEEP_SECONDS))
            if signals.stop.is_set():
                return
            if signals.reload.is_set():
                signals.reload.clear()
                self._reload()
            self._server.look_after_token()
            self._notifier.status(self._status())

    @property
    def shutdown_seconds(self) -> float:
        """How long requests in flight may take to finish."""
        return self._config.timeouts.shutdown

    async def stop(self) -> None:
        """Finish what is in flight, then close."""
        seconds = self.shutdown_seconds
        self._notifier.stopping("finishing what is in flight", seconds)
        log.info("stopping: finishing what is in flight, for at most %g s", seconds)
        await self._server.stop(seconds)
        self._watchdog.stop()

    def cut(self) -> None:
        """Cut off the connections of clients."""
        self._server.cut()

    def _reload(self) -> None:
        """Apply a new configuration, or log why it is refused and keep the old one."""
        self._notifier.reloading()
        try:
            config = self._load()
            waiting = self._server.reload(config)
        except SidecarError as error:
            self._server.metrics.reloads["failure"] += 1
            hint = in_brackets(error.hint)
            log.error("not reloaded, all is as before: %s%s", error.message, hint)
            self._note = "; the last reload failed"
        else:
            self._server.metrics.reloads["success"] += 1
            self._config = config
            self._set_up_logs(config)
            log.info("reloaded the configuration")
            if waiting:
                log.warning("these keys take effect after a restart: %s", ", ".join(waiting))
            for warning in self._server.warnings():
                log.warning("%s", warning)
            self._note = ""
        self._notifier.ready(self._status())

    def _status(self) -> str:
        return self._server.summary() + self._note


async def _first(*waits: Any) -> None:
    """Wait for the first of several, and give up the others."""
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()


_quiet = Quiet()


def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that reached the event loop; at level debug if a client caused it."""
    error, message = context.get("exception"), context.get("message", "")
    if isinstance(error, ConnectionError | ssl.SSLError | TimeoutError):
        log.debug("a connection ended badly: %s: %s", message, error)
    elif isinstance(error, OSError) and is_out_of_descriptors(error):
        # asyncio says so a thousand times a second, for as long as it lasts.
        if (again := _quiet.due("descriptors")) is not None:
            log.error(
                "no connection can be accepted: %s; %s%s", error.strerror, DESCRIPTORS_HINT, again
            )
    else:
        log.error("a bug: %s", message, exc_info=error)

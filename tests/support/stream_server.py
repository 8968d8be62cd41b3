"""A server of asyncio's streams that leaves no connection open, whenever it arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

from sidecar.net.accepting import stop_accepting

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class StreamServer:
    """Runs `serve` for each connection; the connection ends with it, or with the server.

    What `serve` raises fails the test, but for the connection's end in the middle of it.
    """

    def __init__(self, serve: Serve, **options: Any) -> None:
        """`options` go to asyncio.start_server; without, it is a free port of 127.0.0.1."""
        self._serve = serve
        self._options = options or {"host": "127.0.0.1", "port": 0}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._faults: list[BaseException] = []
        self._is_stopped = False
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._made, **self._options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        await stop_accepting([self._server])
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)
        if self._faults and error is None:
            raise self._faults[0]

    def stop_listening(self) -> None:
        """Take no more connections; those that are there go on."""
        self._server.close()

    def _made(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_stopped:  # asyncio had accepted it, and only now hands it over
            writer.transport.abort()
            return
        self._writers.append(writer)
        task = asyncio.get_running_loop().create_task(self._run(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as fault:  # noqa: BLE001 — raised at the end of the test
            self._faults.append(fault)
        finally:
            writer.close()

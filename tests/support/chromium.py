"""A real Chromium, driven by its DevTools protocol: what a page shows, does, and is kept from."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.support.waiting import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
DRIVEN = ("--hide-scrollbars", "--remote-debugging-port=0")
AXE = Path(__file__).parents[2] / ".venv-clients" / "node_modules" / "axe-core" / "axe.min.js"


class PageLeft(Exception):
    """The browser cannot tell: the page has been left meanwhile."""


class Tab:
    """One tab of the browser."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[str, asyncio.Event] = {}
        self.complaints: list[str] = []
        """What the browser's log says: errors, and violations of the page's policy."""
        self.statuses: dict[str, int] = {}
        """What each address was answered with."""
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            return dict(await answer)

    async def start(self) -> None:
        """Watch what happens."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it has loaded."""
        loaded = self._events["Page.loadEventFired"] = asyncio.Event()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(PATIENCE):
            await loaded.wait()

    async def reload(self) -> None:
        """Load the page again."""
        loaded = self._events["Page.loadEventFired"] = asyncio.Event()
        await self.call("Page.reload")
        async with asyncio.timeout(PATIENCE):
            await loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript comes to, or the promise that it is."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true, even if the page is loaded anew meanwhile."""
        look = f"(() => {{ try {{ return ({expression}); }} catch {{ return false; }} }})()"
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    if found := await self.evaluate(look):
                        return found
                except PageLeft:
                    pass
                await asyncio.sleep(0.02)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key of the keyboard."""
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    async def look(self, width: int, *, dark: bool, height: int = 900) -> None:
        """Be a screen of so many pixels, light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """A picture of what is seen, or of the whole page, as PNG."""
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Stop driving it."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            told = message.json()
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if answer.done():
                    continue
                if "error" in told:
                    answer.set_exception(PageLeft(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
                continue
            self._note(told["method"], told["params"])
            if (event := self._events.get(told["method"])) is not None:
                event.set()

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Log.entryAdded":
            self.complaints.append(
                f"{parameters['entry']['source']}: {parameters['entry']['text']}"
            )
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.complaints.append(str(parameters["args"]))
        elif method == "Network.responseReceived":
            response = parameters["response"]
            self.statuses[response["url"]] = response["status"]


@asynccontextmanager
async def driving(profile: Path, *flags: str) -> AsyncIterator[Tab]:
    """A browser with one tab."""
    sandboxing = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *FLAGS,
        *DRIVEN,
        *sandboxing,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # its helpers end with it
    )
    assert browser.stderr is not None
    draining: list[asyncio.Task[None]] = []
    try:
        async with ClientSession() as session:
            async with asyncio.timeout(PATIENCE):
                port = await _port(browser.stderr)
                draining.append(asyncio.create_task(_discard(browser.stderr)))
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    page = next(one for one in await answer.json() if one["type"] == "page")
                tab = Tab(await session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0))
                await tab.start()
            try:
                yield tab
            finally:
                await tab.close()
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        await browser.wait()
        await asyncio.gather(*draining, return_exceptions=True)


async def _port(said: asyncio.StreamReader) -> int:
    """Where it listens, as it says itself."""
    while line := (await said.readline()).decode():
        if line.startswith("DevTools listening on ws://"):
            return int(line.split("/")[2].rpartition(":")[2])
    raise AssertionError("chromium did not start")


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        continue

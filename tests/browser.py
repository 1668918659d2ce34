"""A headless Chromium, driven through its DevTools protocol: opens pages, presses keys, takes pictures."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-port=0",
)
CODES = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
TEXTS = {"Enter": "\r"}


@define(eq=False)
class Page:
    """A tab. `problems` holds what its console called an error, failed and forbidden loads included."""

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    context: str = ""
    problems: list[str] = field(factory=list)
    requested: list[str] = field(factory=list)
    _sent: int = 0
    _loaded: bool = False
    _downloaded: bool = False

    async def call(self, method: str, **params: Any) -> Any:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        await self.socket.send_json({**message, "sessionId": self.session} if self.session else message)
        while True:
            answer = await self._receive()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, answer
                return answer["result"]

    async def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=30))
        params = answer.get("params", {})
        match answer.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.problems.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(params["exceptionDetails"]["text"])
            case "Browser.downloadProgress" if params["state"] == "completed":
                self._downloaded = True
        return answer

    async def open(self, url: str) -> None:
        self._loaded = False
        await self.call("Page.navigate", url=url)
        while not self._loaded:
            await self._receive()

    async def evaluate(self, expression: str) -> Any:
        told = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def press(self, *keys: str) -> None:
        # before it has painted, a page is not given the keys that are pressed
        await self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        for key in keys:
            known: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": CODES.get(key) or ord(key.upper())}
            text = TEXTS.get(key, key if len(key) == 1 else "")
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    async def click(self, selector: str) -> None:
        chosen = f"document.querySelector({json.dumps(selector)})"
        box = await self.evaluate(
            f"{chosen}.scrollIntoView({{block: 'nearest'}}), {chosen}.getBoundingClientRect().toJSON()"
        )
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def until(self, expression: str) -> None:
        """Wait for it to be true: the page looks every 10 ms."""
        await self.evaluate(
            f"new Promise((done) => {{ const look = () => ({expression}) ? done() : setTimeout(look, 10); look(); }})"
        )

    async def downloads_into(self, folder: Path) -> None:
        wanted = {"behavior": "allow", "downloadPath": str(folder), "eventsEnabled": True}
        await self.call("Browser.setDownloadBehavior", browserContextId=self.context, **wanted)

    async def downloaded(self) -> None:
        while not self._downloaded:
            await self._receive()
        self._downloaded = False

    async def screenshot(self, path: Path) -> None:
        told = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(told["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """A browser whose memory is in `profile`; gives the address at which it listens."""
    assert CHROMIUM
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield _address(profile / "DevToolsActivePort", process)
    finally:
        process.terminate()
        process.wait(10)


def _address(told: Path, process: subprocess.Popen[bytes]) -> str:
    """What the browser writes down once it listens: its port, and a path."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        lines = told.read_text().splitlines() if told.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise AssertionError("Chromium does not listen")


@asynccontextmanager
async def tab(address: str, *, width: int = 1440, height: int = 1000) -> AsyncIterator[Page]:
    """A tab that shares nothing with any other, what is kept for pages included."""
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        page = Page(socket)
        page.context = (await page.call("Target.createBrowserContext"))["browserContextId"]
        target = await page.call("Target.createTarget", url="about:blank", browserContextId=page.context)
        page.session = (await page.call("Target.attachToTarget", **target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        yield page
        page.session = ""
        await page.call("Target.disposeBrowserContext", browserContextId=page.context)

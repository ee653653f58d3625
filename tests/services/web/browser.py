"""A headless Chromium over its debugging pipe (NUL-separated JSON on two file descriptors): no driver, no library."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.services.waiting import AMPLE_S

GOING_ELSEWHERE = (
    "context was destroyed",
    "Cannot find context",
    "Cannot find default execution",
    "navigated or closed",
)
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One page of one browser; what it complains of is kept in `complaints`."""

    def __init__(self, program: str) -> None:
        self._home = tempfile.mkdtemp(prefix="chromium-")
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()

        def wire() -> None:
            # Chromium reads from descriptor 3 and writes to 4; first out of the way, in case they are these already.
            one, two = os.dup(to_child), os.dup(from_child)
            os.dup2(one, 3, inheritable=True)
            os.dup2(two, 4, inheritable=True)

        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        arguments += ["--remote-debugging-pipe", f"--user-data-dir={self._home}", "--hide-scrollbars", "about:blank"]
        self._process = subprocess.Popen(
            [program, *arguments],
            preexec_fn=wire,  # noqa: PLW1509 - no thread of this process runs yet
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer = b""
        self._number = 0
        self._loaded: set[str] = set()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self._call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True}, session=None)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", {"enabled": True})

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._home, ignore_errors=True)

    def open(self, address: str) -> None:
        """Go to a page and wait until it has loaded: it, and not one that was still loading before."""
        loader = self._call("Page.navigate", {"url": address})["loaderId"]
        self.wait(lambda: loader in self._loaded)

    def evaluate(self, script: str) -> Any:
        answer = self._call("Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, condition: Callable[[], Any]) -> None:
        until = time.monotonic() + AMPLE_S
        while not condition():
            if time.monotonic() > until:
                raise AssertionError("waited in vain")
            self._call("Page.getFrameTree")  # takes in what has happened meanwhile
            time.sleep(0.05)

    def wait_for(self, script: str) -> None:
        """Wait until a script says yes, on this page or on the one that it is on its way to."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(script))
            except AssertionError as error:
                if any(words in str(error) for words in GOING_ELSEWHERE):
                    return False
                raise

        self.wait(holds)

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [scheme]})

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        answer = self._call(
            "Page.captureScreenshot", {"captureBeyondViewport": whole, **(self._whole() if whole else {})}
        )
        path.write_bytes(base64.b64decode(answer["data"]))

    def _whole(self) -> dict[str, Any]:
        size = {"width": 0, "height": 0}

        def is_laid_out() -> bool:
            size.update(self._call("Page.getLayoutMetrics")["cssContentSize"])
            return size["width"] > 0

        self.wait(is_laid_out)  # a page that has just been navigated to has no size yet
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}}

    def _call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = "") -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        given = event.get("params", {})
        if event["method"] == "Page.lifecycleEvent" and given["name"] == "load":
            self._loaded.add(given["loaderId"])
        elif event["method"] == "Runtime.exceptionThrown":
            details = given["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description") or details["text"]))
        elif event["method"] == "Runtime.consoleAPICalled" and given["type"] in {"error", "warning", "assert"}:
            self.complaints.append(" ".join(str(part.get("value", "")) for part in given["args"]))
        elif event["method"] == "Log.entryAdded" and given["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            if not part:
                raise AssertionError("the browser has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

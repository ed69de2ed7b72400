"""Chromium without a window, controlled over its DevTools pipe."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_TIMEOUT_S = 60
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ERRORS = {"Runtime.exceptionThrown", "Log.entryAdded"}


@contextmanager
def chromium(profile: Path) -> Generator[Page]:
    """Start a browser that keeps its files in a folder, open a page, and end the browser afterwards."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is missing: install the Debian package chromium (tests/packages.txt)")
    read, to_browser = os.pipe()
    from_browser, write = os.pipe()
    # Chromium reads commands from descriptor 3 and writes to 4. It does not sandbox itself as root.
    command = f'exec "$@" 3<&{read} 4>&{write}'
    arguments = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")
    process = subprocess.Popen(
        ["/bin/bash", "-c", command, "bash", program, *arguments, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(read, write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read)
    os.close(write)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to_browser)
        os.close(from_browser)


class Page:
    """A page of a browser.

    Parameters
    ----------
    to_browser, from_browser
        Descriptors of the DevTools pipe.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._events: list[dict[str, Any]] = []
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Return the result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._events.append(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def open(self, url: str, *, width: int = 1200, dark: bool = False) -> None:
        """Open a page in a window of a width, in CSS pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true."""
        end_s = time.monotonic() + _TIMEOUT_S
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end_s, f"not true within {_TIMEOUT_S} s: {expression}; {self.errors()}"
            time.sleep(0.1)

    def errors(self) -> list[str]:
        """Return uncaught exceptions, violations of the policy, and warnings and errors on the console."""
        found = [str(event["params"]) for event in self._events if event["method"] in _ERRORS]
        calls = [event["params"] for event in self._events if event["method"] == "Runtime.consoleAPICalled"]
        return found + [str(call["args"]) for call in calls if call["type"] in {"error", "warning", "assert"}]

    def requests(self) -> list[str]:
        """Return the addresses that the page requested, without data in the page itself."""
        sent = [event["params"] for event in self._events if event["method"] == "Network.requestWillBeSent"]
        return [url for event in sent if not (url := event["request"]["url"]).startswith(("data:", "blob:"))]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._from], [], [], _TIMEOUT_S)[0], f"Chromium did not answer within {_TIMEOUT_S} s"
            received = os.read(self._from, 1 << 20)
            assert received, "Chromium ended"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

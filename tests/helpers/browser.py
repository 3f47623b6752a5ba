"""A real browser for tests: where it is, how it is started, and one that is driven through chromedriver."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
# Where a machine that tests is to have them, a skipped test is seen by nobody: it fails instead.
_MAY_SKIP = not os.environ.get("CAVIAR_TESTS_NEED_BROWSER")
needs_chromedriver = pytest.mark.skipif(
    _MAY_SKIP and (CHROMIUM is None or CHROMEDRIVER is None),
    reason="no driven Chromium here: apt-get install chromium chromium-driver",
)


def options(folder: Path, *, here: bool = False) -> list[str]:
    """Return the arguments of a browser without a window and without a network.

    Args:
        folder: for what it keeps.
        here: whether it reaches this machine at 127.0.0.1.
    """
    rules = "MAP * ~NOTFOUND" + (", EXCLUDE 127.0.0.1" if here else "")
    return ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}",
            f"--host-resolver-rules={rules}"]  # fmt: skip


class Browser:
    """A page of a browser, by the W3C's WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

    def __init__(self, driver: str, folder: Path) -> None:
        self._driver = driver
        self._session = ""
        chrome = {"binary": CHROMIUM, "args": options(folder, here=True)}
        capabilities = {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = self._ask("POST", "", capabilities={"alwaysMatch": capabilities})["sessionId"]

    def go(self, url: str) -> None:
        """Open a page."""
        self._ask("POST", "url", url=url)

    def status(self) -> int:
        """Return the HTTP status of the page."""
        return int(self.ask("return performance.getEntriesByType('navigation')[0].responseStatus"))

    def ask(self, script: str, *arguments: Any) -> Any:
        """Return what the body of a JavaScript function returns in the page; a promise is waited for."""
        return self._ask("POST", "execute/sync", script=script, args=list(arguments))

    def wait(self, script: str, *arguments: Any, seconds: float = 60) -> Any:
        """Return the first answer that is true, as JavaScript has it.

        Raises:
            AssertionError: there was none in that time; with what the page shows.
        """
        until = time.monotonic() + seconds
        while not (answer := self.ask(script, *arguments)):
            assert time.monotonic() < until, f"{script}: {self.ask('return document.body.innerText')[:2000]}"
            time.sleep(0.2)
        return answer

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in pixels."""
        self._ask("POST", "window/rect", width=width, height=height)

    def press(self, keys: str) -> None:
        """Press keys in the element that has the focus, one after the other, as the protocol names them."""
        element = self._ask("GET", "element/active")
        self._ask("POST", f"element/{next(iter(element.values()))}/value", text=keys)

    def tab_to(self, element: str) -> None:
        """Press the Tab key until the element with that id has the focus.

        Raises:
            AssertionError: it is not reached so.
        """
        for _ in range(50):
            if self.ask("return document.activeElement && document.activeElement.id") == element:
                return
            self.press("\ue004")
        raise AssertionError(f"the Tab key does not lead to '{element}'")

    def answer(self, *, yes: bool) -> str:
        """Accept or dismiss the dialogue that the page opens, and return its text."""
        until = time.monotonic() + 60
        while True:
            try:
                text = self._ask("GET", "alert/text")
                break
            except AssertionError:
                assert time.monotonic() < until, "the page opens no dialogue"
                time.sleep(0.1)
        self._ask("POST", "alert/accept" if yes else "alert/dismiss")
        return str(text)

    def prefer(self, scheme: str) -> None:
        """Let the person in front of the browser prefer the light or the dark scheme of colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("POST", "goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features})

    def emulate(self, width: int) -> None:
        """Show pages as a screen of so many pixels does; a window has 500 at least."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._ask("POST", "goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=screen)

    def printed(self) -> bytes:
        """Return the page as a PDF."""
        return b64decode(self._ask("POST", "print"))

    def errors(self) -> list[str]:
        """Return the errors that the page has told since this was asked last."""
        log = self._ask("POST", "se/log", type="browser")
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]

    def close(self) -> None:
        self._ask("DELETE", "")

    def _ask(self, method: str, command: str, **body: Any) -> Any:
        path = "/".join(part for part in ("session", self._session, command) if part)
        data = None if method == "GET" else json.dumps(body).encode()
        request = Request(f"{self._driver}/{path}", method=method, data=data)
        try:
            with urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except HTTPError as error:
            raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from None


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that was never used before; what it keeps goes to `folder`."""
    assert CHROMIUM is not None, "no Chromium here: apt-get install chromium"
    assert CHROMEDRIVER is not None, "no driver of Chromium here: apt-get install chromium-driver"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/status")
        page = Browser(f"http://127.0.0.1:{port}", folder)
        yield page
        page.close()
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with urlopen(url, timeout=5):
                return
        except URLError:
            assert time.monotonic() < until, "chromedriver does not answer"
            time.sleep(0.1)

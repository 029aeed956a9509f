"""A headless Chromium, told what to do by the W3C's WebDriver protocol. Where it isn't installed, tests are skipped."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from attrs import define

from e2e.daemon import DIRECT
from e2e.servers import free_port, tool
from e2e.waiting import DEADLINE, wait_for

_PHONE = 500  # pixels
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--no-proxy-server",
)


@define(eq=False)
class Browser:
    """One browser with a profile of its own in `directory`. Used as a context manager."""

    directory: Path
    width: int = 1280
    height: int = 1000
    _driver: subprocess.Popen[bytes] | None = None
    _port: int = 0
    _session: str = ""

    def __enter__(self) -> Self:
        driver, browser = tool("chromedriver"), tool("chromium")
        self._port = free_port()
        self._driver = subprocess.Popen(
            [driver, f"--port={self._port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for("the driver is ready", self._status)
        switches = [*_SWITCHES, f"--user-data-dir={self.directory}", f"--window-size={self.width},{self.height}"]
        options: dict[str, object] = {"binary": browser, "args": [*switches, "--hide-scrollbars"]}
        if self.width < _PHONE:  # no window is that small
            size = {"width": self.width, "height": self.height, "pixelRatio": 2}
            options["mobileEmulation"] = {"deviceMetrics": size}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._driver is not None
        if self._session:
            self._ask("DELETE", "")
        self._driver.terminate()
        self._driver.wait(DEADLINE)

    def open(self, url: str) -> None:
        """Go there."""
        self._ask("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """The text of the first such element, "" if there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, selector: str) -> None:
        """Click on the first such element, which must be to be seen."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into the first such element."""
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def press(self, key: str) -> None:
        """One key, to whatever has the focus."""
        actions = [{"type": each, "value": key} for each in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def accept(self) -> str:
        """Say yes to the question that is asked; the question."""
        question = wait_for("something is asked", lambda: self._ask("GET", "/alert/text", may_fail=True))
        self._ask("POST", "/alert/accept", {})
        return str(question)

    def complaints(self) -> list[str]:
        """What the browser wrote to its console since this was last asked: errors, and what the policy forbade."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def _find(self, selector: str) -> str:
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[_ELEMENT])

    def _status(self) -> bool:
        try:
            return bool(self._call("GET", "/status")["ready"])
        except OSError:
            return False

    def _ask(self, method: str, path: str, body: object = None, may_fail: bool = False) -> Any:
        try:
            return self._call(method, f"/session/{self._session}{path}", body)
        except urllib.error.HTTPError as error:
            if may_fail:
                return None
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, method=method)
        with DIRECT.open(request, timeout=DEADLINE) as answer:
            return json.load(answer)["value"]

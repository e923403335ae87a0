"""A browser for tests: Chromium, driven over its debugging pipe, so that no driver is needed."""

import base64
import json
import os
import select
import shutil
import subprocess

from tests.support.waiting import PATIENCE, wait_until

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream "
    "--remote-debugging-pipe"
)
KEYS = {"Tab": (9, ""), "Enter": (13, "\r")}  # code, text


class Browser:
    """Page of a headless Chromium. `events` holds everything it reported since `open`, as (method,
    parameters).
    """

    def __init__(self, profile):
        import fcntl  # not on Windows

        (read, self.command) = os.pipe()
        (self.answer, write) = os.pipe()
        # above 3 and 4, where Chromium reads and writes
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write)]
        arguments = [CHROMIUM, *OPTIONS.split(), f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}', *arguments],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read, write, *ends):
            os.close(end)
        self.buffer = b""
        self.number = 0
        self.session = None
        self.events = []

    def connect(self):
        target = next(
            t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"
        )
        self.session = self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answer], [], [], PATIENCE)
            part = os.read(self.answer, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError(
                    "chromium " + ("closed its pipe" if ready else f"was silent for {PATIENCE:g} s")
                )
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(message)
        if "method" in message:
            self.events.append((message["method"], message["params"]))
        return message

    def call(self, method, **params):
        self.number += 1
        session = {"sessionId": self.session} if self.session else {}
        os.write(
            self.command,
            json.dumps({"id": self.number, "method": method, "params": params, **session}).encode()
            + b"\0",
        )
        while (message := self._message()).get("id") != self.number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def open(self, url, width=1280, dark=False):
        """Show the page, `width` CSS pixels wide."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(method == "Page.loadEventFired" for method, _ in self.events):
            self._message()

    def wait_for(self, expression):
        """Wait until an expression is true."""
        wait_until(lambda: self.evaluate(f"Boolean({expression})"), expression)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def press(self, key, control=False):
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text,
                modifiers=2 * control,
            )

    def screenshot(self, whole=False):
        """Return the picture as a PNG in bytes."""
        return base64.b64decode(
            self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))[
                "data"
            ]
        )

    def _clip(self, whole):
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {
            "clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        }

    def pdf(self):
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])

    def close(self):
        os.close(self.command)
        self.process.kill()
        self.process.wait()
        os.close(self.answer)

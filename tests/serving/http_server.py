"""A server of the small engine: in this process, and with a real socket in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.testclient import TestClient

from lslm_lightning.serving.app import ServedApp
from lslm_lightning.serving.keys import ApiKeys, KeyDigest, digest_of
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.server import (
    GracefulServer,
    ServerSettings,
    listening_socket,
    uvicorn_config,
)
from lslm_lightning.serving.traces import TraceSettings
from lslm_lightning.serving.visits import AccessLog
from tests.serving.small_engine import SmallEngine
from tests.support.waiting import PATIENCE

KEY = "key-of-lovelace"
# No name of digits and a to f: an id of random digits could hold it.
HOLDER = "lovelace"
KEYS = ApiKeys((KeyDigest(HOLDER, digest_of(KEY)), KeyDigest("bob", digest_of("key-of-bob"))))


class Served:
    """The application, with the lines of its log."""

    def __init__(
        self,
        limits: ServingLimits | None = None,
        keys: ApiKeys | None = None,
        origins: tuple[str, ...] = (),
        traces: TraceSettings | None = None,
        engine: SmallEngine | None = None,
    ) -> None:
        self.engine = engine or SmallEngine()
        self.lines: list[str] = []
        log = AccessLog(self.lines.append)
        self.app = ServedApp(self.engine, limits, keys, log, origins, traces)
        self.client = TestClient(self.app.asgi, raise_server_exceptions=False)


class RunningServer(Served):
    """The application behind a real socket; `url` is its address."""

    url: str
    server: GracefulServer
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the server's event loop, and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            function()
            done.set()

        self.loop.call_soon_threadsafe(run)
        assert done.wait(PATIENCE)

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds, looked at in the server's event loop."""

        async def poll() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        asyncio.run_coroutine_threadsafe(poll(), self.loop).result(PATIENCE)

    def close_gate(self) -> None:
        """Hold all answers back."""
        self.call(lambda: setattr(self.engine, "gate", asyncio.Event()))

    def open_gate(self) -> None:
        """Let the answers go."""
        gate = self.engine.gate
        assert gate is not None
        self.call(gate.set)


@contextmanager
def running_server(
    limits: ServingLimits | None = None,
    keys: ApiKeys | None = None,
    grace: float = PATIENCE,
    settings: ServerSettings | None = None,
    engine: SmallEngine | None = None,
) -> Iterator[RunningServer]:
    """Run a server in a thread until the end of the `with` statement."""
    served = RunningServer(limits, keys, engine=engine)
    started = threading.Event()

    class Server(GracefulServer):
        async def startup(self, sockets: list | None = None) -> None:
            await super().startup(sockets)
            served.loop = asyncio.get_running_loop()
            started.set()

    with listening_socket("127.0.0.1", 0) as listener:
        served.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config: uvicorn.Config = uvicorn_config(served.app, settings or ServerSettings())
        served.server = Server(config, served.app.gateway, grace)
        thread = threading.Thread(target=lambda: served.server.run(sockets=[listener]))
        served.thread = thread
        thread.start()
        try:
            assert started.wait(PATIENCE)
            yield served
        finally:
            if served.engine.gate is not None and thread.is_alive():
                served.loop.call_soon_threadsafe(served.engine.gate.set)
            served.server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()

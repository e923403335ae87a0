"""A server under attack, and what is measured meanwhile: answers to others, memory, open files."""

import asyncio
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lslm_lightning.serving.keys import new_key
from tests.benchmarks.benchmark import Figures, Part
from tests.benchmarks.hostile_clients import NOTHING, WORK, Kind, exchange
from tests.benchmarks.serving import SETTLING, Client, Server, ours, prompt, running

ROUNDS = 2  # of each attack; memory is measured before the first and after each
FIRST: dict[str, dict[str, Any]] = {
    "/detect": {"q": "What language is this?"},
    "/log_prob": {"model": "m0", "text": "def f(x): return x"},
    "/translate": {"q": "<p>Monday", "source": "auto", "target": "zh", "format": "html"},
}

Attack = Callable[["Scene"], Awaitable[None]]


@dataclass
class Scene:
    """Server under attack.

    Attributes:
        server: process of the server.
        client: client that behaves.
        key: key of the clients that do not.
        log: standard error of the server.
        smoke: this is only a smoke test.
        statuses: how often each status came, by kind of request.
        wrong: requests whose status is none of those that are allowed.
        seconds: seconds until the last answer of a kind, where it took one or more.
    """

    server: Server
    client: Client
    key: str
    log: Path
    smoke: bool
    statuses: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Port of the server."""
        return self.server.port

    def add(self, name: str, statuses: Sequence[str], allowed: Sequence[str]) -> None:
        """Add the statuses of requests of one kind."""
        self.statuses.setdefault(name, Counter()).update(statuses)
        self.wrong += [f"{name}: {status}" for status in statuses if status not in allowed]

    async def send(self, name: str, kind: Kind) -> None:
        """Send the requests of one kind, and add their statuses."""
        n = min(2, kind.number) if self.smoke else kind.number
        patience = 3.0 if self.smoke else 100.0
        began = time.monotonic()
        found = await asyncio.gather(
            *(exchange(self.port, kind.parts(self.key), kind.pause, patience) for _ in range(n))
        )
        self.add(name, found, [*kind.allowed, NOTHING] if self.smoke else [*kind.allowed])
        if (took := time.monotonic() - began) >= 1:
            self.seconds[name] = max(took, self.seconds.get(name, 0.0))

    async def settled(self) -> tuple[float, int]:
        """Return the megabytes and the open files of the server's processes, after a pause."""
        await asyncio.sleep(SETTLING)
        return self.server.memory(), sum(each.num_fds() for each in self.server.processes())

    def tracebacks(self) -> int:
        """Return the number of tracebacks in the server's log."""
        return self.log.read_text("utf-8").count("Traceback (most recent call last)")


@dataclass
class Neighbour:
    """Client that behaves, and asks for a short text or a translation again and again.

    Attributes:
        client: its connections.
        seconds: seconds until each answer.
        failed: what it got in place of answers.
    """

    client: Client
    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def ask(self) -> None:
        """Ask once."""
        n = len(self.seconds)
        began = time.monotonic()
        body: dict[str, Any] = {"model": "m0", "prompt": prompt(n), "max_tokens": 4}
        if n % 2:
            body = {"model": "m1", "prompt": "Monday, 3 May", "max_tokens": 8}
        try:
            await self.client.post(WORK, body)
        except Exception as error:  # of any kind: it counts
            self.failed.append(repr(error)[:200])
        self.seconds.append(time.monotonic() - began)

    async def ask_always(self) -> None:
        """Ask until the task is cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(0.05)


@asynccontextmanager
async def neighbour(client: Client) -> AsyncIterator[Neighbour]:
    """Let a client that behaves ask inside the `with` statement."""
    found = Neighbour(client)
    asking = asyncio.create_task(found.ask_always())
    try:
        yield found
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


@asynccontextmanager
async def scene(done: Mapping[str, Figures], smoke: bool) -> AsyncIterator[Scene]:
    """Start a server of a language model and a translator, with keys, and warm it."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        (good, first), (bad, second) = new_key("ada"), new_key("mallory")
        keys, log = Path(folder, "keys"), Path(folder, "log")
        keys.write_text(f"{first}\n{second}\n", "utf-8")
        runs = done["models"]["language_model"], done["models"]["translator"]
        command = ours(*runs, options=("--keys", str(keys)))
        async with running(*command, key=good, log=log) as (server, client):
            warm = Neighbour(client)
            for _ in range(4 if smoke else 100):
                await warm.ask()
            for route, body in FIRST.items():  # what is loaded when it is first used
                assert await client.status(route, body) == 200, route
            yield Scene(server, client, bad, log, smoke)


def attacked(attack: Attack) -> Part:
    """Return the part of the benchmark that measures an attack: statuses, the seconds that a client
    that behaves waits meanwhile, memory and open files.

    Args:
        attack: function that attacks a server once.
    """

    async def measure(done: Mapping[str, Figures], smoke: bool) -> Figures:
        async with scene(done, smoke) as found:
            memory, files = [], []
            async with neighbour(found.client) as calm:
                await asyncio.sleep(0.5 if smoke else 5)
            before = list(calm.seconds)
            for number in range(ROUNDS + 1):
                if number:
                    async with neighbour(found.client) as others:
                        await attack(found)
                    calm.seconds += others.seconds
                    calm.failed += others.failed
                megabytes, n_file = await found.settled()
                memory.append(megabytes)
                files.append(n_file)
            meanwhile = calm.seconds[len(before) :]
            return {
                "n_request": sum(map(Counter.total, found.statuses.values())),
                "statuses": {name: dict(each) for name, each in found.statuses.items()},
                "wrong": found.wrong,
                "seconds": found.seconds,
                "others": len(meanwhile),
                "others_failed": calm.failed,
                "calm_median_s": statistics.median(before),
                "calm_longest_s": max(before),
                "others_median_s": statistics.median(meanwhile),
                "others_longest_s": max(meanwhile),
                "memory_mb": memory,
                "first_percent": 100 * (memory[1] / memory[0] - 1),
                "growth_percent": 100 * (memory[-1] / memory[-2] - 1),
                "growth_mb": memory[-1] - memory[-2],
                "files": files,
                "tracebacks": found.tracebacks(),
            }

    return lambda done, smoke: asyncio.run(measure(done, smoke))

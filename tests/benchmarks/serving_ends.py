"""The end of a server or of its engine while clients wait for answers."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.benchmarks.benchmark import Figures
from tests.benchmarks.hostile_clients import SMALL, WORK, exchange, head
from tests.benchmarks.hostile_scene import Scene, scene
from tests.benchmarks.serving import prompt

CLIENTS = 32
LATE_BODIES = 4  # requests whose body is sent after the signal
KILLS = 3
WHOLE = "200"
CUT = "cut"  # an answer that began and did not end
LOST = "lost"  # no answer at all
FAILED = "failed"  # a stream that ended with an error


class Asked(NamedTuple):
    """Request and its outcome.

    Attributes:
        sent: time at which it was sent.
        ended: time at which the answer was there.
        outcome: status, or "cut", "lost" or "failed".
    """

    sent: float
    ended: float
    outcome: str


async def ask(found: Scene, number: int) -> Asked:
    """Ask for a continuation as a stream, for one as a whole, or for a translation."""
    kind = number % 3
    body: dict[str, Any] = {"model": "m0", "prompt": prompt(number), "max_tokens": 64}
    body |= {"min_tokens": 64, "stream": kind == 0}
    if kind == 2:
        body = {"model": "m1", "prompt": ["Monday, 3 May"] * 4, "beam_size": 5}
    sent = time.monotonic()
    outcome = LOST
    try:
        async with found.client.http.post(WORK, json=body) as reply:
            outcome = CUT
            text = await reply.text()
            outcome = str(reply.status)
            if body.get("stream") and reply.status == 200:
                outcome = WHOLE if text.endswith("data: [DONE]\n\n") else FAILED
            elif reply.status == 200:
                json.loads(text)
    except (OSError, ValueError) as error:
        outcome = CUT if isinstance(error, ValueError) else outcome
    except Exception:  # of the library: the connection ended
        pass
    return Asked(sent, time.monotonic(), outcome)


def termination(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Outcomes of requests of 32 clients around a SIGTERM: of those that were sent before it, and
    of those whose body came after it.
    """

    async def measure() -> Figures:
        async with scene(done, smoke) as found:
            asked: list[Asked] = []

            async def use(number: int) -> None:
                while not asked or asked[-1].outcome == WHOLE:
                    asked.append(await ask(found, number))
                    number += CLIENTS

            body = json.dumps(SMALL).encode()
            late = [head(WORK, found.key, length=len(body)), body]
            using = [asyncio.create_task(use(i)) for i in range(CLIENTS)]
            await asyncio.sleep(3)
            half = [
                asyncio.create_task(exchange(found.port, late, pause=2)) for _ in range(LATE_BODIES)
            ]
            await asyncio.sleep(1)
            told = time.monotonic()
            found.server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*using)
            bodies = await asyncio.gather(*half)
            status = await asyncio.to_thread(found.server.process.wait, 60)
            before = Counter(each.outcome for each in asked if each.sent < told)
            under_way = [each for each in asked if each.sent < told < each.ended]
            after = Counter(each.outcome for each in asked if each.sent >= told)
            return {
                "n_request": len(asked) + len(bodies),
                "before": dict(before),
                "under_way": dict(Counter(each.outcome for each in under_way)),
                "after": dict(after),
                "late_bodies": dict(Counter(bodies)),
                "exit_status": status,
                "seconds": time.monotonic() - told,
                "tracebacks": found.tracebacks(),
            }

    return asyncio.run(measure())


def engine_death(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Statuses while the engine is killed under load, and seconds until the next answer."""

    async def measure() -> Figures:
        async with scene(done, smoke) as found:
            asked: list[Asked] = []
            is_over = False

            async def use(number: int) -> None:
                while not is_over:
                    asked.append(await ask(found, number))
                    number += CLIENTS
                    if asked[-1].outcome != WHOLE:
                        await asyncio.sleep(0.1)

            using = [asyncio.create_task(use(i)) for i in range(CLIENTS)]
            seconds = []
            for _ in range(1 if smoke else KILLS):
                await asyncio.sleep(3)
                killed = time.monotonic()
                found.server.kill_engine()
                while not any(e.sent > killed and e.outcome == WHOLE for e in asked[-200:]):
                    await asyncio.sleep(0.02)
                    assert time.monotonic() - killed < 120, "no service after the engine's death"
                seconds.append(time.monotonic() - killed)
            is_over = True
            await asyncio.gather(*using)
            return {
                "n_request": len(asked),
                "outcomes": dict(Counter(each.outcome for each in asked)),
                "answers_again_s": seconds,
                "longest_s": max(each.ended - each.sent for each in asked),
            }

    return asyncio.run(measure())

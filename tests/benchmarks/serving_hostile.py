"""`lslm serve` among clients that do not behave: schemathesis, requests of any shape, slow clients,
1,000 connections, clients that vanish, and the end of the server or of its engine under load.
"""

import asyncio
import json
import random
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lslm_lightning.serving.server import allow_many_connections
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import environment
from tests.benchmarks.hostile_clients import (
    BODIES,
    CLOSED,
    NOTHING,
    PARTS,
    PROTOCOL,
    SLOW,
    SMALL,
    SOUND,
    SOUNDS,
    WORK,
    Kind,
    head,
    vanish,
    whole,
)
from tests.benchmarks.hostile_scene import Scene, attacked, scene
from tests.benchmarks.job import JobError, environment_of, train
from tests.benchmarks.serving import SETTLING
from tests.benchmarks.serving_ends import CUT, LOST, WHOLE, engine_death, termination

LANGUAGE_MODEL = "language_modeling/docstrings_demo.yaml"
TRANSLATOR = "translation/cldr_demo.yaml"
SCHEMATHESIS = "schemathesis==4.32.5"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
CONNECTIONS = 1000
WORST = 5.0  # seconds that another client may wait for a short answer
GROWTH = 2.0  # percent of memory that may be added
IDLE = 30.0


def models(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A language model and a translator of the demo, of half a minute each."""
    minutes = f"--job.minutes={0.2 if smoke else 0.5}"
    runs = [train(config, minutes, smoke=smoke)["run"] for config in (LANGUAGE_MODEL, TRANSLATOR)]
    return {"language_model": str(runs[0]), "translator": str(runs[1])}


async def one_by_one(found: Scene, kinds: Mapping[str, Kind]) -> None:
    """Send the requests of each kind after those of another."""
    for name, kind in kinds.items():
        await found.send(name, kind)


async def at_once(found: Scene) -> None:
    """Send the requests of all slow kinds at the same time, and read no answers elsewhere."""
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
    deaf = [
        await asyncio.open_connection("127.0.0.1", found.port, limit=1024)
        for _ in range(2 if found.smoke else 20)
    ]
    for _, writer in deaf:
        writer.write(asked)
    await asyncio.gather(*(found.send(name, kind) for name, kind in SLOW.items()))
    if not found.smoke:  # a connection that is not read is aborted after a minute at the latest
        await asyncio.sleep(35)
    ends = await asyncio.gather(*(end_of(reader) for reader, _ in deaf))
    found.add("answers that nobody reads", ends, [CLOSED] + [NOTHING] * found.smoke)
    for _, writer in deaf:
        writer.transport.abort()


async def end_of(reader: asyncio.StreamReader) -> str:
    """Return whether a connection ends, after what is left of its answers was read."""
    try:
        async with asyncio.timeout(20):
            while await reader.read(10**6):
                pass
    except TimeoutError:
        return NOTHING
    except OSError:
        pass
    return CLOSED


async def connections(found: Scene) -> None:
    """Open 1,000 connections, ask once by each, at the same time for an answer that needs no model
    and then for one that does; then open and close as many without a word.
    """
    allow_many_connections()
    n = 20 if found.smoke else CONNECTIONS
    opened = [await asyncio.open_connection("127.0.0.1", found.port) for _ in range(n)]
    await asyncio.sleep(0.1 if found.smoke else 5)
    asked = {
        "probe by each of 1,000": ([b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"], ["200"]),
        "completion by each of 1,000": (
            whole(WORK, SMALL, found.key),
            ["200", "429"],
        ),
    }

    async def ask(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parts: list[bytes]
    ) -> str:
        try:
            async with asyncio.timeout(60):
                writer.writelines(parts)
                text = await reader.readuntil(b"\r\n\r\n")
                lines = text.decode("latin-1").lower().split("\r\n")
                [length] = [line for line in lines if line.startswith("content-length")]
                await reader.readexactly(int(length.partition(":")[2]))
                return lines[0].split()[1]
        except (OSError, ValueError, asyncio.IncompleteReadError):
            return NOTHING

    for name, (parts, allowed) in asked.items():
        statuses = await asyncio.gather(*(ask(*each, parts) for each in opened))
        found.add(name, statuses, allowed)
    for _, writer in opened:
        writer.close()
    for _ in range(n):
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.transport.abort()
    found.add("opened and closed", ["closed"] * n, ["closed"])


async def vanishing(found: Scene) -> None:
    """Begin requests of all kinds and go away; then nothing may be under way."""
    n = 2 if found.smoke else 40
    long = {"model": "m0", "prompt": "def", "max_tokens": 500, "min_tokens": 500}
    many = {**long, "prompt": ["def"] * 8}
    search = {"model": "m1", "prompt": ["Monday, 3 May"] * 16, "beam_size": 5}
    begun = {
        "in the head": (head(WORK, found.key)[:-9], None, 0.0),
        "in the body": (head(WORK, found.key, length=10**5) + b"{" * 1000, None, 0.05),
        "in a sound": (
            head(SOUNDS, found.key, PARTS, length=20 * 10**6) + SOUND + b"x" * 3 * 10**6,
            None,
            0.05,
        ),
        "before the answer": (b"".join(whole(WORK, many, found.key)), None, 0.1),
        "before a translation": (b"".join(whole(WORK, search, found.key)), None, 0.05),
        "in a stream": (
            b"".join(whole(WORK, {**many, "stream": True}, found.key)),
            b"data: ",
            0.05,
        ),
    }
    for name, (data, until, seconds) in begun.items():
        for resets in (False, True):
            await asyncio.gather(
                *(vanish(found.port, data, until, seconds, resets) for _ in range(n))
            )
        found.add(name, ["gone"] * 2 * n, ["gone"])
    async with asyncio.timeout(30):
        while any(left := await under_way(found)):
            await asyncio.sleep(0.1)
    found.add("texts left", [f"{left[0] + left[1]:g}"], ["0"])


async def under_way(found: Scene) -> list[float]:
    """Return the running and waiting texts and the requests under way, as the server tells."""
    async with found.client.http.get("/metrics") as reply:
        lines = (await reply.text()).splitlines()
    names = ("lslm_running_texts", "lslm_waiting_texts", "lslm_requests_under_way")
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    own = (1, 1, 2)  # the text of the client that behaves, and its request and this one
    return [max(0.0, float(values[name]) - n) for name, n in zip(names, own, strict=True)]


def openapi(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """What schemathesis finds in the OpenAPI document, with a key and without."""
    reports: dict[str, Any] = {}

    async def attack(found: Scene) -> None:
        n_byte = found.log.stat().st_size
        with tempfile.TemporaryDirectory() as folder, environment(SCHEMATHESIS, is_bare=True) as py:
            asked = {
                "key": ("coverage,examples,fuzzing", f"Authorization: Bearer {found.key}"),
                "no key": ("examples,fuzzing", "X-Nothing: y"),
            }
            for name, (phases, header) in asked.items():
                words = [str(py.with_name("schemathesis")), "run", "--header", header]
                words += ["--phases", phases, "--max-examples", "2" if found.smoke else "25"]
                words += ["--checks", ",".join(CHECKS), "--seed", "1", "--continue-on-failure"]
                words += ["--generation-database", "none", "--no-color"]
                # a request of more than 10 s, on a busy machine, would be an error of the tool
                words += ["--request-timeout", "100"]
                words += ["--report", "json", "--report-json-path", "report.json"]
                words += [f"http://127.0.0.1:{found.port}/openapi.json"]
                ended = await asyncio.to_thread(
                    subprocess.run,
                    words,
                    cwd=folder,
                    env=environment_of(),
                    stdout=subprocess.PIPE,
                    text=True,
                )
                if ended.returncode not in (0, 1):
                    raise JobError(f"schemathesis ended with {ended.returncode}: {ended.stdout}")
                report = json.loads(Path(folder, "report.json").read_text("utf-8"))
                wrong = [*report["failures"], *report["errors"]]
                failures = [json.dumps(each)[:500] for each in wrong]
                reports[name] = {**report["test_cases"], "failures": failures}
                found.wrong += failures
        for line in found.log.read_bytes()[n_byte:].decode().splitlines():
            with suppress(ValueError, KeyError):
                visit = json.loads(line)
                if visit["key"] != "ada":
                    what = f"{visit['method']} {visit['route']}"
                    found.statuses.setdefault(what, Counter())[str(visit["status"])] += 1

    figures = attacked(attack)(done, smoke)
    return {**figures, "package": SCHEMATHESIS, "reports": reports}


def idle(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Processor use in percent of a server that was attacked and is left alone."""

    async def measure() -> Figures:
        async with scene(done, smoke) as found:
            await one_by_one(found, dict(random.Random(0).sample(sorted(PROTOCOL.items()), 8)))
            await asyncio.sleep(SETTLING)
            before = found.server.cpu_seconds()
            seconds = 3.0 if smoke else IDLE
            await asyncio.sleep(seconds)
            used = found.server.cpu_seconds() - before
            return {"idle_cpu_percent": 100 * used / seconds, "idle_s": seconds}

    return asyncio.run(measure())


async def shapes(found: Scene) -> None:
    """Send bodies of any shape."""
    await one_by_one(found, BODIES)


async def protocol(found: Scene) -> None:
    """Send what is hardly HTTP."""
    await one_by_one(found, PROTOCOL)


ATTACKS = ("openapi", "bodies", "protocol", "slow", "connections", "vanishing")


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    found = []
    for name in ATTACKS:
        part = figures[name]
        n = part["n_request"]
        found += [
            Check(f"{name}: of {n:,} requests, wrong statuses", len(part["wrong"]), "<=", 0),
            Check(f"{name}: tracebacks in the log", part["tracebacks"], "<=", 0),
            Check(
                f"{name}: of {part['others']:,} requests of others, not answered",
                len(part["others_failed"]),
                "<=",
                0,
            ),
            Check(f"{name}: longest wait of others, s", part["others_longest_s"], "<=", WORST),
            Check(f"{name}: longest wait before, s", part["calm_longest_s"]),
            Check(f"{name}: memory added, %", part["growth_percent"], "<=", GROWTH),
            Check(f"{name}: files left open", part["files"][-1] - part["files"][0], "<=", 0),
        ]
    end, death = figures["termination"], figures["engine_death"]
    lost = sum(n for what, n in end["before"].items() if what not in (WHOLE, "503"))
    late = sum(n for status, n in end["late_bodies"].items() if status != WHOLE)
    others = sum(n for what, n in death["outcomes"].items() if what in (CUT, LOST))
    return [
        *found,
        Check("SIGTERM: requests under way", sum(end["under_way"].values())),
        Check("SIGTERM: begun requests without an answer", lost, "<=", 0),
        Check("SIGTERM: begun bodies without an answer", late, "<=", 0),
        Check("SIGTERM: exit status", end["exit_status"], "<=", 0),
        Check("kill -9 of the engine: requests without an answer", others, "<=", 0),
        Check("kill -9 of the engine: s to service", max(death["answers_again_s"]), "<=", 10),
        Check("idle processor use in percent", figures["idle"]["idle_cpu_percent"], "<", 1),
    ]


BENCHMARK = Benchmark(
    about="lslm serve among clients that do not behave, and its end under load",
    minutes=12,
    parts={
        "models": models,
        "openapi": openapi,
        "bodies": attacked(shapes),
        "protocol": attacked(protocol),
        "slow": attacked(at_once),
        "connections": attacked(connections),
        "vanishing": attacked(vanishing),
        "termination": termination,
        "engine_death": engine_death,
        "idle": idle,
    },
    checks=checks,
)

"""`lslm serve` under load: throughput and latencies by number of clients, a plain server of
`transformers` beside it, memory over many requests, and answers that load must not change.
"""

import asyncio
import gzip
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import HOME, environment_of, train

LANGUAGE_MODEL = "language_modeling/docstrings_demo.yaml"
LARGER = (  # 11 million parameters
    "--model.backbone.d_model=384",
    "--model.backbone.n_head=6",
    "--model.backbone.n_decoder_layer=6",
    "--model.backbone.d_feedforward=1536",
    "--data.tokenizer.vocab_size=2048",
    "--model.optimizer.lr=1e-3",
)
TRANSLATOR = "translation/multi30k_en_de_cpu.yaml"
SINUSOIDAL = "--model.backbone.position=lslm_lightning.models.positions.Sinusoidal"
CLIENTS = (1, 8, 32, 64)
PEER_CLIENTS = (1, 32)
SECONDS = 30.0  # of each number of clients
LENGTHS = (8, 96)  # new tokens of a continuation, at least and at most
MANY = 10_000  # requests over which memory must stay the same
WARM = 1_000  # of these, after which it is measured first
CALM = 300  # answers that are compared with those of a quiet server
TIE = 1e-4  # difference of log p that roundings of float32 can turn
WORDS = ("return", "the", "number", "of", "rows", "in", "a", "list", "that", "function", "takes")
FAR_LIMITS = ("--requests", "2000", "--requests-per-key", "2000", "--queue", "4000")
SETTLING = 6.0  # seconds after which an idle server has given memory back
START = 300.0  # seconds until a server must be ready, on a busy machine too

Ask = Callable[["Client", int], Awaitable[tuple[int, list[float]]]]
"""One request: ask(client, number) -> (new tokens, times at which parts arrived)."""


class Client:
    """Connections to a server on this machine; an asynchronous context manager.

    Args:
        port: port of the server.
        key: API key; "" for none.
    """

    def __init__(self, port: int, key: str = "") -> None:
        import aiohttp

        self.http = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}",
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {key}"} if key else None,
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()

    async def status(self, route: str, body: Mapping[str, Any] | None = None) -> int:
        """Return the status of an answer; 0 where there is no server."""
        try:
            method = "GET" if body is None else "POST"
            async with self.http.request(method, route, json=body) as reply:
                await reply.read()
                return reply.status
        except OSError:
            return 0

    async def post(self, route: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request that must succeed."""
        async with self.http.post(route, json=body) as reply:
            assert reply.status == 200, await reply.text()
            return dict(await reply.json())

    async def lines(self, route: str, body: Mapping[str, Any]) -> AsyncIterator[str]:
        """Yield the data of the events of a stream."""
        async with self.http.post(route, json=body) as reply:
            assert reply.status == 200, await reply.text()
            async for line in reply.content:
                if line.startswith(b"data: "):
                    yield line.decode().removeprefix("data: ").strip()


class Server:
    """Server process on this machine.

    Args:
        command: command that takes `--port`.
        log: file for its standard error; None to drop it.
    """

    def __init__(self, *command: str, log: Path | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.began = time.monotonic()
        words = [*command, "--port", str(self.port)]
        with open(log or os.devnull, "ab") as errors:
            self.process = subprocess.Popen(
                words, env=environment_of(), stdout=subprocess.DEVNULL, stderr=errors
            )

    async def wait(self, client: Client) -> None:
        """Wait until the server is ready."""
        while await client.status("/ready") != 200:
            assert self.process.poll() is None, f"the server ended: {self.process.args}"
            assert time.monotonic() - self.began < START, "the server does not become ready"
            await asyncio.sleep(0.05)

    def processes(self) -> list[Any]:
        """Return the process and its children, as psutil knows them."""
        import psutil

        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def memory(self) -> float:
        """Return the megabytes of all processes, shared pages counted once."""
        return sum(each.memory_full_info().pss for each in self.processes()) / 1e6

    def cpu_seconds(self) -> float:
        """Return the processor time of all processes."""
        times = [each.cpu_times() for each in self.processes()]
        return sum(each.user + each.system for each in times)

    def kill_engine(self) -> None:
        """Kill the process that computes."""
        largest = max(self.processes()[1:], key=lambda each: each.memory_info().rss)
        os.kill(largest.pid, signal.SIGKILL)

    def end(self) -> None:
        """End the server."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


@asynccontextmanager
async def running(
    *command: str, key: str = "", log: Path | None = None
) -> AsyncIterator[tuple[Server, Client]]:
    """Start a server, wait until it is ready, and end it.

    Args:
        command: command that takes `--port`.
        key: API key of the client; "" for none.
        log: file for the server's standard error; None to drop it.
    """
    server = Server(*command, log=log)
    try:
        async with Client(server.port, key) as client:
            await server.wait(client)
            yield server, client
    finally:
        server.end()


def ours(*runs: str, options: Sequence[str] = FAR_LIMITS) -> tuple[str, ...]:
    """Return the command of our server; the runs are called m0, m1 and so on."""
    names = [word for i in range(len(runs)) for word in ("--name", f"m{i}")]
    return (sys.executable, "-m", "lslm_lightning", "serve", *runs, *names, *options)


def both(done: Mapping[str, Figures]) -> tuple[str, ...]:
    """Return the command of our server with both models."""
    return ours(done["models"]["language_model"], done["models"]["translator"])


def models(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A language model of 11 million parameters, and a translator that `transformers` can load."""
    minutes = 0.2 if smoke else 4
    language = train(LANGUAGE_MODEL, *LARGER, f"--job.minutes={minutes}", smoke=smoke)
    translator = train(TRANSLATOR, SINUSOIDAL, f"--job.minutes={2 * minutes}", smoke=smoke)
    return {"language_model": str(language["run"]), "translator": str(translator["run"])}


def start(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Seconds from the command to the first answer, processor use of an idle server, and seconds
    from the death of the engine to the next answer.
    """

    async def measure() -> Figures:
        async with running(*ours(done["models"]["language_model"])) as (server, client):
            body = {"model": "m0", "prompt": "def f(", "max_tokens": 8}
            await client.post("/v1/completions", body)
            first = time.monotonic() - server.began
            await asyncio.sleep(2)
            before = server.cpu_seconds()
            idle = 3.0 if smoke else 30.0
            await asyncio.sleep(idle)
            used = 100 * (server.cpu_seconds() - before) / idle
            server.kill_engine()
            killed = time.monotonic()
            statuses = []
            while not statuses or statuses[-1] != 200:
                statuses.append(await client.status("/v1/completions", body))
                await asyncio.sleep(0.02)
            return {
                "first_answer_s": first,
                "idle_cpu_percent": used,
                "answers_again_s": time.monotonic() - killed,
                "statuses": sorted(set(statuses)),
            }

    return asyncio.run(measure())


def load(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Tokens per second and latencies of both models, by number of clients."""

    async def measure() -> Figures:
        async with running(*both(done)) as (_, client):
            figures = {}
            for name, ask in (("language_model", continued), ("translator", translated)):
                await volley(client, ask, 8, 2.0)  # warm
                for n in CLIENTS:
                    seconds = 2.0 if smoke else SECONDS
                    figures[f"{name}_{n}"] = await volley(client, ask, n, seconds)
            return figures

    return asyncio.run(measure())


async def continued(client: Client, number: int) -> tuple[int, list[float]]:
    """Ask for a continuation of ragged length, as a stream."""
    chance = random.Random(number)
    n = chance.randint(*LENGTHS)
    body = {
        "model": "m0",
        "prompt": prompt(number),
        "max_tokens": n,
        "min_tokens": n,
        "temperature": 0.8,
        "top_p": 0.95,
        "seed": number,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    times = []
    n_token = 0
    async for data in client.lines("/v1/completions", body):
        if data == "[DONE]":
            break
        event = json.loads(data)
        if event["choices"] and event["choices"][0]["text"]:
            times.append(time.monotonic())
        if event.get("usage"):
            n_token = event["usage"]["completion_tokens"]
    return n_token, times


async def translated(client: Client, number: int) -> tuple[int, list[float]]:
    """Ask for a translation by the search of the run, beam 5."""
    body = {"model": "m1", "prompt": sentence(number), "max_tokens": 60}
    reply = await client.post("/v1/completions", body)
    return reply["usage"]["completion_tokens"], [time.monotonic()]


async def volley(client: Client, ask: Ask, n_client: int, seconds: float) -> Figures:
    """Let clients ask again and again; return tokens per second, requests per second, and the
    latencies in milliseconds: of the first part, of each later token, and of the whole.
    """
    numbers = iter(range(10**9))
    first: list[float] = []
    each: list[float] = []
    whole: list[float] = []
    n_token = 0
    began = time.monotonic()
    end = began + seconds

    async def use() -> None:
        nonlocal n_token
        while time.monotonic() < end:
            sent = time.monotonic()
            n, times = await ask(client, next(numbers))
            n_token += n
            whole.append(time.monotonic() - sent)
            if len(times) > 1:
                first.append(times[0] - sent)
                each.append((times[-1] - times[0]) / (len(times) - 1))

    await asyncio.gather(*(use() for _ in range(n_client)))
    took = time.monotonic() - began
    return {
        "tokens_per_second": n_token / took,
        "requests_per_second": len(whole) / took,
        "n_request": len(whole),
        **{
            f"{name}_ms": [1000 * at for at in percentiles(values)]
            for name, values in (("first", first), ("token", each), ("whole", whole))
            if values
        },
    }


def percentiles(values: Sequence[float]) -> list[float]:
    """Return p50, p95 and p99."""
    if len(values) < 2:
        return [*values] * 3
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return [cuts[49], cuts[94], cuts[98]]


def peer(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """The same requests to a plain FastAPI handler around `generate` of `transformers`, with the
    same weights.
    """
    from lslm_lightning import export_model

    async def measure(folder: Path) -> Figures:
        figures = {}
        for name, ask in (("language_model", peer_continued), ("translator", peer_translated)):
            path = export_model(done["models"][name], folder / name, "huggingface").path
            script = str(HOME / "tests/benchmarks/serving_peer.py")
            async with running(sys.executable, script, str(path)) as (_, client):
                await volley(client, ask, 2, 2.0)
                for n in PEER_CLIENTS:
                    seconds = 2.0 if smoke else SECONDS
                    figures[f"{name}_{n}"] = await volley(client, ask, n, seconds)
        return figures

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))


async def peer_continued(client: Client, number: int) -> tuple[int, list[float]]:
    """Ask the peer for a continuation of ragged length."""
    n = random.Random(number).randint(*LENGTHS)
    settings = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 0}
    body = {"prompt": prompt(number), "max_new_tokens": n, "min_new_tokens": n, **settings}
    return (await client.post("/generate", body))["n_token"], []


async def peer_translated(client: Client, number: int) -> tuple[int, list[float]]:
    """Ask the peer for a translation by beam 5."""
    settings = {"num_beams": 5, "max_new_tokens": 60, "do_sample": False}
    return (await client.post("/generate", {"prompt": sentence(number), **settings}))["n_token"], []


def memory(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Megabytes of all processes after many requests of 32 clients, and what was added since the
    first of them.
    """
    n_all = 200 if smoke else MANY
    n_warm = 50 if smoke else WARM

    async def measure() -> Figures:
        async with running(*both(done)) as (server, client):
            numbers = iter(range(n_all))

            async def use(upto: int) -> None:
                for number in numbers:
                    if number % 2:
                        await client.post(
                            "/v1/completions",
                            {"model": "m1", "prompt": sentence(number), "max_tokens": 12},
                        )
                    else:
                        n = 1 + number % 24
                        await client.post(
                            "/v1/completions",
                            {"model": "m0", "prompt": prompt(number), "max_tokens": n},
                        )
                    if number >= upto - 32:
                        return

            await asyncio.gather(*(use(n_warm) for _ in range(32)))
            await asyncio.sleep(SETTLING)
            warm = server.memory()
            await asyncio.gather(*(use(n_all) for _ in range(32)))
            await asyncio.sleep(SETTLING)
            last = server.memory()
            return {
                "warm_mb": warm,
                "last_mb": last,
                "growth_percent": 100 * (last / warm - 1),
                "n_request": n_all,
            }

    return asyncio.run(measure())


def answers(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Answers of 32 clients at once that differ from those of one client alone. A difference whose
    first other token was as probable, to rounding, is a tie.
    """
    n_all = 20 if smoke else CALM

    async def ask(client: Client, model: str, number: int) -> tuple[list[str], list[float]]:
        body = {"model": model, "max_tokens": 48, "seed": number, "logprobs": 1}
        text = prompt(number) if model == "m0" else sentence(number)
        reply = await client.post("/v1/completions", {**body, "prompt": text})
        found = reply["choices"][0]["logprobs"]
        return found["tokens"], found["token_logprobs"]

    async def measure() -> Figures:
        async with running(*both(done)) as (_, client):
            figures: dict[str, Any] = {}
            for name, model in (("language_model", "m0"), ("translator", "m1")):
                alone = [await ask(client, model, i) for i in range(n_all)]
                busy: list[Any] = [None] * n_all
                numbers = iter(random.Random(0).sample(range(n_all), n_all))

                async def use(model: str = model, busy: list[Any] = busy, left=numbers) -> None:
                    for i in left:
                        busy[i] = await ask(client, model, i)

                await asyncio.gather(*(use() for _ in range(32)))
                others = [i for i in range(n_all) if alone[i][0] != busy[i][0]]
                ties = [i for i in others if is_tie(alone[i], busy[i])]
                figures[name] = {
                    "n": n_all,
                    "ties": ties,
                    "others": sorted(set(others) - set(ties)),
                }
            return figures

    return asyncio.run(measure())


def is_tie(a: tuple[list[str], list[float]], b: tuple[list[str], list[float]]) -> bool:
    """Return whether the first tokens that differ were as probable to rounding."""
    for token, other, p, q in zip(a[0], b[0], a[1], b[1], strict=False):
        if token != other:
            return abs(p - q) <= TIE
    return False


def prompt(number: int) -> str:
    """Return a prompt of ragged length."""
    chance = random.Random(-number - 1)
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 24)))


def sentence(number: int) -> str:
    """Return a sentence of Multi30k."""
    found = sentences()
    return found[number % len(found)]


@cache
def sentences() -> list[str]:
    """Return the English sentences of test_2016_flickr."""
    path = Path(os.environ["LSLM_DATA"], "multi30k/test_2016_flickr.en.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.strip() for line in lines]


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    load, peer, start = figures["load"], figures["peer"], figures["start"]
    found = []
    for name in ("language_model", "translator"):
        shown = name.replace("_", " ")
        rate = {n: load[f"{name}_{n}"]["tokens_per_second"] for n in CLIENTS}
        theirs = {n: peer[f"{name}_{n}"]["tokens_per_second"] for n in PEER_CLIENTS}
        found += [Check(f"{shown}, {n} clients: tokens/s", value) for n, value in rate.items()]
        found += [
            Check(f"{shown}, {n} clients of transformers: tokens/s", value)
            for n, value in theirs.items()
        ]
        found += [
            Check(f"{shown}: 32 clients by 1", rate[32] / rate[1], ">=", 3),
            Check(f"{shown}: 32 clients by transformers", rate[32] / theirs[32], ">=", 3),
        ]
        others = figures["answers"][name]
        n_tie = 1000 * len(others["ties"]) / others["n"]
        found += [
            Check(f"{shown}: answers that load changed", len(others["others"]), "<=", 0),
            Check(f"{shown}: of them ties, in 1,000", n_tie, "<=", 2),
        ]
    return [
        *found,
        Check("growth of memory in percent", figures["memory"]["growth_percent"], "<=", 2),
        Check("seconds to the first answer", start["first_answer_s"], "<=", 15),
        Check("seconds after the engine's death", start["answers_again_s"], "<=", 10),
        Check("idle processor use in percent", start["idle_cpu_percent"], "<", 1),
    ]


BENCHMARK = Benchmark(
    about="load on lslm serve, beside a plain server of transformers",
    minutes=35,
    parts={
        "models": models,
        "start": start,
        "load": load,
        "peer": peer,
        "memory": memory,
        "answers": answers,
    },
    checks=checks,
    needs=("LSLM_DATA",),
    files=("multi30k",),
)

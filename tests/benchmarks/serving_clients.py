"""`lslm serve` asked by clients of others, unchanged: evaluation through HTTP, lm_eval and
LibreTranslate's client.
"""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from lslm_lightning import evaluate, export_model, generate
from lslm_lightning.runs import RunDirectory
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import (
    OFFLINE,
    TOLERANCE,
    environment,
    items,
    write_tasks,
)
from tests.benchmarks.job import JobError, environment_of, train
from tests.benchmarks.serving import both, running

LANGUAGE_MODEL = "language_modeling/docstrings_demo.yaml"
TRANSLATOR = "translation/cldr_demo.yaml"
LM_EVAL = "lm_eval[api]==0.4.13"
LIBRE_TRANSLATE = "libretranslatepy==2.1.4"
N_ITEM = 40
SENTENCES = ("Monday, 3 May", "Spain", "two days ago", "<b>Monday</b>")
ASK = """
import json, sys
from libretranslatepy import LibreTranslateAPI
api = LibreTranslateAPI(sys.argv[1])
print(json.dumps({
    "languages": api.languages(),
    "detected": api.detect("这是一个句子。")[0]["language"],
    "translated": [api.translate(text, "en", "zh") for text in json.loads(sys.argv[2])],
}))
"""


def models(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """A language model and a translator of the demo."""
    language, translator = (
        train(config, f"--job.minutes={0.2 if smoke else 2}", smoke=smoke)
        for config in (LANGUAGE_MODEL, TRANSLATOR)
    )
    return {"language_model": str(language["run"]), "translator": str(translator["run"])}


def evaluation(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Scores of the test set from the run, and from the run behind HTTP."""

    async def measure() -> Figures:
        async with running(*both(done)) as (server, _):
            return {
                name: await asyncio.to_thread(scores, done["models"][name], model, server.port)
                for name, model in (("translator", "m1"), ("language_model", "m0"))
            }

    return asyncio.run(measure())


def scores(run: str, model: str, port: int) -> Figures:
    """Scores of a run by itself ("local") and behind a server ("http")."""
    config = yaml.safe_load(Path(run, "config.yaml").read_text("utf-8"))
    endpoint = {
        "model": model,
        "kind": "completions",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "temperature": None,
        "max_tokens": None,
        "sends": "source",
        "concurrency": 8,
    }
    systems = "lslm_lightning.systems"
    spec = {
        "task": config["model"]["class_path"],
        "data": {
            "class_path": config["data"]["class_path"],
            "init_args": {
                key: value
                for key, value in config["data"]["init_args"].items()
                if key in ("corpus", "source_language", "target_language", "language")
            },
        },
        "systems": {
            "local": {"class_path": f"{systems}.checkpoint.Checkpoint", "init_args": {"run": run}},
            "http": {"class_path": f"{systems}.endpoint.Endpoint", "init_args": endpoint},
        },
    }
    os.environ.setdefault("OPENAI_API_KEY", "none")
    found = evaluate(spec, name=f"through_http_{port}", fresh=True)
    assert not found.failures, found.failures
    return {
        system: {metric: score.value for metric, score in own.items()}
        for system, own in found.scores.items()
    }


def lm_eval(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Answers of a server to lm_eval's client of completions, and of the run to our adapter."""

    async def measure() -> Figures:
        run = done["models"]["language_model"]
        with environment(LM_EVAL) as python, tempfile.TemporaryDirectory() as folder:
            export, tasks = Path(folder, "export"), Path(folder, "tasks")
            export_model(run, export)
            tasks.mkdir()
            write_tasks(tasks, items(RunDirectory(Path(run)), 4 if smoke else N_ITEM), False)
            peer = Path(__file__).with_name("lm_eval_client.py")
            async with running(*both(done)) as (server, _):
                address = f"http://127.0.0.1:{server.port}/v1/completions"
                asked = await asyncio.to_thread(
                    subprocess.run,
                    [str(python), str(peer), run, str(export), str(tasks), address],
                    env={**environment_of(), **OFFLINE, "OPENAI_API_KEY": "none"}
                    | {"HF_HOME": os.path.join(folder, "home")},
                    stdout=subprocess.PIPE,
                    text=True,
                )
        if asked.returncode:
            raise JobError(f"lm_eval ended with status {asked.returncode}")
        return {"package": LM_EVAL, "tasks": json.loads(asked.stdout.splitlines()[-1])}

    return asyncio.run(measure())


def libre_translate(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """What LibreTranslate's client for Python gets, and translations of `lslm generate` that it
    does not get.
    """

    async def measure() -> Figures:
        async with running(*both(done)) as (server, _):
            words = (f"http://127.0.0.1:{server.port}/", json.dumps(SENTENCES))
            with environment(LIBRE_TRANSLATE, is_bare=True) as python:
                asked = await asyncio.to_thread(
                    subprocess.run,
                    [str(python), "-c", ASK, *words],
                    stdout=subprocess.PIPE,
                    text=True,
                )
        if asked.returncode:
            raise JobError(f"the client ended with status {asked.returncode}")
        return dict(json.loads(asked.stdout.splitlines()[-1]))

    found = asyncio.run(measure())
    run = done["models"]["translator"]
    expected = [prediction.output for prediction in generate(run, SENTENCES)]
    others = sum(a != b for a, b in zip(expected, found["translated"], strict=True))
    return {**found, "others": others, "package": LIBRE_TRANSLATE}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    found = []
    for name, metric in (("translator", "bleu"), ("language_model", "bits_per_byte")):
        local, http = (figures["evaluation"][name][system][metric] for system in ("local", "http"))
        what = f"{name.replace('_', ' ')}: {metric} through HTTP, difference"
        found.append(Check(what, abs(local - http), "<=", 0.05))
    for task, each in figures["lm_eval"]["tasks"].items():
        what = f"lm_eval, {task}: of {each['answers']}, answers that differ"
        found.append(Check(what, each["not equal"], "<=", 0))
        found.append(Check(f"lm_eval, {task}: nats", each["worst difference"], "<=", TOLERANCE))
    libre = figures["libre_translate"]
    return [
        *found,
        Check("LibreTranslate's client: other translations", libre["others"], "<=", 0),
        Check("LibreTranslate's client: languages", len(libre["languages"]), ">=", 2),
    ]


BENCHMARK = Benchmark(
    about="clients of others that ask lslm serve: evaluation, lm_eval, LibreTranslate's",
    minutes=20,
    parts={
        "models": models,
        "evaluation": evaluation,
        "lm_eval": lm_eval,
        "libre_translate": libre_translate,
    },
    checks=checks,
)

"""Runs of tiny models with random weights, in float64; servers of the small engine."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from lslm_lightning.experiments.generation import SearchSettings, Writer
from lslm_lightning.interchange.made_runs import write_run
from lslm_lightning.runs import load_run
from lslm_lightning.runs.loading import build
from lslm_lightning.serving.engine import Engine
from lslm_lightning.serving.protocol import Answered, AnswerRequest, Event
from lslm_lightning.serving.served_model import ServedModel
from lslm_lightning.serving.stepwise_model import StepwiseModel
from tests.interchange.models import EXAMPLES, TASKS, TOKENIZER, randomize, task_spec
from tests.serving.http_server import RunningServer, Served, running_server

SEED = 0
LSTM = {
    "class_path": "lslm_lightning.models.recurrent.LSTM",
    "init_args": {"d_model": 16, "n_encoder_layer": 0, "n_decoder_layer": 2},
}
TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }} {{ m.content }}. {% endfor %}"
    "{% if add_generation_prompt %}a {% endif %}"
)
SPECS = {
    "rotary": task_spec(EXAMPLES["llama"][0], context=12),
    "chat": task_spec(EXAMPLES["llama"][0], prompt={"chat_template": TEMPLATE}),
    "learned": task_spec(EXAMPLES["gpt2"][0]),
    "lstm": {"class_path": TASKS["causal"], "init_args": {"backbone": LSTM}},
    "t5": task_spec(EXAMPLES["t5"][0]),
    "bart": task_spec(EXAMPLES["bart"][0]),
    "pegasus": task_spec(EXAMPLES["pegasus"][0]),
    "bert": task_spec(replace(EXAMPLES["bert"][0], threshold=math.inf)),
    "attending lstm": {
        "class_path": TASKS["sequence-to-sequence"],
        "init_args": {
            "backbone": {**LSTM, "init_args": LSTM["init_args"] | {"n_encoder_layer": 1}}
        },
    },
}
LANGUAGE_MODELS = ("rotary", "learned", "lstm")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the run directory of a model in `SPECS`."""

    @cache
    def make(name: str) -> Path:
        import torch

        torch.manual_seed(SEED)
        task = randomize(build(SPECS[name], TOKENIZER))
        folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
        write_run(
            folder, "lslm test", {"model": SPECS[name]}, TOKENIZER, task.float().state_dict(), {}
        )
        return folder

    return make


@pytest.fixture(scope="session")
def served(tiny_run: Callable[[str], Path]) -> Callable[..., ServedModel]:
    """Return a function that gives the served model of a run in float64."""

    def make(name: str, n_row: int = 64) -> ServedModel:
        loaded = load_run(tiny_run(name))
        loaded.task.double()
        return StepwiseModel(name, str(tiny_run(name)), loaded, n_row)

    return make


@pytest.fixture
def site() -> Served:
    return Served()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


def generated(
    run: Path,
    text: str,
    settings: SearchSettings,
    n: int = 1,
    seed: int = 0,
    is_double: bool = True,
) -> list[str]:
    """Answers of `lslm generate` to one text, in float64 or float32."""
    writer = Writer(str(run), seed)
    if is_double:
        writer.task.double()
    writer.search_by(settings, n)
    [found] = writer.answers([text])
    return [each.output for each in found.alternatives] if n > 1 else [found.output or ""]


def answered(engine: Engine, requests: list[AnswerRequest], every: int = 1) -> list[Event]:
    """Events of requests, one of which begins at every so many steps."""
    waiting = list(requests)
    events: list[Event] = []
    n_step = 0
    while waiting or engine.is_busy:
        if waiting and n_step % every == 0:
            events += engine.take(waiting.pop(0))
        events += engine.work()
        n_step += 1
        assert n_step < 5000
    return events


def answers_of(events: list[Event]) -> dict[int, Answered]:
    return {event.id: event for event in events if isinstance(event, Answered)}

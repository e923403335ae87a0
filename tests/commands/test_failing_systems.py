"""Whatever one of five systems raises, and wherever: four are scored, and the fifth is named with
its reason.
"""

import asyncio
import json
import math
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from jsonargparse import Namespace

from lslm_lightning.contracts import CannotError, Example, OutputsError, Prediction
from lslm_lightning.evaluation.results import compute_results
from lslm_lightning.experiments import parallel_predictions
from lslm_lightning.experiments.endings import WorkError
from lslm_lightning.experiments.evaluation import Evaluation
from lslm_lightning.experiments.evaluation_spec import built_systems, check_systems
from lslm_lightning.experiments.parallel_predictions import answer_share, run_parallel
from lslm_lightning.experiments.predictions import PredictionCollector
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.ledger import BudgetError
from lslm_lightning.systems.purpose import Purpose
from lslm_lightning.training.signals import Interrupted

EXAMPLES = [Example(str(i), f"source {i}", (f"reference {i}",)) for i in range(3)]
NAMES = ("one", "two", "three", "four", "five")


class Mute(Exception):  # noqa: N818 (somebody else's)
    """An error whose own text breaks down."""

    def __str__(self):
        raise KeyError("no text")

    __repr__ = __str__


class PanicException(BaseException):
    """An error of a library written in Rust, which is no `Exception`."""


ERRORS = [
    ValueError("wrong"),
    KeyError("key"),
    IndexError(3),
    AttributeError("none"),
    TypeError("two\nlines"),
    AssertionError(),
    NotImplementedError(),
    MemoryError(),
    RecursionError("deep"),
    ZeroDivisionError("division"),
    OverflowError(34, "large"),
    FileNotFoundError(2, "No such file", "weights\udcff.bin"),
    OSError(28, "No space left on device"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    ImportError("no module"),
    StopIteration(),
    RuntimeError("x" * 100_000),
    torch.OutOfMemoryError("CUDA"),
    OutputsError("line 3"),
    BudgetError("spent"),
    ExceptionGroup("several", [ValueError("a")]),
    UserWarning("as an error"),
    Mute(),
    PanicException("called `Option::unwrap()`"),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError(),
]


class System:
    """Answers with the source, and as probable as you like; raises `error` at the stage that is
    named.
    """

    def __init__(self, name, stage="", error=None):
        self.name = name
        self.stage = stage
        self.error = error

    def reach(self, stage):
        if stage == self.stage:
            raise self.error

    def tune(self, examples):
        self.reach("tune")

    def fingerprint(self):
        self.reach("fingerprint")
        return self.name

    def ready(self, examples):
        self.reach("ready")

    def generate(self, examples):
        self.reach("ask")
        return self.answers(examples)

    log_prob = generate

    def answers(self, examples):
        for i, example in enumerate(examples):
            if i == 1:
                self.reach("half")
            yield Prediction(example.id, output=example.source, nats=1.0 + i)
        self.reach("end")

    def signature(self, mode):
        self.reach("signature")
        return ""

    def facts(self):
        self.reach("facts")
        return {}


def collector(systems, folder, mode="generate"):
    return PredictionCollector(systems, {name: name for name in systems}, EXAMPLES, mode, folder)


def evaluated(folder, systems, mode="generate", metric=None):
    answers = collector(systems, folder, mode)
    answers.prepare()
    metric = metric or (Bleu("en") if mode == "generate" else BitsPerByte())
    return compute_results(EXAMPLES, answers.entries(), [metric], metric.name, n_resample=1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fingerprint", "ready", "ask", "half", "end", "signature"])
@pytest.mark.parametrize("mode", ["generate", "log_prob"])
def test_four_are_scored_and_the_fifth_is_named(stage, mode, tmp_path, capsys):
    for number, error in enumerate(ERRORS):
        at = number % len(NAMES)
        systems = {
            name: System(name, stage if i == at else "", error) for i, name in enumerate(NAMES)
        }
        results = evaluated(tmp_path / str(number), systems, mode)
        failed = {name: entry.reason for name, entry in results.entries.items() if entry.failed}
        assert list(failed) == [NAMES[at]], error.__class__
        assert [name for name, found in results.scores.items() if found is None] == list(failed)
        [reason] = failed.values()
        reason.encode()
        assert 0 < len(reason) < 600
        assert not any(unicodedata.category(character) == "Cc" for character in reason)
        assert (
            type(error).__name__ in reason
            or any(str(part) in reason for part in error.args if part)
            or len(reason) > 400
        ), reason


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted(15)])
@pytest.mark.parametrize("stage", ["ready", "half", "facts"])
def test_who_asks_to_stop_is_obeyed(stage, error, tmp_path):
    with pytest.raises(type(error)):
        evaluated(tmp_path, {"one": System("one"), "two": System("two", stage, error)})


def test_what_a_system_cannot_do_is_no_failure(tmp_path):
    results = evaluated(
        tmp_path, {"one": System("one"), "two": System("two", "ask", CannotError("reads sound"))}
    )
    assert results.entries["two"].reason == "reads sound"
    assert not results.entries["two"].failed


def test_facts_that_cannot_be_told_take_no_score_away_and_are_asked_for_again(tmp_path, capsys):
    for error in (KeyError("layers"), Mute()):
        systems = {"one": System("one"), "two": System("two", "facts", error)}
        results = evaluated(tmp_path, systems)
        assert results.scores["two"] is not None
        assert f"two: no facts for the report: {type(error).__name__}" in capsys.readouterr().err
    evaluated(tmp_path, {"one": System("one"), "two": System("two")})
    assert "facts" in json.loads((tmp_path / "two.json").read_text())


@pytest.mark.parametrize(
    "record", ["[]", "null", '{"facts": 3}', '{"facts": {}, "signature": null}', '{"facts"', "\0"]
)
def test_a_damaged_record_is_made_anew(record, tmp_path):
    before = evaluated(tmp_path, {"one": System("one"), "two": System("two")})
    (tmp_path / "two.json").write_text(record)
    after = evaluated(tmp_path, {"one": System("one"), "two": System("two")})
    assert after.entries == before.entries


class Odd:
    """A system whose answers are `wrong`."""

    def __init__(self, wrong):
        self.name = "odd"
        self.wrong = wrong

    def generate(self, examples):
        return iter(self.wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [Prediction("0", "a"), Prediction("2", "b")],
        [None] * 3,
        ["0", "1", "2"],
        [Prediction(i, b"bytes") for i in "012"],
        [Prediction(i, 5) for i in "012"],
        [Prediction(i, nats=math.inf) for i in "012"],
        [Prediction(i, "a", n_token={1}) for i in "012"],
        [Prediction("7", "a")],
        [Prediction(0, "a"), Prediction(1, "b"), Prediction(2, "c")],
        [Prediction("0", "a"), Prediction("1", nats=3.0), Prediction("2", "c")],
    ],
)
def test_answers_that_are_none_are_the_failure_of_their_system(wrong, tmp_path):
    results = evaluated(tmp_path, {"one": System("one"), "odd": Odd(wrong), "two": System("two")})
    assert [name for name, found in results.scores.items() if found is not None][:1] == ["one"]
    assert results.scores["two"] is not None
    odd = results.entries["odd"]
    assert odd.failed or math.isnan(results.scores["odd"]["bleu"].value)


def test_a_metric_that_breaks_down_on_one_systems_answers_takes_no_others(tmp_path):
    class Fragile(Bleu):
        def statistics(self, answer, references):
            if answer.output.endswith("boom"):
                raise ZeroDivisionError("no words")
            return super().statistics(answer, references)

    boom = Odd([Prediction(i, "boom") for i in "012"])
    results = evaluated(tmp_path, {"one": System("one"), "boom": boom}, metric=Fragile("en"))
    assert results.entries["boom"].reason == (
        "its answers cannot be scored: ValueError: metric bleu: no words"
    )
    assert results.scores["one"] is not None


def test_where_no_system_can_be_asked_each_is_named(tmp_path):
    systems = {name: System(name, "ready", KeyError(name)) for name in NAMES}
    with pytest.raises(WorkError) as told:
        evaluated(tmp_path, systems)
    assert all(f"{name}: KeyError: '{name}'" in str(told.value) for name in NAMES)


STRANGER = """
from collections.abc import Iterator, Sequence

from lslm_lightning.contracts import Example, Prediction

class Panic(BaseException):
    pass

class Foreign:
    name = "stranger"

    def __init__(self, stage: str):
        self.stage = stage
        if stage == "init":
            raise KeyError("built")

    def tune(self, examples):
        if self.stage == "tune":
            raise KeyError("tuned")

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        for example in examples:
            if self.stage == "half" and example.id > examples[0].id:
                raise Panic("half way")
            yield Prediction(example.id, example.source)

    @property
    def directory(self):
        if self.stage == "directory":
            raise LookupError("no directory")
"""


@pytest.mark.slow
def test_a_whole_evaluation(lslm, project, pairs):
    (project / "one_of_five.py").write_text(STRANGER)
    stages = ("none", "init", "tune", "half", "directory", "all")
    data = {"corpus": str(pairs), "source_language": "en", "target_language": "zh"}
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": {"class_path": "tasks.translation.data.TranslationData", "init_args": data},
        "n_resample": 10,
        "systems": {
            stage: {"class_path": "one_of_five.Foreign", "init_args": {"stage": stage}}
            for stage in stages
        },
    }
    nowhere = {
        "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
        "init_args": {"run": "nowhere"},
    }
    config["systems"]["nowhere"] = nowhere
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    outcome = lslm("evaluate", "--config", project / "evaluation.yaml")
    assert outcome.status == 1, outcome.err
    assert "Traceback" not in outcome.err
    [path] = Path("runs/translation").glob("evaluation-*/metrics.json")
    found = json.loads(path.read_text())["systems"]
    scored = {name for name, entry in found.items() if entry["scores"]}
    assert scored == {"none", "directory", "all"}, outcome.err
    assert found["init"]["reason"] == "KeyError: 'built' (one_of_five.py, line 15)"
    assert found["tune"]["reason"] == "KeyError: 'tuned' (one_of_five.py, line 19)"
    assert found["half"]["reason"] == "Panic: half way (one_of_five.py, line 24)"
    assert "directory: no training curves for the report: LookupError: no directory" in outcome.err
    assert "nowhere is left out: there is no run 'nowhere'" in "".join(
        outcome.err.splitlines()[:4]
    ), "before any work"
    assert outcome.err.count("derive it from Generator of lslm_lightning.contracts") == 1
    assert "4 of 7 systems failed" in " ".join(outcome.err.split())


class Builder:
    """A system whose constructor raises an error of `ERRORS`."""

    def __init__(self, number: int):
        raise ERRORS[number]

    def log_prob(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        return iter(())


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_a_system_that_cannot_be_built_is_named_and_one_that_refuses_its_settings_is_refused(
    number,
):
    spec = Namespace(class_path=f"{__name__}.Builder", init_args=Namespace(number=number))
    error = ERRORS[number]
    if isinstance(error, ValueError):
        with pytest.raises(type(error), match=r"wrong|utf-8|line 3"):
            built_systems({"one": spec})
    else:
        systems, broken = built_systems({"one": spec})
        assert list(systems) == list(broken) == ["one"]
        assert type(error).__name__ in broken["one"] or any(
            str(part)[:99] in broken["one"] for part in error.args if part
        )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"concurrency": -1}, r"concurrency=-1 must be from 1 to 1,000"),
        ({"budget": 1.0}, r"budget=1.0 needs prices: .* has them"),
        (
            {"prices": {"input_per_million": -1.0, "output_per_million": 1.0}},
            r"prices.input_per_million=-1.0 must be .* 0",
        ),
        ({"extra": {"n": 3}}, r"extra must not have n, .* leave them out"),
    ],
)
def test_refused_settings_of_a_system_are_told_in_its_own_words(settings, reason):
    spec = {
        "class_path": "lslm_lightning.systems.endpoint.Endpoint",
        "init_args": {"model": "m", **settings},
    }
    with pytest.raises(ValueError, match=rf"\A{reason}\Z"):
        check_systems({"one": spec})


ABILITIES = (
    "shared",
    "purposes",
    "allow_mismatch",
    "chosen_runs",
    "whole_exam",
    "reads",
    "directory",
    "cut_sources",
)


class Undecided(System):
    """Raises when it is asked what it can."""

    def __getattribute__(self, name):
        if name in ABILITIES and name == object.__getattribute__(self, "stage"):
            raise object.__getattribute__(self, "error")
        if name == "purposes" and object.__getattribute__(self, "stage") in (
            "allow_mismatch",
            "chosen_runs",
        ):
            return lambda: [Purpose("summarization")]
        return object.__getattribute__(self, name)


@pytest.mark.slow
@pytest.mark.parametrize("ability", ABILITIES)
@pytest.mark.parametrize(
    "error", [RuntimeError("undecided"), PanicException("lost"), SystemExit(2)]
)
def test_a_system_that_cannot_say_what_it_can_takes_no_others(
    ability, error, tmp_path, monkeypatch
):
    """Run the steps of `lslm evaluate --devices 2` in this process."""
    monkeypatch.setattr(parallel_predictions, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(parallel_predictions, "leave_with_parent", lambda: None)
    systems = {
        "one": System("one"),
        "two": Undecided("two", ability, error),
        "three": System("three"),
    }
    data = SimpleNamespace(
        prompted_examples=lambda split, n_shot: EXAMPLES,
        prompts=lambda split: [],
        stated_languages=("en", "de"),
        corpus_name="corpus",
        mode="generate",
    )
    task = SimpleNamespace(metrics=lambda language: [Bleu(language)], headline="bleu")
    spec = SimpleNamespace(
        systems=systems, keys={name: name for name in systems}, data=data, task=task, broken={}
    )
    spec.task_name = "translation"
    spec.split = "test"
    spec.n_shot = 0
    spec.metrics = None
    evaluation = Evaluation(spec, tmp_path)
    evaluation.tell()
    run_parallel(evaluation.predictions, [sys.executable, "-c", ""], 2)
    answer_share(evaluation.predictions, 0, 1)
    evaluation.predictions.prepare()
    entries = {entry.name: entry for entry in evaluation.predictions.entries()}
    assert [len(entries[name].predictions) for name in ("one", "three")] == [len(EXAMPLES)] * 2
    assert not any(entries[name].failed for name in ("one", "three"))


@pytest.mark.parametrize("error", [KeyError("key"), Mute(), PanicException("lost"), SystemExit(2)])
def test_a_process_that_answers_a_share_goes_on_with_its_other_systems(
    error, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(parallel_predictions, "leave_with_parent", lambda: None)
    systems = {"one": System("one", "half", error), "two": System("two")}
    answers = collector(systems, tmp_path)
    answer_share(answers, 0, 1)
    assert len((tmp_path / "two.0-of-1.jsonl").read_text().splitlines()) == len(EXAMPLES)
    assert f"one: {type(error).__name__}" in capsys.readouterr().err
    assert [entry.name for entry in answers.entries() if entry.failed] == ["one"], (
        "asked once more, by this process"
    )


@pytest.mark.slow
def test_what_a_process_did_not_answer_that_ended_early_is_asked_here(
    tmp_path,
    monkeypatch,
    capsys,
):
    monkeypatch.setattr(parallel_predictions, "POLL_SECONDS", 0.01)
    systems = {"one": System("one"), "two": System("two")}
    answers = collector(systems, tmp_path)
    run_parallel(answers, [sys.executable, "-c", "import os; os._exit(3)"], 2)
    assert "shares [0, 1] of 2 ended early" in capsys.readouterr().err
    assert all(len(entry.predictions) == len(EXAMPLES) for entry in answers.entries())


@pytest.mark.slow
def test_a_damaged_share_is_left_as_it_is_and_its_system_named(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel_predictions, "POLL_SECONDS", 0.01)
    systems = {"one": System("one"), "two": System("two")}
    answers = collector(systems, tmp_path)
    code = f"open({str(tmp_path / 'one.0-of-1.jsonl')!r}, 'w').write('[1]\\n')"
    run_parallel(answers, [sys.executable, "-c", code], 1)
    answers.prepare()
    entries = {entry.name: entry for entry in answers.entries()}
    assert "one.0-of-1.jsonl, line 1" in entries["one"].reason
    assert not entries["two"].reason
    assert (tmp_path / "one.0-of-1.jsonl").read_text() == "[1]\n"

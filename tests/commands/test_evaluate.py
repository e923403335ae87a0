"""`lslm evaluate`: several systems on one evaluation set; interrupted, shared, repeated, scored
again; and mistakes in its config.
"""

import json
import shutil
import signal
import threading
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from lslm_lightning.evaluation.harness import Unbuilt
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.experiments.evaluation_records import set_otherwise
from lslm_lightning.systems.baselines import FirstSentences
from lslm_lightning.systems.checkpoint import Checkpoint
from tests.commands.conftest import refused, wait_until
from tests.support.openai_server import KEY, Raw
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

BASELINES = "lslm_lightning.systems.baselines"
CHECKPOINT = "lslm_lightning.systems.checkpoint.Checkpoint"


@pytest.fixture
def evaluation(project, pairs):
    """A config of two rules; `add` puts in more systems."""
    config = {
        "task": "tasks.translation.task.TranslationTask",
        "data": {
            "class_path": "tasks.translation.data.TranslationData",
            "init_args": {"corpus": str(pairs), "source_language": "en", "target_language": "zh"},
        },
        "n_resample": 100,
        "systems": {
            "copy": {"class_path": f"{BASELINES}.CopySource"},
            "uniform": {"class_path": f"{BASELINES}.UniformBytes"},
        },
    }
    path = project / "evaluation.yaml"

    def add(**systems):
        config["systems"] |= systems
        path.write_text(yaml.safe_dump(config))
        return path

    add()
    return add


def folder() -> Path:
    [found] = [path.parent for path in Path("runs/translation").glob("evaluation-*/metrics.json")]
    return found


def systems() -> dict:
    return json.loads((folder() / "metrics.json").read_text())["systems"]


def outputs_file(pairs, path):
    """The references, as somebody else's outputs."""
    shutil.copy(pairs / "test.zh", path)
    return {
        "class_path": "lslm_lightning.systems.outputs.Outputs",
        "init_args": {"path": str(path)},
    }


def cut_and_without_temperature(provider):
    """Let the provider's answers end at their limit, and refuse a temperature."""
    content = provider.content

    def reply(path, body):
        if "temperature" in body:
            error = {
                "message": "Unsupported value: 'temperature'",
                "param": "temperature",
                "code": "unsupported_value",
            }
            return Raw({"error": error}, 400)
        found = content(path, body)
        found["choices"][0]["finish_reason"] = "length"
        return found

    provider.content = reply


def test_systems_of_several_kinds_on_one_page(
    lslm, evaluation, project, pairs, translation, provider
):
    assert lslm("run", "--config", translation).status == 0
    cut_and_without_temperature(provider)
    [run] = Path("runs/translation").glob("tiny-*")
    endpoint = {
        "model": "tiny",
        "base_url": provider.url,
        "prices": {"input_per_million": 1.0, "output_per_million": 2.0},
    }
    config = evaluation(
        ours={"class_path": CHECKPOINT, "init_args": {"run": "runs/translation/tiny-*"}},
        theirs=outputs_file(pairs, project / "theirs.txt"),
        hosted={"class_path": "lslm_lightning.systems.endpoint.Endpoint", "init_args": endpoint},
    )
    outcome = lslm("evaluate", "--config", config)
    assert outcome.status == 0, outcome.err
    found = systems()
    score = {
        name: {s["metric"]: s["value"] for s in entry["scores"]} for name, entry in found.items()
    }
    recorded = {
        s["metric"]: s["value"] for s in json.loads((run / "metrics.json").read_text())["scores"]
    }
    assert score["ours"] == pytest.approx(recorded), "lslm test and lslm evaluate are one road"
    assert score["theirs"]["bleu"] == pytest.approx(100)
    assert score["uniform"] == {}
    assert found["uniform"]["reason"] == "gives probabilities but writes no text"
    assert found["hosted"]["facts"]["money"] > 0
    assert found["ours"]["facts"]["n_parameter"] > 0
    page = (folder() / "report/index.html").read_text()
    chosen = f"run runs/translation/tiny-*: chose {run}, the only one that matches"
    assert f"system ours: {chosen}\n" in outcome.out
    assert chosen in (folder() / "report/report.md").read_text().replace("\\", "")
    data, tested = (
        json.loads((path / "metrics.json").read_text())["data"] for path in (folder(), run)
    )
    assert data == tested, "lslm test and lslm evaluate record one test set"
    for words in (
        "leads with BLEU 100",
        "gives probabilities but writes no text",
        "Samples",
        "Pairs by BLEU",
    ):
        assert words in page, words
    told = {
        (f["system"], f["check"]): f["words"]
        for f in json.loads((folder() / "metrics.json").read_text())["findings"]
    }
    assert told["hosted", "cut answers"] == "10 of 10 answers were cut at max_tokens=256; raise it"
    assert told["hosted", "settings left out"].startswith("temperature=0.0 was left out")
    [ours] = (folder() / "predictions").glob("ours-*.jsonl")
    n_cut = sum(p.finish_reason == "length" for p in read_predictions(ours))
    assert told.get(("ours", "cut answers")) == (
        f"{n_cut} of 10 answers were cut at max_length=20; raise it" if n_cut else None
    )
    assert "left_out:" in page
    assert found["hosted"]["facts"]["left_out"] == {"temperature": 0.0}
    for words in (told["hosted", "cut answers"], told["hosted", "settings left out"]):
        assert words in page
        assert words in " ".join(outcome.out.split())
    for path in folder().rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    runs = client.search_runs([client.get_experiment_by_name("translation").experiment_id])
    [parent] = [
        r
        for r in runs
        if r.data.tags.get("command") == "evaluate" and "mlflow.parentRunId" not in r.data.tags
    ]
    names = {r.info.run_name for r in runs}
    assert f"copy ({folder().name})" in names, "it is told from that of another evaluation"
    children = {
        r.info.run_name.partition(" ")[0]: r
        for r in runs
        if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert children.keys() == {"copy", "uniform", "ours", "theirs", "hosted"}
    assert children["theirs"].data.metrics["test/bleu"] == pytest.approx(100)
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"report", "metrics.json"}
    assert int(children["ours"].data.params["n_parameter"]) == found["ours"]["facts"]["n_parameter"]
    assert "batch_size" not in children["ours"].data.params, "only what differs from the defaults"
    assert not [
        name
        for each in children.values()
        for name in each.data.metrics
        if not name.startswith("test/")
    ]
    note = parent.data.tags["mlflow.note.content"]
    assert [line.split(" | ")[0] for line in note.splitlines() if line.startswith("| ")][
        2
    ] == "| theirs"
    assert "probabilities" in note, "and why a system has no score"
    assert children["hosted"].data.params["found.left_out.temperature"] == "0.0"


def test_a_repeated_evaluation_asks_nobody_and_gives_the_same(
    lslm, evaluation, project, pairs, provider
):
    endpoint = {
        "class_path": "lslm_lightning.systems.endpoint.Endpoint",
        "init_args": {"model": "m", "base_url": provider.url},
    }
    config = evaluation(theirs=outputs_file(pairs, project / "theirs.txt"), hosted=endpoint)
    assert lslm("evaluate", "--config", config).status == 0
    first = systems()
    asked = len(provider.requests)
    (project / "theirs.txt").unlink()
    assert lslm("evaluate", "--config", config).status == 0
    assert systems() == first
    assert len(provider.requests) == asked == 10


def test_a_system_more_asks_only_that_one(lslm, evaluation, project, pairs, provider):
    hosted = {
        "class_path": "lslm_lightning.systems.endpoint.Endpoint",
        "init_args": {"model": "m", "base_url": provider.url},
    }
    assert lslm("evaluate", "--config", evaluation(hosted=hosted)).status == 0
    shutil.rmtree(project / "cache")
    outcome = lslm(
        "evaluate", "--config", evaluation(theirs=outputs_file(pairs, project / "theirs.txt"))
    )
    assert outcome.status == 0, outcome.err
    assert len(provider.requests) == 10
    assert systems().keys() == {"copy", "uniform", "hosted", "theirs"}


def test_outputs_that_have_changed_are_read_anew(lslm, evaluation, project, pairs):
    config = evaluation(theirs=outputs_file(pairs, project / "theirs.txt"))
    assert lslm("evaluate", "--config", config).status == 0
    (project / "theirs.txt").write_text("错\n" * 10)
    outcome = lslm("evaluate", "--config", config)
    assert "theirs has changed since its predictions were made" in outcome.out
    assert len(list((folder() / "predictions").glob("theirs-*.jsonl.*.old"))) == 1
    assert "has changed" not in lslm("evaluate", "--config", config).out, "asked anew once"
    assert {s["metric"]: s["value"] for s in systems()["theirs"]["scores"]}["bleu"] < 50


def test_what_was_answered_before_a_kill_is_never_asked_again(
    start, lslm, evaluation, provider, monkeypatch
):
    """Killed the hard way, then interrupted, then finished: the scores are those of an evaluation
    that went through.

    The same command in a second process meanwhile is refused, and asks nothing.
    """
    endpoint = {"model": "m", "base_url": provider.url, "concurrency": 1}
    config = evaluation(
        hosted={"class_path": "lslm_lightning.systems.endpoint.Endpoint", "init_args": endpoint}
    )
    for number in (signal.SIGKILL, signal.SIGINT):
        # so many are answered, the next is under way
        before = len(provider.requests)
        permits = threading.Semaphore(2)

        def answer(question, permits=permits):
            permits.acquire(timeout=PATIENCE)
            return f"{question}!"

        provider.answer = answer
        process = start("-m", "lslm_lightning", "evaluate", "--config", config, OPENAI_API_KEY=KEY)
        wait_until(lambda: len(provider.requests) == before + 3, process)  # noqa: B023
        if number == signal.SIGINT:
            monkeypatch.setattr("lslm_lightning.experiments.prediction_files.LOCK_SECONDS", 0.1)
            refused(lslm("evaluate", "--config", config), 1, "another process evaluates in")
        process.send_signal(number)
        permits.release()
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (130 if number == signal.SIGINT else -number), output
    provider.answer = lambda question: f"{question}!"
    process = start("-m", "lslm_lightning", "evaluate", "--config", config, OPENAI_API_KEY=KEY)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    questions = [body["messages"][-1]["content"] for body in provider.requests]
    assert len(set(questions)) == 10
    assert len(questions) <= 10 + 2, "only the one under way may be asked again"
    expected = {q.rpartition("English: ")[2].partition("\n")[0]: f"{q}!" for q in questions}
    [path] = (folder() / "predictions").glob("hosted-*.jsonl")
    assert sorted(
        json.loads(line)["output"] for line in path.read_text("utf-8").splitlines()
    ) == sorted(expected.values())
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    runs = client.search_runs(
        [client.get_experiment_by_name("translation").experiment_id],
        order_by=["attributes.start_time"],
    )
    assert [r.info.status for r in runs if "mlflow.parentRunId" not in r.data.tags] == [
        "KILLED",
        "KILLED",
        "FINISHED",
    ], "the next command has marked the first"


def test_processes_and_batches_change_no_digit(
    lslm, forked_shares, evaluation, translation, provider
):
    """A checkpoint's answers by two processes, and in batches of 1 and 64; an endpoint is asked
    once, whatever the number of processes.
    """
    assert lslm("run", "--config", translation).status == 0
    [run] = Path("runs/translation").glob("tiny-*")
    ours = {
        n: {"class_path": CHECKPOINT, "init_args": {"run": str(run), "batch_size": n}}
        for n in (1, 64)
    }
    endpoint = {
        "class_path": "lslm_lightning.systems.endpoint.Endpoint",
        "init_args": {"model": "m", "base_url": provider.url},
    }
    config = evaluation(one=ours[1], many=ours[64], hosted=endpoint)
    outcome = lslm("evaluate", "--config", config, "--devices", 2)
    assert outcome.status == 0, outcome.err
    assert [share.returncode for share in forked_shares] == [0, 0]
    assert len(provider.requests) == 10
    shared = systems()
    assert shared["one"]["scores"] == shared["many"]["scores"]
    answers = sorted((folder() / "predictions").glob("one-*.jsonl"))
    assert len(answers) == 1, "shares are merged"
    shutil.rmtree(folder())
    assert lslm("evaluate", "--config", config).status == 0
    for name, entry in systems().items():
        assert entry["scores"] == shared[name]["scores"]


def test_a_budget_that_is_reached_is_a_dash_with_the_reason(lslm, evaluation, provider):
    prices = {"input_per_million": 1e6, "output_per_million": 1e6}
    endpoint = {
        "model": "m",
        "base_url": provider.url,
        "prices": prices,
        "budget": 700,
        "max_tokens": 20,
    }
    config = evaluation(
        hosted={"class_path": "lslm_lightning.systems.endpoint.Endpoint", "init_args": endpoint}
    )
    refused_at_the_end(lslm("evaluate", "--config", config), "budget=700")
    assert "budget=700" in systems()["hosted"]["reason"]
    assert systems()["hosted"]["scores"] == []
    assert systems()["copy"]["scores"]


def refused_at_the_end(outcome, *words):
    """There is a report, and yet not all is well."""
    assert outcome.status == 1
    assert "report runs/translation/evaluation-" in outcome.out
    last = outcome.err.rstrip().rpartition("\n")[2]
    assert last.startswith("lslm: 1 of 3 systems failed; hosted: "), last
    assert all(word in last for word in words), last


def test_a_server_that_fails_takes_nothing_from_the_others(lslm, evaluation, provider):
    """Until it is back, and the same command asks it for the rest."""
    endpoint = {"model": "m", "base_url": provider.url, "concurrency": 1}
    config = evaluation(
        hosted={"class_path": "lslm_lightning.systems.endpoint.Endpoint", "init_args": endpoint}
    )
    provider.faults = [400]
    refused_at_the_end(lslm("evaluate", "--config", config), "400")
    assert KEY not in systems()["hosted"]["reason"]
    assert systems()["copy"]["scores"]
    asked = len(provider.requests)
    assert lslm("evaluate", "--config", config).status == 0
    assert systems()["hosted"]["scores"]
    assert len(provider.requests) <= asked + 10
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
    runs = client.search_runs(
        [client.get_experiment_by_name("translation").experiment_id],
        order_by=["attributes.start_time"],
    )
    assert [r.info.status for r in runs if "mlflow.parentRunId" not in r.data.tags] == [
        "FAILED",
        "FINISHED",
    ]


SLOW = """
import time
from collections.abc import Iterator, Sequence
from lslm_lightning.contracts import Example, Prediction

class Slow:
    name = "slow"

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        for example in examples:
            yield Prediction(example.id, example.source)
            time.sleep({seconds})
"""


def test_shares_end_with_the_process_that_started_them(start, evaluation, project):
    """Killed the hard way, it leaves no process behind that would write what the next attempt
    writes too.
    """
    (project / "slow.py").write_text(SLOW.format(seconds=60))
    process = start(
        "-m",
        "lslm_lightning",
        "evaluate",
        "--config",
        evaluation(slow={"class_path": "slow.Slow"}),
        "--devices",
        2,
    )

    def both_write():
        return len(list(Path("runs").rglob("slow-*-of-2.jsonl.partial"))) == 2

    wait_until(both_write, process)
    shares = psutil.Process(process.pid).children()
    assert len(shares) == 2
    process.kill()
    _, alive = psutil.wait_procs(shares, timeout=PATIENCE)
    assert not alive
    (project / "slow.py").write_text(SLOW.format(seconds=0))
    process = start("-m", "lslm_lightning", "evaluate", "--config", project / "evaluation.yaml")
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    [path] = (folder() / "predictions").glob("slow-*.jsonl*")
    assert len(path.read_text("utf-8").splitlines()) == 10


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (
            lambda c: c["systems"].update(
                bad={"class_path": f"{BASELINES}.FirstSentences", "init_args": {"kk": 1}}
            ),
            2,
            ["kk"],
        ),
        (
            lambda c: c["systems"].update(bad={"class_path": "collections.Counter"}),
            2,
            ["collections.Counter"],
        ),
        (
            lambda c: c["systems"].update({"a b": {"class_path": f"{BASELINES}.CopySource"}}),
            1,
            ["'a b'"],
        ),
        (lambda c: c.update(split="trial"), 1, ["trial"]),
        (lambda c: c.update(n_shot=1000), 1, ["n_shot=1000"]),
        (lambda c: c.update(task="tasks.translation.task.Nothing"), 2, ["Nothing"]),
        (lambda c: c.pop("data"), 2, ["data"]),
    ],
)
def test_what_is_refused(lslm, evaluation, project, change, status, words):
    config = yaml.safe_load(evaluation().read_text())
    change(config)
    (project / "evaluation.yaml").write_text(yaml.safe_dump(config))
    refused(lslm("evaluate", "--config", project / "evaluation.yaml"), status, *words)


def test_hostile_outputs_reach_terminal_and_page_as_text(lslm, evaluation, project):
    lines = [
        "</script><script>alert(1)</script>",
        "\x1b[31mred",
        "[bold]markup[/bold]",
        "=1+1",
        *["x"] * 6,
    ]
    (project / "evil.txt").write_text("\n".join(lines) + "\n")
    name = {
        "class_path": "lslm_lightning.systems.outputs.Outputs",
        "init_args": {"path": str(project / "evil.txt")},
    }
    outcome = lslm("evaluate", "--config", evaluation(evil=name))
    assert outcome.status == 0
    assert "\x1b[31mred" not in outcome.out
    page = (folder() / "report/index.html").read_text()
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize(
    ("system", "given", "changed"),
    [
        (
            Checkpoint("runs/a"),
            {"run": "runs/a", "search": None, "batch_size": 32, "device": "auto"},
            {"run": "runs/a"},
        ),
        (
            Checkpoint("runs/a", batch_size=8),
            {"run": "runs/a", "batch_size": 8},
            {"run": "runs/a", "batch_size": 8},
        ),
        (FirstSentences(), {"k": 3}, {}),
        (Unbuilt(), {"run": "runs/a", "batch_size": 32}, {"run": "runs/a", "batch_size": 32}),
    ],
)
def test_settings_of_a_system_that_are_defaults_are_no_parameters(system, given, changed):
    found = set_otherwise(system, {"class_path": "a.B", "init_args": given, "found": {"x": 1}})
    assert found == {"class_path": "a.B", "found": {"x": 1}} | (
        {"init_args": changed} if changed else {}
    )

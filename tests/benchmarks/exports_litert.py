"""Models in LiteRT, in ai_edge_litert and TensorFlow without PyTorch, against their runs."""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lslm_lightning.runs import RunDirectory
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.exports import (
    LANGUAGE_MODEL,
    LOGITS,
    N_TEXT,
    SUMMARIZATION,
    TRANSLATION,
    InstallError,
    environment,
    trained,
)
from tests.benchmarks.job import JobError, environment_of

CONVERTER = "litert-torch==0.10.0"
READERS = {"litert": "ai-edge-litert==2.3.0", "tensorflow": "tensorflow-cpu==2.21.0"}
PEER = Path(__file__).with_name("litert_peer.py")
N_NEW = 32
N_BEGUN = 60  # characters of a text that a language model continues
MOST_READ = 128  # tokens of a text of a language model whose logits are compared


def converted(run: RunDirectory, python: Path, folder: Path) -> None:
    """Export a run in the environment of the converter."""
    command = [str(python), "-m", "lslm_lightning", "export", str(run.path), "--to", "litert"]
    done = subprocess.run([*command, "--output", str(folder)], env=environment_of())
    if done.returncode:
        raise JobError(f"lslm export ended with status {done.returncode}")


class Expected:
    """What a run computes: logits of targets, and greedy answers.

    Args:
        run: run whose model was exported.
        n: number of texts of the test split.
    """

    def __init__(self, run: RunDirectory, n: int) -> None:
        import torch

        from lslm_lightning.experiments.evaluation_sets import data_and_task
        from lslm_lightning.interchange.verification import copy_to_compare, our_model, texts_of
        from lslm_lightning.runs import load_run
        from lslm_lightning.training.causal import CausalTask

        loaded = load_run(str(run.path))
        data, _ = data_and_task(run, {}, trust=False)
        examples = [each for each in data.examples("test") if each.source or each.references]
        texts = texts_of(examples, type(loaded.task), "test", n)
        self.task = copy_to_compare(loaded.task, torch.float32)
        self.model = our_model(self.task)
        tokenizer = self.task.tokenizer
        self.n_new = min(N_NEW, self.task.max_length)
        if isinstance(self.task, CausalTask):
            self.sources = [text[:N_BEGUN] for text in texts.sources]
            self.targets = [row[:MOST_READ] for row in self.model.read(texts.sources)]
        else:
            self.sources = list(texts.sources)
            found = tokenizer.encode_targets(list(texts.targets))
            self.targets = [[tokenizer.bos_id, *ids][: self.task.max_length] for ids in found]
        rows = [torch.tensor([row]) for row in self.model.read(self.sources)]
        with torch.no_grad():
            pairs = zip(rows, self.targets, strict=True)
            self.logits = [self.model.logits(row, torch.tensor([ids]))[0] for row, ids in pairs]
            self.answers = [self.model.generate(row, self.n_new)[0] for row in rows]
        self.prompts = [row[0] for row in rows]

    def compared(self, answers: list[list[int]], logits: Path) -> Figures:
        """How answers and logits of another library differ."""
        import numpy as np
        import torch

        from lslm_lightning.interchange.verification import is_tie

        ours = torch.cat(self.logits)
        theirs = torch.from_numpy(np.load(logits))
        limit = LOGITS / 2
        ties = [
            is_tie(self.model.logits, prompt, mine, other, limit, self.task)
            for prompt, mine, other in zip(self.prompts, self.answers, answers, strict=True)
            if mine != other
        ]
        return {
            "texts": len(answers),
            "not equal": len(ties),
            "ties": sum(ties),
            "worst difference": float((ours - theirs).abs().max()),
            "largest logit": float(ours.abs().max()),
        }


def reader_answers(
    name: str, export: Path, expected: Expected, folder: Path, python: Path
) -> Figures:
    """Compare the model of a folder, in a library, with its run."""
    given = {"sources": expected.sources, "targets": expected.targets, "n_new": expected.n_new}
    (folder / "input.json").write_text(json.dumps(given), "utf-8")
    logits = folder / "logits.npy"
    hidden = {key: value for key, value in environment_of().items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), str(PEER), name, str(export), str(folder / "input.json"), str(logits)],
        env=hidden,
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise JobError(f"{READERS[name]} ended with status {done.returncode}")
    found = json.loads(done.stdout.splitlines()[-1])
    size = round((export / "model.tflite").stat().st_size / 1e6, 2)
    more = {"mb": size, "ms per token": round(found["ms"], 2)}
    return {**expected.compared(found["answers"], logits), **more}


def litert_answers(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Compare a translator, a summarizer that copies, and a language model in each library."""
    tasks: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = {}
        with environment(CONVERTER, pins=("torch",)) as python:
            for config in (TRANSLATION, SUMMARIZATION, LANGUAGE_MODEL):
                run = trained(config, smoke)
                task = run.path.parent.name
                converted(run, python, folder / task)
                expected[task] = Expected(run, 4 if smoke else N_TEXT)
        not_run = []
        for reader, package in READERS.items():
            try:
                with environment(package, "tokenizers", pins=(), is_bare=True) as python:
                    for task, each in expected.items():
                        found = reader_answers(reader, folder / task, each, folder, python)
                        tasks[f"{task}, {reader}"] = found
            except InstallError:  # no file of it for this Python or platform
                not_run.append(package)
    packages = [each for each in READERS.values() if each not in not_run]
    return {"converter": CONVERTER, "packages": packages, "not run": not_run, "tasks": tasks}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Require equal answers and logits."""
    found = figures["litert"]
    rows = [Check("libraries that could not be installed", len(found["not run"]))]
    for name, task in found["tasks"].items():
        what = f"{name}: greedy texts not equal, of {task['texts']}"
        rows.append(Check(what, task["not equal"] - task["ties"], "<=", 0))
        rows.append(Check("  after a tie", task["ties"]))
        rows.append(Check("  largest difference of logits", task["worst difference"], "<=", LOGITS))
    return rows


BENCHMARK = Benchmark(
    about="models in LiteRT and TensorFlow, without PyTorch, against the runs that they are from",
    minutes=20,
    parts={"litert": litert_answers},
    checks=checks,
)

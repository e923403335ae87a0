"""Exported models in the libraries that read them, each in an environment of its own."""

import json
import os
import random
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from lslm_lightning import export_model
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.runs import RunDirectory
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import HOME, JobError, environment_of, lslm

STEPS = 300
N_ITEM = 60
N_CHOICE = 4
LM_EVAL = "lm_eval==0.4.13"
TOLERANCE = 1e-4  # of log-likelihoods of a choice, in nats
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
LANGUAGE_MODEL = ("configs/language_modeling/docstrings_demo.yaml",)
TRANSLATION = (
    "configs/translation/cldr_demo.yaml",
    "--model.backbone.position=lslm_lightning.models.positions.Sinusoidal",
)
SUMMARIZATION = ("configs/summarization/docstrings_demo.yaml",)
N_TEXT = 200
LOGITS = 1e-4  # largest difference of logits in ONNX


class InstallError(JobError):
    """A package could not be installed."""


@contextmanager
def environment(
    *packages: str, pins: Sequence[str] | None = None, is_bare: bool = False
) -> Iterator[Path]:
    """Python of a new environment with some packages besides those of this one.

    Args:
        pins: packages that must have the versions of this environment; None for all.
        is_bare: whether the environment does not see the packages of this one.

    Raises:
        InstallError: a package could not be installed.
    """
    with tempfile.TemporaryDirectory(prefix="environment-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        if not is_bare:
            [site] = Path(folder).glob("lib/python3*/site-packages")
            ours = [path for path in sys.path if Path(path).name == "site-packages"]
            (site / "ours.pth").write_text("\n".join([str(HOME), *ours]), "utf-8")
        lines = (HOME / "constraints.txt").read_text("utf-8").splitlines(keepends=True)
        kept = [line for line in lines if pins is None or line.partition("==")[0] in pins]
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("".join(kept), "utf-8")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command = [*install, "--constraint", str(constraints), *packages]
        if subprocess.run(command, env=environment_of()).returncode:
            raise InstallError(f"{' '.join(packages)} could not be installed")
        yield python


def trained(config: tuple[str, ...], smoke: bool) -> RunDirectory:
    """A run of a demo config, of few steps."""
    words = [f"--trainer.max_steps={2 if smoke else STEPS}", "--job.minutes=null"]
    [run] = lslm("fit", "--config", *config, *words)
    return run


def items(run: RunDirectory, n: int) -> list[dict[str, object]]:
    """Test examples of a run as multiple choice: a text, how it goes on, and other ends."""
    chance = random.Random(0)
    if run.path.parent.name == "translation":
        rows = open_corpus("cldr", languages=("en", "fr")).rows("test")[:400]
        pairs = [(row["en"], row["fr"]) for row in rows]
    else:
        texts = [row["text"] for row in open_corpus("docstrings").rows("test")]
        texts = [text[:300] for text in texts if len(text) > 80]
        pairs = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]
    found = []
    for query, right in chance.sample(pairs, n):
        choices = [right, *(chance.choice(pairs)[1] for _ in range(N_CHOICE - 1))]
        chance.shuffle(choices)
        found.append({"query": query, "choices": choices, "gold": choices.index(right)})
    return found


def write_tasks(folder: Path, rows: list[dict[str, object]], is_causal: bool) -> None:
    """Write tasks of lm_eval on one file: multiple choice, and of a language model generation and
    the perplexity of texts. (Of an encoder-decoder lm_eval adds the length of the source to the
    most tokens of an answer.)
    """
    data = folder / "items.jsonl"
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "target_delimiter": "",
        "doc_to_text": "{{query}}",
    }
    choice = {"output_type": "multiple_choice", "doc_to_choice": "{{choices}}"}
    choice |= {"doc_to_target": "{{gold}}", "metric_list": [{"metric": "acc"}]}
    written = {"output_type": "generate_until", "doc_to_target": "{{choices[gold]}}"}
    written |= {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 24, "do_sample": False}}
    written |= {"metric_list": [{"metric": "exact_match"}]}
    whole = {"output_type": "loglikelihood_rolling", "doc_to_text": ""}
    whole |= {"doc_to_target": "{{query}}", "metric_list": [{"metric": "bits_per_byte"}]}
    tasks = {"choice": choice} | ({"written": written, "perplexity": whole} if is_causal else {})
    for name, task in tasks.items():
        text = yaml.safe_dump({"task": name, **shared, **task}, allow_unicode=True)
        (folder / f"{name}.yaml").write_text(text, "utf-8")


def lm_eval_answers(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Return how the answers of runs to lm_eval differ from those of their exports."""
    found = {}
    with environment(LM_EVAL) as python, tempfile.TemporaryDirectory() as folder:
        for config in (LANGUAGE_MODEL, TRANSLATION):
            run = trained(config, smoke)
            name = run.path.parent.name
            export, tasks = Path(folder, f"{name}-export"), Path(folder, f"{name}-tasks")
            export_model(run.path, export)
            tasks.mkdir()
            write_tasks(tasks, items(run, 4 if smoke else N_ITEM), name == "language_modeling")
            peer = Path(__file__).with_name("lm_eval_peer.py")
            done = subprocess.run(
                [str(python), str(peer), str(run.path), str(export), str(tasks)],
                env={**environment_of(), **OFFLINE, "HF_HOME": os.path.join(folder, "home")},
                stdout=subprocess.PIPE,
                text=True,
            )
            if done.returncode:
                raise JobError(f"lm_eval ended with status {done.returncode}")
            answers = json.loads(done.stdout.splitlines()[-1])
            found |= {f"{name}, {task}": each for task, each in answers.items()}
    return {"package": LM_EVAL, "python": sys.version.split()[0], "tasks": found}


def onnx_answers(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Return how logits and greedy answers of exported graphs differ from those of their runs: a
    language model, a translator, and a summarizer whose head copies from the source.
    """
    import onnxruntime

    from lslm_lightning.experiments.evaluation_sets import data_and_task
    from lslm_lightning.interchange.onnx_target import OnnxTarget
    from lslm_lightning.interchange.parts import read_parts
    from lslm_lightning.interchange.targets import ExportedModel
    from lslm_lightning.interchange.verification import texts_of
    from lslm_lightning.runs import load_run

    found = {}
    for config in (LANGUAGE_MODEL, TRANSLATION, SUMMARIZATION):
        run = trained(config, smoke)
        loaded = load_run(str(run.path))
        data, _ = data_and_task(run, {}, trust=False)
        examples = [each for each in data.examples("test") if each.source or each.references]
        texts = texts_of(examples, type(loaded.task), "test", 8 if smoke else N_TEXT)
        model = ExportedModel(loaded, read_parts(loaded.task), "float32", None, texts)
        with tempfile.TemporaryDirectory() as folder:
            OnnxTarget().write(model, Path(folder))
            result = OnnxTarget().verify(model, Path(folder))
        found[run.path.parent.name] = {
            "texts": result.n_text,
            "not equal": result.n_text - result.n_equal,
            "ties": result.n_tie,
            "worst difference": result.worst,
            "largest logit": result.largest,
        }
    return {"package": f"onnxruntime=={onnxruntime.__version__}", "tasks": found}


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Require equal answers."""
    rows = []
    for name, task in figures.get("onnx", {}).get("tasks", {}).items():
        what = f"{name}, ONNX: greedy texts not equal, of {task['texts']}"
        rows.append(Check(what, task["not equal"], "<=", 0))
        rows.append(Check("  largest difference of logits", task["worst difference"], "<=", LOGITS))
    for name, task in figures["lm_eval"]["tasks"].items():
        rows.append(
            Check(f"{name}: answers not equal, of {task['answers']}", task["not equal"], "<=", 0)
        )
        rows.append(Check("  largest difference, nats", task["worst difference"], "<=", TOLERANCE))
    return rows


BENCHMARK = Benchmark(
    about="exported models in other libraries, against the run that they are from",
    minutes=10,
    parts={"lm_eval": lm_eval_answers, "onnx": onnx_answers},
    checks=checks,
)

"""`python -m tests.benchmarks [NAME ...]`: measure what is missing, then say what was reached.

Exit status: 0 all was reached, 1 not all, 2 something is needed that is not here.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import chdir, contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

from tests.benchmarks.benchmark import Benchmark, no_false_alarm, table
from tests.benchmarks.job import JobError
from tests.benchmarks.record import RESULTS, Record, present_circumstances

ORDER = (
    "significance",
    "misalignment",
    "ngram",
    "prepare",
    "logging_cost",
    "faults",
    "exports",
    "exports_transformers",
    "exports_gguf",
    "exports_litert",
    "mlflow_models",
    "beam_speed",
    "search_speed",
    "exports_speed",
    "serving",
    "serving_clients",
    "serving_hostile",
    "export_positions",
    "ctc_speed",
    "train_peers",
    "loss_memory",
    "scale",
    "train_speed",
    "lstm_speed",
    "nanogpt",
    "demo",
    "audit",
    "docstrings",
    "multi30k",
    "aeslc",
    "squad",
    "squad_full",
    "tatoeba",
    "poetry",
    "fsdd",
    "an4",
    "translation_sweep",
    "language_sweep",
    "chinese_sweep",
    "words_sweep",
    "summarization_sweep",
)
GPU = ("sharded_gpu", "train_speed_gpu", "multi30k_gpu")
WRAPPED = {"beam_speed": "beam"}  # beam_speed.py is a program of its own
REACHED = 0
FAILED = 1
UNMET = 2


def load(name: str) -> Benchmark:
    """The benchmark of a module of this folder."""
    return import_module(f"tests.benchmarks.{WRAPPED.get(name, name)}").BENCHMARK


def unmet(name: str, benchmark: Benchmark) -> str | None:
    """What the benchmark needs and does not find here, in words."""
    if "LSLM_DATA" in benchmark.needs and not os.environ.get("LSLM_DATA"):
        return f"{name} needs real corpora: set LSLM_DATA to the folder that holds them"
    if "GPU" in benchmark.needs:
        import torch

        if not torch.cuda.is_available():
            return f"{name} needs a GPU, and torch {torch.__version__} finds none here"
    return None


def measure(benchmark: Benchmark, record: Record, smoke: bool = False) -> None:
    """Measure the parts that `record` does not have, one by one."""
    for name, part in benchmark.parts.items():
        if name in record:
            continue
        circumstances = present_circumstances()
        print(f"--- {name}", flush=True)
        if circumstances["load"] > 0.5 and not smoke:
            print(
                (
                    f"load {circumstances['load']}: the machine is not idle, and speeds will not "
                    "be what they could be"
                ),
                flush=True,
            )
        began = time.monotonic()
        figures = part(record.figures, smoke)
        record.keep(name, figures, {**circumstances, "seconds": round(time.monotonic() - began, 1)})


def conduct(name: str, benchmark: Benchmark, record: Record, smoke: bool) -> int:
    """Measure, show the table, and give the exit status."""
    print(f"\n=== {name}: {benchmark.about}", flush=True)
    try:
        measure(benchmark, record, smoke)
        checks = [*benchmark.checks(record.figures), *no_false_alarm(record.figures)]
    except Exception as error:
        if not isinstance(error, FileNotFoundError | JobError):  # those say what is wrong
            traceback.print_exc()
        print(f"{name} failed; the parts that were finished are kept: {error}", flush=True)
        return FAILED
    print(
        f"\n{name}{', a smoke test: these figures mean nothing' if smoke else ''}\n{table(checks)}"
    )
    for part in benchmark.parts:
        print(
            f"  {part}: "
            + ", ".join(f"{key} {value}" for key, value in record.circumstances(part).items()),
            flush=True,
        )
    return REACHED if smoke or all(check.reached is not False for check in checks) else FAILED


def show(names: tuple[str, ...]) -> None:
    """Names, minutes, needs."""
    for name in names:
        benchmark = load(name)
        print(
            f"{name:<20} {benchmark.minutes:>4.0f} min  {' and '.join(benchmark.needs):<18} "
            f"{benchmark.about}"
        )


@contextmanager
def aside() -> Iterator[None]:
    """In an empty folder that disappears: a smoke test leaves nothing in runs/ and MLflow's
    store.
    """
    if chosen := os.environ.get("LSLM_DATA"):
        os.environ["LSLM_DATA"] = os.path.abspath(chosen)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with (
        tempfile.TemporaryDirectory(prefix="smoke-", ignore_cleanup_errors=True) as folder,
        chdir(folder),
    ):
        yield


def attend(name: str, again: bool, smoke: bool) -> int:
    """One benchmark from its name to its exit status."""
    benchmark = load(name)
    if lacking := unmet(name, benchmark):
        print(lacking, file=sys.stderr)
        return UNMET
    if missing := [
        file for file in benchmark.files if not Path(os.environ.get("LSLM_DATA", ""), file).exists()
    ]:
        print(f"{name} is passed over: {missing[0]} is not in LSLM_DATA")
        return REACHED
    record = Record(None if smoke else RESULTS / f"{name}.json")
    if again:
        record.clear()
    return conduct(name, benchmark, record, smoke)


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, run what was asked for."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks", description="Quality and speed against thresholds and peers."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which; all of its kind by default"
    )
    parser.add_argument("--gpu", action="store_true", help="those that need a GPU")
    parser.add_argument("--list", action="store_true", help="names, minutes, and what each needs")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a few steps of everything, to see that it works; nothing is recorded",
    )
    parser.add_argument("--again", action="store_true", help="forget what was recorded")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - {*ORDER, *GPU}:
        parser.error(
            f"{', '.join(sorted(unknown))}: no such benchmark; there are "
            f"{', '.join((*ORDER, *GPU))}"
        )
    if options.list:
        show((*ORDER, *GPU))
        return REACHED
    with aside() if options.smoke else nullcontext():
        return max(
            attend(name, options.again, options.smoke)
            for name in options.names or (GPU if options.gpu else ORDER)
        )


if __name__ == "__main__":
    sys.exit(main())

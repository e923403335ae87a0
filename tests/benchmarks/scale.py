"""How time and memory grow with the size of models, texts, corpora, evaluations and stores."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.benchmark import Benchmark, Check, Figures, Part
from tests.benchmarks.growth import Series, checks_of, growth, point

MODELS = "scale_models"
CORPORA = "scale_corpora"
EVALUATION = "scale_evaluation"
LENGTHS = (1000, 2000, 4000, 8000, 16_000)
VOCABULARIES = (1000, 3000, 10_000, 30_000, 100_000)
EXAMPLES = (1000, 10_000, 100_000, 1_000_000)
MEGABYTES = (10, 100, 1000)

SERIES: dict[str, Series] = {
    "parameters": Series(
        "training step: parameters of a Transformer",
        MODELS,
        tuple(48 * width**2 for width in (64, 128, 256, 512, 1024)),
        repeats=True,
    ),
    "vocabulary": Series("training step: vocabulary", MODELS, VOCABULARIES, repeats=True),
    "context": Series(
        "training step: tokens of a text, Transformer", MODELS, LENGTHS, time=2, repeats=True
    ),
    "context_alibi": Series(
        "training step: tokens of a text, Transformer with ALiBi",
        MODELS,
        (500, 1000, 2000, 4000),
        time=2,
        repeats=True,
        documented={"memory": 2},
    ),
    "context_lstm": Series("training step: tokens of a text, LSTM", MODELS, LENGTHS, repeats=True),
    "decoding_context": Series("96 more tokens: tokens before, Transformer", MODELS, LENGTHS),
    "decoding_lstm": Series(
        "96 more tokens: tokens before, LSTM", MODELS, LENGTHS[::2], time=0, memory=0
    ),
    "decoding_vocabulary": Series("beam search: vocabulary", MODELS, VOCABULARIES),
    "beam_size": Series("beam search: beams and answers", MODELS, (4, 8, 16, 32, 64, 128)),
    "reading": Series("reading a stream: MB", CORPORA, MEGABYTES, memory=0),
    "prepare": Series("`lslm data prepare`: MB", CORPORA, MEGABYTES, memory=0),
    "tokenizing": Series("data of a language model: MB", CORPORA, (3, 10, 30, 100)),
    "pairs": Series("data of a translation: lines", CORPORA, (1000, 10_000, 100_000, 300_000)),
    "table": Series("`lslm data check`: lines of a table", CORPORA, EXAMPLES),
    "files": Series("`lslm data check`: files", CORPORA, (100, 1000, 10_000, 100_000)),
    "predictions": Series("predictions, written and read: examples", EVALUATION, EXAMPLES),
    "score": Series("scores, intervals and tests of two systems: examples", EVALUATION, EXAMPLES),
    "evaluation": Series(
        "the same with sanity checks and breakdowns: examples",
        EVALUATION,
        (1000, 3000, 10_000, 30_000, 100_000),
    ),
    "runs": Series("`lslm compare --experiment`: runs", EVALUATION, (10, 30, 100, 300, 1000)),
}


def measure(name: str, done: Mapping[str, Figures], smoke: bool) -> Figures:
    """All points of a series, each with an empty folder on the disk of runs/."""
    series = SERIES[name]
    sizes = smoke_sizes(series.sizes) if smoke else series.sizes
    Path("runs").mkdir(exist_ok=True)
    costs = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="scale-", dir="runs") as folder:
            costs.append(point(name, series, size, Path(folder).absolute()))
        print(f"    {size:,}: {costs[-1].seconds:.3g} s, {costs[-1].megabytes:,.0f} MB", flush=True)
    return growth(series, sizes, costs)


def smoke_sizes(sizes: Sequence[int]) -> tuple[int, int]:
    """Two sizes that take no time."""
    least = max(1, min(sizes) // 10)
    return least, 2 * least


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    """Exponents of time and memory; what a limit of the documentation allows passes."""
    return [check for name, found in figures.items() for check in checks_of(SERIES[name], found)]


PARTS: dict[str, Part] = {name: partial(measure, name) for name in SERIES}
BENCHMARK = Benchmark(
    about="how processor time and memory grow with size: exponents, beside those of the theory",
    minutes=25,
    parts=PARTS,
    checks=checks,
    needs=("LSLM_DATA",),
    files=("tinyshakespeare/input.txt",),
)

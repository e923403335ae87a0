"""Seconds of paired tests: five systems, 5,000 examples, 10,000 resamples, on one core."""

import random
import time
from collections.abc import Mapping

import numpy as np

from lslm_lightning.contracts import Metric, Prediction
from lslm_lightning.evaluation.comparison import compare_systems
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.metrics.rouge import Rouge
from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.support.metrics import statistics_of

N_EXAMPLE = 5000
N_SYSTEM = 5
N_RESAMPLE = 10_000
MOST_SECONDS = 10.0


def rows(metric: Metric, n_example: int) -> dict[str, np.ndarray]:
    """Statistics of systems that get more and more words wrong."""
    chance = random.Random(0)
    words = [f"word{i}" for i in range(2000)]
    references = [
        [chance.choice(words) for _ in range(chance.randint(5, 30))] for _ in range(n_example)
    ]
    found = {}
    for i in range(N_SYSTEM):
        outputs = [
            [word if chance.random() > 0.2 + 0.02 * i else chance.choice(words) for word in text]
            for text in references
        ]
        pairs = zip(outputs, references, strict=True)
        found[str(i)] = np.stack(
            [statistics_of(metric, Prediction("", " ".join(a)), [" ".join(b)]) for a, b in pairs]
        )
    return found


def seconds(figures: Mapping[str, Figures], smoke: bool) -> Figures:
    """Processor time of all intervals and both tests of the ten pairs, by metric."""
    found = {}
    for metric in (Bleu(), Rouge("L")):
        systems = rows(metric, 50 if smoke else N_EXAMPLE)
        began = time.process_time()
        pairs = compare_systems(metric, systems, 100 if smoke else N_RESAMPLE)
        found[metric.name] = time.process_time() - began
        assert len(pairs) == N_SYSTEM * (N_SYSTEM - 1) // 2
    return found


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    return [
        Check(f"processor seconds for {name}", value, "<", MOST_SECONDS)
        for name, value in figures["seconds"].items()
    ]


BENCHMARK = Benchmark(
    "paired tests of five systems, 5,000 examples, 10,000 resamples",
    1,
    {"seconds": seconds},
    checks,
)

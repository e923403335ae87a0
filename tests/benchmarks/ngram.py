"""A 5-gram model of the Brown corpus, and one of ten million words that are sampled from it:
seconds, memory, perplexity.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.benchmarks.benchmark import Benchmark, Check, Figures
from tests.benchmarks.job import environment_of
from tests.ngram.brown import read_brown
from tests.ngram.conftest import BOS, EOS

# of lmplz -o 5 in this setting
KENLM = {"perplexity": 288.94, "perplexity_without_unknown": 212.50}
# sampled; for brown
N_TOKEN = 10_000_000
MOST_SECONDS = 8.0
N_LANE = 10_000  # that are sampled at once
SHORTER = (0.2, 0.5)  # how often a word is drawn after none before it; after none or one


def sampled(ids: np.ndarray, n_token: int, seed: int = 0) -> np.ndarray:
    """Sentences of a model of a corpus: each word follows a random place of the two before it, or
    of the one, or of none.

    Args:
        ids: (n,) BOS before each sentence.
    """
    chance = np.random.default_rng(seed)
    size = len(ids)
    after = np.flatnonzero(ids[1:] != BOS) + 1  # places of words
    one = ids[after - 1].astype(np.int64)
    two = np.where(one == BOS, BOS, ids[np.maximum(after - 2, 0)]) * size + one
    indices = [
        (key[order], after[order])
        for key in (two, one)
        for order in [np.argsort(key, kind="stable")]
    ]

    def drawn(
        known: np.ndarray, places: np.ndarray, key: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """A word that follows each history somewhere, and whether there is such a place."""
        start = np.searchsorted(known, key)
        end = np.searchsorted(known, key, "right")
        return ids[
            places[
                np.minimum(
                    start + (chance.random(N_LANE) * (end - start)).astype(np.int64),
                    len(places) - 1,
                )
            ]
        ], end > start

    first = np.full(N_LANE, BOS)
    second = np.full(N_LANE, BOS)
    lanes = []
    while len(lanes) * N_LANE < n_token:
        words = ids[after[chance.integers(0, len(after), N_LANE)]]
        level = np.searchsorted(SHORTER, chance.random(N_LANE))
        for n, key in ((2, first * size + second), (1, second)):
            found, is_there = drawn(*indices[2 - n], key)
            words = np.where(is_there & (level == n), found, words)
            level = np.where(~is_there & (level == n), n - 1, level)
        lanes.append(words)
        first = np.where(words == EOS, BOS, second)
        second = np.where(words == EOS, BOS, words)
    rows = []
    for lane in np.stack(lanes, 1):
        ends = np.flatnonzero(lane == EOS)
        if len(ends):
            rows.append(
                np.concatenate([[BOS], np.insert(lane[: ends[-1] + 1], ends[:-1] + 1, BOS)])
            )
    return np.concatenate(rows)


def job(*words: object) -> Figures:
    """In a process of its own, on one core."""
    environment = environment_of() | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "tests.benchmarks.ngram_job", *map(str, words)]
    return json.loads(
        subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, check=True, text=True
        ).stdout
    )


def written(folder: Path, rows: Mapping[str, np.ndarray]) -> Sequence[Path]:
    for name, row in rows.items():
        np.save(folder / f"{name}.npy", row.astype(np.int32))
    return [folder / f"{name}.npy" for name in rows]


def brown(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Of the corpus, or of its first sentences."""
    found = read_brown(Path(os.environ["LSLM_DATA"]) / "brown/brown.zip")
    cut = np.flatnonzero(found.train == BOS)[1000] if smoke else len(found.train)
    with tempfile.TemporaryDirectory() as folder:
        first, second = written(Path(folder), {"train": found.train[:cut], "test": found.test})
        return job(first, found.vocab_size, second)


def large(done: Mapping[str, Figures], smoke: bool) -> Figures:
    """Of ten million words, or of two hundred thousand."""
    found = read_brown(Path(os.environ["LSLM_DATA"]) / "brown/brown.zip")
    with tempfile.TemporaryDirectory() as folder:
        [path] = written(
            Path(folder), {"sampled": sampled(found.train, 200_000 if smoke else N_TOKEN)}
        )
        return job(path, found.vocab_size)


def checks(figures: Mapping[str, Figures]) -> list[Check]:
    small = figures["brown"]
    big = figures["large"]
    times = big["tokens"] / small["tokens"]
    growth = big["processor_seconds"] / small["processor_seconds"]
    return [
        Check(
            "seconds to estimate 5-grams of brown, one core", small["seconds"], "<=", MOST_SECONDS
        ),
        *[
            Check(f"{name.replace('_', ' ')} over KenLM's", small[name] / value, "<=", 1.001)
            for name, value in KENLM.items()
        ],
        Check("words scored in a second, one core", small["scored_per_second"], ">=", 300_000),
        Check(
            f"seconds for {big['tokens']:,} sampled words",
            big["seconds"],
            "<=",
            MOST_SECONDS * times,
        ),
        Check(
            f"processor seconds for {times:.2f} times the words, in those of brown",
            growth,
            "<=",
            2 * times,
        ),
        Check("MB of memory at most", big["peak_megabytes"], "<", 2000),
    ]


PARTS = {"brown": brown, "large": large}
BENCHMARK = Benchmark(
    "5-gram models of brown and of ten million words sampled from it",
    3,
    PARTS,
    checks,
    ("LSLM_DATA",),
)

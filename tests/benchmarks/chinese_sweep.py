"""From uniform bytes to the Transformer, on Song ci by characters."""

from tests.benchmarks.sweeps import history, sweep

BENCHMARK = sweep(
    "language models on Chinese ci poetry, characters",
    55,
    "language_modeling/chinese_sweep.yaml",
    "song_ci",
    history,
)

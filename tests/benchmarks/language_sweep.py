"""From uniform bytes to the Transformer, on the Brown corpus in byte pairs."""

from tests.benchmarks.sweeps import history, sweep

BENCHMARK = sweep(
    "language models on brown, byte pairs",
    55,
    "language_modeling/sweep.yaml",
    "brown_pieces",
    history,
)

"""From uniform bytes to the Transformer, on the Brown corpus in byte pairs."""

from tests.benchmarks.sweeps import history, ladder

BENCHMARK = ladder(
    "language models on brown, byte pairs",
    55,
    "language_modeling/ladder.yaml",
    "brown_pieces",
    history,
)

"""The same sweep as of byte pairs, on words: the 10,000 most frequent, and unknown ones
spelled.
"""

from tests.benchmarks.sweeps import sweep

WORDS = ("--data.tokenizer=lslm_lightning.text.recipes.Words", "--data.tokenizer.vocab_size=10000")
BENCHMARK = sweep(
    "language models on brown, words",
    55,
    "language_modeling/sweep.yaml",
    "brown_words",
    lambda found: [],
    WORDS,
)

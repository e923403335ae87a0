"""Rankings by which memorized texts are found among those that a model writes, without the training
texts.

Source: Carlini et al. 2021, "Extracting training data from large language models", section 5.2.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from lslm_lightning.auditing.writing import WrittenText
from lslm_lightning.training.language_model import LanguageModel

WINDOW = 50  # tokens
BATCH = 64


def rankings(task: LanguageModel, samples: Sequence[WrittenText]) -> dict[str, np.ndarray]:
    """Return a score of each sample by name of the ranking, float64 (N,), the higher the more
    suspicious.

    - perplexity: the negative mean nats per token;
    - window: the negative mean nats of the least surprising 50 tokens in a row;
    - zlib: bits of the text as zlib compresses it, over the mean nats per token. The paper divides
      the size by the log of the perplexity, which is a mean: of equally likely texts per token,
      long ones stand first;
    - lower case: mean nats per token of the text in lower case, over those of the text.
    """
    end = task.tokenizer.eos_id
    rows = [[end, *sample.ids] for sample in samples]
    lower = task.tokenizer.encode_batch([sample.text.lower() for sample in samples])
    own = nats_of(task, rows)
    in_lower = nats_of(task, [[end, *ids] for ids in lower])
    total = np.array([max(1e-9, values.sum()) for values in own])
    n_token = np.array([max(1, len(values)) for values in own])
    n_lower = np.array([max(1, len(values)) for values in in_lower])
    lower_total = np.array([values.sum() for values in in_lower])
    return {
        "perplexity": -total / n_token,
        "window": -np.array([least_window(values) for values in own]),
        "zlib": np.array([zlib_bits(sample.text) for sample in samples]) * n_token / total,
        "lower case": (lower_total / n_lower) / (total / n_token),
    }


def nats_of(task: LanguageModel, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return the negative log probabilities of the ids of each row except the first."""
    found: list[np.ndarray] = []
    for start in range(0, len(rows), BATCH):
        found += task.token_nats(rows[start : start + BATCH])
    return found


def least_window(nats: np.ndarray, width: int = WINDOW) -> float:
    """Return the smallest mean of `width` nats in a row; the mean of all if they are fewer."""
    if len(nats) <= width:
        return float(nats.mean()) if len(nats) else 0.0
    sums = np.cumsum(np.concatenate([[0.0], nats]))
    return float((sums[width:] - sums[:-width]).min() / width)


def zlib_bits(text: str) -> int:
    """Return the number of bits of a text as zlib compresses it."""
    return 8 * len(zlib.compress(text.encode("utf-8", "surrogatepass")))


def average_precision(scores: np.ndarray, is_found: np.ndarray) -> float:
    """Return the average precision of a ranking in [0, 1]; nan if nothing is to be found.

    Args:
        scores: scores (N,), the highest first in the ranking.
        is_found: mask (N,) of those that are to be found.
    """
    if not is_found.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = is_found[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())

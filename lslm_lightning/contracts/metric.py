"""Metrics: additive statistics of each answer, and one formula for their sum."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lslm_lightning.contracts.example import Prediction

LABELS = {  # of the metrics whose names papers write otherwise
    "bits_per_byte": "bits per byte",
    "bleu": "BLEU",
    "cer": "CER",
    "chrf": "chrF",
    "exact_match": "exact match",
    "f1": "F1",
    "nats_per_token": "nats per token",
    "ter": "TER",
    "wer": "WER",
    "word_perplexity": "word perplexity",
}


def metric_label(name: str) -> str:
    """Return a metric's name as papers write it: "BLEU" of "bleu", "test/ROUGE-L" of "test/rougeL".

    `Metric.name` is the key by which files, options and MLflow know a metric; this is what people
    read. A metric of a user's own keeps its name.
    """
    split, slash, key = name.rpartition("/")
    if found := re.fullmatch(r"rouge(\d|L|Lsum)(?:-(\w+))?", key):
        label = f"ROUGE-{found[1]}" + (f" ({found[2]})" if found[2] else "")
    else:
        stem = key.rstrip("+")  # of chrF++
        label = LABELS.get(stem.lower(), stem) + key[len(stem) :]
    return split + slash + label


def metric_key(name: str, known: Iterable[str]) -> str:
    """Return the key among `known` that `name` stands for: itself, or what people read for it.

    "BLEU" and "test/BLEU" stand for "bleu" and "test/bleu"; a name that stands for none is
    returned.
    """
    return next((key for key in known if name in (key, metric_label(key))), name)


class Metric(ABC):
    """Additive statistics and one formula: the score of a corpus is `score(sum of statistics)`,
    never a mean of scores.

    `unit` is what stands behind the number ("%", "bits/byte", ""), `signature` all that changes it
    besides the answers. `counts_tokens` says that it divides by the tokens of the system that
    answers, so that only systems with one tokenizer compare.
    """

    name: str
    unit: str
    higher_is_better: bool
    counts_tokens = False

    @property
    @abstractmethod
    def signature(self) -> str:
        """Tokenizer, normalization, version...: two scores compare only when their signatures are
        equal.
        """

    @abstractmethod
    def statistics(self, answer: Prediction, references: Sequence[str]) -> np.ndarray:
        """What this answer adds to the corpus: a float64 vector of fixed length."""

    @abstractmethod
    def score(self, total: np.ndarray) -> float:
        """The number for summed statistics; nan where it is not defined."""

    def score_alone(self, statistics: np.ndarray) -> float:
        """The number for one example, to be read beside others; as `score`, unless that means
        something on a corpus only.
        """
        return self.score(statistics)

    def counted(self, text: str) -> list[str] | None:
        """The words or characters of `text` that count; None of a metric that reads no text, or all
        of it.
        """
        return None


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's number with what is needed to read it; `low` and `high` bound its 95 % confidence
    interval, where one was computed.
    """

    metric: str
    value: float
    unit: str
    higher_is_better: bool
    signature: str
    n_example: int
    low: float | None = None
    high: float | None = None

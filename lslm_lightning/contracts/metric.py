"""Metrics: additive statistics of each answer, and one formula for their sum."""

import inspect
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps

import numpy as np

from lslm_lightning.contracts.example import Example, Prediction

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

    The parameters of `statistics` are named `example` and `prediction`: by these names a metric is
    told from one of the last release.

    `unit` is what stands behind the number ("%", "bits/byte", ""), `signature` all that changes it
    besides the answers. `counts_tokens` says that it divides by the tokens of the system that
    answers, so that only systems with one tokenizer compare. A metric of the corpus as a whole, of
    which no example has a part, is not `is_additive`: it overrides `corpus_score`, its statistics
    are nan, and it has neither an interval nor a paired test.
    """

    name: str
    unit: str
    higher_is_better: bool
    counts_tokens = False
    is_additive = True

    @property
    @abstractmethod
    def signature(self) -> str:
        """Tokenizer, normalization, version...: two scores compare only when their signatures are
        equal.
        """

    @abstractmethod
    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return what a prediction adds to the corpus: a float64 vector (D,) of fixed length, nan
        where the prediction lacks what this metric reads.

        Args:
            example: with source, references and languages.
            prediction: the answer to this example.
        """

    def rows(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> np.ndarray:
        """Return the statistics of many examples (N, D), in their order; a metric that is faster on
        a batch overrides it.
        """
        pairs = zip(examples, predictions, strict=True)
        return np.stack([self.statistics(example, prediction) for example, prediction in pairs])

    @abstractmethod
    def score(self, total: np.ndarray) -> float:
        """Return the number for summed statistics (D,); nan where it is not defined."""

    def corpus_score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
        """Return the score of a whole corpus; nan where a prediction lacks what is read."""
        return self.score(self.rows(examples, predictions).sum(axis=0))

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

    def __init_subclass__(cls) -> None:
        """Let `statistics` be written, and called, as in the last release."""
        super().__init_subclass__()
        own = vars(cls).get("statistics")
        if inspect.isfunction(own) and "is_adapted" not in vars(
            own
        ):  # once; slots make a new class
            cls.statistics = _adapted(cls.__name__, own)


Statistics = Callable[[Metric, Example, Prediction], np.ndarray]


def _adapted(name: str, statistics: Statistics) -> Statistics:
    """Return a method `statistics(example, prediction)` of one that may be of the last release,
    `statistics(answer, references)`; a call with the latter arguments works too.

    Args:
        name: of the class, for the warning.
    """
    words = "is now statistics(example, prediction), where example.references has the references"
    last = "; the next release knows no other"
    is_old = not _takes_example(statistics)
    if is_old:
        warnings.warn(
            f"{name}.statistics(answer, references) {words}{last}", FutureWarning, stacklevel=4
        )

    @wraps(statistics)
    def adapted(self: Metric, example: Example, prediction: Prediction) -> np.ndarray:
        if isinstance(example, Prediction):
            warnings.warn(
                f"a call of {name}.statistics(answer, references) {words}{last}",
                FutureWarning,
                stacklevel=2,
            )
            references = tuple(prediction)
            prediction = example
            example = Example(prediction.id, "", references)
        if is_old:
            return statistics(self, prediction, example.references)
        return statistics(self, example, prediction)

    adapted.is_adapted = True
    return adapted


def _takes_example(statistics: Statistics) -> bool:
    """Return whether the first parameter is named `example` or annotated as `Example`."""
    parameters = list(inspect.signature(statistics).parameters.values())[1:]
    first = next(iter(parameters), None)
    if first is None:
        return False
    annotation = first.annotation
    kind = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return first.name == "example" or kind.rpartition(".")[2] == "Example"


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

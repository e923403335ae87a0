"""Metrics: additive statistics of each answer, and a formula that turns their sum into a score."""

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


ADAPTED = "is_adapted"  # attribute of methods that `_adapted` returns


def metric_label(name: str) -> str:
    """Return the display name of a metric: "BLEU" for "bleu", "test/ROUGE-L" for "test/rougeL".

    `Metric.name` is the key in files, options and MLflow; the display name is the one that papers
    use. The name of a user's own metric is returned unchanged.
    """
    split, slash, key = name.rpartition("/")
    if found := re.fullmatch(r"rouge(\d|L|Lsum)(?:-(\w+))?", key):
        label = f"ROUGE-{found[1]}" + (f" ({found[2]})" if found[2] else "")
    else:
        stem = key.rstrip("+")  # of chrF++
        label = LABELS.get(stem.lower(), stem) + key[len(stem) :]
    return split + slash + label


def metric_key(name: str, known: Iterable[str]) -> str:
    """Return the key in `known` which `name` denotes, either directly or by its display name.

    "BLEU" and "test/BLEU" denote "bleu" and "test/bleu". A name that denotes no key is returned
    unchanged.
    """
    return next((key for key in known if name in (key, metric_label(key))), name)


def signature_parts(signature: str) -> list[str]:
    """Return the parts of a signature, such as "case:mixed", in order; "|" separates them."""
    return [part for part in signature.split("|") if part]


def join_signature(parts: Iterable[str]) -> str:
    """Return the signature that consists of these parts. After an empty first part it begins with
    "|", as signatures of systems do.
    """
    return "|".join(parts)


class Metric(ABC):
    """Base class of metrics: the score of a corpus is `score(sum of statistics)`, never a mean of
    scores.

    The parameters of `statistics` must be named `example` and `prediction`, since metrics written
    for the last release are recognized by other names. A metric that is defined only for the corpus
    as a whole sets `is_additive` to False and overrides `corpus_score`; its statistics are nan, and
    it has neither a confidence interval nor a paired test.

    Attributes:
        unit: unit of the score ("%", "bits/byte", "").
        signature: text that names everything that affects the score besides the answers.
        counts_tokens: whether the score divides by the number of tokens of the system, so that only
            systems with the same tokenizer can be compared.
        is_additive: whether the score is computed from summed statistics.
    """

    name: str
    unit: str
    higher_is_better: bool
    counts_tokens = False
    is_additive = True

    @property
    @abstractmethod
    def signature(self) -> str:
        """Text that states tokenizer, normalization, version and so on.

        Two scores can be compared only if their signatures are equal, apart from the parts that a
        system may choose (`source`, `spelling`, `reasoning`) and from `context` and `stride` where
        one of the systems has none.
        """

    @abstractmethod
    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        """Return the contribution of one prediction to the corpus, a float64 vector (D,) of fixed
        length.

        It is nan if the prediction lacks a value that the metric needs (`output` or `nats`).
        """

    def rows(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> np.ndarray:
        """Return the statistics (N, D) of many examples, in order.

        Override the method if a whole batch can be computed faster.
        """
        pairs = zip(examples, predictions, strict=True)
        return np.stack([self.statistics(example, prediction) for example, prediction in pairs])

    @abstractmethod
    def score(self, total: np.ndarray) -> float:
        """Return the score for summed statistics (D,); nan if it is undefined."""

    def scores(self, totals: np.ndarray) -> np.ndarray:
        """Return `score` of each row of summed statistics (R, D), float64 (R,), for resampling.

        Override the method if all rows can be computed at once. In a class that overrides `score`
        alone, it calls that.
        """
        return np.fromiter(map(self.score, totals), dtype=np.float64, count=len(totals))

    def corpus_score(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> float:
        """Return the score of a whole corpus; nan if a prediction lacks a value that the metric
        needs.
        """
        return self.score(self.rows(examples, predictions).sum(axis=0))

    def score_alone(self, statistics: np.ndarray) -> float:
        """Return the score of a single example from its statistics (D,).

        Override the method if `score` is meaningful only for a corpus.
        """
        return self.score(statistics)

    def counted(self, text: str) -> list[str] | None:
        """Return the units (words or characters) of `text` that the metric compares.

        The result is None if the metric reads no text, or compares it as a whole.
        """
        return None

    def __init_subclass__(cls) -> None:
        """Adapt a `statistics` method written for the last release, and accept calls in the old
        form. Keep `scores` from following the `score` of a base class.
        """
        super().__init_subclass__()
        if "score" in vars(cls) and "scores" not in vars(cls):
            cls.scores = Metric.scores  # type: ignore[method-assign]
        name = "statistics"
        method = vars(cls).get(name)
        # once: a dataclass with slots is a new class with the same method
        if inspect.isfunction(method) and ADAPTED not in vars(method):
            setattr(cls, name, _adapted(cls.__name__, method))


def _adapted(
    name: str, statistics: Callable[..., np.ndarray]
) -> Callable[[Metric, Example, Prediction], np.ndarray]:
    """Return a method `statistics(example, prediction)` that calls the given method.

    The given method may have the signature of the last release, `statistics(answer, references)`,
    and the new method may be called in that form.

    Args:
        name: name of the class, for the warning.
        statistics: method as defined by the class.
    """
    message = "is now statistics(example, prediction), where example.references has the references"
    last = "; the next release does not accept the old form"
    is_old = not _takes_example(statistics)
    if is_old:
        warnings.warn(
            f"{name}.statistics(answer, references) {message}{last}", FutureWarning, stacklevel=4
        )

    @wraps(statistics)
    def adapted(self: Metric, example: Example, prediction: Prediction) -> np.ndarray:
        if isinstance(example, Prediction):
            warnings.warn(
                f"a call of {name}.statistics(answer, references) {message}{last}",
                FutureWarning,
                stacklevel=2,
            )
            references = tuple(prediction)
            prediction = example
            example = Example(prediction.id, "", references)
        if is_old:
            return statistics(self, prediction, example.references)
        return statistics(self, example, prediction)

    setattr(adapted, ADAPTED, True)
    return adapted


def _takes_example(statistics: Callable[..., np.ndarray]) -> bool:
    """Return whether the first parameter after `self` is named `example` or annotated as
    `Example`.
    """
    parameters = list(inspect.signature(statistics).parameters.values())[1:]
    first = next(iter(parameters), None)
    if first is None:
        return False
    annotation = first.annotation
    kind = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return first.name == "example" or kind.rpartition(".")[2] == "Example"


@dataclass(frozen=True, slots=True)
class Score:
    """Value of a metric with everything that is needed to interpret it.

    Attributes:
        metric: name of the metric.
        value: the score, in `unit`.
        unit: unit of the value; "" for none.
        higher_is_better: whether a higher value is better.
        signature: what the value depends on, as keys and values.
        n_example: number of examples that were scored.
        low: lower bound of the 95 % confidence interval, if one was computed.
        high: upper bound of the 95 % confidence interval, if one was computed.
    """

    metric: str
    value: float
    unit: str
    higher_is_better: bool
    signature: str
    n_example: int
    low: float | None = None
    high: float | None = None

"""Metrics by name, such as "bleu", "chrf", "rougeL", "wer", or by class path."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.contracts import Metric
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
from lslm_lightning.metrics.rouge import Rouge

if TYPE_CHECKING:
    import torchmetrics

    MetricLike: TypeAlias = Metric | torchmetrics.Metric

BY_NAME: dict[str, Callable[[str], Metric]] = {
    "bleu": Bleu,
    "chrf": lambda language: Chrf(),
    "chrf++": lambda language: Chrf(word_order=2),
    "ter": Ter,
    "rouge1": lambda language: Rouge("1", language),
    "rouge2": lambda language: Rouge("2", language),
    "rougeL": lambda language: Rouge("L", language),
    "rougeLsum": lambda language: Rouge("Lsum", language),
    "wer": WordErrorRate,
    "cer": lambda language: CharacterErrorRate(),
    "f1": TokenF1,
    "exact_match": ExactMatch,
}


def metric_named(name: str, language: str = "en") -> Metric:
    """Return the metric with this name for answers in `language`; case, hyphens and underscores are
    ignored.

    Raises:
        ValueError: no metric has this name, or it has no rules for the language.
    """
    folded = {_fold(known): known for known in BY_NAME}
    if _fold(name) not in folded:
        near = difflib.get_close_matches(_fold(name), folded, n=1)
        guess = f" (did you mean {folded[near[0]]!r}?)" if near else ""
        raise ValueError(
            f"metric {name!r} is not known{guess}: give one of {', '.join(BY_NAME)}, or a Metric "
            "object"
        )
    return BY_NAME[folded[_fold(name)]](language)


def as_metrics(given: "Iterable[MetricLike]") -> list[Metric]:
    """Return metrics of this project unchanged, and for each object of torchmetrics one metric for
    every number that it computes.

    Raises:
        TypeError: something is neither. ValueError: the torchmetrics object cannot score texts.
    """
    made: list[Metric] = []
    for each in given:
        if isinstance(each, Metric):
            made.append(each)
            continue
        from torchmetrics import Metric as Torchmetric  # slow to import, as torch is

        from lslm_lightning.metrics.torchmetrics_text import metrics_of

        if not isinstance(each, Torchmetric):
            raise TypeError(
                f"{each!r} is no metric: give an object of lslm_lightning.contracts.Metric or of "
                "torchmetrics.Metric"
            )
        made += metrics_of(each)
    return made


def metrics_at(class_path: str, init_args: Mapping[str, object] | None = None) -> list[Metric]:
    """Return the metrics made from a class path, such as "torchmetrics.text.BLEUScore", and its
    arguments.

    Raises:
        ValueError: there is no such class, it refuses its arguments, or it is no metric.
    """
    module, _, name = class_path.rpartition(".")
    try:
        made = vars(importlib.import_module(module))[name](**(init_args or {}))
        return as_metrics([made])
    except (ImportError, KeyError, TypeError, ValueError) as error:
        reason = f"there is no {name} in {module}" if isinstance(error, KeyError) else error
        raise ValueError(f"metric {class_path}: {reason}") from error


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")

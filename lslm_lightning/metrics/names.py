"""Metrics by name, such as "bleu", "chrf", "rougeL" or "wer", or by class path."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.contracts import Metric

if TYPE_CHECKING:
    import torchmetrics

    MetricLike: TypeAlias = Metric | torchmetrics.Metric


def metrics_by_name() -> dict[str, Callable[[str], Metric]]:
    """Return a function for each name that makes the metric for answers in a language.

    Their libraries are imported here, so that a training that scores no texts does without.
    """
    from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
    from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
    from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
    from lslm_lightning.metrics.rouge import Rouge

    return {
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
    """Return the metric with this name, for answers in `language`.

    Case, hyphens and underscores in the name are ignored.

    Raises:
        ValueError: no metric has this name, or the metric has no rules for the language.
    """
    known = metrics_by_name()
    folded = {_fold(each): each for each in known}
    if _fold(name) not in folded:
        near = difflib.get_close_matches(_fold(name), folded, n=1)
        guess = f" (did you mean {folded[near[0]]!r}?)" if near else ""
        raise ValueError(
            f"metric {name!r} is not known{guess}: give one of {', '.join(known)}, or a Metric "
            "object"
        )
    return known[folded[_fold(name)]](language)


def as_metrics(given: "Iterable[MetricLike]") -> list[Metric]:
    """Return the given objects as metrics of this project.

    A metric of this project is returned unchanged. An object of torchmetrics gives one metric for
    each number that it computes.

    Raises:
        TypeError: an object is neither.
        ValueError: a torchmetrics object cannot score texts.
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


def made_metrics(
    make: Callable[..., object], class_path: str, init_args: Mapping[str, object] | None = None
) -> list[Metric]:
    """Return the metrics that a class makes with these arguments.

    Args:
        make: the class, of this project or of torchmetrics.
        class_path: import path of the class, for messages.
        init_args: arguments of the class.

    Raises:
        ValueError: the class refuses its arguments, or it is not a metric.
    """
    try:
        return as_metrics([make(**(init_args or {}))])  # type: ignore[list-item]  # checked there
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(f"metric {class_path}: {error}") from error


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")

"""Metrics by the names that people write: "bleu", "chrf", "rougeL", "wer"."""

import difflib
from collections.abc import Callable

from lslm_lightning.contracts import Metric
from lslm_lightning.metrics.agreement import ExactMatch, TokenF1
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate
from lslm_lightning.metrics.rouge import Rouge

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
    """Return the metric of this name for answers in `language`; case, hyphens and underscores do
    not matter.

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


def _fold(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")

"""Scores of plain texts against references, in one call from Python."""

import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.scoring import Scores, score
from lslm_lightning.metrics.names import as_metrics, made_metrics, metric_named
from lslm_lightning.metrics.resampling import INTERVAL_RESAMPLES
from lslm_lightning.text.identification import tell_language
from lslm_lightning.text.languages import canonical

if TYPE_CHECKING:
    import torchmetrics

    Given: TypeAlias = str | Metric | torchmetrics.Metric | Mapping[str, object]

SPEC = ("class_path", "init_args")


def score_texts(
    outputs: Sequence[str],
    references: Sequence[str | Sequence[str]],
    metrics: "Given | Sequence[Given]",
    language: str | None = None,
    n_resample: int = INTERVAL_RESAMPLES,
) -> Scores:
    """Return the scores of outputs against references, line by line, as `lslm evaluate` computes
    them.

    Problems found by the sanity checks (such as outputs shifted by one line, empty outputs, or a
    metric that cannot distinguish these texts) are issued as warnings.

    Args:
        outputs: one text for each example.
        references: one text, or several, for each example.
        metrics: one metric or several. A metric is a name ("bleu", "chrf", "chrf++", "ter",
            "rouge1", "rouge2", "rougeL", "rougeLsum", "wer", "cer", "f1", "exact_match"), a class
            path ("torchmetrics.text.CHRFScore"), a mapping with class_path and init_args, or a
            metric object of this project or of torchmetrics.
        language: BCP 47 code of the language of the references ("en", "zh", "th"), which determines
            how words are counted. By default, the language is identified from the references. The
            signature of each score states the rules.
        n_resample: number of bootstrap samples for the 95 % intervals; 0 omits the intervals.

    Raises:
        ValueError: the numbers of outputs and references differ, a value is not a text, no metric
            is given or a metric is unknown, or `language` is not a language code.
    """
    answers, wanted = _paired_texts(outputs, references)
    if n_resample < 0:
        raise ValueError(
            f"n_resample={n_resample} must be a number of bootstrap samples, or 0 for no intervals"
        )
    if language is None:
        language = tell_language([text for each in wanted for text in each]).code
    else:
        language = canonical(language)
    chosen = _metrics(metrics, language)
    examples = [
        Example(str(i), "", tuple(each), language=language) for i, each in enumerate(wanted, 1)
    ]
    predictions = [Prediction(str(i), text) for i, text in enumerate(answers, 1)]
    found = score(examples, predictions, chosen, n_resample)
    for finding in run_checks(examples, {"outputs": predictions}, chosen):
        warnings.warn(f"{finding.where}: {finding.words}", stacklevel=2)
    return found


def _paired_texts(
    outputs: Sequence[str], references: Sequence[str | Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Return the outputs, and the list of references of each output.

    Raises:
        ValueError: the arguments are not texts, or their numbers differ.
    """
    answers = _texts("outputs", outputs)
    if isinstance(references, str) or not isinstance(references, Iterable):
        raise ValueError(
            "references must be a list with one text (or several) for each output, but is "
            f"{references!r}"
        )
    wanted = [
        _texts(f"references[{i}]", [each] if isinstance(each, str) else each)
        for i, each in enumerate(references)
    ]
    if len(answers) != len(wanted):
        raise ValueError(
            f"{len(answers)} outputs and {len(wanted)} references: give one reference (or list) "
            "for each output"
        )
    return answers, wanted


def _texts(name: str, values: Sequence[str]) -> list[str]:
    """Return the values as a list.

    Args:
        name: name of the values in the error message.

    Raises:
        ValueError: a value is not a text.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list of texts, but is {values!r}")
    values = list(values)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(f"{name}[{i}] must be a text, but is {value!r}")
    return values


def _metrics(given: "Given | Sequence[Given]", language: str) -> list[Metric]:
    """Return the metrics given by objects, names, class paths or mappings with class_path and
    init_args.

    Raises:
        ValueError: no metric is given, or a value does not describe one.
    """
    if not isinstance(given, list | tuple):
        return _metrics_of(given, language)  # type: ignore[arg-type]  # checked there
    if not given:
        raise _no_metric(given)
    return [metric for each in given for metric in _metrics_of(each, language)]


def _metrics_of(given: "Given", language: str) -> list[Metric]:
    """Return the metrics given by one name, class path, mapping or object."""
    if isinstance(given, str):
        return metrics_at(given) if "." in given else [metric_named(given, language)]
    if isinstance(given, Mapping):
        class_path, init_args = (given.get(name) for name in SPEC)
        if not isinstance(class_path, str) or not isinstance(init_args, Mapping | None):
            raise _no_metric(given)
        if given.keys() - {*SPEC}:
            raise _no_metric(given)
        return metrics_at(class_path, init_args)
    try:
        return as_metrics([given])
    except TypeError:
        raise _no_metric(given) from None


def metrics_at(class_path: str, init_args: Mapping[str, object] | None = None) -> list[Metric]:
    """Return the metrics made by the class at a class path, such as "torchmetrics.text.BLEUScore".

    The class path must come from the user: any class is imported.

    Args:
        init_args: arguments of the class.

    Raises:
        ValueError: there is no such class, it refuses its arguments, or it is not a metric.
    """
    module, _, name = class_path.rpartition(".")
    try:
        make = vars(importlib.import_module(module))[name]
    except (ImportError, KeyError, ValueError) as error:
        reason = f"there is no {name} in {module}" if isinstance(error, KeyError) else error
        raise ValueError(f"metric {class_path}: {reason}") from error
    return made_metrics(make, class_path, init_args)


def _no_metric(given: object) -> ValueError:
    return ValueError(
        'metrics must be a name ("bleu"), a class path, class_path and init_args, a metric, or a '
        f"list of these, but is {given!r}"
    )

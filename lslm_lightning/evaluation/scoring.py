"""Scores computed from examples and predictions, for `lslm test` and `lslm evaluate`."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lslm_lightning.contracts import (
    Example,
    Metric,
    Prediction,
    Score,
    join_signature,
    signature_parts,
)
from lslm_lightning.files import atomic_write
from lslm_lightning.metrics.resampling import INTERVAL_RESAMPLES
from lslm_lightning.metrics.significance import ENOUGH, SEED, bootstrap_totals, interval
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.types import JsonObject

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Scores:
    """Scores of one system on one evaluation set.

    `rows[metric]` holds the statistics (N, D) of each example, in the order of `ids`; paired tests
    and breakdowns use them.
    """

    scores: list[Score]
    ids: list[str]
    rows: dict[str, np.ndarray]

    def __getitem__(self, metric: str) -> Score:
        by_name = {score.metric: score for score in self.scores}
        if metric not in by_name:
            raise KeyError(
                f"{metric!r} is none of the metrics that were scored: {', '.join(by_name)}"
            )
        return by_name[metric]

    def table(self) -> "DataFrame":
        """Return a data frame with one row per metric: value, bounds of the 95 % interval, unit,
        number of examples, signature.
        """
        from pandas import DataFrame

        columns = ["value", "low", "high", "unit", "n_example", "signature"]
        rows = [[getattr(score, column) for column in columns] for score in self.scores]
        return DataFrame(rows, [score.metric for score in self.scores], columns)

    def __str__(self) -> str:
        """Return one line per metric: value, interval, signature."""
        lines = []
        for score in self.scores:
            bounds = "" if score.low is None else f" [{score.low:.2f}, {score.high:.2f}]"
            lines.append(
                f"{score.metric}: {score.value:.2f}{bounds} {score.unit} ({score.signature})"
            )
        return "\n".join(lines).replace("  ", " ")


def score(
    examples: Sequence[Example],
    predictions: Iterable[Prediction],
    metrics: Sequence[Metric],
    n_resample: int = INTERVAL_RESAMPLES,
    seed: int = SEED,
    rows: Mapping[str, np.ndarray] | None = None,
) -> Scores:
    """Return the scores of one system's predictions, which may be in any order.

    A score is nan if the metric needs a value that the system does not give, such as BLEU for a
    scorer.

    Args:
        n_resample: number of bootstrap samples for confidence intervals; 0 omits the intervals. An
            evaluation set with a single example has none.
        seed: seed of the bootstrap.
        rows: statistics (N, D) of additive metrics that have been computed already, by metric.

    Raises:
        ValueError: the ids of examples and predictions differ, an id occurs twice, or only some
            answers can be scored.
    """
    predictions = list(predictions)
    answers = predictions_by_id(examples, predictions)
    ids = [example.id for example in examples]
    rows = statistics_of(examples, predictions, metrics, rows)
    scored = [metric for metric in metrics if np.isfinite(rows[metric.name]).all()]
    totals: dict[str, np.ndarray] = {}
    if n_resample and scored and len(examples) >= ENOUGH:
        columns = [rows[metric.name] for metric in scored]
        drawn = bootstrap_totals(np.hstack(columns), n_resample, seed)
        edges = np.cumsum([rows.shape[1] for rows in columns])
        parts = np.split(drawn, edges[:-1], axis=1)
        totals = dict(zip([metric.name for metric in scored], parts, strict=True))
    n_reference = _n_reference(examples)
    scores = [
        _score(metric, rows[metric.name], totals.get(metric.name), n_reference)
        if metric.is_additive
        else _corpus_score(metric, examples, answers, n_reference)
        for metric in metrics
    ]
    return Scores(scores, ids, rows)


def statistics_of(
    examples: Sequence[Example],
    predictions: Iterable[Prediction],
    metrics: Sequence[Metric],
    known: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Return the statistics (N, D) of predictions in the order of the examples, by metric.

    Args:
        predictions: those of one system, in any order.
        known: statistics that have been computed already, by metric.

    Raises:
        ValueError: see `score`.
    """
    answers = predictions_by_id(examples, predictions)
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics must have different names, but got {names}")
    return {
        metric.name: _rows(metric, examples, answers, (known or {}).get(metric.name))
        for metric in metrics
    }


def with_signature_parts(found: Scores, metrics: Sequence[Metric], answering: str) -> Scores:
    """Return the scores with the signature parts of a system appended to the signature of each
    metric.

    Args:
        found: scores of the system.
        answering: signature parts of the system, such as "|context:256|tokens:1a2b3c4d". The part
            "tokens" (the tokenizer) is appended only for metrics that count tokens, the part
            "spelling" (of unknown words) only for the others.
    """
    parts = signature_parts(answering)
    kinds = {}
    for metric in metrics:
        foreign = "spelling:" if metric.counts_tokens else "tokens:"
        kinds[metric.name] = [part for part in parts if not part.startswith(foreign)]
    return replace(
        found,
        scores=[
            replace(s, signature=join_signature([s.signature, *kinds[s.metric]]))
            for s in found.scores
        ],
    )


def scores_tag(scores: Iterable[Score]) -> str:
    """Return unit, direction, signature and number of examples of each metric as a JSON object.

    It is the value of an MLflow tag, since MLflow metrics store only numbers.
    """
    names = ("unit", "higher_is_better", "signature", "n_example")
    return json.dumps(
        {score.metric: {name: getattr(score, name) for name in names} for score in scores},
        ensure_ascii=False,
    )


def write_scores(
    path: str | os.PathLike[str],
    scores: Iterable[Score],
    data: Mapping[str, str],
    findings: Iterable[Mapping[str, str]] = (),
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write scores to `path` as JSON, atomically; nan becomes null and infinity becomes "inf".

    Args:
        data: description of the scored data: "corpus", "split" and "digest".
        findings: findings of the sanity checks, each with the keys "check", "system" and "words".
        facts: "limit" and "cut_sources" of the system, see `Entry.facts`.
    """
    written = [{name: _to_json(value) for name, value in asdict(score).items()} for score in scores]
    record = {
        "data": redacted_settings(dict(data)),
        "scores": written,
        "findings": redacted_settings(list(map(dict, findings))),
        "facts": redacted_settings(dict(facts or {})),
    }
    text = json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
    atomic_write(Path(path), text + "\n")


def read_scores(path: str | os.PathLike[str]) -> list[Score]:
    """Return the scores in a file written by `write_scores`.

    Raises:
        ValueError: the file contains no scores.
    """
    try:
        written = parse_json(Path(path).read_text(encoding="utf-8"))["scores"]
        return [_from_json(record) for record in written]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no scores ({type(error).__name__}: {error}); score the predictions again"
        ) from None


def predictions_by_id(
    examples: Sequence[Example], predictions: Iterable[Prediction]
) -> dict[str, Prediction]:
    """Return the prediction of each example, by id.

    Raises:
        ValueError: an example has no prediction or several, a prediction belongs to no example, or
            an example has no reference; the message names ids.
    """
    ids = [example.id for example in examples]
    if not ids:
        raise ValueError("the evaluation set has no examples: nothing can be scored")
    predictions = list(predictions)
    answers = {prediction.id: prediction for prediction in predictions}
    _refuse("examples occur twice", _repeated(ids))
    _refuse("predictions occur twice", _repeated(prediction.id for prediction in predictions))
    _refuse("examples have no prediction", [id_ for id_ in ids if id_ not in answers])
    _refuse("predictions belong to no example", sorted(answers.keys() - set(ids)))
    _refuse(
        "examples have no reference", [example.id for example in examples if not example.references]
    )
    return answers


def _repeated(ids: Iterable[str]) -> list[str]:
    return [id_ for id_, count in Counter(ids).items() if count > 1]


def _refuse(what: str, ids: Sequence[str]) -> None:
    if ids:
        shown = ", ".join(map(repr, ids[:5])) + (", ..." if len(ids) > 5 else "")
        raise ValueError(f"{len(ids)} {what}: {shown}")


def _rows(
    metric: Metric,
    examples: Sequence[Example],
    answers: dict[str, Prediction],
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Return the statistics (N, D) of the predictions, in the order of the examples.

    Args:
        known: the statistics, if they have been computed already.

    Raises:
        ValueError: only some of the answers can be scored, or the metric fails.
    """
    predictions = [answers[example.id] for example in examples]
    with naming(metric):
        rows = metric.rows(examples, predictions) if known is None else known
        if rows.ndim != 2:
            raise ValueError("statistics must return a vector of numbers for each example")
    undefined = np.isnan(rows).any(axis=1)
    if not undefined.all():
        lacking = [
            example.id
            for example, is_undefined in zip(examples, undefined, strict=True)
            if is_undefined
        ]
        _refuse(f"predictions lack what {metric.name} needs, while others have it", lacking)
    return rows


@contextmanager
def naming(metric: Metric) -> Iterator[None]:
    """Name a metric in errors of its own code, such as a sum that it unpacks into too many numbers.

    Raises:
        ValueError: the body raised an error that wrong values cause.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        reason = repr(error) if isinstance(error, KeyError) else error  # whose text is a bare key
        raise ValueError(f"metric {metric.name}: {reason}") from error


def _score(metric: Metric, rows: np.ndarray, totals: np.ndarray | None, n_reference: str) -> Score:
    with naming(metric):
        value = math.nan if np.isnan(rows).any() else metric.score(rows.sum(axis=0))
        bounds = None if totals is None or math.isnan(value) else interval(metric, totals)
    low, high = bounds or (None, None)
    signature = f"nrefs:{n_reference}|{metric.signature}"
    return Score(
        metric.name, value, metric.unit, metric.higher_is_better, signature, len(rows), low, high
    )


def _corpus_score(
    metric: Metric, examples: Sequence[Example], answers: dict[str, Prediction], n_reference: str
) -> Score:
    """Return the score of a metric that is defined only for the whole corpus; it has no
    interval.
    """
    with naming(metric):
        value = metric.corpus_score(examples, [answers[example.id] for example in examples])
    signature = f"nrefs:{n_reference}|{metric.signature}"
    return Score(metric.name, value, metric.unit, metric.higher_is_better, signature, len(examples))


def _n_reference(examples: Sequence[Example]) -> str:
    """Return the number of references per example, or "var" if it varies, as in the signatures of
    sacreBLEU.
    """
    counts = {len(example.references) for example in examples}
    return str(counts.pop()) if len(counts) == 1 else "var"


def _to_json(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _from_json(record: JsonObject) -> Score:
    numbers = {
        name: None if record[name] is None else float(record[name])
        for name in ("value", "low", "high")
    }
    score = Score(**(record | numbers))
    if score.n_example < ENOUGH:  # earlier releases wrote an interval without width
        score = replace(score, low=None, high=None)
    return replace(score, value=math.nan) if score.value is None else score

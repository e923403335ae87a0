"""Sanity checks: problems of data, outputs and metrics that make a score misleading.

Each check is a function of texts that returns one finding, or None if the evidence is not
sufficient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics.endings import (
    beam_below_greedy,
    cut_sources,
    left_out,
    other_model,
    unfinished,
    unused_outputs,
)
from lslm_lightning.evaluation.diagnostics.finding import Check, Finding, in_systems_order
from lslm_lightning.evaluation.diagnostics.metrics import (
    cannot_tell_apart,
    constant,
    is_blind,
    miscounted,
    out_of_reach,
    unseen,
)
from lslm_lightning.evaluation.diagnostics.outputs import (
    CHECKS,
    damaged,
    empty,
    mixed_up_references,
    tokenized,
    unicode_forms,
    written_forms,
)
from lslm_lightning.evaluation.predictions import in_order

__all__ = [
    "Check",
    "Finding",
    "SetFindings",
    "beam_below_greedy",
    "check_set",
    "check_system",
    "cut_sources",
    "in_systems_order",
    "is_blind",
    "left_out",
    "other_model",
    "run_checks",
    "unfinished",
    "unused_outputs",
]

# findings on outputs whose words are wrong, however they are written
UNLIKE = {"repeated outputs", "wrong language", "wrong script"}


@dataclass(frozen=True, slots=True)
class SetFindings:
    """Findings on an evaluation set.

    Attributes:
        findings: problems of the references, and of metrics that do not fit them.
        blind: names of the metrics that cannot distinguish the references.
    """

    findings: Sequence[Finding] = ()
    blind: frozenset[str] = frozenset()


def run_checks(
    examples: Sequence[Example],
    answers: Mapping[str, Sequence[Prediction]],
    metrics: Sequence[Metric],
    limits: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Return all findings on an evaluation set, followed by those on the outputs of each system.

    Systems without outputs are skipped. If a metric does not fit the references, this is not
    reported again for every system.

    Args:
        answers: predictions by system, in any order.
        limits: setting that limits the length of answers, by system, such as "max_length=128".
    """
    of_set = check_set(examples, answers, metrics)
    findings = list(of_set.findings)
    for system, predictions in answers.items():
        limit = (limits or {}).get(system, "")
        findings += check_system(system, predictions, examples, metrics, of_set, limit)
    return findings


def check_set(
    examples: Sequence[Example],
    answers: Mapping[str, Sequence[Prediction]],
    metrics: Sequence[Metric],
) -> SetFindings:
    """Return the findings on the references, and on metrics that do not fit the references; none
    for texts without sources that no system answered with texts.

    Args:
        answers: predictions by system, in any order.
    """
    has_texts = any(e.source for e in examples) or any(
        outputs_of(predictions, examples) is not None for predictions in answers.values()
    )
    if not has_texts:
        return SetFindings()
    blind = [metric for metric in metrics if is_blind(metric, examples)]
    references = [e.references[0] for e in examples]
    findings = [
        mixed_up_references(examples),
        damaged(examples),
        tokenized("", references, "references"),
        miscounted("", references, metrics),
        unseen(examples, metrics),
        cannot_tell_apart(blind),
        *(out_of_reach(metric, examples) for metric in metrics if metric not in blind),
    ]
    return SetFindings(
        [finding for finding in findings if finding is not None],
        frozenset(metric.name for metric in blind),
    )


def outputs_of(predictions: Sequence[Prediction], examples: Sequence[Example]) -> list[str] | None:
    """Return the output for each example, in order; None if an example has none.

    Args:
        predictions: those of one system, in any order.
    """
    by_id = {p.id: p.output for p in predictions}
    texts = [text for e in examples if (text := by_id.get(e.id)) is not None]
    return texts if len(texts) == len(examples) else None


def check_system(
    system: str,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    of_set: SetFindings,
    limit: str = "",
) -> list[Finding]:
    """Return the findings on the outputs of one system.

    Args:
        system: name of the system, for the findings.
        predictions: those of the system, in any order.
        of_set: findings on the evaluation set, which are not reported again.
        limit: setting that limits the length of answers, such as "max_length=128"; "" for none.
    """
    findings: list[Finding | None] = [*unfinished(system, predictions, limit)]
    texts = outputs_of(predictions, examples)
    if texts is None:
        return [finding for finding in findings if finding is not None]
    known = {finding.check for finding in of_set.findings}
    sighted = [metric for metric in metrics if metric.name not in of_set.blind]
    counting = miscounted(system, texts, metrics)
    reasoned = {p.id for p in predictions if p.finish_reason == "reasoning"}
    ordered = in_order(predictions, examples)
    of_outputs = [check(system, texts, examples) for check in CHECKS]
    findings += [
        empty(system, texts, examples, reasoned),
        *of_outputs,
        tokenized(system, texts, "outputs", examples),
        None if counting is None or counting.check in known else counting,
        constant(system, texts, examples, sighted),
        unicode_forms(system, ordered, examples, metrics),
    ]
    if not {f.check for f in of_outputs if f} & UNLIKE:
        findings += written_forms(system, ordered, examples, metrics)
    return [finding for finding in findings if finding is not None]

"""Sanity checks: problems of data, outputs and metrics that make a score misleading.

Each check is a function of texts that returns one finding, or None if the evidence is not
sufficient.
"""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics.endings import (
    beam_below_greedy,
    cut_sources,
    left_out,
    other_model,
    unfinished,
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
    "beam_below_greedy",
    "cut_sources",
    "in_systems_order",
    "is_blind",
    "left_out",
    "other_model",
    "run_checks",
    "unfinished",
]

# findings on outputs whose words are wrong, however they are written
UNLIKE = {"repeated outputs", "wrong language", "wrong script"}


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
    outputs: dict[str, list[str]] = {}
    for system, predictions in answers.items():
        by_id = {p.id: p.output for p in predictions}
        texts = [text for e in examples if (text := by_id.get(e.id)) is not None]
        if len(texts) == len(examples):
            outputs[system] = texts
    findings: list[Finding] = []
    blind: list[Metric] = []
    if any(e.source for e in examples) or outputs:
        blind = [metric for metric in metrics if is_blind(metric, examples)]
        findings = _check_references(examples, metrics, blind)
    known = {finding.check for finding in findings}
    sighted = [metric for metric in metrics if metric not in blind]
    for system, predictions in answers.items():
        findings += unfinished(system, predictions, (limits or {}).get(system, ""))
        if system not in outputs:
            continue
        texts = outputs[system]
        counting = miscounted(system, texts, metrics)
        reasoned = {p.id for p in predictions if p.finish_reason == "reasoning"}
        ordered = in_order(predictions, examples)
        of_outputs = [check(system, texts, examples) for check in CHECKS]
        of_system = [
            empty(system, texts, examples, reasoned),
            *of_outputs,
            tokenized(system, texts, "outputs", examples),
            None if counting is None or counting.check in known else counting,
            constant(system, texts, examples, sighted),
            unicode_forms(system, ordered, examples, metrics),
        ]
        if not {f.check for f in of_outputs if f} & UNLIKE:
            of_system += written_forms(system, ordered, examples, metrics)
        findings += [finding for finding in of_system if finding is not None]
    return findings


def _check_references(
    examples: Sequence[Example], metrics: Sequence[Metric], blind: Sequence[Metric]
) -> list[Finding]:
    """Return findings on the references, and on metrics that do not fit the references.

    Args:
        blind: metrics that cannot distinguish the references.
    """
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
    return [finding for finding in findings if finding is not None]

"""Sanity checks of how answers were made: why they ended, whether sources were cut, and which
search was used.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Prediction, Score
from lslm_lightning.evaluation.diagnostics.finding import Finding, shorten


def unfinished(system: str, predictions: Sequence[Prediction], limit: str = "") -> list[Finding]:
    """Return one finding for each reason, other than the model's own decision, for which answers
    ended.

    Args:
        limit: setting at which answers are cut, such as "max_tokens=256"; if empty, the message
            states only the number of tokens.
    """
    longest = max((p.n_token for p in predictions if p.finish_reason == "length"), default=0)
    where = limit or (f"{longest:,} tokens" if longest else "a limit of length")
    raised = (
        "raise it" if limit else "raise the limit (max_length of a run, max_tokens of an endpoint)"
    )
    known = {
        "length": ("cut answers", f"were cut at {where}; {raised}"),
        "reasoning": (
            "reasoning without an answer",
            "are empty, because all their tokens went into reasoning; raise "
            f"{limit or 'the limit of tokens'}, or ask for less reasoning",
        ),
        "content_filter": (
            "filtered answers",
            "were removed, in whole or in part, by the content filter of the provider",
        ),
        "refusal": ("refused answers", "are refusals of the model to answer"),
        "tool_calls": ("tool calls", "ended with a tool call instead of text"),
    }
    reasons = Counter(
        p.finish_reason
        for p in predictions
        if p.finish_reason is not None and p.finish_reason != "stop"
    )
    findings = []
    for reason, n in reasons.items():
        other = ("unusual endings", f"ended with the server's finish reason {shorten(reason)}")
        check, message = known.get(reason, other)
        findings.append(Finding(check, system, f"{n:,} of {len(predictions):,} answers {message}"))
    return findings


def left_out(system: str, parameters: Mapping[str, object]) -> Finding | None:
    """Return a finding about settings of a hosted model that its server did not accept, or None.

    Args:
        parameters: refused value by setting.
    """
    if not parameters:
        return None
    given = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    if len(parameters) == 1:
        reason = "was left out, because the server does not accept it: its default applied"
    else:
        reason = "were left out, because the server does not accept them: its defaults applied"
    return Finding("settings left out", system, f"{given} {reason}, which may change answers")


def other_model(system: str, names: Sequence[str]) -> Finding | None:
    """Return a finding about a hosted model whose replies name other models, or None.

    Args:
        names: these models.
    """
    if not names:
        return None
    message = (
        f"the server names {', '.join(names)} as what answered; check that it serves the model "
        "that was asked"
    )
    return Finding("another model", system, message)


def unused_outputs(system: str, counts: Sequence[int]) -> Finding | None:
    """Return a finding about outputs with ids that the evaluation set does not have, or None.

    Args:
        counts: number of these outputs and of all outputs in the file; empty if there are none.
    """
    if not counts:
        return None
    n, total = counts
    message = (
        f"{n:,} of {total:,} outputs in the file have ids that the evaluation set does not have, "
        "and are not scored; check that they answer this set"
    )
    return Finding("unused outputs", system, message)


def cut_sources(system: str, message: str) -> Finding | None:
    """Return a finding about truncated sources with this message, or None if the message is ""."""
    return Finding("cut sources", system, message) if message else None


def beam_below_greedy(
    searches: Mapping[str, tuple[str, str]], scores: Mapping[str, Score]
) -> list[Finding]:
    """Return a finding for each system whose beam search scores worse than greedy search with the
    same weights.

    Such a result indicates a fault or a wrong setting.

    Args:
        searches: by system, a digest of its weights and the name of its search, which ends in
            "greedy" or "beam" (such as "ctcprefixbeam").
        scores: score by one metric, by system.
    """
    findings = []
    for system, (weights, kind) in searches.items():
        greedy = [
            other
            for other, (others_weights, search) in searches.items()
            if others_weights == weights and search.endswith("greedy")
        ]
        if kind.endswith("beam") and greedy and system in scores and greedy[0] in scores:
            beam = scores[system]
            baseline = scores[greedy[0]]
            is_lower = beam.value < baseline.value
            if is_lower == beam.higher_is_better and beam.value != baseline.value:
                message = (
                    f"{beam.metric} is {beam.value:.2f} with beam search and "
                    f"{baseline.value:.2f} with greedy search ({greedy[0]}); check the settings "
                    "of the search and the length ratio"
                )
                findings.append(Finding("beam worse than greedy", system, message))
    return findings

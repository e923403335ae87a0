"""Predictions with the n best answers of a search."""

from collections.abc import Sequence

from lslm_lightning.contracts import Alternative, Example, Prediction
from lslm_lightning.text.tokenizer import Tokenizer


def n_best_prediction(
    example: Example,
    answers: Sequence[tuple[Sequence[int], float]],
    tokenizer: Tokenizer,
    seconds: float,
) -> Prediction:
    """Return the prediction whose output is the best of several answers, and whose `alternatives`
    are all of them.

    Args:
        answers: ids of each answer and its log p, the best first; an answer without `</s>` was
            cut. Two answers of other tokens may be the same text; both are kept.
        seconds: time that the search took.
    """
    ids, log_p = answers[0]
    return Prediction(
        example.id,
        tokenizer.decode(ids),
        nats=-log_p,
        n_token=len(ids),
        seconds=seconds,
        alternatives=tuple(Alternative(tokenizer.decode(each), -value) for each, value in answers),
        finish_reason="stop" if list(ids[-1:]) == [tokenizer.eos_id] else "length",
    )

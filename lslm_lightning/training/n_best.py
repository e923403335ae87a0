"""Predictions with the n best answers of a search."""

from collections.abc import Sequence

from lslm_lightning.contracts import Alternative, Example, Prediction
from lslm_lightning.text.tokenizer import Tokenizer


def n_best_prediction(
    example: Example,
    found: Sequence[tuple[Sequence[int], float]],
    tokenizer: Tokenizer,
    seconds: float,
) -> Prediction:
    """Return the prediction whose output is the first of these answers, and whose `alternatives`
    are all of them.

    Args:
        found: ids of each answer and its log p, the best first; an answer without `</s>` was cut.
            Two that are written with other tokens may be one text, and are both kept.
        seconds: time that finding them took.
    """
    ids, log_p = found[0]
    return Prediction(
        example.id,
        tokenizer.decode(ids),
        nats=-log_p,
        n_token=len(ids),
        seconds=seconds,
        alternatives=tuple(Alternative(tokenizer.decode(each), -value) for each, value in found),
        finish_reason="stop" if list(ids[-1:]) == [tokenizer.eos_id] else "length",
    )

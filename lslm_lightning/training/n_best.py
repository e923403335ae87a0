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
        answers: (ids, log probability) of each answer, the best first. An answer without `</s>` was
            cut. Answers of different ids may decode to the same text; all of them are kept.
        seconds: time that the search took for this example.
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

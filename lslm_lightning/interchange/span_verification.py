"""Comparison of a model of `transformers` that finds spans with the task that it was made from.

Axes: B texts, S tokens.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from lslm_lightning.interchange.verification import (
    SCRIPTS,
    TOLERANCE,
    Texts,
    Verification,
    check_finite,
)
from lslm_lightning.text.hugging_face import NO_CODE, import_quietly
from lslm_lightning.training.span_model import ScoredPair, SpanModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Read: TypeAlias = Callable[[Sequence[str], int], list[ScoredPair]]
"""Function (texts: question, line end, passage; most tokens) -> what the model reads and scores."""

QUESTIONS = tuple(f"{asked}\n{passage}" for asked, passage in pairwise([*SCRIPTS, SCRIPTS[0]]))
BUILT_IN_QUESTIONS = Texts(QUESTIONS, QUESTIONS, "built in")
"""Pairs of texts in several scripts, for a run whose corpus is not on this machine."""


def reader_of(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> Read:
    """Return a model of `transformers` as a function on texts."""

    def read(texts: Sequence[str], most: int) -> list[ScoredPair]:
        asked, _, passages = zip(*(text.partition("\n") for text in texts), strict=True)
        given = tokenizer(
            list(asked),
            list(passages),
            truncation="only_second",
            max_length=most,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        output = model(**given)
        scores = torch.stack([output.start_logits, output.end_logits], -1)  # (B, S, 2)
        segments = given.get("token_type_ids", torch.zeros_like(given["input_ids"]))
        return [
            ScoredPair(ids[:n].tolist(), kinds[:n].tolist(), row[:n])
            for ids, kinds, row, n in zip(
                given["input_ids"], segments, scores, given["attention_mask"].sum(1), strict=True
            )
        ]

    return read


def exported_reader(folder: Path, dtype: torch.dtype) -> Read:
    """Return the model in a folder that was written here as a function on texts.

    Args:
        dtype: type in which it computes.
    """
    import_quietly()
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    model = AutoModelForQuestionAnswering.from_pretrained(
        folder, use_safetensors=True, dtype=dtype, use_kernels=False, **NO_CODE
    )
    return reader_of(model.eval(), AutoTokenizer.from_pretrained(folder, **NO_CODE))


@torch.no_grad()
def compare_spans(task: SpanModel, read: Read, texts: Texts) -> Verification:
    """Compare the ids, segments, scores and most probable spans of two models.

    Args:
        task: our model, as `copy_to_compare` returns it.
        read: the other model, in the same type.
        texts: texts to compare them on; a question that the run cuts is left out of its text.

    Raises:
        ValueError: the models differ; the message says in what.
    """
    rules = task.answering
    examples = [rules.example(str(i), text) for i, text in enumerate(texts.sources)]
    given = [
        text[text.find("\n") :] if rules.cut_sources([example])[0] else text
        for example, text in zip(examples, texts.sources, strict=True)
    ]
    ours = task.first_windows([rules.example(str(i), text) for i, text in enumerate(given)])
    theirs = read(given, max(len(own.ids) for own in ours))
    worst = largest = 0.0
    for text, own, other in zip(given, ours, theirs, strict=True):
        if (own.ids, own.segments) != (other.ids, other.segments):
            raise ValueError(
                f"the text {text[:40]!r} has other ids or segments than in the run: "
                f"{other.ids[:8]} in {other.segments[:8]} instead of {own.ids[:8]} in "
                f"{own.segments[:8]}"
            )
        check_finite(own.scores, other.scores)
        largest = max(largest, float(own.scores.abs().max()))
        worst = max(worst, float((own.scores - other.scores).abs().max()))
    limit = TOLERANCE * max(1.0, largest)
    if worst > limit:
        raise ValueError(
            f"its logits differ from those of the run by {worst:.3g}, more than {limit:.3g}"
        )
    n_equal = sum(
        own.scores.argmax(0).equal(other.scores.argmax(0))
        for own, other in zip(ours, theirs, strict=True)
    )
    # within the limit, another span has the same scores
    return Verification(worst, largest, len(given), n_equal, len(given) - n_equal, texts.origin)

"""Given answers whose probability is asked for."""

from collections.abc import Sequence
from typing import TypeAlias

from lslm_lightning.contracts.example import Example

Answers: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""Answers to be scored: one text, or a list of texts, for each example."""


def pair_answers(examples: Sequence[Example], answers: Answers) -> list[tuple[Example, str]]:
    """Return each example with each of its answers, in order.

    Raises:
        ValueError: there are not as many answers, or lists of them, as examples.
    """
    if len(answers) != len(examples):
        raise ValueError(
            f"answers has {len(answers)} entries for {len(examples)} examples; give one text, or "
            "one list of texts, for each example"
        )
    return [
        (example, answer)
        for example, given in zip(examples, answers, strict=True)
        for answer in ([given] if isinstance(given, str) else given)
    ]

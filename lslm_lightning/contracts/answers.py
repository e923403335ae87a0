"""Given answers whose probability a system computes."""

from collections.abc import Sequence
from typing import TypeAlias

from lslm_lightning.contracts.example import Example

Answers: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""Answers to be scored: one text, or a list of texts, for each example."""


def pair_answers(examples: Sequence[Example], answers: Answers) -> list[tuple[Example, str]]:
    """Return pairs of an example and one of its answers, in order.

    Raises:
        ValueError: the numbers of examples and of entries in `answers` differ.
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

"""Changes to the inputs of examples, by which the robustness of a model is measured."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from lslm_lightning.audio.noise import with_noise
from lslm_lightning.auditing.perturbations import (
    CONTRACTIONS,
    LOST_PUNCTUATION,
    Perturbation,
    perturbations,
)
from lslm_lightning.auditing.wordings import names_in, regional_names, renamer, wordings
from lslm_lightning.contracts import Example, Mode

NOISES_DB = (20, 10, 0)  # power of a recording over that of the noise added to it


class InputChange(NamedTuple):
    """Change of the input of an example.

    Attributes:
        name: name for people.
        changed: returns the changed example; equal examples and generators give equal results.
        of_references: whether references are changed as well, so that answers are compared with
            the changed ones.
    """

    name: str
    changed: Callable[[Example, random.Random], Example]
    of_references: bool = False


def input_changes(
    examples: Sequence[Example], mode: Mode, names: Sequence[str]
) -> list[InputChange]:
    """Return the changes that are made to examples: noise to recordings, others to texts.

    Args:
        names: names of people, which are exchanged for one another; none to leave them.
    """
    if any(example.modality != "text" for example in examples):
        return [noise_change(snr_db) for snr_db in NOISES_DB]
    changes = perturbations(names)
    if mode == "log_prob":  # a shorter text has less to be predicted
        changes = [each for each in changes if each.name not in (LOST_PUNCTUATION, CONTRACTIONS)]
    return [text_change(change, mode) for change in changes] + [
        name_change(region, mode) for region in wordings().names
    ]


def text_change(change: Perturbation, mode: Mode) -> InputChange:
    """Return the change of the source of an example, or of the text whose probability is asked."""

    def changed(example: Example, draw: random.Random) -> Example:
        if mode == "log_prob":
            text = change.applied(example.references[0], example.language, draw)
            return replace(example, references=(text,))
        source = change.applied(example.source, example.source_language, draw)
        if source == example.source:
            return example
        question = example.question.replace(example.source, source) if example.source else ""
        return replace(with_source(example, source), question=question)

    return InputChange(change.name, changed)


def name_change(region: str, mode: Mode) -> InputChange:
    """Return the change of given names to those of a region, in source, question and references.

    In a translation, a name is kept unless all references have it as the source has it.
    """

    def changed(example: Example, draw: random.Random) -> Example:
        texts = [*example.references] if mode == "log_prob" else [example.source]
        names = regional_names(texts, region, draw)
        if mode == "generate" and example.language != example.source_language:
            shared = [set(names_in(text)) for text in example.references]
            names = {name: o for name, o in names.items() if all(name in each for each in shared)}
        if not names:
            return example
        renamed = renamer(names)
        return replace(
            with_source(example, renamed(example.source)),
            question=renamed(example.question),
            references=tuple(map(renamed, example.references)),
        )

    return InputChange(region, changed, of_references=mode == "generate")


def with_source(example: Example, source: str) -> Example:
    """Return an example with another source."""
    return example.with_content(source.encode("utf-8", "surrogatepass"))


def noise_change(snr_db: int) -> InputChange:
    """Return the change that adds white noise to a recording.

    Args:
        snr_db: ratio of the powers of recording and noise, in decibels.
    """

    def changed(example: Example, draw: random.Random) -> Example:
        data = with_noise(example.content(), example.source, snr_db, draw.getrandbits(62))
        return example.with_content(data)

    return InputChange(f"noise at {snr_db} dB", changed)

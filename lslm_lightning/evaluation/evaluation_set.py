"""Identity of an evaluation set: digests of its examples and references."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from lslm_lightning.contracts import Example
from lslm_lightning.text.languages import base_language

VERSION = 2  # of the digest; version 1 was a checksum of files and knew no languages
SHOWN = 12  # hexadecimal digits of a digest in tables


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Identity of an evaluation set; only scores on the same set can be compared.

    Attributes:
        digest: "2:" (`VERSION`) and the SHA-256, in hex, of all examples in order: modality,
            languages, source and references. It does not depend on ids, files and formats.
        members: SHA-256 of the examples, independent of their order.
        ids: SHA-256 of the ids in order. If it is equal for two sets, their answers can be paired
            by id.
        languages: "en-zh", or "en" if source and references are in one language.
        n_example: number of examples.
    """

    digest: str
    members: str
    ids: str
    languages: str
    n_example: int


def evaluation_set(examples: Sequence[Example]) -> EvaluationSet:
    """Return the identity of these examples, in this order, before any metric tokenizes them.

    Languages are compared by their base ("zh" for "zh-Hans"), recordings by their bytes.
    Consecutive passages of one text (see `contracts.Scorer`) differ from separate texts, since each
    passage is scored given the passages before it.

    Raises:
        ValueError, OSError: a recording cannot be read.
    """
    whole = hashlib.sha256()
    each = []
    ids = hashlib.sha256(json.dumps([example.id for example in examples]).encode()).hexdigest()
    text_before = None
    for example in examples:
        continues = not example.source and example.text_id == text_before
        text_before = example.text_id
        line = _line(example, continues)
        whole.update(line)
        each.append(hashlib.sha256(line).digest())
    members = hashlib.sha256(b"".join(sorted(each))).hexdigest()
    return EvaluationSet(
        f"{VERSION}:{whole.hexdigest()}", members, ids, languages_of(examples), len(examples)
    )


def _line(example: Example, continues: bool) -> bytes:
    """Return an example as one line of JSON; any two different examples have different lines.

    Args:
        continues: whether the example is a passage that continues the text of the example before
            it.
    """
    is_text = example.modality == "text"
    source = example.source if is_text else hashlib.sha256(example.content()).hexdigest()
    languages = [base_language(example.source_language), base_language(example.language)]
    fields = [example.modality, *languages, source, list(example.references), continues]
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def languages_of(examples: Sequence[Example]) -> str:
    """Return the languages of the examples: "en-zh", or "en" if source and references are in one
    language or if there are no sources.

    If the examples have several pairs of languages, the pairs are joined by commas.
    """
    pairs = dict.fromkeys(
        (e.source_language if e.source or e.modality != "text" else e.language, e.language)
        for e in examples
    )
    return ", ".join(
        target if source == target else f"{source}-{target}" for source, target in pairs
    )


def version_of(digest: str) -> int:
    """Return the version of a recorded digest: the number before the colon, or 1 if there is
    none.
    """
    number, colon, _ = digest.partition(":")
    return int(number) if colon and number.isdecimal() else 1


def shown(digest: str) -> str:
    """Return the version and the first `SHOWN` digits of a digest, for tables and messages."""
    return f"{version_of(digest)}:{digest.rpartition(':')[2][:SHOWN]}"


def difference(first: EvaluationSet | None, second: EvaluationSet | None) -> str:
    """Return a short description of the difference between two evaluation sets, such as "en-zh and
    en-de".

    None stands for an empty evaluation set.
    """
    if first is None or second is None:
        return "one has no examples"
    if first.languages != second.languages:
        return f"{first.languages} and {second.languages}"
    if first.n_example != second.n_example:
        return f"{first.n_example:,} and {second.n_example:,} examples"
    if first.digest == second.digest:
        return "the same examples under other ids"
    if first.members == second.members:
        return "the same examples in another order"
    return "other sources or references"

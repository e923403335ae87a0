"""Sanity checks of metrics: whether a metric can measure these texts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import regex

from lslm_lightning.contracts import Example, Metric, Prediction, metric_label
from lslm_lightning.evaluation.diagnostics.finding import ENOUGH, Finding, share
from lslm_lightning.evaluation.scoring import naming
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.normalization import normalize
from lslm_lightning.text.scripts import letters_by_script, units_of_script

# Variation selectors and keycaps are marks of symbols, not of letters.
LETTER = regex.compile(r"[[\p{L}\p{M}\p{N}]--[\p{Variation_Selector}\u20e3]]", regex.VERSION1)
PROBED = 50  # references that a metric is tried on
UNSEEN = 0.01  # part of the references


def miscounted(system: str, texts: Sequence[str], metrics: Sequence[Metric]) -> Finding | None:
    """Return a finding on the first metric that drops letters and digits of the texts, or that
    takes whole sentences for words; None if no metric does.

    Dropped letters are reported if they are more than a fifth of all letters, or if they are more
    than 1 % and occur in at least a tenth of the texts. For example, ROUGE's rules for English drop
    few letters of a German text, but letters that distinguish words.

    Args:
        system: name of the system that wrote the texts, or "" if the texts are references.
    """
    texts_of = "the outputs" if system else "the references"
    letters = [n_letter(text) for text in texts]
    total = sum(letters)
    for metric in metrics:
        counted = [units for text in texts if (units := metric.counted(text)) is not None]
        if not total or len(counted) < len(texts):
            continue
        kept = [n_letter("".join(units)) for units in counted]
        lost = 1 - sum(kept) / total
        n_short = sum(n < n_all for n, n_all in zip(kept, letters))
        name = metric_label(metric.name)
        if lost > 0.2 or (lost > 0.01 and n_short >= max(2, 0.1 * len(texts))):
            message = (
                f"{name} drops {100 * lost:.0f} % of the letters and digits of {texts_of} "
                f"({dropped_letters(texts, counted)}) and cannot distinguish them; check its "
                "language"
            )
            return Finding("dropped characters", system, message)
        pieces = [piece for units in counted for piece in units if any(map(str.isalnum, piece))]
        if (size := mean_size(texts, pieces)) is not None:
            message = (
                f"{name} takes {size:.0f} characters of {texts_of} for one word; check its language"
            )
            return Finding("unsegmented text", system, message)
    return None


def unseen(examples: Sequence[Example], metrics: Sequence[Metric]) -> Finding | None:
    """Return a finding if a metric finds nothing to compare in at least 1 % of the references, such
    as emoji or another script, so that it scores right answers to them as wrong, or wrong ones as
    right; else None.
    """
    for metric in metrics:
        n = 0
        for example in examples:
            texts = [text for text in example.references if text.strip()]
            counted = [metric.counted(text) for text in texts]
            n += bool(texts) and all(units == [] for units in counted)
        if n and n >= UNSEEN * len(examples):
            name = metric_label(metric.name)
            message = (
                f"{name} finds nothing to compare in {share(n, len(examples))} references, so "
                "that it cannot tell right answers to them from wrong ones; check its language"
            )
            return Finding("unseen references", "", message)
    return None


def dropped_letters(texts: Sequence[str], counted: Sequence[Sequence[str]]) -> str:
    """Return the most frequent letters that a metric drops, for a message.

    Args:
        counted: units that the metric compares, for each text.
    """
    kept = Counter(character for units in counted for piece in units for character in piece)
    present = Counter(
        character
        for text in texts
        for character in normalize(text.lower())
        if LETTER.match(character)
    )
    most = (present - kept).most_common(5)
    return " ".join(character for character, _ in most) or "of several kinds"


def n_letter(text: str) -> int:
    """Return the number of letters, digits and combining marks, such as the vowel signs of
    Hindi.
    """
    return len(LETTER.findall(normalize(text)))


def mean_size(texts: Sequence[str], pieces: Sequence[str]) -> float | None:
    """Return the mean length, in characters, of the pieces that a metric takes for words.

    The result is None unless the texts are in a script without spaces and the pieces are too long
    to be words.
    """
    letters = letters_by_script("".join(texts))
    unspaced = Counter({each: n for each, n in letters.items() if units_of_script(each) != "words"})
    if not pieces or 3 * unspaced.total() <= letters.total():
        return None
    most = unspaced.most_common(1)[0][0]
    # pieces of `segment` in a word, at most
    longest = 2 if units_of_script(most) == "syllables" else 4
    n_unit = sum(any(map(str.isalnum, unit)) for text in texts for unit in segment(text))
    if n_unit <= longest * len(pieces):
        return None
    return sum(map(len, pieces)) / len(pieces)


def is_blind(metric: Metric, examples: Sequence[Example]) -> bool:
    """Return whether a metric cannot distinguish right from wrong answers.

    This is so if, for most examples, the reference of another example gets the same score as the
    right reference.
    """
    firsts = [replace(e, references=e.references[:1]) for e in examples if e.references[0].strip()]
    distinct = list({letters_only(e.references[0]): e for e in firsts}.values())[:PROBED]
    if len(distinct) < 2:
        return False
    pairs = list(zip(distinct, distinct[1:] + distinct[:1]))
    alike = sum(
        score_of(metric, right.references[0], right) == score_of(metric, other.references[0], right)
        for right, other in pairs
    )
    return 2 * alike > len(pairs)  # nan, of a metric that reads no text, equals nothing


def score_of(metric: Metric, output: str, example: Example) -> float:
    """Return the score of a single output for an example."""
    with naming(metric):
        return metric.score_alone(metric.statistics(example, Prediction(example.id, output)))


def letters_only(text: str) -> str:
    """Return the letters, combining marks and digits of a text, case-folded and in NFKC; the
    stripped text if it has none.
    """
    return "".join(LETTER.findall(normalize(text.casefold(), "NFKC"))) or text.strip()


def cannot_tell_apart(blind: Sequence[Metric]) -> Finding | None:
    """Return a finding that names metrics which give wrong answers the score of right ones.

    Args:
        blind: these metrics; if empty, the result is None.
    """
    if not blind:
        return None
    names = ", ".join(metric_label(metric.name) for metric in blind)
    message = (
        f"{names} cannot distinguish the references: another answer gets the score of the right "
        "one; check its language"
    )
    return Finding("constant metric", "", message)


def out_of_reach(metric: Metric, examples: Sequence[Example]) -> Finding | None:
    """Return a finding if a metric gives the references themselves a score of 0, else None.

    An example is BLEU if no text has four words.
    """
    if not metric.higher_is_better:
        return None
    total = np.zeros(1)
    for example in (e for e in examples if e.references[0].strip()):
        text, *_ = example.references
        only = replace(example, references=(text,))
        with naming(metric):
            total = total + metric.statistics(only, Prediction(example.id, text))
            value = metric.score(total)
        if value != 0:  # nan, of a metric that reads no text, is no 0
            return None
    if not np.any(total):
        return None
    message = (
        f"{metric_label(metric.name)} is 0 for the references themselves: they are too short for "
        "it, or its language does not fit; use another metric"
    )
    return Finding("constant metric", "", message)


def constant(
    system: str, texts: Sequence[str], examples: Sequence[Example], metrics: Sequence[Metric]
) -> Finding | None:
    """Return a finding about metrics that give many different outputs all the same score, or None.

    A metric is reported only if other texts, halves of the references, would get another score.
    """
    different = {letters_only(text) for text in texts}
    if len(different) < ENOUGH or all(
        letters_only(text) in map(letters_only, e.references)
        for text, e in zip(texts, examples, strict=True)
    ):
        return None
    values = []
    for metric in metrics:
        scores = (score_of(metric, text, e) for text, e in zip(texts, examples, strict=True))
        first = next(scores)
        if all(score == first for score in scores):
            halves = {
                score_of(metric, e.references[0][: len(e.references[0]) // 2], e) for e in examples
            }
            if halves - {first}:
                values.append(f"{metric_label(metric.name)} is {first:.2f}")
    if not values:
        return None
    message = (
        f"{', '.join(values)} for every one of {len(texts):,} outputs, of which "
        f"{len(different):,} differ; inspect some of them"
    )
    return Finding("constant metric", system, message)

"""Sanity checks of the texts of outputs and references."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.alignment import find_shift
from lslm_lightning.evaluation.diagnostics.finding import ENOUGH, Check, Finding, share, shorten
from lslm_lightning.evaluation.disorder import find_disorder
from lslm_lightning.evaluation.unicode_forms import describe_forms
from lslm_lightning.evaluation.written_forms import (
    MISREAD,
    PUNCTUATION,
    describe_columns,
    describe_wrapping,
    describe_writing,
)
from lslm_lightning.text.chinese import segment, variant_of_han
from lslm_lightning.text.languages import base_language, name_of_script
from lslm_lightning.text.reasoning import has_reasoning
from lslm_lightning.text.scripts import letters_by_script

SPACED = re.compile(r"\s[.,](?=\s|$)|\s(?:n't|'s|'re|``|'')(?=\s|$)|@-@|@@(?=\s|$)|(?<=\s)##\w|▁")
PUNCTUATED = re.compile(r"[.,]|'s|n't")
SPACED_HAN = re.compile(r"[\u3400-\u9fff]\s+[\u3400-\u9fff]")


def mixed_up_references(examples: Sequence[Example]) -> Finding | None:
    """Return a finding if two references of one example are no more similar than references of
    different examples, else None.

    The reason may be that the table of references was transposed.
    """
    several = [e for e in examples if len(e.references) > 1]
    if len(several) < ENOUGH:
        return None
    bags = [[word_counts(text) for text in e.references] for e in several]
    inside = sum(overlap(bag[0], bag[1]) for bag in bags) / len(bags)
    across = sum(overlap(bag[0], other[1]) for bag, other in zip(bags, bags[1:] + bags[:1])) / len(
        bags
    )
    if inside > 1.2 * across + 0.02:
        return None
    message = (
        "the references of one example are no more alike than those of different examples: they "
        "may be transposed; give each example the list of its own references"
    )
    return Finding("references transposed", "", message)


def damaged(examples: Sequence[Example]) -> Finding | None:
    """Return a finding if at least 1 % of the examples have damaged references, else None.

    U+FFFD stands for bytes that were lost, and "Ã¼" for "ü" that was read in another encoding.
    """
    n = sum(any("\ufffd" in r or MISREAD.n_changed([r]) for r in e.references) for e in examples)
    if not n or n < 0.01 * len(examples):
        return None
    message = (
        f"{share(n, len(examples))} references are damaged: they contain U+FFFD, or UTF-8 read as "
        "Latin-1 (Ã¼ for ü); convert them anew from the original"
    )
    return Finding("damaged text", "", message)


def tokenized(
    system: str, texts: Sequence[str], what: str, examples: Sequence[Example] = ()
) -> Finding | None:
    """Return a finding if at least half of the texts contain the spaces of a tokenizer, else None.

    Metrics would tokenize such texts a second time.

    Args:
        what: name of the texts in the message: "outputs" or "references".
        examples: those of outputs; spaces that a reference has as well are right.
    """
    expected = [any(map(is_spaced, e.references)) for e in examples] or [False] * len(texts)
    spaced = sum(is_spaced(x) and not right for x, right in zip(texts, expected, strict=True))
    could = sum(
        bool(
            PUNCTUATED.search(text)
            or SPACED.search(text)
            or len(re.findall(r"[\u3400-\u9fff]", text)) > 1
        )
        for text in texts
    )
    if could < ENOUGH or spaced < could / 2:
        return None
    message = (
        f'{share(spaced, could)} {what} look tokenized (" .", "@@", "我 们"): detokenize them first'
    )
    return Finding("tokenized text", system, message)


def is_spaced(text: str) -> bool:
    """Return whether a text has a space where a tokenizer puts one, such as between Han."""
    return bool(SPACED.search(text) or SPACED_HAN.search(text))


def empty(
    system: str, texts: Sequence[str], examples: Sequence[Example], known: Collection[str] = ()
) -> Finding | None:
    """Return a finding on blank outputs for examples whose references are not blank, or None.

    Args:
        known: ids of examples whose outputs another check reports.
    """
    pairs = [(text, e) for text, e in zip(texts, examples, strict=True) if e.id not in known]
    n = sum(not text.strip() and any(r.strip() for r in e.references) for text, e in pairs)
    message = f"{share(n, len(texts))} outputs are empty"
    return Finding("empty outputs", system, message) if n else None


def repeated(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding if many different sources have the same output, so that the system seems to
    ignore the source; else None.
    """
    if len({e.source for e in examples}) < ENOUGH:
        return None
    by_output: dict[str, set[str]] = {}
    wanted = Counter(r for e in examples for r in set(e.references))
    for text, example in zip(texts, examples, strict=True):
        if text.strip():
            by_output.setdefault(text, set()).add(example.source)
    text, sources = max(by_output.items(), key=lambda item: len(item[1]), default=("", set()))
    if len(sources) < max(5, 0.02 * len(texts)) or len(sources) <= 2 * wanted[text]:
        return None
    message = f"{len(sources):,} different sources have the same output: {shorten(text)}"
    return Finding("repeated outputs", system, message)


def looping(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding on outputs that repeat the same words over and over, or None if there are
    few.

    Such outputs have a much lower compression ratio than their references.
    """
    loops = sum(
        compression_ratio(text) < 0.4
        and compression_ratio(text) < 0.7 * compression_ratio(e.references[0])
        for text, e in zip(texts, examples, strict=True)
    )
    if loops < max(3, 0.02 * len(texts)):
        return None
    message = f"{share(loops, len(texts))} outputs repeat themselves; try no_repeat_ngram"
    return Finding("looping outputs", system, message)


def reasoning(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding on outputs that contain the tags of a model's reasoning, such as `<think>`,
    while their references do not; None if there are none.
    """
    pairs = zip(texts, examples, strict=True)
    n = sum(has_reasoning(text) and not any(map(has_reasoning, e.references)) for text, e in pairs)
    message = (
        f"{n:,} of {len(texts):,} outputs contain reasoning (<think> or the like), which is scored "
        "with the answer; set strip_reasoning: true of an endpoint to remove it"
    )
    return Finding("reasoning in outputs", system, message) if n else None


def wrong_script(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding on outputs written mostly in a script that the references hardly use, or
    None if there are few.
    """
    wanted = letters_by_script("".join(e.references[0] for e in examples))
    total = wanted.total()
    if not total or len(texts) < ENOUGH:
        return None
    usual = {script for script, n in wanted.items() if n > 0.02 * total}
    unusual: Counter[str] = Counter()
    for text in texts:
        scripts = letters_by_script(text)
        if scripts and (most := scripts.most_common(1)[0][0]) not in usual:
            unusual[most] += 1
    if (n := unusual.total()) <= 0.05 * len(texts):
        return None
    kind = name_of_script(unusual.most_common(1)[0][0])
    message = f"{share(n, len(texts))} outputs are in {kind} letters, the references are not"
    return Finding("wrong script", system, message)


def wrong_variant(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding on outputs in Traditional Chinese characters whose references are in
    Simplified ones, or the reverse; None if there are few.
    """
    pairs = [
        (variant_of_han(text), variant_of_han(e.references[0]))
        for text, e in zip(texts, examples, strict=True)
        if base_language(e.language) == "zh"
    ]
    n = Counter(written for written, wanted in pairs if written and wanted and written != wanted)
    if len(pairs) < ENOUGH or n.total() <= 0.05 * len(pairs):
        return None
    kind = "Simplified" if n["Hans"] > n["Hant"] else "Traditional"
    message = (
        f"{share(n.total(), len(texts))} outputs are in {kind} Chinese characters, their "
        "references are not"
    )
    return Finding("wrong script", system, message)


def wrong_language(
    system: str, texts: Sequence[str], examples: Sequence[Example]
) -> Finding | None:
    """Return a finding on outputs that seem to be in the language of the sources, or None if there
    are few.

    Their character trigrams resemble the sources more than the references, as in outputs that were
    not translated.
    """
    pairs = [
        (text, e)
        for text, e in zip(texts, examples, strict=True)
        if base_language(e.language) != base_language(e.source_language)
    ]
    if len(pairs) < ENOUGH:
        return None
    source = TrigramModel(e.source for _, e in pairs)
    target = TrigramModel(e.references[0] for _, e in pairs)

    def like_source(text: str) -> bool:
        return bool(text.strip()) and source.mean_log_prob(text) > target.mean_log_prob(text)

    written = [text for text, _ in pairs if text.strip()]
    wrong = sum(map(like_source, written))
    usual = sum(like_source(e.references[0]) for _, e in pairs)
    if wrong <= 0.05 * len(written) or wrong <= 2 * usual:
        return None
    message = f"{share(wrong, len(written))} outputs look like the language of the sources"
    return Finding("wrong language", system, message)


def misaligned(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding if outputs fit the references of other lines, else None.

    Such outputs are shifted by some lines, in whole or in part, or are out of order.
    """
    references = [e.references[0] if e.references else "" for e in examples]
    if shift := find_shift(texts, references):
        evidence = (
            f"outputs of lines {shift.first:,} to {shift.last:,} fit the references {shift} "
            "better than their own"
        )
    elif (order := find_disorder(texts, references)) is None:
        return None
    elif order.is_unrelated:
        evidence = (
            "outputs are no more like their own references than like those of other lines "
            f"({order.n_line:,} inspected)"
        )
    else:
        evidence = (
            f"{order.n_other:,} of {order.n_line:,} inspected outputs fit only the reference of "
            f"another line, {order.n_own:,} only their own"
        )
    message = f"{evidence}; check that outputs and references are in the same order"
    return Finding("misaligned outputs", system, message)


def unicode_forms(
    system: str,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
) -> Finding | None:
    """Return a finding if differences in Unicode form or invisible characters change scores, else
    None.
    """
    message = describe_forms(predictions, examples, metrics)
    return Finding("Unicode forms", system, message) if message else None


def written_forms(
    system: str,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
) -> list[Finding]:
    """Return findings on differences in writing, and on text around the answers, that lower
    scores.
    """
    about = predictions, examples, metrics
    if found := [Finding("ways of writing", system, words) for words in describe_writing(*about)]:
        return found
    # only then: entities and the like consist of marks, and may stand around all answers
    if wrapping := describe_columns(*about) or describe_wrapping(*about):
        return [Finding("text around answers", system, wrapping)]
    marks = describe_writing(*about, (PUNCTUATION,))
    return [Finding("ways of writing", system, words) for words in marks]


def echoed(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Return a finding on outputs that repeat their source or question before the answer, or None
    if there are few.
    """

    def repeats(text: str, example: Example) -> bool:
        asked = [t for t in (example.text.strip(), example.question.strip()) if t]
        return any(
            text.startswith(t) and len(text) > len(t) and not example.references[0].startswith(t)
            for t in asked
        )

    n = sum(repeats(text.strip(), e) for text, e in zip(texts, examples, strict=True))
    if n < max(3, 0.05 * len(texts)):
        return None
    message = (
        f"{share(n, len(texts))} outputs begin with their whole source or question, which is "
        "scored with the answer; remove it"
    )
    return Finding("repeated sources", system, message)


CHECKS: tuple[Check, ...] = (
    repeated,
    looping,
    echoed,
    wrong_script,
    wrong_variant,
    wrong_language,
    misaligned,
    reasoning,
)


def compression_ratio(text: str) -> float:
    """Return the compressed size of a text divided by its size in bytes; 1.0 for texts under 60
    bytes.
    """
    data = text.encode()
    return len(zlib.compress(data, 9)) / len(data) if len(data) >= 60 else 1.0


def word_counts(text: str) -> Counter[str]:
    """Return the number of occurrences of each word in a text."""
    return Counter(segment(text.lower()))


def overlap(first: Counter[str], second: Counter[str]) -> float:
    """Return the F1 score between two bags of words."""
    return 2 * (first & second).total() / max(1, first.total() + second.total())


class TrigramModel:
    """Unigram model over the character trigrams of some texts, with add-one smoothing."""

    def __init__(self, texts: Iterable[str]) -> None:
        counts = Counter(gram for text in texts for gram in trigrams(text))
        total = math.log(counts.total() + len(counts) + 1)
        self.unseen = -total
        self.log_probs = {gram: math.log(n + 1) - total for gram, n in counts.items()}

    def mean_log_prob(self, text: str) -> float:
        """Return the mean log probability of the trigrams of a text; 0 for no trigram."""
        found = [self.log_probs.get(gram, self.unseen) for gram in trigrams(text)]
        return sum(found) / max(1, len(found))


def trigrams(text: str) -> Iterable[str]:
    """Yield the character trigrams of a text in lower case, padded with a space at both ends."""
    padded = f" {' '.join(text.lower().split())} "
    return (padded[i : i + 3] for i in range(len(padded) - 2))

"""Sanity checks: what makes a number look better, worse or other than it is, said before it is
believed.

Every check is a function of plain texts that gives at most one finding, and is right to keep silent
where it cannot know.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import regex

from lslm_lightning.contracts import Example, Metric, Prediction, Score, metric_label
from lslm_lightning.evaluation.alignment import find_disorder, find_shift
from lslm_lightning.evaluation.unicode_forms import describe_forms, in_order
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.languages import base_language, name_of_script
from lslm_lightning.text.normalization import normalize
from lslm_lightning.text.reasoning import has_reasoning
from lslm_lightning.text.scripts import letters_by_script, units_of_script

ENOUGH = 20  # texts; shares of fewer are chance
# Variation selectors and keycaps are marks of signs, not of letters.
LETTER = regex.compile(r"[[\p{L}\p{M}\p{N}]--[\p{Variation_Selector}\u20e3]]", regex.VERSION1)
PROBED = 50  # references that a metric is tried on
SPACED = re.compile(r"\s[.,](?=\s|$)|\s(?:n't|'s|'re|``|'')(?=\s|$)|@-@|@@(?=\s|$)|(?<=\s)##\w|▁")
PUNCTUATED = re.compile(r"[.,]|'s|n't")
SPACED_HAN = re.compile(r"[\u3400-\u9fff]\s+[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a sanity check found: which check, whose answers ("" for the evaluation set itself),
    what was seen, and what to do.
    """

    check: str
    system: str
    words: str

    @property
    def where(self) -> str:
        """The system, or the evaluation set."""
        return self.system or "evaluation set"


def examine(
    examples: Sequence[Example],
    answers: Mapping[str, Sequence[Prediction]],
    metrics: Sequence[Metric],
    limits: Mapping[str, str] | None = None,
) -> list[Finding]:
    """All findings on an evaluation set, then on the written answers of each system; systems that
    wrote nothing are passed over.

    What is found of the evaluation set is not told of every system again.

    Args:
        limits: by system, the setting at which its answers are cut: "max_length=128".
    """
    outputs = {}
    for system, predictions in answers.items():
        by_id = {p.id: p.output for p in predictions}
        written = [by_id.get(e.id) for e in examples]
        if all(text is not None for text in written):
            outputs[system] = written
    found: list[Finding | None] = []
    blind: list[Metric] = []
    if any(e.source for e in examples) or outputs:
        references = [e.references[0] for e in examples]
        found += [
            mixed_up_references(examples),
            tokenized("", references, "references"),
            miscounted("", references, metrics),
        ]
        blind = [metric for metric in metrics if is_blind(metric, examples)]
        found.append(cannot_tell_apart(blind))
        found += [out_of_reach(metric, examples) for metric in metrics if metric not in blind]
    told = {each.check for each in found if each}
    for system, predictions in answers.items():
        found += unfinished(system, predictions, (limits or {}).get(system, ""))
        if (texts := outputs.get(system)) is None:
            continue
        found.append(
            empty(
                system,
                texts,
                examples,
                {p.id for p in predictions if p.finish_reason == "reasoning"},
            )
        )
        found += [check(system, texts, examples) for check in CHECKS]
        found.append(reasoning(system, texts, examples))
        found.append(tokenized(system, texts, "outputs"))
        found += [
            each
            for each in (miscounted(system, texts, metrics),)
            if each and each.check not in told
        ]
        found.append(
            constant(system, texts, examples, [metric for metric in metrics if metric not in blind])
        )
        found.append(unicode_forms(system, in_order(answers[system], examples), examples, metrics))
    return [each for each in found if each]


def in_systems_order(findings: Iterable[Finding], systems: Iterable[str]) -> list[Finding]:
    """Return what concerns the evaluation set first, then what concerns each system, in the order
    of systems.
    """
    order = {name: number for number, name in enumerate(["", *systems])}
    return sorted(findings, key=lambda finding: order[finding.system])


def percent(n: int, total: int) -> str:
    """ "12 of 40 (30 %)"."""
    return f"{n:,} of {total:,} ({100 * n / total:.0f} %)"


# Of the exam


def mixed_up_references(examples: Sequence[Example]) -> Finding | None:
    """References of one example that resemble each other no more than those of different examples:
    their table was turned the wrong way.
    """
    several = [e for e in examples if len(e.references) > 1]
    if len(several) < ENOUGH:
        return None
    bags = [[bag(text) for text in e.references] for e in several]
    inside = sum(overlap(own[0], own[1]) for own in bags) / len(bags)
    across = sum(overlap(own[0], other[1]) for own, other in zip(bags, bags[1:] + bags[:1])) / len(
        bags
    )
    if inside > 1.2 * across + 0.02:
        return None
    words = (
        "the references of one example are no more alike than those of different examples: "
        "were they given one list a reference?"
    )
    return Finding(
        "references transposed", "", f"{words} An example wants its own references together"
    )


def tokenized(system: str, texts: Sequence[str], what: str) -> Finding | None:
    """Text with the spaces of a tokenizer in it, which every scorer would tokenize a second
    time.
    """
    spaced = sum(bool(SPACED.search(text) or SPACED_HAN.search(text)) for text in texts)
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
    return Finding(
        "tokenized text",
        system,
        (
            f'{percent(spaced, could)} {what} look tokenized (" .", "@@", "我 们"): detokenize '
            "them first"
        ),
    )


def miscounted(system: str, texts: Sequence[str], metrics: Sequence[Metric]) -> Finding | None:
    """Letters and digits that a scorer does not count, or whole sentences that it takes for words.

    Letters count as dropped where they are more than a fifth of all, or more than 1 % and in a
    tenth of the texts: ROUGE's rules for English leave out few letters of a German text, but those
    that tell words apart.
    """
    whose = "the outputs" if system else "the references"
    letters = [n_letter(text) for text in texts]
    total = sum(letters)
    for metric in metrics:
        counted = [metric.counted(text) for text in texts]
        if not total or None in counted:
            continue
        kept = [n_letter("".join(own)) for own in counted]
        lost = 1 - sum(kept) / total
        n_short = sum(own < all_ for own, all_ in zip(kept, letters))
        if lost > 0.2 or (lost > 0.01 and n_short >= max(2, 0.1 * len(texts))):
            share = f"{100 * lost:.0f} % of the letters and digits of {whose}"
            dropped = (
                f"{metric_label(metric.name)} drops {share} ({dropped_letters(texts, counted)})"
            )
            words = f"{dropped}: it cannot tell them apart; does its language fit?"
            return Finding("dropped characters", system, words)
        pieces = [piece for own in counted for piece in own if any(map(str.isalnum, piece))]
        if (size := mean_size(texts, pieces)) is not None:
            words = (
                f"{metric_label(metric.name)} takes {size:.0f} characters of {whose} for one "
                "word; does its language fit?"
            )
            return Finding("unsegmented text", system, words)
    return None


def dropped_letters(texts: Sequence[str], counted: Sequence[Sequence[str]]) -> str:
    """The most frequent letters that a scorer leaves out, for a message."""
    kept = Counter(character for own in counted for piece in own for character in piece)
    there = Counter(
        character
        for text in texts
        for character in normalize(text.lower())
        if LETTER.match(character)
    )
    return (
        " ".join(character for character, _ in (there - kept).most_common(5)) or "of several kinds"
    )


def n_letter(text: str) -> int:
    """Number of letters, digits and the marks that belong to them, such as the vowel signs of
    Hindi.
    """
    return len(LETTER.findall(normalize(text)))


def mean_size(texts: Sequence[str], pieces: Sequence[str]) -> float | None:
    """Mean number of characters that a scorer takes for one word, where the script has no spaces
    and they are too many for a word.
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
    """Whether a metric gives another answer the score of the right one, for most of these
    examples.
    """
    firsts = [replace(e, references=e.references[:1]) for e in examples if e.references[0].strip()]
    distinct = list({letters_only(e.references[0]): e for e in firsts}.values())[:PROBED]
    if len(distinct) < 2:
        return False
    pairs = list(zip(distinct, distinct[1:] + distinct[:1]))
    alike = sum(
        alone(metric, right.references[0], right) == alone(metric, other.references[0], right)
        for right, other in pairs
    )
    return 2 * alike > len(pairs)  # nan, of a metric that reads no text, equals nothing


def alone(metric: Metric, output: str, example: Example) -> float:
    """Score of one output."""
    return metric.score_alone(metric.statistics(example, Prediction(example.id, output)))


def letters_only(text: str) -> str:
    """What tells two answers apart in earnest: letters with their marks, and digits, in one form
    without case; else the whole text.
    """
    return "".join(LETTER.findall(normalize(text.casefold(), "NFKC"))) or text.strip()


def cannot_tell_apart(blind: Sequence[Metric]) -> Finding | None:
    """Metrics that give wrong answers the score of right ones."""
    if not blind:
        return None
    names = ", ".join(metric_label(metric.name) for metric in blind)
    words = (
        f"{names} cannot tell the references apart: another answer has the score of the "
        "right one; does the language fit?"
    )
    return Finding("constant metric", "", words)


def out_of_reach(metric: Metric, examples: Sequence[Example]) -> Finding | None:
    """A metric by which right answers have 0: BLEU where no text has four words."""
    if not metric.higher_is_better:
        return None
    total: np.ndarray | float = 0.0
    for example in (e for e in examples if e.references[0].strip()):
        text, *_ = example.references
        only = replace(example, references=(text,))
        total = total + metric.statistics(only, Prediction(example.id, text))
        if metric.score(total) != 0:  # nan, of a metric that reads no text, is no 0
            return None
    if not np.any(total):
        return None
    words = (
        f"{metric_label(metric.name)} is 0 for the references themselves: they are too short for "
        "it,"
        " or its language does not fit; read another metric"
    )
    return Finding("constant metric", "", words)


def constant(
    system: str, texts: Sequence[str], examples: Sequence[Example], metrics: Sequence[Metric]
) -> Finding | None:
    """Metrics that give each of many different outputs the same score, though half of a reference,
    say, would have another.
    """
    different = {letters_only(text) for text in texts}
    if len(different) < ENOUGH or all(
        letters_only(t) in map(letters_only, e.references)
        for t, e in zip(texts, examples, strict=True)
    ):
        return None
    found = []
    for metric in metrics:
        scores = (alone(metric, text, e) for text, e in zip(texts, examples, strict=True))
        first = next(scores)
        if all(score == first for score in scores):
            halves = {
                alone(metric, e.references[0][: len(e.references[0]) // 2], e) for e in examples
            }
            if halves - {first}:
                found.append(f"{metric_label(metric.name)} is {first:.2f}")
    if not found:
        return None
    words = (
        f"{', '.join(found)} for every one of {len(texts):,} outputs, of which "
        f"{len(different):,} differ; read some of them"
    )
    return Finding("constant metric", system, words)


# Of a system


def empty(
    system: str, texts: Sequence[str], examples: Sequence[Example], told: Collection[str] = ()
) -> Finding | None:
    """Outputs without a letter, where the references have some; `told` are ids of those that
    another check is about.
    """
    pairs = [(text, e) for text, e in zip(texts, examples, strict=True) if e.id not in told]
    n = sum(not text.strip() and any(r.strip() for r in e.references) for text, e in pairs)
    return (
        Finding("empty outputs", system, f"{percent(n, len(texts))} outputs are empty")
        if n
        else None
    )


def repeated(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """One output for many different sources: the system does not read."""
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
    return Finding(
        "repeated outputs",
        system,
        f"{len(sources):,} different sources have the same output: {short(text)}",
    )


def looping(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Outputs that say the same again and again, as seen by how far they compress beside their
    references.
    """
    loops = sum(
        ratio(text) < 0.4 and ratio(text) < 0.7 * ratio(e.references[0])
        for text, e in zip(texts, examples, strict=True)
    )
    if loops < max(3, 0.02 * len(texts)):
        return None
    return Finding(
        "looping outputs",
        system,
        f"{percent(loops, len(texts))} outputs repeat themselves; try no_repeat_ngram",
    )


def reasoning(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Outputs with the marks of a model's reasoning, `<think>` say, that no reference has."""
    pairs = zip(texts, examples, strict=True)
    n = sum(has_reasoning(text) and not any(map(has_reasoning, e.references)) for text, e in pairs)
    words = (
        f"{n:,} of {len(texts):,} outputs have reasoning in them (<think> or the like), "
        "which is scored with the answer"
    )
    return (
        Finding(
            "reasoning in outputs",
            system,
            f"{words}; an endpoint's strip_reasoning: true takes it out",
        )
        if n
        else None
    )


def unfinished(system: str, predictions: Sequence[Prediction], limit: str = "") -> list[Finding]:
    """Answers that did not end by themselves, by the reason that the system gives for it: a finding
    for each reason.

    Args:
        limit: the setting at which answers are cut, as "max_tokens=256"; by default the number of
            tokens alone is told.
    """
    cut = [p.n_token for p in predictions if p.finish_reason == "length"]
    where = limit or (
        f"{longest:,} tokens" if (longest := max(cut, default=0)) else "a limit of length"
    )
    raised = (
        "raise it" if limit else "raise the limit (max_length of a run, max_tokens of an endpoint)"
    )
    known = {
        "length": ("cut answers", f"were cut at {where}; {raised}"),
        "reasoning": (
            "reasoning without an answer",
            (
                "are empty, because all their tokens went into reasoning; raise "
                f"{limit or 'the limit of tokens'}, or ask for less reasoning"
            ),
        ),
        "content_filter": (
            "filtered answers",
            "were kept back, whole or in part, by the content filter of the provider",
        ),
        "refusal": ("refused answers", "are the words in which the model refuses to answer"),
        "tool_calls": ("tool calls", "ended with a call of a tool in place of text"),
    }
    found = []
    for reason, n in Counter(
        p.finish_reason for p in predictions if p.finish_reason not in (None, "stop")
    ).items():
        check, words = known.get(
            reason,
            ("unusual endings", f"ended with the reason {short(reason)}, as the server says"),
        )
        found.append(Finding(check, system, f"{n:,} of {len(predictions):,} answers {words}"))
    return found


def left_out(system: str, parameters: Mapping[str, object]) -> Finding | None:
    """Settings of a hosted model that its server did not take."""
    if not parameters:
        return None
    given = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    if len(parameters) == 1:
        words = (
            f"{given} was left out, because the server does not take it: its own default "
            "held, which may change answers"
        )
    else:
        words = (
            f"{given} were left out, because the server does not take them: its own defaults "
            "held, which may change answers"
        )
    return Finding("settings left out", system, words)


def cut_sources(system: str, words: str) -> Finding | None:
    """Sources that a system did not read to their end, as counted by the system itself."""
    return Finding("cut sources", system, words) if words else None


def ratio(text: str) -> float:
    """Compressed size over size; 1 for texts too short to loop."""
    data = text.encode()
    return len(zlib.compress(data, 9)) / len(data) if len(data) >= 60 else 1.0


def wrong_script(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Outputs mostly in a script that their references hardly use."""
    wanted = letters_by_script("".join(e.references[0] for e in examples))
    total = wanted.total()
    if not total or len(texts) < ENOUGH:
        return None
    usual = {each for each, n in wanted.items() if n > 0.02 * total}
    strange: Counter[str] = Counter()
    for text in texts:
        found = letters_by_script(text)
        if found and (most := found.most_common(1)[0][0]) not in usual:
            strange[most] += 1
    if (n := strange.total()) <= 0.05 * len(texts):
        return None
    kind = name_of_script(strange.most_common(1)[0][0])
    return Finding(
        "wrong script",
        system,
        f"{percent(n, len(texts))} outputs are in {kind} letters, the references are not",
    )


def wrong_language(
    system: str, texts: Sequence[str], examples: Sequence[Example]
) -> Finding | None:
    """Outputs more like the sources than like the references, by their letters: they were not
    translated.
    """
    pairs = [
        (text, e)
        for text, e in zip(texts, examples, strict=True)
        if base_language(e.language) != base_language(e.source_language)
    ]
    if len(pairs) < ENOUGH:
        return None
    source = profile(e.source for _, e in pairs)
    target = profile(e.references[0] for _, e in pairs)

    def like_source(text: str) -> bool:
        return bool(text.strip()) and likelihood(text, source) > likelihood(text, target)

    ours = [text for text, _ in pairs if text.strip()]
    wrong = sum(map(like_source, ours))
    usual = sum(like_source(e.references[0]) for _, e in pairs)
    if wrong <= 0.05 * len(ours) or wrong <= 2 * usual:
        return None
    return Finding(
        "wrong language",
        system,
        f"{percent(wrong, len(ours))} outputs look like the language of the sources",
    )


def misaligned(system: str, texts: Sequence[str], examples: Sequence[Example]) -> Finding | None:
    """Outputs that fit the references of other lines: shifted, in whole or in part, or out of
    order.
    """
    references = [e.references[0] if e.references else "" for e in examples]
    order = "are outputs and references in one order?"
    if shift := find_shift(texts, references):
        words = (
            f"outputs of lines {shift.first:,} to {shift.last:,} fit the references {shift} "
            "better than their own"
        )
        return Finding("misaligned outputs", system, f"{words}; {order}")
    found = find_disorder(texts, references)
    if found and found.is_unrelated:
        words = "outputs are no more like their own references than like those of other lines"
        return Finding(
            "misaligned outputs", system, f"{words} ({found.n_line:,} looked at); {order}"
        )
    if found:
        words = (
            f"{found.n_other:,} of {found.n_line:,} outputs looked at fit the reference of "
            "another line alone"
        )
        return Finding("misaligned outputs", system, f"{words}, {found.n_own:,} their own; {order}")
    return None


def unicode_forms(
    system: str,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
) -> Finding | None:
    """Scores that differences of Unicode form or invisible characters change."""
    words = describe_forms(predictions, examples, metrics)
    return Finding("Unicode forms", system, words) if words else None


CHECKS: tuple[Callable[[str, Sequence[str], Sequence[Example]], Finding | None], ...] = (
    repeated,
    looping,
    wrong_script,
    wrong_language,
    misaligned,
)


def beam_below_greedy(
    searches: Mapping[str, tuple[str, str]], scores: Mapping[str, Score]
) -> list[Finding]:
    """Beam search that scores worse than greedy search with the same weights: a fault in the
    search, or a setting of it that is wrong.

    Args:
        searches: system -> (digest of its weights, kind of its search, which ends so: "greedy",
            "ctcprefixbeam").
        scores: of one metric, by system.
    """
    found = []
    for system, (weights, kind) in searches.items():
        greedy = [
            other
            for other, (theirs, search) in searches.items()
            if theirs == weights and search.endswith("greedy")
        ]
        if kind.endswith("beam") and greedy and system in scores and greedy[0] in scores:
            ours = scores[system]
            theirs = scores[greedy[0]]
            if (ours.value < theirs.value) == ours.higher_is_better and ours.value != theirs.value:
                words = (
                    f"{ours.metric} is {ours.value:.2f} with beam search and "
                    f"{theirs.value:.2f} with greedy search ({greedy[0]})"
                )
                found.append(
                    Finding(
                        "beam worse than greedy",
                        system,
                        f"{words}; look at its settings and at the length ratio",
                    )
                )
    return found


# Parts


def bag(text: str) -> Counter[str]:
    """How often each word stands in the text."""
    return Counter(segment(text.lower()))


def overlap(first: Counter[str], second: Counter[str]) -> float:
    """F1 of two bags of words."""
    return 2 * (first & second).total() / max(1, first.total() + second.total())


def short(text: str, n: int = 60) -> str:
    """At most `n` characters of it, quoted."""
    return repr(text if len(text) <= n else text[: n - 1] + "…")


def profile(texts: Iterable[str]) -> Counter[str]:
    """How often each three characters stand together."""
    return Counter(gram for text in texts for gram in grams(text))


def grams(text: str) -> Iterable[str]:
    """Every three characters in a row, lower case, a space at both ends."""
    padded = f" {' '.join(text.lower().split())} "
    return (padded[i : i + 3] for i in range(len(padded) - 2))


def likelihood(text: str, known: Counter[str]) -> float:
    """Mean log probability of the text's trigrams under a profile, add-one smoothed."""
    total = known.total() + len(known) + 1
    own = list(grams(text))
    return sum(math.log((known[gram] + 1) / total) for gram in own) / max(1, len(own))

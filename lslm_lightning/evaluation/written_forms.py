"""Differences between outputs and references in letter case, punctuation marks, digits, escapes,
and text around the answers, which lower scores although the words are right.
"""

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import regex

from lslm_lightning.contracts import Example, Metric, Prediction, metric_label
from lslm_lightning.evaluation.unicode_forms import total_score

ENOUGH = 20  # outputs; what fewer share is due to chance
RATIO = 0.5  # rates whose difference is a larger part of the larger rate differ
LEAST = 0.5  # change of a score that is reported
RELATIVE = 0.02  # the same, as a part of the score
USUAL = 0.1  # the same, for differences that are usual between good answers
SHARED = (0.99, 0.5)  # parts of the outputs that begin or end alike, in the order tried
RARE = 0.05  # part of the references that may do so as well
COLUMN_MARKS = ("\t", " ||| ")
LOOKALIKES = str.maketrans(  # of Cyrillic and Greek
    "аеорсухіјѕАВЕКМНОРСТУХІЈЅοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsABEKMHOPCTYXIJSoABEZHIKMNOPTYX",
)


def plain_mark(mark: str) -> str:
    """Return the mark of ASCII for a quotation mark, an apostrophe or a dash."""
    if regex.match(r"\p{Dash}", mark):
        return "-"
    return "'" if re.search("SINGLE|APOSTROPHE", unicodedata.name(mark)) else '"'


def decimal_digit(digit: str) -> str:
    """Return the digit of ASCII with the value of a digit of any script."""
    return str(unicodedata.decimal(digit))


def of_latin(word: str) -> str:
    """Return a word of Latin letters without letters of other scripts that look like them."""
    return word.translate(LOOKALIKES) if regex.search(r"\p{Latin}", word) else word


def unescaped(escapes: str) -> str:
    """Return the characters for escapes as in JSON; the escapes if they are no characters."""
    with suppress(ValueError):
        text = str(json.loads(f'"{escapes}"'))
        text.encode()  # no half of a surrogate pair
        return text
    return escapes


def decoded_again(letters: str) -> str:
    """Return the text whose bytes in UTF-8 were read as Latin-1 or Windows-1252; `letters` if they
    are no such text.
    """
    data = bytearray()
    for letter in letters:
        for encoding in ("cp1252", "latin-1"):
            with suppress(UnicodeEncodeError):
                data += letter.encode(encoding)
                break
        else:
            return letters
    with suppress(UnicodeDecodeError):
        return data.decode()
    return letters


class Form(NamedTuple):
    """One way in which equal words may be written differently.

    Attributes:
        name: what is counted, in the plural.
        pattern: what is replaced.
        plain: function that returns what stands for a match in the common form.
        least: change of a score that is reported, as a part of the score.
    """

    name: str
    pattern: "regex.Pattern[str]"
    plain: Callable[[str], str]
    least: float = RELATIVE

    def fold(self, text: str) -> str:
        """Return the text in the common form."""
        return str(self.pattern.sub(lambda match: self.plain(match[0]), text))

    def n_changed(self, texts: Sequence[str]) -> int:
        """Return the number of matches in the texts that the common form changes."""
        found = (match[0] for text in texts for match in self.pattern.finditer(text))
        return sum(self.plain(match) != match for match in found)


def form(name: str, pattern: str, plain: Callable[[str], str], least: float = RELATIVE) -> Form:
    """Return a form whose pattern is in the syntax of `regex`, version 1."""
    return Form(name, regex.compile(pattern, regex.VERSION1), plain, least)


MISREAD = form("characters of UTF-8 read as Latin-1", r"[^\x00-\x7f]+", decoded_again)
FORMS = (
    form("capital letters", r"\p{Lu}", str.lower, USUAL),
    form(
        "typographic quotation marks and dashes",
        r"[[\p{Quotation_Mark}\p{Dash}\u02bc]--[-'\"\uff01-\uff5e]]",  # wide ones: Unicode forms
        plain_mark,
    ),
    form("digits of other scripts", r"[\p{Nd}--[0-9\uff10-\uff19]]", decimal_digit),
    form(
        "vowel marks and stretched letters",  # of Arabic and Hebrew
        r"[\u0610-\u061a\u064b-\u065f\u0670\u0640"
        r"\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]",
        lambda _: "",
    ),
    form(
        "letters of other scripts that look like Latin",
        r"\b\w*[\p{Greek}\p{Cyrillic}]\w*\b",
        of_latin,
    ),
    form("HTML entities", r"&(?:#\w+|\w+);", html.unescape),
    form("backslash escapes", r'(?:\\u[0-9a-fA-F]{4})+|\\[nrt"/\\]', unescaped),
    MISREAD,
    form(  # <unk> is a word that a model does not know
        "special tokens",
        r"</?s>|<(?:pad|bos|eos|start_of_turn|end_of_turn)>|<\|[\w ]+\|>"
        r"|\[(?:PAD|CLS|SEP|BOS|EOS)\]",
        lambda _: "",
    ),
)


PUNCTUATION = form("punctuation marks", r"\p{P}", lambda _: "", USUAL)


def describe_writing(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    forms: Sequence[Form] = FORMS,
) -> Iterator[str]:
    """Yield a message for each form that outputs and references differ in, and that lowers scores.

    Args:
        predictions: predictions with outputs, in the order of `examples`.
        forms: forms to inspect.
    """
    outputs = [p.output or "" for p in predictions]
    references = [r for e in examples for r in e.references]
    sizes = [max(1, sum(map(len, texts))) for texts in (outputs, references)]
    for each in forms:
        counts = [each.n_changed(texts) for texts in (outputs, references)]
        rates = [n / size for n, size in zip(counts, sizes, strict=True)]
        if max(rates) - min(rates) <= RATIO * max(rates):
            continue
        folded = [replace(p, output=each.fold(p.output or "")) for p in predictions]
        alike = [replace(e, references=tuple(map(each.fold, e.references))) for e in examples]
        if gains := improvements(metrics, (predictions, examples), (folded, alike), each.least):
            yield (
                f"{each.name} differ ({counts[0]:,} in outputs, {counts[1]:,} in references); "
                f"scores as written, and without the difference: {gains}"
            )


def describe_wrapping(
    predictions: Sequence[Prediction], examples: Sequence[Example], metrics: Sequence[Metric]
) -> str:
    """Return a message about a beginning or ending that many outputs share, references do not have,
    and that lowers scores; "" if there is none.

    Examples are "Sure, here is the translation:", quotation marks, and code fences.

    Args:
        predictions: predictions with outputs, in the order of `examples`.
    """
    outputs = [p.output or "" for p in predictions]
    if len(outputs) < ENOUGH:
        return ""
    references = [r for e in examples for r in e.references]
    begin = shared_beginning(outputs, references)
    end = shared_beginning([t[::-1] for t in outputs], [t[::-1] for t in references])[::-1]
    if not begin and not end:
        return ""
    bare = [
        replace(p, output=(p.output or "").removeprefix(begin).removesuffix(end))
        for p in predictions
    ]
    n = sum(text.startswith(begin) and text.endswith(end) for text in outputs)
    if sum(not p.output for p in bare) > n / 2:  # it is the answer
        return ""
    gains = improvements(metrics, (predictions, examples), (bare, examples), USUAL)
    if not gains:
        return ""
    shown = " and ".join(
        f"{verb} with {text[:60]!r}" for verb, text in (("begin", begin), ("end", end)) if text
    )
    return (
        f"{n:,} of {len(outputs):,} outputs {shown}, which references do not; scores as written, "
        f"and without it: {gains}"
    )


def describe_columns(
    predictions: Sequence[Prediction], examples: Sequence[Example], metrics: Sequence[Metric]
) -> str:
    """Return a message about columns that most outputs have, references do not have, and that lower
    scores; "" if there are none.

    Other tools write a score, a number or the source beside each answer.

    Args:
        predictions: predictions with outputs, in the order of `examples`.
    """
    references = [r for e in examples for r in e.references]
    for mark in COLUMN_MARKS:
        rows = [(p.output or "").split(mark) for p in predictions]
        n = sum(len(row) > 1 for row in rows)
        n_known = sum(mark in text for text in references)
        if n < max(ENOUGH, len(rows) / 2) or n_known > RARE * len(references):
            continue
        for column in range(min(len(row) for row in rows if len(row) > 1)):
            alone = [
                replace(p, output=row[column].strip() if len(row) > 1 else p.output)
                for p, row in zip(predictions, rows, strict=True)
            ]
            if gains := improvements(metrics, (predictions, examples), (alone, examples), RELATIVE):
                return (
                    f"{n:,} of {len(rows):,} outputs have columns, separated by {mark!r}, which "
                    f"references do not; scores as written, and of column {column + 1} alone: "
                    f"{gains}"
                )
    return ""


def shared_beginning(texts: Sequence[str], references: Sequence[str]) -> str:
    """Return the longest beginning that nearly all of the texts share, else at least half of them,
    and that hardly any reference has, without a last part of a word; "" if there is none.
    """
    # in sorted order, such texts stand together and include the one in the middle
    middle = sorted(texts)[len(texts) // 2]
    lengths = sorted(n_common(text, middle) for text in texts)
    for part in SHARED:
        length = lengths[int((1 - part) * len(lengths))]
        begin = middle[:length]
        if middle[length : length + 1].isalnum():
            begin = re.sub(r"\w+\Z", "", begin)
        n_known = sum(text.startswith(begin) for text in references)
        if begin and n_known <= RARE * len(references):
            return begin
    return ""


def n_common(first: str, second: str) -> int:
    """Return the number of characters with which two texts begin alike."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def improvements(
    metrics: Sequence[Metric],
    written: tuple[Sequence[Prediction], Sequence[Example]],
    common: tuple[Sequence[Prediction], Sequence[Example]],
    least: float,
) -> str:
    """Return the scores of two pairs of predictions and examples by those metrics that improve in
    the second, such as "BLEU 12.00 and 30.00"; "" if none does.

    Args:
        least: change that is an improvement, as a part of the score.
    """
    found = []
    for metric in metrics:
        now = total_score(metric, *written)
        then = total_score(metric, *common)
        gain = then - now if metric.higher_is_better else now - then
        if gain >= max(LEAST, least * abs(now), least * abs(then)):
            found.append(f"{metric_label(metric.name)} {now:.2f} and {then:.2f}")
    return ", ".join(found)

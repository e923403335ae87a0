"""Differences between outputs and references in Unicode normalization form and invisible
characters.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lslm_lightning.contracts import Example, Metric, Prediction

VARIATION = {chr(code) for code in range(0xFE00, 0xFE10)}
LEAST = 0.05  # change of a score that is reported


def one_form(text: str) -> str:
    """Return the text in NFKC, without invisible characters: joiners, soft hyphens, byte order
    marks, direction marks and variation selectors.
    """
    if text.isascii():
        return text
    kept = (c for c in text if unicodedata.category(c) != "Cf" and c not in VARIATION)
    return unicodedata.normalize("NFKC", "".join(kept))


def special_characters(texts: Sequence[str]) -> Counter[str]:
    """Return, for each character that normalization would change or remove, the number of texts
    that contain it.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        if text.isascii():
            continue
        special = {c for c in text if not c.isascii() and one_form(c) != c}
        if not unicodedata.is_normalized("NFC", text):
            composed = unicodedata.normalize("NFC", text)
            special |= {c for c in set(text) - set(composed) if not c.isascii()}
        counts.update(special)
    return counts


def character_name(character: str) -> str:
    """Return the code point and name of a character, such as "U+00A0 NO-BREAK SPACE"."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def describe_forms(
    predictions: Sequence[Prediction], examples: Sequence[Example], metrics: Sequence[Metric]
) -> str:
    """Return a message about scores that would improve if outputs and references were normalized,
    or "" if none would.

    Args:
        predictions: predictions with outputs, in the order of `examples`.
    """
    outputs = special_characters([p.output or "" for p in predictions])
    references = special_characters([r for e in examples for r in e.references])
    n_reference = sum(len(e.references) for e in examples)
    shares = {
        c: (outputs[c] / max(1, len(predictions)), references[c] / max(1, n_reference))
        for c in outputs | references
    }
    apart = {c: abs(a - b) for c, (a, b) in shares.items() if abs(a - b) > 0.2 * max(a, b)}
    if not apart:
        return ""
    folded = [replace(p, output=one_form(p.output or "")) for p in predictions]
    alike = [replace(e, references=tuple(map(one_form, e.references))) for e in examples]
    changes: dict[str, tuple[float, float]] = {}
    for metric in metrics:
        now = total_score(metric, predictions, examples)
        then = total_score(metric, folded, alike)
        gain = then - now if metric.higher_is_better else now - then
        if gain >= LEAST:
            changes[metric.name] = now, then
    if not changes:
        return ""
    told = ", ".join(
        f"{name} is {now:.2f} as written and {then:.2f} in one form"
        for name, (now, then) in changes.items()
    )
    named = sorted(apart, key=lambda c: (-apart[c], c))[:3]
    counts = "; ".join(
        f"{character_name(c)} in {outputs[c]:,} outputs and {references[c]:,} references"
        for c in named
    )
    more = f"; and {len(apart) - 3} more" if len(apart) > 3 else ""
    return f"{told} (NFKC, without invisible characters): {counts}{more}"


def total_score(
    metric: Metric, predictions: Sequence[Prediction], examples: Sequence[Example]
) -> float:
    """Return the corpus score of the predictions by one metric."""
    return float(metric.score(metric.rows(examples, predictions).sum(0)))

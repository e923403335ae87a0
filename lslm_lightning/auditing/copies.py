"""Parts of written texts that occur verbatim in the training texts, and in how many."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lslm_lightning.auditing.suffix_array import CopiedSpan, SuffixArray

N_BYTE = 50  # of the shortest copy that counts: 50 Latin letters, 17 Chinese characters
N_CHARACTER = 17  # of a copy of so many bytes, at least, but for rare characters
BOUNDS = (1, 2, 5, 10, 100)  # numbers of training texts: k of a k-eidetic string


class CopiedText(NamedTuple):
    """Written text with its copies from the training texts."""

    longest: int  # characters of the longest copy
    strings: list[str]  # copies of at least `N_BYTE` bytes


def copied_text(text: str, known: SuffixArray, source: str = "") -> CopiedText:
    """Return the copies of a text from the training texts. Copies that occur in `source`, from
    which the text was written, do not count.
    """
    if not source:
        longest = known.longest_copy(text)
    else:
        found = [c for c in known.copies(text) if part_of(text, c) not in source]
        longest = max(found, key=lambda copy: copy.length, default=CopiedSpan(0, 0))
    copies = known.copies(text, N_CHARACTER)
    strings = [part_of(text, copy).strip() for copy in copies]
    strings = [string for string in strings if len(string.encode()) >= N_BYTE]
    return CopiedText(
        longest.length, [each for each in strings if each not in source or not source]
    )


def part_of(text: str, copy: CopiedSpan) -> str:
    """Return the part of a text that a copy names."""
    return text[copy.start : copy.start + copy.length]


def copied_texts(
    texts: Sequence[str],
    known: SuffixArray,
    progress: Callable[[float], None],
    sources: Sequence[str] | None = None,
) -> list[CopiedText]:
    """Return the copies of each text; see `copied_text`.

    Args:
        progress: told the share that is done.
        sources: text that each text was written from; None if there is none.
    """
    found = []
    for i, text in enumerate(texts):
        found.append(copied_text(text, known, sources[i] if sources else ""))
        progress((i + 1) / len(texts))
    return found


def eidetic_counts(found: Sequence[CopiedText], known: SuffixArray) -> dict[str, int]:
    """Return, for each distinct copied string, the number k of training texts in which it occurs.

    Source: Carlini et al. 2021, definition 2 (k-eidetic memorization).
    """
    strings = Counter(string for each in found for string in each.strings)
    return {string: known.n_document(string) for string in strings}

"""Differences between an answer and its references, word by word."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

MAX_UNITS = 1500  # longer texts are not compared: the matching is quadratic


class DifferencePiece(NamedTuple):
    """Piece of a text; `differs` is True if it has no counterpart in the text compared with."""

    text: str
    differs: bool


def units(text: str) -> list[tuple[int, int]]:
    """Return the character span (start, end) of each unit of comparison.

    A unit is a word, a punctuation mark, or one character of Chinese or Japanese.
    """
    spans = []
    for kind, run in groupby(enumerate(text), lambda item: _kind(item[1])):
        offsets = [offset for offset, _ in run]
        if kind == "word":
            spans.append((offsets[0], offsets[-1] + 1))
        elif kind == "single":
            spans += [(offset, offset + 1) for offset in offsets]
    return spans


def _kind(character: str) -> str:
    """Return the kind of a character: "space", "single" (a unit on its own) or "word" (part of a
    word).
    """
    if character.isspace():
        return "space"
    if unicodedata.category(character)[0] in "PS":
        return "single"
    code = ord(character)
    chinese = (
        0x2E80 <= code <= 0x31FF
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFF
    )
    return "single" if chinese else "word"


def compare(
    answer: str, references: Sequence[str]
) -> tuple[list[DifferencePiece], list[list[DifferencePiece]]]:
    """Return the pieces of the answer and of each reference, with differences between the answer
    and the closest reference marked.

    The pieces of a text, joined, give the text. The other references are one unmarked piece each.
    Nothing is marked if there is no reference or if a text is very long.
    """
    spans = [units(text) for text in (answer, *references)]
    whole, *plain = (
        [DifferencePiece(text, False)] if text else [] for text in (answer, *references)
    )
    if not references or max(map(len, spans)) > MAX_UNITS:
        return whole, plain
    words = [
        [text[start:end] for start, end in span]
        for text, span in zip((answer, *references), spans, strict=True)
    ]
    matchers = [SequenceMatcher(None, words[0], other, autojunk=False) for other in words[1:]]
    closest = max(range(len(matchers)), key=lambda i: matchers[i].ratio())
    blocks = matchers[closest].get_matching_blocks()
    plain[closest] = _pieces(
        references[closest], spans[closest + 1], [(block.b, block.size) for block in blocks]
    )
    return _pieces(answer, spans[0], [(block.a, block.size) for block in blocks]), plain


def _pieces(
    text: str, spans: list[tuple[int, int]], equal: list[tuple[int, int]]
) -> list[DifferencePiece]:
    """Cut a text into equal and differing pieces. Spaces at the border of two pieces belong to the
    equal one.

    Args:
        spans: character span of each unit.
        equal: equal runs as (index of the first unit, number of units).
    """
    same = {start + i for start, size in equal for i in range(size)}
    pieces = []
    end = 0
    for differs, run in groupby(range(len(spans)), lambda i: i not in same):
        if differs:
            indices = list(run)
            start = spans[indices[0]][0]
            pieces.append(DifferencePiece(text[end:start], False))
            end = spans[indices[-1]][1]
            pieces.append(DifferencePiece(text[start:end], True))
    return [piece for piece in (*pieces, DifferencePiece(text[end:], False)) if piece.text]

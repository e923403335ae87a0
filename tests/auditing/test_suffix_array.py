"""Suffix array against brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.auditing.suffix_array import SuffixArray, code_points, sorted_suffixes

LETTERS = st.text(st.sampled_from("ab \U0001f600中"), max_size=40)
TEXTS = st.lists(LETTERS, max_size=6)


@given(LETTERS)
def test_suffixes_are_sorted(text: str) -> None:
    order = sorted_suffixes(code_points(text)).tolist()
    assert order == sorted(range(len(text)), key=lambda at: text[at:])


def test_one_symbol_repeated_is_sorted_from_its_end() -> None:
    n = 5000
    order = sorted_suffixes(np.full(n, 7, np.uint32))
    np.testing.assert_array_equal(order, np.arange(n)[::-1])


@given(TEXTS, LETTERS)
def test_counts_are_those_of_a_search(texts: list[str], pattern: str) -> None:
    known = SuffixArray(texts)
    if not pattern:
        return
    ends = [
        sum(text.startswith(pattern, at) for at in range(len(text) - len(pattern) + 1))
        for text in texts
    ]
    assert known.count(pattern) == sum(ends)
    assert known.n_document(pattern) == sum(pattern in text for text in texts)
    assert known.holds(pattern) == any(pattern in text for text in texts)


def parts(text: str) -> set[tuple[int, int]]:
    return {(i, j) for i in range(len(text)) for j in range(i + 1, len(text) + 1)}


@given(TEXTS, LETTERS)
def test_longest_copy_is_the_longest_part_in_one_text(texts: list[str], query: str) -> None:
    copy = SuffixArray(texts).longest_copy(query)
    found = [(i, j) for i, j in parts(query) if any(query[i:j] in text for text in texts)]
    longest = max((j - i for i, j in found), default=0)
    first = min((i for i, j in found if j - i == longest), default=0)
    assert copy == (first, longest)


@given(TEXTS, LETTERS, st.integers(1, 4))
def test_copies_are_all_maximal_parts(texts: list[str], query: str, shortest: int) -> None:
    copies = SuffixArray(texts).copies(query, shortest)
    found = {(i, j) for i, j in parts(query) if any(query[i:j] in text for text in texts)}
    maximal = {
        (i, j - i)
        for i, j in found
        if j - i >= shortest and (i - 1, j) not in found and (i, j + 1) not in found
    }
    assert copies == sorted(maximal)


def test_texts_beyond_the_limit_are_counted() -> None:
    known = SuffixArray(["abc", "a long text", "de"], most=8)
    assert known.n_left_out == 1
    assert known.holds("de")
    assert not known.holds("long")
    assert not known.holds("cd")  # no copy goes from one text into the next

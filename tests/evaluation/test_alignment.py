"""Misaligned outputs and training pairs are reported; aligned ones are not."""

import random

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.alignment import find_shift, sample
from lslm_lightning.evaluation.diagnostics import run_checks
from lslm_lightning.evaluation.disorder import find_disorder
from lslm_lightning.evaluation.pair_alignment import describe_pairs, find_length_shift
from lslm_lightning.metrics.bleu import Bleu

SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def sentences(n: int, seed: int = 0, alphabet: dict[int, str] | None = None) -> list[str]:
    """Different ones, of words that are used as often as words are (Zipf)."""
    words = random.Random(0)
    vocabulary = [
        "".join(words.choices(SYLLABLES, k=words.choice((1, 2, 2, 3)))) for _ in range(1500)
    ]
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    rng = random.Random(seed)
    found = {}
    while len(found) < n:
        chosen = rng.choices(vocabulary, weights, k=rng.randrange(5, 15))
        text = f"{' '.join(chosen)}, {rng.randrange(90)}"
        found[text.translate(alphabet) if alphabet else text] = None
    return list(found)


CYRILLIC = {
    ord(a): b
    for a, b in zip("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстуввхыз", strict=True)
}
HAN = {ord(a): chr(0x4E00 + 37 * i) for i, a in enumerate("abcdefghijklmnopqrstuvwxyz")} | {
    32: None
}
THAI = {ord(a): chr(0x0E01 + i) for i, a in enumerate("abcdefghijklmnopqrstuvwxyz")} | {32: None}
SCRIPTS = {"latin": None, "cyrillic": CYRILLIC, "han": HAN, "thai": THAI}


def system(references: list[str], least: float, seed: int = 0) -> list[str]:
    """Outputs with words replaced, until chrF is nearly so low."""
    rng = random.Random(seed)
    has_spaces = " " in references[0]
    units = [list(text.split() if has_spaces else text) for text in references]
    every = [unit for text in units for unit in text]
    outputs = units
    while True:
        changed = [
            [rng.choice(every) if rng.random() < 0.1 else u for u in text] for text in outputs
        ]
        joined = [(" " if has_spaces else "").join(text) for text in changed]
        if sacrebleu.corpus_chrf(joined, [references]).score < least:
            return [(" " if has_spaces else "").join(text) for text in outputs]
        outputs = changed


def shifted(texts: list[str], start: int, stop: int, by: int) -> list[str]:
    """Lines of a run, each in the place of one `by` lines further up or down; the run goes
    round.
    """
    run = texts[start:stop]
    return [*texts[:start], *run[by:], *run[:by], *texts[stop:]]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("n", "least"), [(100, 35), (100, 60), (400, 35)])
def test_shifts_and_permutations_are_told(script, least, n):
    references = sentences(n, alphabet=SCRIPTS[script])
    outputs = system(references, least)
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None
    for by in (1, -1, 2, -3, 4, 5, -5):
        found = find_shift(shifted(outputs, 0, n, by), references)
        assert found.offset == by, found
        assert found.last - found.first > 0.8 * n
    start = n // 3
    for by in (1, -1, 2, -2):
        found = find_shift(shifted(outputs, start, start + n // 10, by), references)
        assert found.offset == by, found
        assert start - 3 <= found.first <= found.last <= start + n // 10 + 4
    for share in (0.5, 1):
        rng = random.Random(by)
        chosen = rng.sample(range(n), int(share * n))
        order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
        permuted = [outputs[order.get(i, i)] for i in range(n)]
        assert find_disorder(permuted, references)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    n=st.integers(100, 150),
    script=st.sampled_from(sorted(SCRIPTS)),
    least=st.sampled_from([31, 40, 70]),
    seed=st.integers(0, 999),
    by=st.sampled_from([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]),
    share=st.floats(0.5, 1),
)
def test_any_system_of_chrf_30_is_told_when_misaligned(n, script, least, seed, by, share):
    references = sentences(n, seed, SCRIPTS[script])
    outputs = system(references, least, seed)
    assert sacrebleu.corpus_chrf(outputs, [references]).score >= 30
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None
    assert find_shift(shifted(outputs, 0, n, by), references).offset in (by, by - n)
    rng = random.Random(seed)
    chosen = rng.sample(range(n), int(share * n))
    order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
    assert find_disorder([outputs[order.get(i, i)] for i in range(n)], references)


@pytest.mark.parametrize("keep", [0.08, 0.45])
@pytest.mark.parametrize("by", [1, -2, 3])
def test_ten_lines_of_a_weak_system_are_told(keep, by):
    """Some words of each text are right, after a beginning that all texts share."""
    references = sentences(100, 3)
    rng = random.Random(3)
    outputs = [
        "zuzu bobo, " + " ".join(w for w in text.split() if rng.random() < keep)
        for text in references
    ]
    assert find_shift(outputs, references) is None
    moved = [*outputs[:40], *outputs[40 + by : 50 + by], *outputs[50:]]
    found = find_shift(moved, references)
    assert found.offset == by
    assert 37 <= found.first <= found.last <= 53


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(by=st.sampled_from([-5, -2, -1, 1, 3, 5]), seed=st.integers(0, 99), start=st.integers(6, 84))
def test_outputs_repeated_far_apart_tell_a_shift(by, seed, start):
    """A weak system gives each answer twice, to lines that share a part of it."""
    halves = [" ".join(text.split()[:5]) for text in sentences(150, seed)]
    references = [f"{halves[i % 50]} {halves[50 + i]}" for i in range(100)]
    outputs = [f"{halves[i % 50]} {halves[50 + i % 50]}" for i in range(100)]
    assert find_shift(outputs, references) is None
    moved = [*outputs[:start], *outputs[start + by : start + 10 + by], *outputs[start + 10 :]]
    found = find_shift(moved, references)
    assert found.offset == by
    assert start - 3 <= found.first <= found.last <= start + 13


@pytest.mark.parametrize("seed", range(3))
def test_answers_of_their_own_dates_are_no_permutation(seed):
    """Answers share a day, a month or a year with another line alone, as references do with each
    other.
    """
    rng = random.Random(seed)
    months = ["January", "February", "March", "April", "May", "June", "July", "August"]
    texts = list(
        {
            f"{rng.choice(months)} {rng.randrange(1, 29)}, {rng.randrange(1900, 2100)}": None
            for _ in range(600)
        }
    )
    references = texts[:300]
    outputs = texts[300:]
    found = find_disorder(outputs[:280], references[:280])
    assert found is None or found.is_unrelated, (
        "what is told of them is that they fit no line of theirs"
    )
    assert find_shift(outputs[:280], references[:280]) is None


@pytest.mark.parametrize(
    "references",
    [
        ["yes", "no", "maybe"] * 100,
        [str(i % 10) for i in range(300)],
        sentences(12) * 25,
        [text for text in sentences(60) for _ in range(5)],
        [""] * 200,
        [f"line {i}" for i in range(150)],
        sentences(30),
    ],
    ids=["labels", "digits", "few", "repeated in a row", "empty", "numbered", "short"],
)
@pytest.mark.parametrize("share", [0, 0.3, 0.6])
def test_few_different_references_are_no_alarm(references, share):
    rng = random.Random(1)
    outputs = [rng.choice(references) if rng.random() < share else text for text in references]
    assert find_shift(outputs, references) is None
    if share < 0.5:
        assert find_disorder(outputs, references) is None


def test_what_knows_nothing_of_its_line_is_no_alarm():
    references = sentences(300)
    for outputs in (
        ["the dog"] * 300,
        [""] * 300,
        sentences(300, 5),
        [text.upper()[:9] for text in references],
    ):
        assert find_shift(outputs, references) is None
        found = find_disorder(outputs, references)
        assert found is None or found.is_unrelated
    assert find_disorder(sentences(300, 5), references).is_unrelated
    assert find_disorder([text.upper()[:9] for text in references], references) is None


def test_answers_from_passages_that_questions_share_are_no_alarm():
    """A rule answers most questions on a passage by one of its sentences, which has the answers to
    several of them.
    """
    rng = random.Random(0)
    references = []
    outputs = []
    for passage in range(120):
        parts = sentences(4, passage)
        for question in range(8):
            answer = rng.choice(parts)
            references.append(" ".join(rng.sample(answer.split(), 4)))
            outputs.append(rng.choice(parts) if question == 7 else parts[0])
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None


@pytest.mark.parametrize("share_unanswerable", [0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_answers_to_other_questions_on_the_passage_are_no_permutation(share_unanswerable, seed):
    """A system that errs takes them for its own; what has no answer has no reference that could
    fit.
    """
    rng = random.Random(seed)
    texts = sentences(480, seed)
    references = []
    outputs = []
    for start in range(0, len(texts), 6):
        answers = texts[start : start + 6]
        for i, answer in enumerate(answers):
            other = rng.choice(answers[:i] + answers[i + 1 :])
            if rng.random() < share_unanswerable:
                references.append("")
                outputs.append(other if rng.random() < 0.3 else "")
            else:
                references.append(answer)
                outputs.append(rng.choices([answer, other, "zuzu"], [0.35, 0.3, 0.35])[0])
    assert find_disorder(outputs, references) is None
    assert find_shift(outputs, references) is None


def half_permuted(texts: list[str], seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    chosen = rng.sample(range(len(texts)), len(texts) // 2)
    order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
    return [texts[order.get(i, i)] for i in range(len(texts))]


def test_references_that_are_alike_hide_no_permutation():
    """Each reference stands twice, with another word at its end."""
    rng = random.Random(3)
    twice = zip(sentences(100, 3)[::2], sentences(100, 4), sentences(100, 5), strict=False)
    references = [f"{a} {end.split()[0]}" for a, *ends in twice for end in ends]
    outputs = [" ".join(w for w in text.split() if rng.random() < 0.5) for text in references]
    assert find_disorder(outputs, references) is None
    assert not find_disorder(half_permuted(outputs), references).is_unrelated


def test_a_few_answers_that_are_word_for_word_those_of_others_are_told():
    """One output in eight is right and all others are unrelated."""
    references = sentences(100, 3)
    outputs = [
        a if i % 8 == 0 else b
        for i, (a, b) in enumerate(zip(references, sentences(100, 9), strict=True))
    ]
    assert find_disorder(outputs, references) is None
    assert not find_disorder(half_permuted(outputs), references).is_unrelated


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("n", [100, 300])
def test_what_all_outputs_begin_with_hides_no_permutation(n, share):
    """Models often open each answer with the same words."""
    references = sentences(n, 3)
    rng = random.Random(3)
    kept = [" ".join(w for w in text.split() if rng.random() < 0.4) for text in references]
    outputs = [f"{references[0][:20]} {text}" for text in kept]
    assert find_disorder(outputs, references) is None
    chosen = rng.sample(range(n), int(share * n))
    order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
    assert find_disorder([outputs[order.get(i, i)] for i in range(n)], references)


def mixture(n: int, seed: int, share: float = 0.2) -> tuple[list[str], list[str]]:
    """Return references, and outputs that are right or unrelated."""
    texts = sentences(2 * n, seed)
    rng = random.Random(seed)
    references = texts[:n]
    others = iter(texts[n:])
    return references, [text if rng.random() < share else next(others) for text in references]


@pytest.mark.parametrize("seed", range(4))
def test_a_fifth_of_right_outputs_tells_the_order(seed):
    """The others are unrelated to every reference, and say nothing of the order."""
    references, outputs = mixture(150, seed)
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None
    rng = random.Random(seed)
    for share in (0.5, 1):
        chosen = rng.sample(range(150), int(share * 150))
        order = dict(zip(chosen, rng.sample(chosen, len(chosen)), strict=True))
        assert find_disorder([outputs[order.get(i, i)] for i in range(150)], references)


@pytest.mark.parametrize("seed", range(4))
def test_weak_matches_with_other_lines_are_no_permutation(seed):
    """Unrelated outputs share a part with some reference, right ones are copies of theirs."""
    references, outputs = mixture(150, seed, 0.15)
    rng = random.Random(seed)
    other = [
        f"{text} {' '.join(rng.choice(references).split()[:4])}"
        if text not in references and rng.random() < 0.3
        else text
        for text in outputs
    ]
    assert find_disorder(other, references) is None


def test_neighbours_that_share_a_subject_are_no_alarm():
    """Questions on one passage: a system that copies the passage fits all of them alike."""
    rng = random.Random(0)
    passages = [" ".join(sentences(6, seed)) for seed in range(60)]
    references = [" ".join(rng.sample(p.split(), 3)) for p in passages for _ in range(5)]
    outputs = [p[:200] for p in passages for _ in range(5)]
    assert find_shift(outputs, references) is None
    assert find_disorder(outputs, references) is None


def test_the_check_names_system_lines_and_offset():
    references = sentences(200)
    examples = [
        Example(str(i), f"source {i} {t[::-1]}", (t,), "en") for i, t in enumerate(references)
    ]
    outputs = shifted(references, 0, 200, 1)
    answers = {"a": [Prediction(e.id, text) for e, text in zip(examples, outputs, strict=True)]}
    [found] = [
        f for f in run_checks(examples, answers, [Bleu("en")]) if f.check == "misaligned outputs"
    ]
    assert found.system == "a"
    assert "fit the references 1 line further on better than their own" in found.words


def test_long_corpora_are_looked_at_in_blocks():
    lines = sample(200_000)
    assert len(lines) == 10_000
    assert (lines[0], lines[-1]) == (0, 199_999)
    assert len(sample(9_000)) == 9_000


# Training pairs


def translated(texts: list[str]) -> list[str]:
    """Return the texts in another alphabet, except for numbers."""
    return [text.translate(CYRILLIC) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [translated, lambda texts: [text.split(", ")[0] for text in texts]]
)
def test_pairs_one_line_off_are_told(make):
    sources = sentences(1500)
    targets = make(sources)
    assert describe_pairs(sources, targets) == ""
    for by in (1, -2):
        words = describe_pairs(sources, shifted(targets, 0, 1500, by))
        assert f"{abs(by)} line" in words, words
        assert ("further up" if by > 0 else "further on") in words
    words = describe_pairs(sources, shifted(targets, 800, 1500, 1))
    assert "1 line further up" in words
    first = int(words.split("lines ")[1].split(" to ")[0].replace(",", ""))
    assert abs(first - 801) < 60


def test_lengths_alone_tell_a_shift():
    rng = random.Random(0)
    sizes = [rng.randrange(3, 60) for _ in range(1200)]
    sources = ["ab " * n for n in sizes]
    targets = ["一二" * max(1, n + rng.randrange(-4, 5)) for n in sizes]
    assert find_length_shift(sources, targets) is None
    assert find_length_shift(sources, targets[1:] + targets[:1]).offset == -1
    found = find_length_shift(sources, [*targets[:600], "一", *targets[600:-1]])
    assert found.offset == 1
    assert 560 <= found.first <= 700


@pytest.mark.parametrize("seed", range(3))
def test_pairs_without_a_relation_are_no_alarm(seed):
    assert describe_pairs(sentences(600, seed), translated(sentences(600, seed + 10))) == ""
    assert describe_pairs(["a b"] * 600, ["c"] * 600) == ""

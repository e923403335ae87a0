"""Models as text, read by KenLM as by us."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.ngram.arpa import read_arpa, write_arpa
from lslm_lightning.systems.arpa import Arpa
from tests.ngram.conftest import VOCAB, as_ids, train

WORDS = ["<unk>", "<s>", "</s>", *("词" * (i % 3) + f"w{i}" for i in range(3, VOCAB))]
BY_HAND = """
\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.4
-0.7\t</s>
-0.5\ta\t-0.3
-0.9\tb

\\2-grams:
-0.2\t<s> a
-0.3\ta b
-0.6\tb </s>

\\end\\
"""


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    (tmp_path / "hand.arpa").write_text(BY_HAND)
    return tmp_path / "hand.arpa"


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_model_comes_back(order, sentences, tmp_path):
    model = train(as_ids(sentences), order, VOCAB)
    write_arpa(model, WORDS, tmp_path / "m.arpa")
    again, words = read_arpa(tmp_path / "m.arpa")
    assert words == WORDS
    np.testing.assert_allclose(
        again.log_probs(as_ids(sentences)), model.log_probs(as_ids(sentences)), atol=1e-5
    )


@pytest.mark.parametrize("order", [2, 4])
def test_kenlm_says_the_same(order, sentences, tmp_path):
    kenlm = pytest.importorskip("kenlm")
    model = train(as_ids(sentences), order, VOCAB)
    write_arpa(model, WORDS, tmp_path / "m.arpa")
    theirs = kenlm.Model(str(tmp_path / "m.arpa"))
    for sentence in (*sentences[:40], [33, 5, 30], [0, 4]):
        scores = [score for score, _, _ in theirs.full_scores(" ".join(WORDS[i] for i in sentence))]
        ours = model.log_probs(as_ids([sentence]))[1:] / math.log(10)
        np.testing.assert_allclose(ours, scores, atol=1e-4)


def test_a_file_of_others_is_read_as_kenlm_reads_it(by_hand):
    model, words = read_arpa(by_hand)
    number = {word: i for i, word in enumerate(words)}

    def scores(text):
        ids = np.array(
            [number.get(word, number["<unk>"]) for word in ("<s>", *text.split(), "</s>")]
        )
        return model.log_probs(ids)[1:] / math.log(10)

    assert scores("a b") == pytest.approx([-0.2, -0.3, -0.6], abs=1e-6)
    assert scores("b a") == pytest.approx([-0.4 - 0.9, -0.5, -0.3 - 0.7], abs=1e-6)
    kenlm = pytest.importorskip("kenlm")
    theirs = kenlm.Model(str(by_hand))
    for text in ("a b", "b a", "a a b", "x a", ""):
        assert scores(text).sum() == pytest.approx(theirs.score(text), abs=1e-4)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("-0.3\ta b", "-0.3\ta", "line 15: there should be a number, 2 words, and not"),
        ("-0.3\ta b", "-0.3\ta b\t-1", "line 15"),
        ("-0.3\ta b", "x\ta b", "line 15: 'x\\ta b' has no number"),
        ("-0.3\ta b", "0.3\ta b", "line 15: 0.3 is no logarithm of a probability"),
        ("-0.3\ta b", "nan\ta b", "line 15: nan is no logarithm of a probability"),
        ("-0.5\ta\t-0.3", "-0.5\ta\tnan", "line 10: nan is no logarithm of a back-off"),
        ("-0.5\ta\t-0.3", "-0.5\ta\tinf", "line 10: inf is no logarithm of a back-off"),
        (
            "ngram 2=3",
            "ngram 2=99999999999999999999",
            "bytes cannot have 99999999999999999999 n-grams",
        ),
        ("-0.3\ta b", "-0.3\ta c", "line 15: the word 'c' is not among the 1-grams"),
        ("-0.3\ta b", "-0.3\t<s> a", "line 15: the n-gram stands there twice"),
        ("-0.9\tb", "-0.9\ta", "line 11: the word 'a' stands there twice"),
        ("ngram 2=3", "ngram 2=4", "line 18: there should be a number, 2 words"),
        ("ngram 2=3", "ngram 3=3", "order 3 comes after order 1"),
        ("ngram 2=3", "ngram 2=2", "there should be \\\\end\\\\, and not"),
        ("\\end\\", "", "the file ends before \\\\end\\\\"),
        ("\\data\\", "data", "the file ends before"),
    ],
)
def test_a_broken_line_is_named(old, new, said, by_hand):
    by_hand.write_text(BY_HAND.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"hand\.arpa, line \d+: .*") as caught:
        read_arpa(by_hand)
    assert said.replace("\\\\", "\\") in str(caught.value)


def test_only_line_feeds_end_lines(by_hand):
    """CRLF too; a carriage return alone is white space, as KenLM takes it."""
    straight = read_arpa(by_hand)
    for changed in (BY_HAND.replace("\n", "\r\n"), BY_HAND.replace("-0.3\ta b", "-0.3\ra\rb")):
        by_hand.write_bytes(changed.encode())
        model, words = read_arpa(by_hand)
        assert words == straight.words
        assert np.array_equal(model.log_probs(np.arange(5)), straight.model.log_probs(np.arange(5)))


def test_white_space_of_other_scripts_is_part_of_a_word(by_hand):
    """A space of full width (U+3000), and one that does not break (U+00A0)."""
    other = {"a": "中\u3000a", "b": "b\u00a0b"}
    by_hand.write_text(re.sub(r"\b[ab]\b", lambda found: other[found[0]], BY_HAND))
    _, words = read_arpa(by_hand)
    assert words == ["<unk>", "<s>", "</s>", "中\u3000a", "b\u00a0b"]
    example = Example("0", "", ("中\u3000a b\u00a0b",))
    [prediction] = Arpa(str(by_hand)).log_prob([example])
    assert prediction.unknown == 0
    assert prediction.nats == pytest.approx((0.2 + 0.3 + 0.6) * math.log(10), abs=1e-5)
    kenlm = pytest.importorskip("kenlm")
    assert kenlm.Model(str(by_hand)).score(example.references[0]) == pytest.approx(-1.1, abs=1e-4)


def test_a_word_with_a_space_cannot_be_written(sentences, tmp_path):
    with pytest.raises(ValueError, match="'a b' cannot stand in an ARPA file"):
        write_arpa(train(as_ids(sentences), 1, VOCAB), [*WORDS[:-1], "a b"], tmp_path / "m.arpa")

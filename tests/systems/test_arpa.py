"""An ARPA file as a system under test."""

import math
from pathlib import Path

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.metrics.likelihood import BitsPerByte, NatsPerToken
from lslm_lightning.ngram.spelling import Spelling
from lslm_lightning.systems.arpa import Arpa
from tests.ngram.test_arpa import BY_HAND

LN10 = math.log(10)


@pytest.fixture
def system(tmp_path: Path) -> Arpa:
    (tmp_path / "hand.arpa").write_text(BY_HAND)
    return Arpa(str(tmp_path / "hand.arpa"))


def text(id_: str, words: str) -> Example:
    return Example(id_, "", (words,), "en", "en")


def test_every_word_and_every_end_is_paid_for(system):
    [found] = system.log_prob([text("1", "a b\nb x\n")])
    by_hand = [0.2, 0.3, 0.6, 0.4 + 0.9, 1.2, 0.7]
    assert found.nats == pytest.approx(LN10 * sum(by_hand), rel=1e-6)
    assert [token.nats for token in found.tokens] == pytest.approx(
        [LN10 * each for each in by_hand], abs=1e-4
    )
    assert [token.start for token in found.tokens] == [0, 2, 3, 4, 6, 7]
    assert [token.context for token in found.tokens] == [1] * 6
    assert (found.n_token, found.unknown) == (6, 1)


def test_passages_are_read_as_one_text(system):
    whole = next(iter(system.log_prob([text("1", "a b\na b\n")])))
    parts = list(system.log_prob([text("1#0", "a b\na "), text("1#1", "b\n"), text("2", "")]))
    assert sum(part.nats for part in parts[:2]) == pytest.approx(whole.nats)
    assert [part.n_token for part in parts] == [4, 2, 0]
    assert parts[1].tokens[0].start == 0


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("a b\nb a\n", True),
        ("a b", True),
        ("a  b\n", False),
        ("a b\n\nb\n", False),
        ("a x\n", True),
    ],
)
def test_bits_per_byte_is_a_dash_where_the_text_is_not_spelled(words, spelled, system):
    examples = [text("1", words)]
    scores = score(
        examples, list(system.log_prob(examples)), [BitsPerByte(), NatsPerToken()], n_resample=0
    )
    assert math.isnan(scores["bits_per_byte"].value) != spelled
    assert scores["nats_per_token"].value > 0


def test_unknown_words_pay_for_their_letters(system):
    [known, unknown] = system.log_prob([text("1", "a b\n"), text("2", "a bab\n")])
    assert known.spelling == 0
    assert unknown.spelling == pytest.approx(Spelling(["a", "b"]).nats(["bab"])[0])
    assert "spelling:bytes" in system.signature("log_prob")


def test_a_file_without_unknown_words_is_refused(tmp_path):
    (tmp_path / "closed.arpa").write_text(BY_HAND.replace("<unk>", "c"))
    with pytest.raises(ValueError, match="has no <unk>"):
        Arpa(str(tmp_path / "closed.arpa")).prepare([])
    with pytest.raises(FileNotFoundError, match=r"none\.arpa: there is no such file"):
        Arpa(str(tmp_path / "none.arpa")).prepare([])


def test_an_answer_is_scored_as_the_end_of_its_line(system):
    """After a source, with a space between them where neither has one; alone as a text is."""
    source, answer = "a b", "b x"
    [whole], [before] = (
        list(system.log_prob([text("1", words)])) for words in ("a b b x\n", "a b\n")
    )
    found = list(
        system.log_prob(
            [Example("1", source, ()), Example("2", "a b ", ()), Example("3", "", ())],
            [answer, answer, "a b b x"],
        )
    )
    assert [p.n_token for p in found] == [3, 3, 5]
    assert found[2].nats == pytest.approx(whole.nats)
    given = sum(token.nats for token in before.tokens[:2])
    assert found[0].nats == found[1].nats == pytest.approx(whole.nats - given, abs=1e-3)
    assert [p.unknown for p in found] == [whole.unknown] * 3
    [empty] = system.log_prob([Example("4", source, ())], [""])
    assert empty.n_token == 1
    assert empty.nats == pytest.approx(before.nats - given, abs=1e-3)

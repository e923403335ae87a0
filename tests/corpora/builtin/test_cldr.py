"""Phrases in five languages: all of them translations, none twice on any side."""

import re

import pytest

from lslm_lightning.corpora.builtin import cldr
from lslm_lightning.corpora.builtin.cldr import LANGUAGES, SIZES, make_splits
from lslm_lightning.corpora.lookup import open_corpus
from tasks.translation.data import TranslationData

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def splits() -> dict[str, list[dict]]:
    """Rows of this session: it takes seconds to make them."""
    return cldr._splits()


def test_sizes(splits: dict) -> None:
    assert (
        {split: len(rows) for split, rows in splits.items()}
        == SIZES
        == {"test": 1000, "val": 1000, "train": 20_000}
    )
    assert all(row.keys() == {"id", *LANGUAGES} for rows in splits.values() for row in rows)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_occurs_twice_on_any_side(language: str, splits: dict) -> None:
    sentences = [row[language] for rows in splits.values() for row in rows]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence and sentence == " ".join(sentence.split()) for sentence in sentences)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_test_needs_no_character_that_was_not_trained_on(language: str, splits: dict) -> None:
    characters = {
        split: set("".join(row[language] for row in rows)) for split, rows in splits.items()
    }
    assert characters["test"] <= characters["train"]


def test_nothing_is_left_untranslated(splits: dict) -> None:
    everything = [row for rows in splits.values() for row in rows]
    assert not [row for row in everything if re.search("[A-Za-z]{4}", row["zh"] + row["ja"])]
    assert not [
        row
        for row in everything
        if re.search("[a-z]+-[a-z]+-?[a-z]*$", row["en"]) and "-" not in row["de"] + row["fr"]
    ]
    assert not [
        row
        for row in everything
        if re.search(r"\d{8}", row["en"].replace(",", "").partition(".")[2])
    ], "binary fractions"


def test_known_translations(splits: dict) -> None:
    train = {row["en"]: row for row in splits["train"]}
    switzerland = {language: train["Switzerland"][language] for language in LANGUAGES}
    assert switzerland == {
        "en": "Switzerland",
        "zh": "瑞士",
        "de": "Schweiz",
        "fr": "Suisse",
        "ja": "スイス",
    }
    assert train["1 kilometer"]["zh"] == "1公里"
    assert train["Icelandic"]["ja"] == "アイスランド語"


def test_it_is_the_same_every_time_and_follows_the_seed() -> None:
    sizes = {"test": 5, "val": 5, "train": 600}
    assert make_splits(sizes, 1) == make_splits(sizes, 1) != make_splits(sizes, 2)


def test_the_corpus() -> None:
    corpus = open_corpus("cldr", {"en": "en", "zh": "zh"})
    assert corpus.task == "translation"
    assert corpus.sizes == {split: len(corpus.rows(split)) for split in corpus.splits}
    assert len({corpus.digest(split) for split in corpus.splits}) == 3
    with pytest.raises(
        ValueError, match=r"corpus cldr: .* names it; its languages are en, zh, de, fr, ja"
    ):
        open_corpus("cldr", {"en": "en", "it": "it"})


def test_directions_are_evaluation_sets_of_their_own() -> None:
    """One digest of rows, as many of evaluation sets as there are directions, and a name for each
    in MLflow.
    """
    pairs = [("en", "zh"), ("en", "de"), ("zh", "en"), ("de", "zh")]
    data = {
        pair: TranslationData("cldr", source_language=pair[0], target_language=pair[1])
        for pair in pairs
    }
    assert len({each.corpus.digest("test") for each in data.values()}) == 1
    assert len({each.evaluation_set("test").digest for each in data.values()}) == len(pairs)
    assert {pair: each.dataset_name for pair, each in data.items()} == {
        pair: f"cldr {pair[0]}-{pair[1]}" for pair in pairs
    }
    assert {each.dataset_name for each in data.values()} == {
        f"cldr {each.evaluation_set('test').languages}" for each in data.values()
    }

import json
from pathlib import Path

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.text.recipes import BytePair, Characters
from tasks.language_modeling.data import LanguageModelingData
from tasks.summarization.data import SummarizationData
from tasks.summarization.report import abstractiveness
from tasks.summarization.task import SummarizationTask


def test_abstractiveness_by_hand():
    examples = [
        Example("1", "the cat sat on the mat", ("the cat sat",)),
        Example("2", "一二三四", ("一二五",), "zh", "zh"),
    ]
    copied = ["the cat sat", "一二三"]
    mixed = ["the dog sat", "一二五"]
    assert abstractiveness(examples, copied) == [0, 0, 0, 3, pytest.approx(10 / 6)]
    unigrams, bigrams, trigrams, words, compression = abstractiveness(examples, mixed)
    assert unigrams == pytest.approx(100 * 2 / 6)
    assert bigrams == pytest.approx(100 * 3 / 4)
    assert trigrams == 100
    assert (words, compression) == (3, pytest.approx(10 / 6))


def test_nothing_written_is_no_share():
    shares = abstractiveness([Example("1", "a b", ("a",))], [""])
    assert shares[0] != shares[0]


def written(folder: Path, summary: str, document: str = "") -> SummarizationData:
    rows = [{"document": document or summary * 3, "summary": f"{summary}{i}"} for i in range(4)]
    for split in ("train", "val", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return SummarizationData(str(folder), Characters())


@pytest.mark.parametrize(
    ("summary", "language"),
    [
        ("猫坐在垫子上", "zh"),
        ("ねこがいる", "ja"),
        ("고양이가 있다", "ko"),
        ("the cat sat", "und-Latn"),
        ("The minister said that the government has a new plan.", "en"),
        ("Die Regierung hat heute einen neuen Plan vorgestellt.", "de"),
        ("Правительство объявило новый план", "ru"),
        ("รัฐบาลประกาศแผนใหม่", "th"),
        ("le chat, 猫", "und-Latn"),
        ("GPT-4 发布了新模型", "zh"),
    ],
)
def test_a_corpus_that_names_no_language_is_known_by_its_script(tmp_path, summary, language):
    data = written(tmp_path, summary)
    assert {(e.language, e.source_language) for e in data.examples("test")} == {
        (language, language)
    }


def test_the_training_split_tells_the_language_of_all(tmp_path):
    written(tmp_path, "Die Regierung hat heute einen neuen Plan vorgestellt.")
    (tmp_path / "test.jsonl").write_text('{"document": "Angela Merkel", "summary": "Berlin"}\n')
    data = SummarizationData(str(tmp_path), Characters())
    assert data.examples("test")[0].language == "de"
    assert "told from 4 texts" in data.assumed_language


def test_documents_do_not_decide_the_language_of_mixed_summaries(tmp_path):
    german = "Die Regierung hat heute einen neuen Plan vorgestellt."
    pair = [german, "The minister said that the government has a new plan."]
    rows = [{"document": german * 3, "summary": f"{pair[i % 2]} {i}"} for i in range(40)]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = SummarizationData(str(tmp_path), Characters())
    assert data.examples("test")[0].language == "und-Latn"
    assert "40 texts are in several (" in data.assumed_language


def test_the_language_is_told_where_no_training_texts_can_be_read(tmp_path):
    written(tmp_path, "Die Regierung hat heute einen neuen Plan vorgestellt.")
    (tmp_path / "train.jsonl").write_text("no JSON")
    assert SummarizationData(str(tmp_path), Characters()).examples("test")[0].language == "de"
    (tmp_path / "train.jsonl").unlink()
    assert SummarizationData(str(tmp_path), Characters()).examples("test")[0].language == "de"


def test_the_language_that_is_given_counts(tmp_path):
    written(tmp_path, "猫坐在垫子上")
    data = SummarizationData(str(tmp_path), Characters(), language="yue")
    assert data.examples("test")[0].language == "yue"


def test_tasks_that_read_different_fields_of_a_corpus_have_tokenizers_of_their_own(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path))
    recipe = BytePair(1000)
    language_modeling = LanguageModelingData("docstrings", recipe)
    summarization = SummarizationData("docstrings", recipe)
    rows = [
        {"id": str(i), "text": "red green " * 9, "document": "one two " * 9, "summary": ["three"]}
        for i in range(9)
    ]
    language_modeling._corpus = summarization._corpus = Rows(rows)
    assert language_modeling.tokenizer.digest != summarization.tokenizer.digest


class Rows:
    """A corpus in memory."""

    splits = ("train",)
    languages = ("en",)
    join = " "

    def __init__(self, rows: list[dict]) -> None:
        self._rows = rows

    def rows(self, split: str) -> list[dict]:
        return self._rows

    def digest(self, split: str) -> str:
        return "the same"


def test_without_a_training_split_no_baseline_needs_one():
    data = type(
        "Data", (), {"corpus": Rows([{"id": "1", "document": "a. b.", "summary": ["a"]}])}
    )()
    data.corpus.splits = ("test",)
    baselines = SummarizationTask.report_class(None).baselines(data)
    assert [system.name for system in baselines] == ["first sentence"]

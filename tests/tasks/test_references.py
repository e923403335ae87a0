"""Several texts of an answer are references of their own: scores are those of sacreBLEU, jiwer and
rouge-score; the first is learned.
"""

import json
from pathlib import Path

import pytest
import sacrebleu

from lslm_lightning.contracts import Prediction
from lslm_lightning.corpora.lookup import open_corpus
from lslm_lightning.metrics.bleu import Bleu, Chrf, Ter
from lslm_lightning.metrics.error_rate import WordErrorRate
from lslm_lightning.metrics.rouge import Rouge
from tasks.question_answering.data import GenerativeData
from tasks.speech_recognition.data import SpeechData
from tasks.summarization.data import SummarizationData
from tasks.translation.data import TranslationData

SOURCES = ["The dog bit the man .", "It rains today again .", "Good night to all of you ."]
REFERENCES = [
    ["Der Hund biss den Mann .", "Ein Hund biss gestern einen Mann ."],
    ["Heute regnet es wieder .", "Es regnet heute schon wieder .", "Heute regnet es erneut ."],
    ["Gute Nacht euch allen ."],
]
OUTPUTS = ["Ein Hund biss den Mann .", "Es regnet heute wieder .", "Gute Nacht an alle ."]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes rows as JSON Lines into a folder of an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LSLM_DATA", raising=False)

    def write(rows: list[dict], name: str = "d/test.jsonl") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
        )
        return path.parent.name

    return write


def padded(references: list[list[str]]) -> list[list[str | None]]:
    """Streams of references as sacreBLEU wants them: None where a sentence has fewer."""
    longest = max(map(len, references))
    return [[own[i] if i < len(own) else None for own in references] for i in range(longest)]


def corpus_score(metric, examples, outputs: list[str]) -> float:
    return metric.score(
        sum(
            metric.statistics(e, Prediction(e.id, text))
            for e, text in zip(examples, outputs, strict=True)
        )
    )


def columns_of(references: list[list[str]]) -> list[dict]:
    """A row with a column for each reference, empty where there is none, as a table has them."""
    return [{f"ref{i}": own[i] if i < len(own) else "" for i in range(3)} for own in references]


@pytest.mark.parametrize("form", ["lists", "columns", "objects"])
def test_scores_of_translations_are_those_of_sacrebleu(form: str, put) -> None:
    columns = None
    if form == "lists":
        rows = [{"en": source, "de": own} for source, own in zip(SOURCES, REFERENCES, strict=True)]
    elif form == "columns":
        rows = [
            {"en": source} | own
            for source, own in zip(SOURCES, columns_of(REFERENCES), strict=True)
        ]
        columns = {"en": "en", "de": ["ref0", "ref1", "ref2"]}
    else:
        rows = [
            {"en": source, "refs": [{"text": text, "by": "x"} for text in own]}
            for source, own in zip(SOURCES, REFERENCES, strict=True)
        ]
        columns = {"en": "en", "de": "refs.text"}
    data = TranslationData(put(rows), columns=columns, source_language="en", target_language="de")
    examples = data.examples("test")
    assert [list(e.references) for e in examples] == REFERENCES
    for metric, right in (
        (Bleu("de"), sacrebleu.corpus_bleu),
        (Chrf(), sacrebleu.corpus_chrf),
        (Ter("de"), sacrebleu.corpus_ter),
    ):
        assert corpus_score(metric, examples, OUTPUTS) == pytest.approx(
            right(OUTPUTS, padded(REFERENCES)).score, abs=1e-9
        )


def test_training_learns_the_first_reference_and_reads_all_of_a_source(put) -> None:
    folder = put([{"en": ["One .", "Two ."], "de": own} for own in REFERENCES], "d/train.jsonl")
    to_german = TranslationData(folder, source_language="en", target_language="de")
    assert list(to_german.training_texts()) == [
        text for own in REFERENCES for text in ("One . Two .", own[0])
    ]
    to_english = TranslationData(folder, source_language="de", target_language="en")
    assert [e.references for e in to_english.examples("train")] == [("One .", "Two .")] * 3
    assert to_english.examples("train")[1].source == " ".join(REFERENCES[1]), (
        "a list that is read is joined"
    )


def test_references_are_joined_where_that_is_asked_for(put) -> None:
    folder = put(
        [
            {
                "document": ["a", "b"],
                "sentences": ["s1.", "s2."],
                "several": [["t1.", "t2."], ["u1.", "u2."]],
            }
        ]
    )
    for column, found in (("sentences", ("s1.\ns2.",)), ("several", ("t1.\nt2.", "u1.\nu2."))):
        columns = {"document": "document", "summary": {"column": column, "join": "\n"}}
        [example] = SummarizationData(folder, columns=columns).examples("test")
        assert (example.source, example.references) == ("a b", found)
    columns = {"document": "document", "summary": {"column": "sentences"}}
    with pytest.raises(ValueError, match=r"columns.summary=.* or \{column: NAME, join: "):
        SummarizationData(folder, columns=columns).examples("test")


def test_transcripts_are_references(put) -> None:
    jiwer = pytest.importorskip("jiwer")
    transcripts = ["hello there world", ["the cat sat", "a cat sat down"]]
    folder = put([{"audio": f"{i}.wav", "text": text} for i, text in enumerate(transcripts)])
    data = SpeechData(folder, language="en")
    examples = data.examples("test")
    assert [e.references for e in examples] == [
        ("hello there world",),
        ("the cat sat", "a cat sat down"),
    ]
    assert list(data.transcripts("test")) == ["hello there world", "the cat sat"]
    outputs = ["hello world", "a cat sat"]
    closest = min(REFERENCES_OF_CAT, key=lambda text: jiwer.wer(text, outputs[1]))
    right = 100 * jiwer.wer(["hello there world", closest], outputs)
    assert corpus_score(WordErrorRate("en"), examples, outputs) == pytest.approx(right, abs=1e-9)


REFERENCES_OF_CAT = ("the cat sat", "a cat sat down")


def test_summaries_and_answers_of_varying_number(put) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    summaries = [
        ["a cat sat", "the cat on a mat", "cat"],
        ["dogs ran"],
        ["birds sing", "singing birds"],
    ]
    data = SummarizationData(
        put([{"document": "d", "summary": own} for own in summaries]), language="en"
    )
    assert [list(e.references) for e in data.examples("test")] == summaries
    outputs = ["the cat sat", "dogs", "birds sing"]
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    right = [
        100 * scorer.score_multi(own, text)["rouge1"].fmeasure
        for own, text in zip(summaries, outputs, strict=True)
    ]
    assert corpus_score(Rouge("1", "en"), data.examples("test"), outputs) == pytest.approx(
        sum(right) / 3, abs=1e-9
    )
    questions = [
        {"context": "a b c", "question": "q?", "answers": own} for own in (["a", "b c"], "c", [])
    ]
    asked = GenerativeData(put(questions, "q/test.jsonl"), language="en").examples("test")
    assert [e.references for e in asked] == [("a", "b c"), ("c",), ("",)]


@pytest.mark.parametrize("field", ["de", "summary"])
def test_an_empty_reference_beside_others(field: str, put) -> None:
    """sacreBLEU takes "" for a reference of no words, so that an answer can be as long as nothing:
    refused, unless told otherwise.
    """
    rows = [
        {"en": "a", "document": "a", field: ["x"]},
        {"en": "b", "document": "b", field: ["y", " "]},
    ]
    Path("data/pets").mkdir(parents=True)
    Path("data/pets/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("configs").mkdir()
    about = (
        {"task": "translation", "languages": ["en", "de"]}
        if field == "de"
        else {"task": "summarization", "languages": ["en"]}
    )
    for policy, found in (("refuse", None), ("keep", ["y", " "]), ("drop", ["y"])):
        entry = about | {"format": "jsonl", "empty": policy, "splits": {"test": "test.jsonl"}}
        Path("configs/corpora.yaml").write_text(json.dumps({"pets": entry}))
        if found is None:
            with pytest.raises(
                ValueError,
                match=rf"test.jsonl:2: text 2 of the 2 in {field} is empty \(1 of 2 rows",
            ):
                open_corpus("pets").rows("test")
        else:
            assert open_corpus("pets").rows("test")[1][field] == found


def test_a_row_without_any_reference_is_dropped_as_a_whole(put) -> None:
    from lslm_lightning.corpora.rows import without_empty

    rows = [{"id": "1", "en": "a", "de": ["", " "]}, {"id": "2", "en": "b", "de": ["", "y"]}]
    assert without_empty("c", rows, ("en", "de"), "drop") == [{"id": "2", "en": "b", "de": ["y"]}]

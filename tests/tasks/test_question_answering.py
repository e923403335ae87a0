"""Questions are read as they are written, wrong places of answers are found again, and what cannot
be learned from is told.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.reports.blocks import Report
from lslm_lightning.reports.page import render_html, render_markdown
from lslm_lightning.text.recipes import Characters, Words
from tasks.question_answering.baselines import FrequentSpan, NoAnswer, WordOverlap
from tasks.question_answering.calibration import bins, calibrate
from tasks.question_answering.data import GenerativeData, Question, as_question
from tasks.question_answering.extractive.data import SpanData
from tasks.question_answering.report import compared, question_word, sections
from tasks.question_answering.task import GenerativeAnswering, GenerativeTask
from tests.support import question_corpus

SMALL = {"max_length": 40, "stride": 8, "max_question_length": 10, "tokenizer": Words()}
PASSAGE = "Anna lives in Rome. Bela lives in Rome too, and Carl in Old Town."


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))


def squad(folder: Path, *asked: dict) -> str:
    """A folder of one file in SQuAD's nesting, the same for each split."""
    folder.mkdir(exist_ok=True)
    articles = [
        {
            "title": "T",
            "paragraphs": [
                {"context": PASSAGE, "qas": [{"id": str(i)} | q for i, q in enumerate(asked)]}
            ],
        }
    ]
    for split in ("train", "dev", "test"):
        (folder / f"{split}.json").write_text(
            json.dumps({"version": "v2.0", "data": articles}), "utf-8"
        )
    return str(folder)


def answer(text: str, start: int) -> dict:
    return {"text": text, "answer_start": start}


def test_questions_as_squad_nests_them(tmp_path):
    asked = [
        {
            "question": " Where does\nAnna live? ",
            "answers": [answer("Rome", 14), answer("in Rome", 11), answer("Rome", 14)],
        },
        {
            "question": "Where does Dora live?",
            "answers": [],
            "is_impossible": True,
            "plausible_answers": [answer("Rome", 14)],
        },
    ]
    data = SpanData(squad(tmp_path / "q", *asked), **SMALL)
    first, second = data.examples("val")
    assert (first.asked, first.passage, first.references) == (
        "Where does Anna live?",
        PASSAGE,
        ("Rome", "in Rome", "Rome"),
    )
    assert first.source == f"Where does Anna live?\n{PASSAGE}"
    assert first.answer_span() == (14, 18), "on which most agree"
    assert (second.references, second.starts, second.answer_span()) == (("",), (None,), None)
    assert (first.plausible, second.plausible) == (None, (14, 18)), (
        "what only looks like an answer is none"
    )
    assert data.counts["val_without_answer"] == 1
    assert data.counts["val_plausible"] == 1
    (*place, has_answer), (*looks, has_none) = data.encoded("train").targets
    assert place == looks
    assert min(place) > 0
    assert (has_answer, has_none) == (True, False)
    assert data.prompted_examples("test")[0].asked == "Where does Anna live?", (
        "a question stays one when it is asked in words"
    )


def test_wrong_places_are_repaired_counted_and_told(tmp_path, capsys):
    asked = [
        {"question": "Where does Bela live?", "answers": [answer("Rome", 36)]},  # at 34
        {"question": "Where does Anna live?", "answers": [answer("Rome", -1)]},
        {"question": "Who is it?", "answers": [answer("Dora", 3)]},
        {"question": "Who lives?", "answers": [answer("Dora", 3), answer("Anna", 0)]},
    ]
    data = SpanData(squad(tmp_path / "q", *asked), **SMALL)
    assert [q.answer_span() for q in data.examples("train")] == [(34, 38), (14, 18), None, (0, 4)]
    counts = {
        name: data.counts[f"train_{name}"] for name in ("starts_repaired", "answers_not_in_passage")
    }
    assert counts == {"starts_repaired": 2, "answers_not_in_passage": 2}
    said = capsys.readouterr().out
    assert (
        "2 of 5 answers do not begin at their stated offsets and were found elsewhere (0, 1)"
        in said
    )
    assert "2 of 5 answers do not occur in their passages (2, 3)" in said
    windows = data.encoded("train")
    assert data.counts["train_answer_lost_left_out"] == 1
    assert len(windows) == 3
    assert "1 of 4 questions cannot be trained on and are left out (2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"answers": ["Rome"], "starts": []},
            r"starts=\[\] must be one number for each of its 1 answers",
        ),
        ({"answers": ["Rome"], "starts": ["x"]}, r"starts=\['x'\] must be one number"),
        (
            {"answers": [], "starts": [], "plausible": ["Rome"], "plausible_starts": []},
            r"plausible_starts=\[\] must be one number for each",
        ),
        ({"question": " "}, "question empty"),
        ({"context": ""}, "context empty"),
    ],
)
def test_rows_that_cannot_be_read_are_one_line(row, words, tmp_path):
    usual = {
        "id": "7",
        "context": PASSAGE,
        "question": "Where?",
        "answers": ["Rome"],
        "starts": [14],
    }
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(usual | row) + "\n", "utf-8")
    with pytest.raises(ValueError, match=words):
        SpanData(str(tmp_path), **SMALL).examples("train")


def test_answers_without_places_are_looked_for(tmp_path):
    row = {"id": "7", "context": PASSAGE, "question": "Where?", "answers": ["Rome"]}
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    data = SpanData(str(tmp_path), **SMALL)
    assert data.examples("train")[0].answer_span() == (14, 18)
    assert data.counts["train_starts_repaired"] == 0, "it was not wrong"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "marks", [{"plausible": ["Rome"], "plausible_starts": [14]}, {"plausible": ["Rome"]}]
)
def test_what_looks_like_an_answer_may_be_marked_in_some_rows(first, marks, tmp_path):
    row = {"context": PASSAGE, "question": "Where?", "answers": []}
    plain = [{"id": "1", **row}, {"id": "2", **row, "plausible": None, "plausible_starts": []}]
    rows = [{"id": "7", **row, **marks}, *plain] if first else [*plain, {"id": "7", **row, **marks}]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text(
            "".join(json.dumps(each) + "\n" for each in rows), "utf-8"
        )
    data = SpanData(str(tmp_path), **SMALL)
    assert {q.id: q.plausible for q in data.examples("train")} == {
        "7": (14, 18),
        "1": None,
        "2": None,
    }


@pytest.mark.parametrize(
    ("answers", "starts"), [(None, None), ([""], [0]), ([""], [None]), ([], [])]
)
def test_nothing_is_written_in_many_ways(answers, starts, tmp_path):
    row = {
        "id": "7",
        "context": PASSAGE,
        "question": "Where?",
        "answers": answers,
        "starts": starts,
    }
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    data = SpanData(str(tmp_path), **SMALL)
    [question] = data.examples("train")
    assert (question.references, question.starts, question.answer_span()) == (("",), (None,), None)
    assert {
        name: data.counts[f"train_{name}"]
        for name in ("without_answer", "starts_repaired", "answers_not_in_passage")
    } == {
        "without_answer": 1,
        "starts_repaired": 0,
        "answers_not_in_passage": 0,
    }


@pytest.mark.parametrize(("split", "repaired", "lost"), [("test", 7, 193), ("val", 5, 0)])
def test_the_wrong_places_of_cmrc(split, repaired, lost, real_data, monkeypatch):
    """200 of 9,657 answers of the development set; most of these are not in their passage at
    all.
    """
    monkeypatch.setenv("LSLM_DATA", str(real_data))
    data = SpanData("cmrc2018", **SMALL)
    for question in data.examples(split):
        for text, start in zip(question.references, question.starts, strict=True):
            assert start is None or question.passage.startswith(text, start)
    assert data.counts[f"{split}_starts_repaired"] == repaired
    assert data.counts[f"{split}_answers_not_in_passage"] == lost


def test_nothing_to_learn_from_is_refused(tmp_path):
    data = SpanData(
        squad(tmp_path / "q", {"question": "Who?", "answers": [answer("Dora", 1)]}), **SMALL
    )
    with pytest.raises(ValueError, match="no question of split train can be trained on"):
        data.encoded("train")


def test_windows_know_where_the_answer_is(tmp_path):
    """That is in one of them; in a window that has only a part of it, it is not."""
    data = SpanData(
        str(question_corpus.write(tmp_path / "q")),
        **SMALL | {"max_length": 14, "stride": 4, "max_question_length": 6},
    )
    encoded = data.encoded("train")
    n = 0
    for window, (start, end, has_answer) in zip(encoded.windows, encoded.targets, strict=True):
        question = data.examples("train")[window.question]
        assert has_answer == bool(question.answer_span()) == (start >= 0)
        if start > 0:
            assert (
                data.tokenizer.decode(window.ids[start : end + 1].tolist()).rstrip(".")
                == question.references[0]
            )
            n += 1
    assert n >= sum(bool(q.answer_span()) for q in data.examples("train"))
    assert data.counts["train_windows"] == len(encoded) > 60
    assert data.counts["train_windows_without_the_answer"] > 0
    batch = encoded[[0, 5, 9]]
    assert (batch.n_token, batch.n_source_token) == (6, int((~batch.source_pad).sum()))


def test_an_exam_is_shared_out_whole(tmp_path):
    data = SpanData(str(question_corpus.write(tmp_path / "q")), **SMALL, eval_batch_tokens=100)
    examples = data.examples("test")
    shares = [data.evaluation_batches(examples, rank, 3) for rank in range(3)]
    assert sorted(e.id for share in shares for batch in share for e in batch) == sorted(
        e.id for e in examples
    )


# Baselines


def generated(system, *examples: Example) -> list[str]:
    return [p.output for p in system.generate(examples)]


def test_baselines_by_hand():
    english = as_question(
        Example(
            "1",
            (
                "Where does Carl live now?\nAnna lives in Rome. Well, Carl Old lives in Bath. "
                "Carl, he does."
            ),
            (),
        )
    )
    chinese = as_question(
        Example("2", "卡尔住在哪里？\n安娜住在罗马。卡尔住在巴黎。", (), "zh", "zh")
    )
    assert generated(NoAnswer(), english, chinese) == ["", ""]
    assert generated(FrequentSpan(["Lima", "Bath", "Rome", "Bath", "Lima", "Lima"]), english) == [
        "Bath"
    ]
    assert generated(FrequentSpan(["ve", "ve", ".", ".", "Bath"]), english) == ["Bath"], (
        "no part of a word, and no sign"
    )
    assert generated(FrequentSpan(["罗马"]), chinese) == ["罗马"]
    assert generated(FrequentSpan(["", "Lima"]), english, chinese) == ["Rome", "安娜住在罗马"]
    assert generated(
        FrequentSpan(), as_question(Example("3", "Who?\nnothing but 12.5 words", ()))
    ) == ["12.5"]
    assert generated(WordOverlap(), english, chinese) == ["Carl, he does.", "卡尔住在巴黎。"]
    assert generated(WordOverlap(), as_question(Example("4", "Who?", ()))) == [""]


# In words


def test_the_question_in_words(tmp_path):
    data = SpanData(str(question_corpus.write(tmp_path / "q", n=20)), **SMALL)
    asked = data.prompted_examples("test", n_shot=6)[0]
    lines = asked.question.splitlines()
    assert lines[-3:] == [f"Passage: {asked.passage}", f"Question: {asked.asked}", "Answer:"]
    shots = [line for line in lines if line.startswith("Answer: ")]
    assert len(shots) == 6
    assert "Answer: -" in shots, "what a question without an answer is answered with"
    chinese = SpanData(
        str(question_corpus.write(tmp_path / "z", n=20, language="zh")),
        **SMALL | {"tokenizer": Characters()},
    )
    assert chinese.language == "zh"
    assert "问题：" in chinese.prompted_examples("test")[0].question
    for language in ("en", "zh"):
        example = Example("1", "x", ("",), language)
        result = score(
            [example], [Prediction("1", "-")], GenerativeTask.metrics(language), n_resample=0
        )
        assert [s.value for s in result.scores] == [100, 100], "it counts as none"


# Written answers


@pytest.mark.slow
def test_answers_are_learned_to_be_written_or_left_out(tmp_path):
    folder = question_corpus.write(tmp_path / "q", language="zh")
    data = GenerativeData(str(folder), Characters(), max_source_length=40, max_target_length=6)
    pairs = data.encoded("train")
    examples = data.examples("train")[:8]
    assert len(pairs) == 60, "nothing is an answer too"
    torch.manual_seed(0)
    backbone = Transformer(32, 2, n_encoder_layer=1, n_decoder_layer=1, dropout=0.0)
    task = GenerativeTask(backbone, data.tokenizer, max_length=6, max_source_length=40)
    task.requirements.check(data)
    batch = pairs[range(8)]
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        optimizer.step()
    result = score(examples, task.eval().answer(examples), task.metrics("zh"), n_resample=0)
    assert result["exact_match"].value == 100
    assert {e.references for e in examples} > {("",)}


# Reports


def test_question_words():
    asked = {
        "How many cats?": "how many",
        "By whom was it made?": "who",
        "In what year, and where?": "what",
        "Name it.": "other",
    }
    assert {text: question_word(text, "en") for text in asked} == asked
    asked = {"这是谁写的？": "谁", "为什么下雨？": "为什么", "有多少人？": "多少", "在哪里？": "哪"}
    asked |= {"何时发生？": "何时", "是什么？": "什么", "说说。": "other"}
    assert {text: question_word(text, "zh") for text in asked} == asked


def test_calibration_by_hand():
    found = calibrate(np.array([0.05, 0.95, 0.95, 1.0]), np.array([0, 1, 0, 1]))
    assert found.n.tolist() == [1, 3]
    assert found.error == pytest.approx((1 * 5 + 3 * abs(100 * 2.9 / 3 - 200 / 3)) / 4)


def test_each_bin_of_confidence_has_its_number_of_answers():
    sure = np.array([0.05, 0.3, 0.7, 0.7, 0.7, 0.95, 1.0])
    rows = bins({"a": calibrate(sure, np.ones(7)), "b": calibrate(sure[:1], np.zeros(1))}).rows
    assert [row[:2] for row in rows] == [
        ["0 to 10 %", 1],
        ["30 to 40 %", 1],
        ["70 to 80 %", 3],
        ["90 to 100 %", 2],
    ]
    assert sum(row[1] for row in rows) == 7
    assert rows[0][2:] == [pytest.approx(100), 1, pytest.approx(0)]
    assert rows[1][3:] == [0, None]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_marks_what_was_wanted_and_what_was_given(language, tmp_path):
    tokenizer = Words() if language == "en" else Characters()
    data = SpanData(
        str(question_corpus.write(tmp_path / "q", language=language)),
        **SMALL | {"tokenizer": tokenizer},
    )
    examples = data.examples("test")
    given = [
        e.references[0] if i % 4 == 2 else question_corpus.PLACES[language][i % 5] if i % 4 else ""
        for i, e in enumerate(examples)
    ]
    answers = [
        Prediction(e.id, output, nats=0.1 * i)
        for i, (e, output) in enumerate(zip(examples, given, strict=True))
    ]
    page = Report("r", sections(examples, answers))
    html = render_html(page)
    text = render_markdown(page)
    for words in (
        "Questions with and without an answer",
        "Calibration",
        "expected calibration error",
        "Answers in their passages",
    ):
        assert words in html
        assert words in text
    assert 'class="wanted"' in html
    assert 'class="given"' in html
    assert 'class="wanted given"' in html
    assert "**[wanted and given: " in text
    assert "The passage has no answer." in text
    others = [p.__class__(p.id, p.output) for p in answers]
    titles = [section.title for section in compared(examples, {"sure": answers, "not": others})]
    assert titles == [
        "Questions with and without an answer",
        "Breakdown by F1",
        "Calibration",
    ]
    assert compared(examples, {"scorer": [Prediction(e.id, nats=1.0) for e in examples]}) == []


def test_a_text_alone_is_a_question_and_its_passage():
    found = as_question(Example("1", "Who?\nAnna.\nBela.", ()))
    assert isinstance(found, Question)
    assert (found.asked, found.passage) == ("Who?", "Anna.\nBela.")
    found = as_question(Example("1", "Who?\tAnna.", ()))
    assert (found.asked, found.passage) == ("Who?", "Anna."), "as one line of standard input"
    assert as_question(Example("1", "Who?", ())).passage == ""
    found = GenerativeAnswering.example("1", " 谁  住在罗马？\t安娜住在罗马。")
    assert (found.source, found.asked, found.language) == (
        "谁 住在罗马？\n安娜住在罗马。",
        "谁 住在罗马？",
        "zh",
    ), "as in a corpus"

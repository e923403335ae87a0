"""`lslm log-prob`: each line scored in its place, by runs and by folders of Hugging Face."""

import gzip
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from lslm_lightning.__main__ import main
from lslm_lightning.contracts import Example
from lslm_lightning.runs import load_run
from lslm_lightning.systems import given_answers
from lslm_lightning.systems.given_answers import AnswerScorer, GivenAnswers, answers_in
from lslm_lightning.systems.hugging_face import HuggingFaceSystem
from tests.commands.written_runs import write_language_model, write_translator
from tests.systems.tiny import save_gpt2, save_marian


@pytest.fixture(scope="module")
def translator(tmp_path_factory) -> Path:
    return write_translator(tmp_path_factory.mktemp("translation") / "run")


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("language") / "run")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def scored(monkeypatch, capfd):
    """Status, records on standard output and lines on standard error of `lslm log-prob`."""

    def run(*arguments: object, given: str = "") -> tuple[int, list[dict], list[str]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        capfd.readouterr()
        status = main(["log-prob", *map(str, arguments)])
        out, err = capfd.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err.splitlines()

    return run


def lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def test_answers_of_a_run_come_in_order_with_what_the_model_says(translator, scored, tmp_path):
    """The source by its own name and by that of its language; packed; in float64 where asked."""
    records = [
        {"source": "ab cd", "answer": "de"},
        {"en": "a", "answer": ["abc", "", "x"], "id": "choice"},
    ]
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress((lines(records[0]) + "\n" + lines(records[1])).encode()))
    status, found, _ = scored(translator, path, "--dtype", "float64")
    assert status == 0
    task = load_run(translator).task.double()
    expected = list(
        task.log_prob([Example("1", "ab cd", ()), Example("2", "a", ())], ["de", ["abc", "", "x"]])
    )
    assert [(each["id"], each["answer"]) for each in found] == [
        ("1", "de"),
        ("choice", "abc"),
        ("choice", ""),
        ("choice", "x"),
    ]
    for record, prediction in zip(found, expected, strict=True):
        assert record["nats"] == pytest.approx(prediction.nats, rel=0, abs=1e-9)
        assert record["log_p"] == -record["nats"]
        assert (record["n_token"], record["unknown"]) == (prediction.n_token, prediction.unknown)


def test_texts_and_answers_stand_side_by_side(language_model, scored):
    """A text is an answer without a source; what a tokenizer does not know is counted."""
    given = lines({"text": "ab?"}, {"source": "", "answer": "ab?"}, {"source": "a", "answer": "b?"})
    status, found, _ = scored(language_model, "-", given=given)
    assert status == 0
    assert [list(each) for each in found][:2] == [
        ["id", kind, "nats", "log_p", "n_token", "unknown"] for kind in ("text", "answer")
    ]
    assert found[0]["nats"] == pytest.approx(found[1]["nats"], abs=1e-6)
    assert [each["n_token"] for each in found] == [4, 4, 3]
    assert [each["unknown"] for each in found] == [1, 1, 1]


def test_a_folder_of_hugging_face(gpt2, scored):
    given = lines({"source": "a b", "answer": ["c d", "e"]}, {"text": "a b c"})
    status, found, _ = scored(gpt2, "-", "--dtype", "float64", given=given)
    assert status == 0
    system = HuggingFaceSystem(str(gpt2), dtype="float64")
    expected = [
        *system.log_prob([Example("1", "a b", ())], [["c d", "e"]]),
        *system.log_prob([Example("2", "", ("a b c",))]),
    ]
    assert [each["nats"] for each in found] == pytest.approx([p.nats for p in expected], abs=1e-9)


def log_p_of(model, tokenizer, source: str, answer: str) -> float:
    """Sum of the log-softmax of transformers' logits at the tokens of the answer and its end."""
    given = tokenizer(source).input_ids
    ids = [*tokenizer(answer).input_ids, tokenizer.eos_token_id]
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            begin = torch.tensor([[model.config.decoder_start_token_id, *ids[:-1]]])
            logits = model(input_ids=torch.tensor([given]), decoder_input_ids=begin).logits[0]
        else:
            logits = model(torch.tensor([[*given, *ids[:-1]]])).logits[0, len(given) - 1 :]
    return float(logits.log_softmax(-1)[range(len(ids)), ids].sum())


@pytest.mark.parametrize("kind", ["gpt2", "marian"])
def test_answers_have_the_sums_of_transformers(kind, gpt2, tmp_path, scored):
    """Of both kinds of models, in float64."""
    is_paired = kind == "marian"
    folder = save_marian(tmp_path) if is_paired else gpt2
    records = [{"source": "a b c", "answer": ["d e", "", "f"]}, {"source": "x", "answer": "y z a"}]
    status, found, _ = scored(folder, "-", "--dtype", "float64", given=lines(*records))
    assert status == 0
    kinds = AutoModelForSeq2SeqLM if is_paired else AutoModelForCausalLM
    model = kinds.from_pretrained(folder).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = [("a b c", "d e"), ("a b c", ""), ("a b c", "f"), ("x", "y z a")]
    expected = [log_p_of(model, tokenizer, *pair) for pair in pairs]
    assert [each["log_p"] for each in found] == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"source": "a"}, 'no "answer" and no "text"'),
        ({"answer": "a"}, "no 'source' or 'en'"),
        ({"source": "a", "answer": 3}, "answer must be text, not 3"),
        ({"source": "a", "answer": ["b", None]}, "answer must be text, not null"),
        ({"text": "a"}, "no probability of a text alone"),
        ({"source": "a", "answer": "a" * 12}, "its answer has 13 tokens"),
        (["a"], 'expected {"source": ...'),
    ],
)
def test_a_line_that_cannot_be_scored_is_named_and_those_before_it_are_printed(
    record, message, translator, scored, tmp_path
):
    path = tmp_path / "pairs.jsonl"
    path.write_text(lines({"source": "a", "answer": "b"}, record, {"source": "a", "answer": "c"}))
    status, found, err = scored(translator, path)
    assert status == 1
    assert [each["answer"] for each in found] == ["b"]
    assert err[-1].startswith(f"lslm: {path}: line 2: ")
    assert message in err[-1]


def test_broken_json_is_named(translator, scored):
    status, found, err = scored(translator, "-", given='{"source": "a", "answer": "b"}\n{"a" 1}\n')
    assert (status, len(found)) == (1, 1)
    assert err[-1].startswith("lslm: standard input: line 2: not JSON")


def test_wrong_arguments_are_one_line(scored, tmp_path, translator):
    for words in (
        (translator, tmp_path / "pears.jsonl"),
        (translator, "-", "--batch-size", 0),
        (translator, "-", "--dtype", "float"),
    ):
        status, found, err = scored(*words)
        assert (status, found, len(err)) == (2, [], 1)
    assert scored(tmp_path / "none", "-")[0] == 1


def test_chunks_change_nothing(translator, monkeypatch):
    """Records of several chunks, from Python."""
    records = [{"en": "abc de"[: i % 6], "answer": "dea"[: i % 4]} for i in range(11)]
    scorer = AnswerScorer(translator)
    together = list(scorer.log_prob(records))
    monkeypatch.setattr(given_answers, "CHUNK", 3)
    apart = list(scorer.log_prob(records))
    assert [p.output for p in apart] == [record["answer"] for record in records]
    assert [p.nats for p in apart] == pytest.approx([p.nats for p in together], abs=1e-5)
    with pytest.raises(ValueError, match="record 2: it has an answer and no 'source' or 'en'"):
        list(scorer.log_prob([records[0], {"answer": "a"}]))


def test_questions_are_read_as_their_data_give_them():
    record = {"question": "who\tis\nit", "context": "the cat\nsat", "answer": "cat"}
    assert answers_in(record, 3, "here", ("question", "context")) == GivenAnswers(
        "3", "who is it\nthe cat\nsat", ("cat",), "here"
    )

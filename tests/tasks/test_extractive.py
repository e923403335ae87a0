"""Extractive summarization: labels are those of the oracle, answers are made of the source, and
what can be learned is learned.
"""

import json
import math
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.__main__ import main
from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam
from lslm_lightning.evaluation.predictions import read_predictions
from lslm_lightning.metrics.extraction import words_of
from lslm_lightning.models.positions import Learned
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import Constant
from lslm_lightning.systems.baselines import ExtractiveOracle
from lslm_lightning.systems.checkpoint import Checkpoint
from lslm_lightning.text.recipes import Bytes, Characters, Words
from lslm_lightning.text.sentences import split_sentences
from lslm_lightning.training.footprint import footprint
from tasks.summarization.data import SummarizationData
from tasks.summarization.extractive import oracle
from tasks.summarization.extractive.data import ExtractiveData, SentenceBatch, read
from tasks.summarization.extractive.oracle import chosen_once
from tasks.summarization.extractive.task import ExtractiveTask, choose
from tests.training.conftest import assert_resumes_exactly, fit

WORDS = ["red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "runs", "sleeps"]
CHINESE = dict(zip(WORDS, "红绿蓝一二三猫狗鸟跑睡", strict=True))
BACKBONES = {
    "transformer": lambda: Transformer(32, 2, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0),
    "lstm": lambda: LSTM(32, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))


def documents(n: int, language: str, seed: int) -> list[dict[str, str]]:
    """Sentences of a few words; that with the marker, "key" or 关, is the summary, but for one
    word.
    """
    chance = random.Random(seed)
    rows = []
    for _ in range(n):
        drawn = [
            [chance.choice(WORDS) for _ in range(chance.randint(2, 5))]
            for _ in range(chance.randint(1, 6))
        ]
        best = chance.randrange(len(drawn))
        if language == "en":
            drawn[best].insert(1, "key")
            sentences = [f"{' '.join(words).capitalize()}." for words in drawn]
        else:
            sentences = ["".join(CHINESE[word] for word in words) + "。" for words in drawn]
            sentences[best] = f"关{sentences[best]}"
        joined = (" " if language == "en" else "").join(sentences)
        rows.append(
            {
                "document": joined,
                "summary": sentences[best].replace("dog", "bird").replace("狗", "鸟"),
            }
        )
    return rows


def corpus(folder: Path, language: str = "en", n: int = 40) -> Path:
    folder.mkdir(exist_ok=True)
    for seed, split in enumerate(("train", "val", "test")):
        rows = documents(n if split == "train" else 12, language, seed)
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8"
        )
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., ExtractiveData]:
    def make(language: str = "en", n: int = 40, **settings) -> ExtractiveData:
        folder = corpus(tmp_path / language, language, n)
        return ExtractiveData(
            str(folder),
            **{"tokenizer": Characters(), "k": 1, "max_tokens": 600, "n_validation_example": 6}
            | settings,
        )

    return make


def task_of(data: ExtractiveData, backbone: str = "transformer", **settings) -> ExtractiveTask:
    torch.manual_seed(0)
    layers = {
        "sentence_backbone": lambda d: Transformer(
            d, 2, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0
        )
    }
    return ExtractiveTask(BACKBONES[backbone](), data.tokenizer, **{"k": 1} | layers | settings)


# Labels


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_labels_are_those_of_the_oracle(made, language, k):
    data = made(language, k=k)
    encoded = data.encoded("train")
    examples = data.examples("train")
    assert {e.language for e in examples} == {language}
    for example, row, answer in zip(
        examples, range(len(encoded)), ExtractiveOracle(k).generate(examples), strict=True
    ):
        sentences = split_sentences(example.source, language)
        labels = encoded.chosen[row]
        assert len(labels) == len(sentences)
        chosen = [sentence for sentence, label in zip(sentences, labels) if label]
        assert (" " if language == "en" else "").join(chosen) == answer.output
    assert data.counts["train_chosen"] >= len(examples)


def test_labels_are_found_once_and_anew_when_anything_changes(tmp_path, monkeypatch):
    texts = [["A cat.", "A dog."]] * 7
    references = [("A dog.",)] * 7
    first = chosen_once(texts, references, "en", 1, tmp_path)
    assert first == [[1]] * 7
    monkeypatch.setattr(oracle, "best_sentences", lambda *given: 1 / 0)
    assert chosen_once(texts, references, "en", 1, tmp_path) == first
    others = [
        (texts, references, "en", 2),
        (texts, references, "de", 1),
        (texts[1:], references[1:], "en", 1),
    ]
    others += [
        ([["A cat.", "A", "dog."], *texts[1:]], references, "en", 1),
        (texts, [("A cat.",), *references[1:]], "en", 1),
    ]
    for other in others:
        with pytest.raises(ZeroDivisionError):
            chosen_once(*other, tmp_path)
    assert len(list(tmp_path.glob("*.jsonl"))) == 1, "what has failed leaves nothing"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_several_processes_find_what_one_finds(tmp_path, monkeypatch):
    rows = documents(30, "en", 5)
    texts = [split_sentences(row["document"]) for row in rows]
    references = [[row["summary"]] for row in rows]
    monkeypatch.setattr(oracle, "CHUNK", 4)
    alone, together = (
        chosen_once(texts, references, "en", 2, tmp_path / str(n), n) for n in (1, 2)
    )
    assert alone == together
    assert all(alone)


# What is read


def test_every_sentence_has_its_tokens_and_what_is_too_long_is_out_of_reach():
    tokenizer = Bytes().train()
    bos = tokenizer.bos_id
    eos = tokenizer.eos_id
    a = tokenizer.encode("aaa")
    b = tokenizer.encode("bb")
    [whole] = read([["aaa", "bb"]], tokenizer, 8)
    assert whole == ([bos, *a, bos, *b, eos], [4, 3])
    assert read([["aaa", "bb"]], tokenizer, 7) == [([bos, *a, bos, b[0], eos], [4, 2])]
    assert read([["aaa", "bb"]], tokenizer, 6) == [([bos, *a, eos], [4])], (
        "of the second there would be no token"
    )
    assert read([["aaa", "bb"]], tokenizer, 3) == [([bos, a[0], eos], [2])], (
        "the first can always be chosen"
    )
    assert read([[], ["bb"]], tokenizer, 9) == [([], []), ([bos, *b, eos], [3])]


def test_a_sentence_beyond_reach_is_not_chosen(made):
    data = made()
    task = task_of(data, k=9, max_source_length=20)
    [answer] = task.answer([Example("1", "A cat sleeps. A dog runs. A bird. A red one.", ())])
    assert answer.output == "A cat sleeps. A dog runs."


def test_a_batch_counts_what_the_loss_sums(made):
    data = made()
    encoded = data.encoded("train")
    batch = encoded[[0, 3, 7]]
    assert (
        batch.n_token
        == int((~batch.sentence_pad).sum())
        == int(encoded.sentences.lengths[[0, 3, 7]].sum())
    )
    assert batch.n_source_token == int((~batch.source_pad).sum())
    assert int((batch.sentence >= 0).sum()) == batch.n_source_token - 3, "all but </s>"
    empty = encoded[[]]
    assert (empty.n_token, empty.n_source_token) == (0, 0)


def test_the_loss_is_the_sum_of_nats_of_each_decision(made):
    data = made()
    task = task_of(data).double().eval()
    batch = data.encoded("train")[[0, 3, 7]]
    scores = task.scores(batch)
    nats = 0.0
    for row, n in enumerate((~batch.sentence_pad).sum(1).tolist()):
        for i in range(n):
            p = torch.sigmoid(scores[row, i]).item()
            nats -= math.log(p if batch.chosen[row, i] else 1 - p)
    assert task.loss(batch).item() == pytest.approx(nats, rel=1e-12)


# Choosing


def test_trigrams_are_blocked_by_hand():
    english = ["The cat sat down.", "Dogs bark.", "A cat, SAT down!", "So the cat sat."]
    scores = [3.0, 1.0, 2.5, 2.0]
    assert choose(english, scores, 2) == [0, 2]
    assert choose(english, scores, 2, words_of("en")) == [0, 1], (
        "'cat sat down' and 'the cat sat' are taken"
    )
    assert choose(english, scores, 4, words_of("en")) == [0, 1]
    assert choose(english, scores, 3) == [0, 2, 3]
    chinese = ["今天北京下雨。", "猫在睡。", "北京，下雨了。", "京下了。"]
    assert choose(chinese, scores, 2, words_of("zh")) == [0, 3], "北京下 is taken, 京下了 is not"
    assert choose(chinese, scores, 2) == [0, 2]


@given(st.lists(st.floats(-3, 3), max_size=8), st.integers(1, 5))
def test_the_best_are_chosen_in_the_order_of_the_source(scores, k):
    places = choose([f"s{i}" for i in range(len(scores))], scores, k)
    assert places == sorted(places)
    assert sorted((scores[i] for i in places), reverse=True) == sorted(scores, reverse=True)[:k]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_answer_is_made_of_sentences_of_the_source(made, language):
    data = made(language)
    task = task_of(data, k=3, block_trigrams=False).eval()
    for example, answer in zip(
        data.examples("test"), task.answer(data.examples("test")), strict=True
    ):
        sentences = split_sentences(example.source, language)
        written = split_sentences(answer.output, language)
        assert len(written) == min(3, len(sentences))
        places = iter(sentences)
        assert all(sentence in places for sentence in written), "in their order"
        assert answer.n_token == sum(
            len(data.tokenizer.encode(sentence)) + 1 for sentence in written
        )


@pytest.mark.parametrize("backbone", BACKBONES)
def test_odd_sources(made, backbone):
    data = made(tokenizer=Words())
    task = task_of(data, backbone, k=2).eval()
    sources = ["", "One.", " \n ", "Zebra quux. Grault plugh xyzzy.", "猫。"]
    examples = [Example(str(i), source, ()) for i, source in enumerate(sources)]
    expected = ["", "One.", "", "Zebra quux. Grault plugh xyzzy.", "猫。"]
    assert [p.output for p in task.answer(examples)] == expected
    assert [p.output for example in examples for p in task.answer([example])] == expected
    assert [p.n_token for p in task.answer(examples[:1])] == [0]


# The network


@pytest.mark.parametrize(
    ("backbone", "over_sentences"),
    [("transformer", Transformer), ("lstm", Transformer), ("transformer", LSTM)],
)
def test_padding_changes_nothing(made, backbone, over_sentences):
    data = made()
    sentence_backbone = partial(over_sentences, n_encoder_layer=1, n_decoder_layer=0)
    task = task_of(data, backbone, sentence_backbone=sentence_backbone).double().eval()
    encoded = data.encoded("train")
    together = task.scores(encoded[list(range(12))])
    for row in range(12):
        alone = task.scores(encoded[[row]])[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, rtol=0, atol=1e-12)
    losses = sum(task.loss(encoded[[row]]) for row in range(12))
    torch.testing.assert_close(task.loss(encoded[list(range(12))]), losses, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "language"), [("transformer", "en"), ("lstm", "en"), ("transformer", "zh")]
)
def test_the_sentence_with_a_marker_is_found_in_texts_never_seen(made, backbone, language):
    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=5e-3)

    data = made(
        language, n=300, tokenizer=Words() if language == "en" else Characters(), max_tokens=1000
    )
    task = task_of(data, backbone, optimizer=adam, schedule=Constant(0))
    fit(task, data, max_steps=80)
    task.eval()
    examples = data.examples("test")
    found = [p.output for p in task.answer(examples)]
    marker = "key" if language == "en" else "关"
    right = [
        next(s for s in split_sentences(e.source, language) if marker in s.lower())
        for e in examples
    ]
    assert found == right


@pytest.mark.slow
def test_a_batch_is_learned_by_heart(made):
    data = made()
    batch = data.encoded("train")[[1, 2, 3, 4]]
    task = task_of(data)
    optimizer = torch.optim.AdamW(task.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        optimizer.step()
    assert task.loss(batch).item() / batch.n_token < 0.02


@pytest.mark.slow
def test_straight_equals_stopped_and_resumed_bit_for_bit(made, tmp_path):
    def parts():
        data = made(max_tokens=200)
        return task_of(data, sentence_backbone=lambda d: Transformer(d, 2, 1, 0, dropout=0.1)), data

    assert_resumes_exactly(parts, tmp_path, 7)


def test_a_step_in_shapes_alone(made):
    """What `lslm plan` needs."""
    data = made()
    with torch.device("meta"):
        task = task_of(data)
    batch = SentenceBatch(
        *(v.to("meta") if isinstance(v, torch.Tensor) else v for v in data.sizes().usual)
    )
    found = footprint(task, batch, bfloat16=True)
    assert found.flops > 0
    assert found.n_position == batch.source.numel()


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"k": 0}, "k=0 of ExtractiveTask"),
        ({"max_source_length": 2}, "max_source_length=2"),
        (
            {"sentence_backbone": lambda d: Transformer(d, 2)},
            "of sentence_backbone must be at least 1 and n_decoder_layer=3 must be 0",
        ),
        (
            {"sentence_backbone": lambda d: Transformer(d, 2, 0, 1)},
            "n_encoder_layer=0 of sentence_backbone",
        ),
    ],
)
def test_bad_settings_of_the_task(made, settings, words):
    with pytest.raises(ValueError, match=words):
        task_of(made(), **settings)


def test_a_backbone_that_writes_is_refused(made, monkeypatch):
    monkeypatch.setitem(BACKBONES, "transformer", lambda: Transformer(32, 2, 1, 1))
    with pytest.raises(
        ValueError, match="of backbone must be at least 1 and n_decoder_layer=1 must be 0"
    ):
        task_of(made())


def test_bad_settings_of_the_data(made, tmp_path):
    with pytest.raises(ValueError, match="k=0 of ExtractiveData"):
        made(k=0)
    with pytest.raises(ValueError, match="max_source_length=2"):
        made(max_source_length=2)
    data = made()
    (tmp_path / "en" / "train.jsonl").write_text(
        json.dumps({"document": "A cat.", "summary": "Nothing"}) + "\n"
    )
    with pytest.raises(ValueError, match="shares a word with its summary"):
        data.encoded("train")


def test_task_and_data_must_fit(made, tmp_path):
    data = made()
    task_of(data).requirements.check(data)
    with pytest.raises(ValueError, match="SummarizationData"):
        task_of(data).requirements.check(SummarizationData(str(tmp_path / "en"), Characters()))
    with pytest.raises(
        ValueError, match=r"model.max_source_length=300 and data.max_source_length=400"
    ):
        task_of(data, max_source_length=300).requirements.bind(made(max_source_length=400))
    with pytest.raises(ValueError, match="n_validation_example=0"):
        task_of(data).requirements.check(made(n_validation_example=0))
    few = {
        "sentence_backbone": lambda d: Transformer(
            d, 2, 1, 0, position=lambda *sizes: Learned(*sizes, max_length=50)
        )
    }
    with pytest.raises(ValueError, match="max_length=50 of the positions of sentence_backbone"):
        task_of(data, **few).requirements.check(data)


# A whole run


@pytest.fixture
def config(project: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, project)
    encoder = "lslm_lightning.models.transformer.Transformer"
    sizes = {"d_model": 16, "n_head": 2, "n_encoder_layer": 1, "n_decoder_layer": 0}
    folder = corpus(project / "corpus")
    settings = {
        "model": {
            "class_path": "tasks.summarization.extractive.task.ExtractiveTask",
            "init_args": {"k": 1, "backbone": {"class_path": encoder, "init_args": sizes}},
        },
        "data": {
            "class_path": "tasks.summarization.extractive.data.ExtractiveData",
            "init_args": {
                "corpus": str(folder),
                "k": 1,
                "max_tokens": 600,
                "n_validation_example": 6,
            },
        },
        "trainer": {"accelerator": "cpu", "devices": 1, "max_steps": 4, "val_check_interval": 2},
    }
    settings["data"]["init_args"]["tokenizer"] = {"class_path": "lslm_lightning.text.recipes.Words"}
    path = project / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.slow
def test_a_run_is_trained_reported_used_and_evaluated(config, project, monkeypatch, capfd):
    def lslm(*words: object) -> tuple[int, str, str]:
        for name in ("LSLM_RUN_DIRECTORY", "LSLM_RUN_ID", "PL_GLOBAL_SEED"):
            monkeypatch.delenv(name, raising=False)
        capfd.readouterr()
        return main([str(word) for word in words]), *capfd.readouterr()

    status, out, err = lslm("run", "--config", config)
    assert status == 0, err
    [folder] = (project / "runs" / "summarization").iterdir()
    assert "first sentence" in (folder / "report" / "report.md").read_text("utf-8")
    assert "val/rougeL" in (folder / "metrics.jsonl").read_text("utf-8")
    data = ExtractiveData(str(project / "corpus"), Words(), k=1)
    examples = data.examples("test")
    answers = {p.id: p.output for p in read_predictions(folder / "predictions" / "test.jsonl")}
    system = Checkpoint(str(folder))
    assert {p.id: p.output for p in system.generate(examples)} == answers, (
        "save and load change nothing"
    )
    assert "search" not in system.info()
    with pytest.raises(ValueError, match="search=Beam: ExtractiveTask"):
        Checkpoint(str(folder), search=Beam()).info()
    assert lslm("generate", folder, examples[0].source)[:2] == (0, f"{answers[examples[0].id]}\n")
    assert lslm("generate", folder, "关红。")[1] == "关红。\n"
    status, _, err = lslm("generate", folder, "A cat.", "--beam-size", "3", "--max-length", "5")
    assert status == 2
    assert "--max-length, --beam-size does not apply to ExtractiveTask" in err
    exam = {
        "task": "tasks.summarization.task.SummarizationTask",
        "data": {
            "class_path": "tasks.summarization.data.SummarizationData",
            "init_args": {"corpus": str(project / "corpus")},
        },
        "systems": {
            "extract": {
                "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
                "init_args": {"run": str(folder)},
            },
            "oracle": {
                "class_path": "lslm_lightning.systems.baselines.ExtractiveOracle",
                "init_args": {"k": 1},
            },
        },
    }
    (project / "exam.yaml").write_text(yaml.safe_dump(exam))
    status, out, err = lslm("evaluate", "--config", project / "exam.yaml", "--n_resample", "100")
    assert status == 0, err
    assert "p = " in out
    assert lslm("plan", "--config", config)[0] == 0
    for words, reason in (
        (["--model.backbone.n_decoder_layer=1"], "n_decoder_layer=1"),
        (["--model.k=0"], "k=0"),
    ):
        status, _, err = lslm("run", "--config", config, *words)
        assert (status, len(err.strip().splitlines())) == (1, 1)
        assert reason in err

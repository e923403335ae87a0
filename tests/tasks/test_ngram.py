"""An n-gram model behind the contract of all language models."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from lslm_lightning.__main__ import main
from lslm_lightning.contracts import Example
from lslm_lightning.data import packing
from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.metrics.likelihood import BitsPerByte, Perplexity
from lslm_lightning.ngram.spelling import Spelling
from lslm_lightning.ngram.training import train
from lslm_lightning.text.recipes import BytePair, Bytes, Characters, Recipe, Words
from lslm_lightning.training import window_data
from tasks.language_modeling.data import LanguageModelingData
from tasks.language_modeling.ngram import NgramTask
from tests.conftest import WORDS
from tests.support.metrics import statistics_of
from tests.training.conftest import fit

LAST = {"max_steps": -1, "max_epochs": 1, "gradient_clip_val": None}


@pytest.fixture
def trained(text, tmp_path, monkeypatch):
    """A task that was trained on the tiny corpus, and its data."""

    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))

    def make(
        recipe: Recipe = Characters(),  # noqa: B008 (frozen)
        prepared: str | None = None,
        **settings,
    ) -> tuple[NgramTask, LanguageModelingData]:
        data = LanguageModelingData(str(text), recipe, prepared=prepared)
        task = NgramTask(data.tokenizer, **settings)
        (tmp_path / "run").mkdir(exist_ok=True)
        fit(task, data, default_root_dir=str(tmp_path / "run"), **LAST)
        return task, data

    return make


@pytest.mark.parametrize("recipe", [Characters(), Bytes(), BytePair(vocab_size=300), Words()])
def test_the_task_is_the_model_of_its_training_text(trained, recipe):
    task, data = trained(recipe, order=3)
    [text] = data.texts("train")
    ids = task.tokenizer.encode(text)
    row = np.array([task.bos, *ids, task.tokenizer.eos_id])
    alone = train([row], 3, task.bos + 1, task.bos)
    exam = task.tokenizer.encode(next(iter(data.texts("test"))))
    [nats] = task.token_nats([[task.tokenizer.eos_id, *exam, task.tokenizer.eos_id]])
    expected = -alone.log_probs(np.array([task.bos, *exam, task.tokenizer.eos_id]))[1:]
    spare = len({task.tokenizer.pad_id, task.tokenizer.bos_id})  # that ours never predicts
    assert np.abs(nats - expected).max() < 2 * spare / task.bos + 1e-5
    assert nats.sum() < expected.sum()


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_step_is_a_distribution_and_what_scoring_says(trained, order):
    task, _ = trained(order=order)
    row = [task.tokenizer.eos_id, *task.tokenizer.encode("cat runs"), task.tokenizer.eos_id]
    [nats] = task.token_nats([row])
    state = None
    for place, (token, following) in enumerate(pairwise(row)):
        logits, state = task.step(torch.tensor([[token]]), state, ())
        assert float(logits.exp().sum()) == pytest.approx(1, abs=1e-5)
        assert -float(logits[0, following]) == pytest.approx(nats[place], abs=1e-5)
    whole, _ = task.step(torch.tensor([row[:-1]]), None, ())
    assert torch.equal(whole, logits)


@pytest.mark.slow
def test_passages_of_a_text_add_up_to_the_text_whatever_is_beside_it(trained):
    task, _ = trained()
    text = "red green blue cat dog runs"
    [whole] = task.log_prob([Example("t", "", (text,))])
    passages = [
        Example("other", "", ("bird",)),
        *(Example(f"t#{i}", "", (part,)) for i, part in enumerate([text[:9], text[9:]])),
    ]
    parts = list(task.log_prob(passages))[1:]
    assert math.fsum(p.nats for p in parts) == pytest.approx(whole.nats, abs=1e-9)
    assert [t.context for t in whole.tokens][:6] == [1, 2, 3, 4, 4, 4]


def test_the_likeliest_continuation_is_found_by_every_search(trained):
    task, _ = trained(order=4, max_length=12)
    task.search = Greedy()
    prompts = [Example("a", "red gr", ()), Example("b", "o", ())]
    alone = [next(iter(task.generate([prompt]))).output for prompt in prompts]
    assert [p.output for p in task.generate(prompts)] == alone
    ids = [task.tokenizer.eos_id, *task.tokenizer.encode("red gr")]
    for character in task.tokenizer.encode(alone[0]):
        logits, _ = task.step(torch.tensor([ids]), None, ())
        assert int(logits.argmax()) == character
        ids.append(character)
    task.search = Beam(1)
    assert [p.output for p in task.generate(prompts[:1])] == alone[:1]


def test_unknown_words_pay_for_their_letters_in_bits_per_byte_alone(trained):
    task, _ = trained(Words(), order=2)
    first, second, *_ = words = [*task.tokenizer.entries().values()]
    texts = {
        "known": f"{first} {second}",
        "unknown": f"{first} caterpillar",
        "changed": f"{first}  caterpillar",
    }
    known, unknown, changed = task.log_prob(
        [Example(name, "", (text,)) for name, text in texts.items()]
    )
    assert known.spelling == 0
    assert unknown.spelling == pytest.approx(Spelling(words).nats(["caterpillar"])[0])
    assert unknown.unknown == 1
    for answer in (known, unknown):
        text = texts[answer.id]
        bits, perplexity = (
            metric.score(statistics_of(metric, answer, [text]))
            for metric in (BitsPerByte(), Perplexity())
        )
        assert bits == pytest.approx((answer.nats + answer.spelling) / math.log(2) / len(text))
        assert perplexity == pytest.approx(math.exp(answer.nats / 3))
    assert "spelling:bytes" in task.answering.signature("log_prob")
    bits = BitsPerByte().score(statistics_of(BitsPerByte(), changed, [texts["changed"]]))
    assert math.isnan(bits), "of two spaces the words say nothing"


def test_a_closed_vocabulary_has_no_unknown_word(trained):
    task, _ = trained(closed_vocabulary=True)
    logits, _ = task.step(torch.tensor([[task.tokenizer.eos_id]]), None, ())
    assert logits[0, task.tokenizer.unk_id] == -torch.inf
    assert float(logits.exp().sum()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(
        ValueError, match="closed_vocabulary=True gives unknown characters no probability"
    ):
        list(task.log_prob([Example("t", "", ("Zürich",))]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"order": 0}, "order=0 must be at least 1"),
        ({"order": 99}, "order=99 must be at least 1 and at most 32"),
        ({"min_count": [1, 3, 2]}, r"min_count=\[1, 3, 2\] must begin with 1"),
        ({"min_count": [2]}, r"min_count=\[2\] must begin with 1"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        NgramTask(Bytes().train(), **settings)


def test_a_closed_vocabulary_is_not_trained_on_unknown_words(trained):
    with pytest.raises(
        ValueError,
        match="closed_vocabulary=True allows no unknown words",
    ):
        trained(Words(vocab_size=6), closed_vocabulary=True)


@pytest.mark.slow
def test_prepared_texts_make_the_same_model(trained, text, tmp_path, monkeypatch):
    """In several files, and in several pieces."""
    monkeypatch.setattr(window_data, "PIECE", 90)
    monkeypatch.setattr(packing, "CHUNK_IDS", 70)
    documents = [f"red green {word}" for word in WORDS] * 9
    (text / "train.txt").unlink()
    (text / "train.jsonl").write_text(
        "".join(json.dumps({"text": document}) + "\n" for document in documents)
    )
    for split in ("val", "test"):
        (text / f"{split}.jsonl").write_text(
            json.dumps({"text": (text / f"{split}.txt").read_text()}) + "\n"
        )
        (text / f"{split}.txt").unlink()
    task, data = trained(order=3)
    data.tokenizer.save(tmp_path / "tokenizer.json")
    folder = tmp_path / "prepared"
    words = [
        "--tokenizer",
        str(tmp_path / "tokenizer.json"),
        "--shard-mb",
        "0.0005",
        "--workers",
        "1",
    ]
    assert (
        main(["data", "prepare", str(text / "train.jsonl"), "--output", str(folder), *words]) == 0
    )
    assert len([*folder.glob("shard-*")]) > 1
    other, _ = trained(order=3, prepared=str(folder))
    row = [
        task.tokenizer.eos_id,
        *task.tokenizer.encode("red green cat blue"),
        task.tokenizer.eos_id,
    ]
    np.testing.assert_array_equal(task.token_nats([row])[0], other.token_nats([row])[0])

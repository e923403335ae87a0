"""Losses, scores and outputs equal those of the models of `transformers`, in float64 wherever
theirs are.
"""

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Beam, Greedy
from lslm_lightning.systems.hugging_face import HuggingFaceSystem as System
from lslm_lightning.systems.hugging_face_scores import token_nats
from lslm_lightning.training.batches import WindowBatch
from tests.pretrained.conftest import (
    EOS,
    PAD,
    UNKNOWN,
    WORDS,
    language_task,
    pairs,
    translation_task,
)

RANDOM = random.Random(0)
SENTENCES = [[RANDOM.randrange(3, len(WORDS)) for _ in range(n)] for n in (1, 7, 4, 9, 2, 5)]


def learn(task, batch, n_step=150):
    """Overfit a few sentences: fresh weights never end, and make all beams equal."""
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for _ in range(n_step):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        optimizer.step()


def window(rows, pad_id):
    width = max(map(len, rows))
    return WindowBatch(
        torch.tensor([row + [pad_id] * (width - len(row)) for row in rows]),
        sum(len(row) - 1 for row in rows),
    )


def test_loss_of_a_language_model(causal):
    """Texts have different lengths, with ends among the targets: padding is no `</s>`."""
    task = language_task(causal)
    model = AutoModelForCausalLM.from_pretrained(causal).double().eval()
    rows = [[EOS, *ids, EOS] for ids in SENTENCES]
    assert task.tokenizer.pad_id != EOS
    nats = sum(
        model(torch.tensor([row]), labels=torch.tensor([row])).loss.item() * (len(row) - 1)
        for row in rows
    )
    batch = window(rows, task.tokenizer.pad_id)
    # its loss is in float32, whatever the logits are in
    assert task.loss(batch).item() == pytest.approx(nats, rel=1e-6)
    logits = [model(torch.tensor([row])).logits[0, :-1].log_softmax(-1) for row in rows]
    exact = -sum(
        p[torch.arange(len(row) - 1), row[1:]].sum().item()
        for p, row in zip(logits, rows, strict=True)
    )
    assert task.loss(batch).item() == pytest.approx(exact, rel=1e-12)


def test_loss_of_an_encoder_and_decoder(paired):
    task = translation_task(paired)
    model = AutoModelForSeq2SeqLM.from_pretrained(paired).double().eval()
    batch = pairs(SENTENCES, SENTENCES[::-1])
    labels = batch.target[:, 1:].masked_fill(batch.target[:, 1:] == PAD, -100)
    expected = (
        model(batch.source, attention_mask=(~batch.source_pad).long(), labels=labels).loss.item()
        * batch.n_token
    )
    assert task.loss(batch).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("stride", [4, 16])
def test_scores_of_texts_are_those_of_the_system(causal, stride):
    """The same folder without fine-tuning, in windows shorter than the text."""
    task = language_task(causal, stride=stride).float()
    system = System(str(causal), context=16, stride=stride)
    rows = [[EOS, *(SENTENCES[1] + SENTENCES[3]) * 3, EOS], [EOS, *SENTENCES[2], EOS]]
    for row, nats in zip(rows, task.token_nats(rows), strict=True):
        expected, contexts = token_nats(system.loaded.model, row, system.context, stride)
        np.testing.assert_allclose(nats, expected, rtol=1e-4)  # float32
        np.testing.assert_array_equal(task.contexts(row), contexts)
    text = " ".join(WORDS[i] for i in SENTENCES[3] * 4)
    [own], [other] = (
        list(scorer.log_prob([Example("t", "", (text,))])) for scorer in (task, system)
    )
    assert own.nats == pytest.approx(other.nats, rel=1e-5)
    assert (own.n_token, own.unknown) == (other.n_token, other.unknown) == (37, 0)


@pytest.mark.slow
def test_continuations(causal):
    """Prompts of several lengths at once, and rows that end before others."""
    task = language_task(causal, search=Greedy())
    learn(task, window([[EOS, *ids, EOS] for ids in SENTENCES], task.tokenizer.pad_id))
    prompts = [[EOS, *ids[: 1 + len(ids) // 2]] for ids in SENTENCES]
    decoded = task.continue_rows(prompts, 10)
    assert len(set(decoded.n_token.tolist())) > 1
    for prompt, ids, n in zip(prompts, decoded.ids.tolist(), decoded.n_token.tolist(), strict=True):
        given = torch.tensor([prompt])
        whole = task.backbone.model.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=10,
            do_sample=False,
            pad_token_id=PAD,
        )
        assert ids[:n] == whole[0, len(prompt) :].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("search", [Greedy(), Beam(3), Beam(4, length_penalty=0.6)], ids=str)
def test_translations(paired, search):
    task = translation_task(paired)
    learn(task, pairs(SENTENCES, SENTENCES[::-1]), 60)
    batch = pairs([*SENTENCES, *([UNKNOWN, *ids] for ids in SENTENCES)], SENTENCES)
    decoded = task.decode(batch.source, search)
    assert len(set(decoded.n_token.tolist())) > 1
    beams = (
        {}
        if isinstance(search, Greedy)
        else {"num_beams": search.beam_size, "length_penalty": search.length_penalty}
    )
    settings = {
        "max_new_tokens": 12,
        "do_sample": False,
        "forced_eos_token_id": None,
        "bad_words_ids": [[PAD]],
        **beams,
    }
    for row, ids, n in zip(
        batch.source, decoded.ids.tolist(), decoded.n_token.tolist(), strict=True
    ):
        alone = row[row != PAD][None]
        [whole] = task.backbone.model.generate(
            alone, attention_mask=torch.ones_like(alone), **settings
        ).tolist()
        assert [PAD, *ids[:n]] == whole


def test_padding_is_never_written(marian):
    """Marian gives padding a score that no training has lowered."""
    task = translation_task(marian)
    with torch.no_grad():
        task.backbone.model.final_logits_bias[0, PAD] = 50.0
    assert not (task.decode(pairs(SENTENCES, SENTENCES).source, Beam(3)).ids == PAD).any()


def test_given_answers_are_scored_as_by_the_system(paired):
    """The same folder without fine-tuning; padding, unknown words and empty answers."""
    task = translation_task(paired)
    system = System(str(paired), dtype="float64", batch_size=3)
    examples = [Example(str(i), text, ()) for i, text in enumerate(("a b c", "d", "x y z e"))]
    answers = [["d e", "", "a 猫 b c"], ["q"], ["b b b"]]
    own, others = (list(scorer.log_prob(examples, answers)) for scorer in (task, system))
    assert [p.nats for p in own] == pytest.approx([p.nats for p in others], rel=1e-9)
    assert [(p.output, p.n_token, p.unknown) for p in own] == [
        (p.output, p.n_token, p.unknown) for p in others
    ]


def test_given_answers_after_what_a_language_model_reads(causal):
    task = language_task(causal)
    model = AutoModelForCausalLM.from_pretrained(causal).double().eval()
    for source, answer in (("a b c", "d e"), ("", "x"), ("q r", "")):
        given = [EOS, *task.tokenizer.encode(source)]
        row = [*given, *task.tokenizer.encode(answer), EOS]
        with torch.no_grad():
            log_p = model(torch.tensor([row])).logits[0].log_softmax(-1)
        expected = -sum(float(log_p[t - 1, row[t]]) for t in range(len(given), len(row)))
        [found] = task.log_prob([Example("1", source, ())], [answer])
        assert found.nats == pytest.approx(expected, rel=1e-9)

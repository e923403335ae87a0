import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Greedy, Sampling
from lslm_lightning.models.positions import Learned, Rotary
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.text.recipes import BytePair, Characters
from tasks.language_modeling.data import LanguageModelingData
from tasks.language_modeling.task import LanguageModelingTask
from tests.training.conftest import language_task


def direct_nats(task, ids, first, start):
    """Nats of ids[first] given ids[start:first], by a pass of its own."""
    logits = task.logits(torch.tensor([ids[start:first]]))[0, -1]
    return float(-logits.log_softmax(-1)[ids[first]])


@pytest.mark.parametrize("stride", [1, 5, 8, 16])
def test_every_token_counts_once_from_at_least_context_minus_stride_others(stride, text_data):
    data = text_data()
    task = language_task(data, stride=stride).double().eval()
    ids = [
        task.tokenizer.eos_id,
        *task.tokenizer.encode(data.corpus.rows("test")[0]["text"])[:70],
        task.tokenizer.eos_id,
    ]
    windows = list(task.windows(ids))
    assert [t for _, first, end in windows for t in range(first, end)] == list(range(1, len(ids)))
    assert all(end - 1 - start <= task.context for start, _, end in windows)
    assert all(first - start > min(first - 1, task.context - stride) for start, first, _ in windows)
    shares = []
    task.on_scored = shares.append
    [nats] = task.token_nats([ids])
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0
    expected = [
        direct_nats(task, ids, t, start) for start, first, end in windows for t in range(first, end)
    ]
    np.testing.assert_allclose(nats, expected, rtol=0, atol=1e-5)


def test_passages_of_a_text_add_up_to_the_text(text_data):
    data = text_data()
    task = language_task(data).double().eval()
    text = data.corpus.rows("test")[0]["text"]
    [whole] = task.log_prob([Example("t", "", (text,))])
    parts = list(
        task.log_prob(
            [
                Example(f"t#{i}", "", (part,))
                for i, part in enumerate([text[:50], text[50:120], text[120:]])
            ]
        )
    )
    assert math.fsum(p.nats for p in parts) == pytest.approx(whole.nats, abs=1e-9)
    assert sum(p.n_token for p in parts) == whole.n_token == len(task.tokenizer.encode(text)) + 1


def test_scores_do_not_depend_on_what_shares_a_batch(text_data):
    data = text_data()
    task = language_task(data).double().eval()
    rows = [
        [task.tokenizer.eos_id, *task.tokenizer.encode(t)]
        for t in ("red green blue " * 5, "cat", "two dogs? " * 9)
    ]
    together = task.token_nats(rows)
    for row, nats in zip(rows, together, strict=True):
        np.testing.assert_allclose(task.token_nats([row], batch_size=1)[0], nats, rtol=0, atol=1e-5)


def test_prompts_of_different_lengths_are_continued_as_if_alone(text_data):
    data = text_data()
    task = language_task(data, search=Greedy()).double().eval()
    prompts = [[2, *task.tokenizer.encode(p)] for p in ("red", "green blue one", "c")]
    together = task.continue_rows(prompts, 12)
    for i, prompt in enumerate(prompts):
        alone = task.continue_rows([prompt], 12)
        n = int(alone.n_token[0])
        assert together.ids[i, :n].tolist() == alone.ids[0, :n].tolist()


def test_within_the_context_a_continuation_is_written_in_one_go(text_data):
    task = language_task(text_data(), search=Greedy()).double().eval()
    prompts = [[2, *task.tokenizer.encode(p)] for p in ("red", "green")]
    decoded = task.continue_rows(prompts, 10)
    expected = [
        ids[:n] for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
    ]
    assert task.continue_any_length(prompts, 10) == expected


@pytest.mark.slow
@pytest.mark.parametrize("position", [Rotary, partial(Learned, max_length=16)])
def test_beyond_the_context_each_token_is_written_from_what_the_model_was_trained_to_read(
    text_data, position
):
    """Greedy: every new token is the most likely one given at least the later half of a context,
    and never more than a whole one.
    """
    data = text_data()
    torch.manual_seed(0)
    backbone = Transformer(
        d_model=16, n_head=2, n_encoder_layer=0, n_decoder_layer=1, position=position
    )
    task = (
        LanguageModelingTask(backbone, data.tokenizer, context=16, search=Greedy(), min_length=50)
        .double()
        .eval()
    )
    prompts = [[2, *task.tokenizer.encode(p)] for p in ("red green blue one two three", "c")]
    with torch.no_grad():
        for prompt, answer in zip(prompts, task.continue_any_length(prompts, 50), strict=True):
            row = prompt + answer
            assert len(answer) == 50
            for t in range(len(prompt), len(row)):
                choices = []
                for n in range(min(8, t), min(16, t) + 1):
                    logits = task.logits(torch.tensor([row[t - n : t]]))[0, -1]
                    logits[task.tokenizer.eos_id] = -torch.inf
                    choices.append(int(logits.argmax()))
                assert row[t] in choices
    assert len(task.answering.samples()) == 3


def test_parts_of_a_sample_draw_different_numbers(text_data):
    task = language_task(text_data(), search=Sampling(seed=3), min_length=64).double().eval()
    for p in task.parameters():
        torch.nn.init.zeros_(p)  # every token equally likely, whatever stands before
    [ids] = task.continue_any_length([[2]], 64)
    assert len({tuple(ids[i : i + 8]) for i in range(16, 64, 8)}) == 6
    assert task.continue_any_length([[2]], 64) == [ids]


def test_text_that_its_tokens_do_not_give_back_has_no_bits_per_byte(text_data):
    data = text_data()
    data.recipe = BytePair(300, lowercase=True)
    task = language_task(data)
    same, other = task.log_prob(
        [Example("a", "", ("red green",)), Example("b", "", ("Red GREEN",))]
    )
    assert (same.unknown, other.unknown) == (0, 1)


def test_texts_whose_ids_have_a_number_sign_stay_apart(text):
    (text / "c#.jsonl").write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in ("red green", "blue", "one two"))
    )
    data = LanguageModelingData(str(text / "c#.jsonl"), Characters(), context=16)
    (split,) = data.corpus.splits[:1]
    task = language_task(data).double().eval()
    answers = list(task.log_prob(data.examples(split)))
    assert sum(a.n_token for a in answers) == sum(
        len(e.references[0]) + 1 for e in data.examples(split)
    )


def test_stride_beyond_the_context_is_refused(text_data):
    with pytest.raises(ValueError, match="stride=17 must be between 1 and context=16"):
        language_task(text_data(), stride=17)


def test_data_of_another_sort_of_task_are_refused(text_data, translation_data):
    with pytest.raises(
        ValueError, match="LanguageModelingTask cannot read TranslationData but WindowData"
    ):
        language_task(text_data()).requirements.check(translation_data())

import math

import numpy as np
import pytest
import torch

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Greedy
from tests.training.conftest import language_task


def direct_nats(task, ids, first, start):
    """Nats of ids[first] given ids[start:first], by a pass of its own."""
    logits = task.logits(torch.tensor([ids[start:first]]))[0, -1]
    return float(-logits.log_softmax(-1)[ids[first]])


@pytest.mark.parametrize("stride", [1, 5, 8, 16])
def test_every_token_counts_once_from_at_least_context_minus_stride_others(stride, text_data):
    data = text_data()
    task = language_task(data, stride=stride).double().eval()
    ids = [task.tokenizer.eos_id, *task.tokenizer.encode(data.corpus.rows("test")[0]["text"])[:70], task.tokenizer.eos_id]
    windows = list(task.windows(ids))
    assert [t for _, first, end in windows for t in range(first, end)] == list(range(1, len(ids)))
    assert all(end - 1 - start <= task.context for start, _, end in windows)
    assert all(first - start > min(first - 1, task.context - stride) for start, first, _ in windows)
    [nats] = task.token_nats([ids])
    expected = [direct_nats(task, ids, t, start) for start, first, end in windows for t in range(first, end)]
    np.testing.assert_allclose(nats, expected, rtol=0, atol=1e-5)


def test_passages_of_a_text_add_up_to_the_text(text_data):
    data = text_data()
    task = language_task(data).double().eval()
    text = data.corpus.rows("test")[0]["text"]
    [whole] = task.log_prob([Example("t", "", (text,))])
    parts = list(task.log_prob([Example(f"t#{i}", "", (part,)) for i, part in enumerate([text[:50], text[50:120], text[120:]])]))
    assert math.fsum(p.nats for p in parts) == pytest.approx(whole.nats, abs=1e-9)
    assert sum(p.n_token for p in parts) == whole.n_token == len(task.tokenizer.encode(text)) + 1


def test_scores_do_not_depend_on_what_shares_a_batch(text_data):
    data = text_data()
    task = language_task(data).double().eval()
    rows = [[task.tokenizer.eos_id, *task.tokenizer.encode(t)] for t in ("red green blue " * 5, "cat", "two dogs? " * 9)]
    together = task.token_nats(rows)
    for row, nats in zip(rows, together, strict=True):
        np.testing.assert_allclose(task.token_nats([row], batch_size=1)[0], nats, rtol=0, atol=1e-5)


def test_prompts_of_different_lengths_are_continued_as_if_alone(text_data):
    data = text_data()
    task = language_task(data).double().eval()
    prompts = [[2, *task.tokenizer.encode(p)] for p in ("red", "green blue one", "c")]
    together = task.continue_rows(prompts, Greedy(), 12)
    for i, prompt in enumerate(prompts):
        alone = task.continue_rows([prompt], Greedy(), 12)
        n = int(alone.n_token[0])
        assert together.ids[i, :n].tolist() == alone.ids[0, :n].tolist()


def test_stride_beyond_the_context_is_refused(text_data):
    with pytest.raises(ValueError, match="stride=17 must be between 1 and context=16"):
        language_task(text_data(), stride=17)

"""The best tokens, found by blocks of neighbouring tokens, are the best of all."""

import pytest
import torch

from lslm_lightning.decoding.search import best_sums, most_probable


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("vocab_size", [640, 700, 1023])
@pytest.mark.parametrize("first", [True, False])
def test_best_of_blocks_are_the_best_of_all(vocab_size, first):
    log_p = torch.randn(6, 1 if first else 5, vocab_size, dtype=torch.float64)
    log_p[0, :, -1] = 9.0  # in no block where the size is odd
    log_p[1] = log_p[1].sort(descending=True).values  # all of the best in one block
    log_p[2, :, 3:] = -torch.inf
    log_p[3, 0, 70] = torch.nan
    running = -torch.rand(6, 5, dtype=torch.float64)
    score, index = best_sums(log_p, running, 10)
    sums = (log_p + running[:, :, None]).flatten(1)
    expected = sums.topk(10)
    assert torch.equal(score[[0, 1, 4, 5]], expected.values[[0, 1, 4, 5]])
    assert torch.equal(index[[0, 1, 4, 5]], expected.indices[[0, 1, 4, 5]])
    assert torch.equal(score[2], expected.values[2])
    assert torch.equal(sums[2][index[2]], score[2])
    assert score[3, 0].isnan()


@pytest.mark.parametrize("vocab_size", [5, 256, 300, 1023])
def test_most_probable_token_is_the_first_of_the_best(vocab_size):
    log_p = torch.randint(0, 40, (200, vocab_size)).float()
    log_p[0, -1] = 99.0
    log_p[1] = -torch.inf
    log_p[2, 3] = torch.nan
    assert torch.equal(most_probable(log_p), log_p.argmax(-1))

"""Token vectors."""

import torch

from lslm_lightning.models.embedding import TokenEmbedding


def test_rows_of_the_weight_times_the_scale():
    ids = torch.tensor([[3, 0, 3], [1, 2, 2]])
    for scale in (None, 4.0):
        embedding = TokenEmbedding(5, 6, scale)
        assert torch.equal(embedding(ids), embedding.weight[ids] * (scale or 1.0))


def test_tied_logits_start_with_variance_one():
    torch.manual_seed(0)
    weight = TokenEmbedding(2000, 64).weight
    assert abs((torch.randn(100, 64) @ weight.T).var() - 1) < 0.1

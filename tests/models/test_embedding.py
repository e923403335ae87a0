"""Embeddings of tokens and of features."""

import torch

from lslm_lightning.models.embedding import FeatureEmbedding, TokenEmbedding


def test_rows_of_the_weight_times_the_scale():
    ids = torch.tensor([[3, 0, 3], [1, 2, 2]])
    for scale in (None, 4.0):
        embedding = TokenEmbedding(5, 6, scale)
        assert torch.equal(embedding(ids), embedding.weight[ids] * (scale or 1.0))


def test_tied_logits_start_with_variance_one():
    torch.manual_seed(0)
    weight = TokenEmbedding(2000, 64).weight
    assert abs((torch.randn(100, 64) @ weight.T).var() - 1) < 0.1


def test_each_mark_adds_its_vector():
    x = torch.zeros(2, 3, 6)
    marks = [torch.tensor([[0, 1, 1], [1, 0, 0]]), torch.tensor([[2, 2, 0], [0, 1, 2]]).int()]
    module = FeatureEmbedding((2, 3), 6)
    expected = module.weights[0][marks[0]] + module.weights[1][marks[1].long()]
    assert torch.equal(module(x, *marks), expected)


def test_all_marks_together_start_with_variance_one():
    torch.manual_seed(0)
    module = FeatureEmbedding((50, 50, 50, 50), 64)
    marks = [torch.randint(50, (1, 200)) for _ in range(4)]
    assert abs(module(torch.zeros(1, 200, 64), *marks).var() - 1) < 0.15

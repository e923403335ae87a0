"""Heads against plain loops."""

import math
from typing import Any

import pytest
import torch

from lslm_lightning.models.heads import LinearHead, PointerGenerator, Projection, Source, TiedHead

V = 9
D = 6
B = 2
S = 5
T = 3


def randomized(head):
    for parameter in head.parameters():
        parameter.data.normal_()
    return head.double()


@pytest.fixture
def inputs() -> dict[str, Any]:
    """Return two sources (the second padded, both with words that occur twice), two beams each."""
    torch.manual_seed(0)
    return {
        "y": torch.randn(2 * B, T, D, dtype=torch.double),
        "embedding": torch.randn(V, D, dtype=torch.double),
        "source": Source(
            torch.randn(B, S, D, dtype=torch.double),
            torch.tensor([[4, 4, 7, 5, 4], [6, 8, 6, 0, 0]]),
            torch.tensor([[False] * 5, [False] * 3 + [True] * 2]),
        ),
    }


@pytest.mark.parametrize("bias", [True, False])
def test_projections(inputs, bias):
    tied = randomized(TiedHead(V, D, bias))
    free = randomized(LinearHead(V, D, bias))
    y = inputs["y"]
    embedding = inputs["embedding"]
    torch.testing.assert_close(
        tied(**inputs), y @ embedding.T + (tied.bias if bias else 0), rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        free(**inputs), y @ free.weight.T + (free.bias if bias else 0), rtol=0, atol=1e-12
    )


def test_pointer_generator_is_a_distribution(inputs):
    probability = randomized(PointerGenerator(V, D))(**inputs).exp()
    torch.testing.assert_close(
        probability.sum(-1), torch.ones(2 * B, T, dtype=torch.double), rtol=0, atol=1e-12
    )


def test_pointer_generator_answers_in_single_precision_under_autocast(inputs):
    """The scores of a search are those of the loss: sums of small probabilities must not be lost in
    8 bits.
    """
    head = PointerGenerator(V, D)
    single = {"y": inputs["y"][::2].float(), "embedding": inputs["embedding"].float()}
    source = inputs["source"]._replace(memory=inputs["source"].memory.float())
    target = torch.tensor([[4, 5, 0], [7, 3, 8]])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        scores = head(**single, source=source)
        nats = head.nats(**single, source=source, target=target, pad_id=0)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(B, T), rtol=0, atol=1e-5)
    real = target != 0
    torch.testing.assert_close(
        -scores.gather(-1, target[..., None])[..., 0][real].sum(), nats, rtol=1e-4, atol=0
    )


def test_pointer_generator_against_a_loop(inputs):
    head = randomized(PointerGenerator(V, D))
    ours = head(**inputs)
    for n in range(2 * B):
        memory = inputs["source"].memory[n // 2]
        source = inputs["source"].ids[n // 2]
        n_source = int((~inputs["source"].pad[n // 2]).sum())
        for t in range(T):
            y = inputs["y"][n, t]
            attention = torch.stack(
                [head.query.weight @ y @ memory[s] / math.sqrt(D) for s in range(n_source)]
            ).softmax(0)
            context = sum(attention[s] * memory[s] for s in range(n_source))
            gate = (head.gate.weight[0] @ torch.cat([y, context]) + head.gate.bias[0]).sigmoid()
            expected = gate * (inputs["embedding"] @ y).softmax(0)
            for s in range(n_source):
                expected[source[s]] += (1 - gate) * attention[s]
            torch.testing.assert_close(ours[n, t], expected.log(), rtol=0, atol=1e-11)


def test_pointer_generator_gradients(inputs):
    head = randomized(PointerGenerator(V, D))
    source = inputs["source"]
    moving = [x.requires_grad_() for x in (inputs["y"], inputs["embedding"], source.memory)]
    assert torch.autograd.gradcheck(
        lambda y, embedding, memory: head(y, embedding, source._replace(memory=memory)), moving
    )


def test_pointer_generator_learns_to_copy_what_it_never_wrote(inputs):
    """Probability and gradient come from copying, and stay numbers, where generating gives a word
    none.
    """
    head = randomized(PointerGenerator(V, D))
    inputs["embedding"][4] = -1e4 * inputs["y"][0, 0]
    memory = inputs["source"].memory.requires_grad_()
    log_p = head(**inputs)[0, 0]
    assert log_p[4] > -20
    assert log_p.isfinite().all()
    (gradient,) = torch.autograd.grad(log_p[4], memory)
    assert gradient.isfinite().all()
    assert gradient[0].abs().sum() > 0


def test_pointer_generator_needs_a_source(inputs):
    with pytest.raises(ValueError, match="PointerGenerator copies from a source"):
        PointerGenerator(V, D)(inputs["y"].float(), inputs["embedding"].float())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("head", [TiedHead, LinearHead])
def test_nats_are_the_smoothed_cross_entropy_without_padding(head, smoothing):
    y = torch.randn(2, 3, 8, dtype=torch.double)
    embedding = torch.randn(7, 8, dtype=torch.double)
    target = torch.tensor([[1, 2, 0], [3, 0, 0]])
    head = head(7, 8).double()
    log_p = head(y, embedding).log_softmax(-1)
    real = [(0, 0, 1), (0, 1, 2), (1, 0, 3)]
    expected = -sum(
        (1 - smoothing) * log_p[b, t, i] + smoothing * log_p[b, t].mean() for b, t, i in real
    )
    torch.testing.assert_close(
        head.nats(y, embedding, target, 0, smoothing), expected, rtol=0, atol=1e-12
    )


def test_nats_of_a_pointer_are_those_of_its_mixture():
    torch.manual_seed(0)
    head = PointerGenerator(9, 8).double()
    y, embedding, memory = (
        torch.randn(*shape, 8, dtype=torch.double) for shape in ((2, 4), (9,), (2, 5))
    )
    source = torch.tensor([[3, 4, 3, 0, 0], [5, 6, 7, 8, 5]])
    pad = source == 0
    target = torch.tensor([[3, 1, 0, 0], [5, 2, 8, 1]])
    log_p = head(y, embedding, Source(memory, source, pad))
    expected = -log_p.gather(-1, target[..., None])[..., 0][target != 0].sum()
    torch.testing.assert_close(
        head.nats(y, embedding, target, 0, 0.0, Source(memory, source, pad)),
        expected,
        rtol=0,
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", [TiedHead, LinearHead])
@pytest.mark.parametrize("bias", [False, True])
def test_blocked_tokens_are_never_written_and_the_block_is_not_trained(
    kind: type[Projection], bias: bool
) -> None:
    torch.manual_seed(0)
    plain, blocked = kind(V, D, bias), kind(V, D, bias, blocked_ids=[1, 3])
    assert blocked.state_dict().keys() == plain.state_dict().keys()
    blocked.load_state_dict(plain.state_dict())
    y, embedding = torch.randn(2, 3, D), torch.randn(V, D)
    probabilities = blocked(y, embedding).softmax(-1)
    kept = [i for i in range(V) if i not in (1, 3)]
    assert not probabilities[..., [1, 3]].any()
    expected = plain(y, embedding)[..., kept].softmax(-1)
    torch.testing.assert_close(probabilities[..., kept], expected)
    with pytest.raises(ValueError, match=r"blocked_ids=\[99\] must be ids of the vocabulary"):
        kind(V, D, blocked_ids=[99])

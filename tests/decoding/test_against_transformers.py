"""Searches give the answers of `transformers` with the same weights."""

import pytest
import torch
from torch import Tensor

from lslm_lightning.decoding import Beam, Greedy, Sampling
from tests.decoding.network import END, answers

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def marian():
    pytest.importorskip(
        "transformers", reason="transformers is a test dependency: pip install -e .[dev]"
    )
    from tests.support import marian_copier

    model = marian_copier.marian(
        n_layer=1,
        n_head=4,
        vocab_size=24,
        d_model=64,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        init_std=0.1,
    )
    marian_copier.learn_to_copy(model, n_step=150, n_word=20, mean_length=6)
    return model


@pytest.fixture(scope="session")
def copies(marian):
    """Return `search(...)` on our Transformer with the weights of `marian`, and the sources."""
    from tests.models.convert import marian_from_transformers
    from tests.support.marian_copier import PAD, START, sentences

    embedding, backbone, head = marian_from_transformers(marian)
    source = sentences(48, 6, 20, torch.Generator().manual_seed(1))
    assert len({len(ids) for ids in generate(marian, source, max_new_tokens=16)}) > 4, (
        "hypotheses should end at different lengths"
    )
    pad = source == PAD
    with torch.inference_mode():
        encoder_state = (
            backbone.precompute_cross_attention(backbone.encode(embedding(source), pad)),
            pad,
        )

    def step(ids: Tensor, state: tuple | None, encoder_state: tuple) -> tuple[Tensor, tuple]:
        y, state = backbone.decode(
            embedding(ids), memory=encoder_state[0], memory_pad=encoder_state[1], state=state
        )
        return head(y[:, -1:], embedding.weight)[:, 0], state

    prefix = torch.full((len(source), 1), START)
    return source, lambda search, max_length, min_length=0: search(
        step, prefix, encoder_state, END, max_length, min_length
    )


def generate(marian: torch.nn.Module, source: Tensor, **settings) -> list[list[int]]:
    ids = marian.generate(
        input_ids=source, attention_mask=(source != 0).long(), do_sample=False, **settings
    )[:, 1:].tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in ids]


def test_inference_mode_and_autocast_around_a_search(copies):
    """Tensors made in inference mode, as in Lightning's validation loop, are not written to."""
    source, search = copies
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for method in (Greedy(), Sampling(), Beam(3)):
            assert search(method, 16).n_token.shape == (len(source),)


@pytest.mark.parametrize(
    ("no_repeat_ngram", "min_length", "max_length"), [(0, 0, 16), (2, 0, 16), (0, 5, 8), (1, 3, 16)]
)
def test_greedy_against_transformers(marian, copies, no_repeat_ngram, min_length, max_length):
    source, search = copies
    expected = generate(
        marian,
        source,
        no_repeat_ngram_size=no_repeat_ngram,
        min_new_tokens=min_length,
        max_new_tokens=max_length,
        num_beams=1,
    )
    assert answers(search(Greedy(no_repeat_ngram), max_length, min_length)) == expected


@pytest.mark.parametrize("beam_size", [2, 5, 12])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    ("length_penalty", "no_repeat_ngram", "min_length", "max_length"),
    [
        (1.0, 0, 0, 16),
        (0.0, 0, 0, 16),
        (2.0, 2, 0, 16),
        (-1.0, 0, 4, 16),
        (0.6, 3, 5, 8),
        (1.0, 0, 0, 3),
    ],
)
def test_beams_against_transformers(
    marian,
    copies,
    beam_size,
    early_stopping,
    length_penalty,
    no_repeat_ngram,
    min_length,
    max_length,
):
    source, search = copies
    expected = generate(
        marian,
        source,
        num_beams=beam_size,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        no_repeat_ngram_size=no_repeat_ngram,
        min_new_tokens=min_length,
        max_new_tokens=max_length,
    )
    found = search(
        Beam(beam_size, length_penalty, early_stopping, no_repeat_ngram), max_length, min_length
    )
    assert answers(found) == expected

"""Laws of recurrent networks alone."""

import pytest
import torch
from torch import nn

from lslm_lightning.models.attention import record_attention
from lslm_lightning.models.dropout import LockedDropout
from lslm_lightning.models.recurrent import GRU, LSTM, RNN, Bahdanau, Luong
from tests.models.families import D_MODEL, recurrent
from tests.models.test_laws import EXACT, pad_after, vectors

KINDS = {RNN: nn.RNN, GRU: nn.GRU, LSTM: nn.LSTM}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_language_model_is_a_stack_of_torchs_own(kind):
    model = recurrent(kind, n_encoder_layer=0)
    x = vectors(3, 7)
    theirs = KINDS[kind](D_MODEL, D_MODEL, 2, batch_first=True).double()
    for i, layer in enumerate(model.decoder):
        for name, parameter in layer.named_parameters():
            getattr(theirs, name.replace("l0", f"l{i}")).copy_(parameter)
    torch.testing.assert_close(model.decode(x)[0], theirs(x)[0], **EXACT)


@torch.no_grad()
def test_the_encoder_reads_in_both_directions():
    model = recurrent(LSTM)
    x = vectors(1, 5)
    before = model.encode(x)
    x[:, 2] += 1
    assert not torch.isclose(model.encode(x), before).all(-1).any()


@pytest.mark.parametrize("attention", [Luong, Bahdanau])
@torch.no_grad()
def test_attention_is_recorded_and_sums_to_one(attention):
    model = recurrent(LSTM, attention=attention)
    source = vectors(2, 5)
    x = vectors(2, 3)
    with record_attention() as record:
        model.decode(
            x, memory=model.encode(source, pad_after([5, 3], 5)), memory_pad=pad_after([5, 3], 5)
        )
    [weights] = record.cross
    assert weights.shape == (2, 1, 3, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 3, dtype=torch.double))
    assert (weights[1, ..., 3:] == 0).all()


def test_a_mask_is_locked_over_time():
    torch.manual_seed(0)
    dropped = LockedDropout(0.5).train()(torch.ones(64, 9, 32))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (dropped == 0).float().mean() < 0.6
    assert not torch.equal(dropped[0], dropped[1])


def test_an_lstm_begins_by_forgetting_little():
    layer = LSTM(D_MODEL, 0, 1).decoder[0]
    forget = (layer.bias_ih_l0 + layer.bias_hh_l0)[D_MODEL : 2 * D_MODEL]
    assert (forget == 1).all()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"d_model": 0}, "d_model=0 must be at least 1"),
        ({"d_model": 7}, "d_model=7 must be even"),
        ({"n_encoder_layer": -1}, "n_encoder_layer=-1 .* not be negative"),
        ({"n_encoder_layer": 0, "n_decoder_layer": 0}, "one of them must be above 0"),
        ({"dropout": 1.5}, r"dropout=1\.5 must be"),
    ],
)
def test_impossible_sizes_are_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        LSTM(**settings)


@pytest.mark.parametrize("attention", [Luong, Bahdanau])
@torch.no_grad()
def test_rows_with_a_source_go_on_where_they_ended(attention):
    """A row whose first piece is padding alone keeps its state."""
    model = recurrent(LSTM, attention=attention)
    memory = vectors(3, 4)
    x = vectors(3, 5)
    lengths = [3, 1, 0]
    _, state = model.decode(x[:, :3], pad_after(lengths, 3), memory=memory)
    y, _ = model.decode(x[:, 3:], memory=memory, state=state)
    for i, n in enumerate(lengths):
        alone, _ = model.decode(
            torch.cat([x[i : i + 1, :n], x[i : i + 1, 3:]], 1), memory=memory[i : i + 1]
        )
        torch.testing.assert_close(y[i : i + 1], alone[:, n:], **EXACT)

"""Searches over frames against all paths, torch's loss and a plain beam in dictionaries."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lslm_lightning.decoding import CtcGreedy, CtcPrefixBeam, Fusion
from tests.decoding.frames import all_sequences, plain_prefix_beam, random_frames, spelled
from tests.decoding.network import END, Network

EVERYTHING = CtcPrefixBeam(400)
LENGTHS = torch.tensor([5, 2, 4])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def language_model(vocab_size: int = 4, **settings) -> tuple[Network, Fusion]:
    """Return a random language model that begins and ends with `END`, and its fusion."""
    network = Network(vocab_size)

    def step(ids: Tensor, state: tuple | None, shared: tuple) -> tuple[Tensor, tuple]:
        return network(ids, state, torch.zeros(len(ids), 16, dtype=torch.double))

    return network, Fusion(step, END, END, **settings)


def log_p_of(network: Network, ids: tuple[int, ...]) -> float:
    """Return log p of a text under a language model, its end included."""
    whole = [END, *ids, END]
    return sum(
        network.log_p(whole[:t], torch.zeros(16, dtype=torch.double))[whole[t]].item()
        for t in range(1, len(whole))
    )


@pytest.mark.parametrize("blank", [0, 1, 3])
def test_a_beam_of_everything_is_the_sum_over_all_paths(blank):
    log_probs = random_frames(3, 5, 4)
    for source, n, found in zip(
        log_probs, LENGTHS, EVERYTHING(log_probs, LENGTHS, blank), strict=True
    ):
        expected = all_sequences(source[:n], blank)
        assert [h.ids for h in found] == sorted(expected, key=expected.__getitem__, reverse=True)
        assert [math.exp(-h.nats) for h in found] == pytest.approx(
            [expected[h.ids] for h in found], abs=1e-12
        )
        assert sum(math.exp(-h.nats) for h in found) == pytest.approx(1, abs=1e-12)


def test_nats_are_torchs_loss():
    log_probs = random_frames(1, 6, 3)
    [found] = CtcPrefixBeam(3**6)(log_probs, torch.tensor([6]), 0)
    for hypothesis in found[:20]:
        target = torch.tensor([hypothesis.ids], dtype=torch.long)
        sizes = torch.tensor([6]), torch.tensor([len(hypothesis.ids)])
        loss = F.ctc_loss(log_probs.transpose(0, 1), target, *sizes, blank=0, reduction="sum")
        assert hypothesis.nats == pytest.approx(loss.item(), abs=1e-10)


@pytest.mark.parametrize("beam_size", [1, 3, 10])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_a_narrow_beam_is_the_plain_one(beam_size, sharpness):
    log_probs = (sharpness * random_frames(4, 40, 6)).log_softmax(-1)
    for source, found in zip(
        log_probs, CtcPrefixBeam(beam_size)(log_probs, torch.tensor([40] * 4), 5), strict=True
    ):
        assert {h.ids: -h.nats for h in found} == pytest.approx(
            plain_prefix_beam(source, 5, beam_size), abs=1e-9
        )
        assert [h.nats for h in found] == sorted(h.nats for h in found)


def test_other_rows_of_the_batch_change_nothing():
    log_probs = random_frames(6, 20, 5)
    lengths = torch.tensor([3, 20, 0, 11, 20, 7])
    _, fusion = language_model(5, weight=0.5)
    for search, model in (
        (CtcGreedy(), None),
        (CtcPrefixBeam(4), None),
        (CtcPrefixBeam(4), fusion),
    ):
        together = search(log_probs, lengths, 1, model)
        log_probs_elsewhere = log_probs.clone()
        for i, n in enumerate(lengths):
            log_probs_elsewhere[i, n:] = math.nan  # what stands behind the last frame means nothing
            [alone] = search(log_probs_elsewhere[i, None], lengths[i, None], 1, model)
            assert [h.ids for h in alone] == [h.ids for h in together[i]]
            assert [h.nats for h in alone] == pytest.approx([h.nats for h in together[i]], abs=1e-9)


def test_greedy_collapses_the_best_path():
    log_probs = random_frames(8, 30, 4)
    lengths = torch.randint(1, 31, (8,))
    for source, n, [found] in zip(
        log_probs, lengths, CtcGreedy()(log_probs, lengths, 2), strict=True
    ):
        assert found.ids == spelled(tuple(source[:n].argmax(-1).tolist()), 2)
        assert found.nats == pytest.approx(-source[:n].amax(-1).sum().item())


@pytest.mark.parametrize("search", [CtcGreedy(), CtcPrefixBeam(3)], ids=str)
def test_of_no_frames_the_answer_is_empty(search):
    for log_probs in (random_frames(2, 4, 3), torch.zeros(2, 0, 3)):
        for [best, *others] in search(log_probs, torch.tensor([0, 0]), 0):
            assert (best, others) == (((), 0.0), [])


def test_forbidden_symbols_are_never_written():
    log_probs = random_frames(4, 12, 6, never=(1, 3))
    for found in CtcPrefixBeam(50)(log_probs, torch.tensor([12] * 4), 0):
        assert all(math.isfinite(h.nats) for h in found)
        assert {symbol for h in found for symbol in h.ids} <= {2, 4, 5}
        assert len({h.ids for h in found}) == len(found)


# Fusion


def test_a_weight_of_nothing_changes_nothing():
    log_probs = random_frames(3, 20, 4)

    def step(*_: object) -> None:
        raise AssertionError("a language model without weight must not be asked")

    for silent in (None, Fusion(step, END, END, weight=0.0)):
        found = CtcPrefixBeam(6)(log_probs, torch.tensor([20, 9, 20]), 0, silent)
        assert found == CtcPrefixBeam(6)(log_probs, torch.tensor([20, 9, 20]), 0)


@pytest.mark.parametrize(
    ("weight", "length_bonus"), [(0.7, 0.0), (0.0, 1.5), (1.5, -0.5), (0.3, 2.0)]
)
def test_fusion_finds_the_best_of_all_by_its_formula(weight, length_bonus):
    network, fusion = language_model(weight=weight, length_bonus=length_bonus)
    log_probs = random_frames(3, 5, 4, never=(END,))
    for source, n, found in zip(
        log_probs, LENGTHS, EVERYTHING(log_probs, LENGTHS, 0, fusion), strict=True
    ):
        scores = {
            ids: math.log(p) + weight * log_p_of(network, ids) + length_bonus * len(ids)
            for ids, p in all_sequences(source[:n], 0).items()
        }
        assert [h.ids for h in found] == sorted(scores, key=scores.__getitem__, reverse=True)
        assert [-h.nats for h in found] == pytest.approx([scores[h.ids] for h in found], abs=1e-9)


def test_the_blank_may_stand_behind_the_language_models_tokens():
    network, fusion = language_model(4, weight=0.5)
    log_probs = random_frames(1, 4, 5, never=(END,))
    [found] = EVERYTHING(log_probs, torch.tensor([4]), 4, fusion)
    ids = found[0].ids
    assert -found[0].nats == pytest.approx(
        math.log(all_sequences(log_probs[0], 4)[ids]) + 0.5 * log_p_of(network, ids)
    )


def test_hypotheses_of_one_length_are_read_together():
    network, fusion = language_model(4)
    CtcPrefixBeam(8)(random_frames(5, 20, 4, never=(END,)), torch.tensor([20] * 5), 0, fusion)
    assert max(network.rows) > 8
    assert len(network.rows) < 20 * 8 + 1, "at most once for each frame and length"


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: CtcPrefixBeam(0), "beam_size=0"),
        (lambda: Fusion(None, 0, 0, weight=-1.0), r"weight=-1.0"),
        (
            lambda: CtcGreedy()(random_frames(1, 3, 4), torch.tensor([3]), 0, language_model()[1]),
            "CtcGreedy .* language model",
        ),
        (
            lambda: CtcGreedy()(random_frames(1, 3, 4), torch.tensor([4]), 0),
            "lengths go from 4 to 4",
        ),
        (
            lambda: CtcGreedy()(random_frames(2, 3, 4), torch.tensor([3]), 0),
            r"log_probs has shape \(2, 3, 4\)",
        ),
        (lambda: CtcGreedy()(random_frames(1, 3, 4), torch.tensor([3]), 4), "blank=4"),
        (
            lambda: CtcPrefixBeam()(
                random_frames(1, 3, 6), torch.tensor([3]), 0, language_model(4)[1]
            ),
            "4 tokens and the search 6",
        ),
        (
            lambda: CtcPrefixBeam()(
                random_frames(1, 3, 4),
                torch.tensor([3]),
                0,
                Fusion(lambda ids, state, shared: (ids * torch.nan * torch.ones(4), ()), END, END),
            ),
            "language model of the fusion gives NaN",
        ),
        (
            lambda: CtcPrefixBeam()(math.nan * random_frames(2, 3, 4), torch.tensor([3, 3]), 0),
            "NaN for 2 of 2 sources",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(make, names):
    with pytest.raises(ValueError, match=names):
        make()

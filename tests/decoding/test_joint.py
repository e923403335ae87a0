"""The joint beam against Beam, and against all sequences by the formula; prefix scores against sums
over all of them.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from lslm_lightning.decoding import Beam, CtcPrefixBeam, Fusion, JointBeam
from lslm_lightning.decoding.prefix_scores import PrefixScores, prefix_frames
from tests.decoding.frames import all_sequences, random_frames
from tests.decoding.network import END, Network, answers, question
from tests.decoding.test_ctc import language_model, log_p_of

BLANK = 0
N_SYMBOL = 5
LENGTHS = torch.tensor([4, 2, 3])
TOKENS = (1, 3, 4)  # all but the blank and the end


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def frames(blank: int = BLANK, n_frame: int = 4) -> Tensor:
    return random_frames(3, n_frame, N_SYMBOL + (blank == N_SYMBOL), never=(END,))


def decoder() -> Network:
    """Return a decoder that cannot write the blank."""
    network = Network(N_SYMBOL)
    network.bias[BLANK] = -math.inf
    return network


@pytest.mark.parametrize("blank", [BLANK, 1])
def test_prefix_scores_are_sums_over_all_sequences(blank):
    log_probs = frames()
    for source, n in zip(log_probs, LENGTHS, strict=True):
        shared = prefix_frames(source[None], n[None], blank)
        every = all_sequences(source[:n], blank)
        for prefix in itertools.chain.from_iterable(
            itertools.product(range(N_SYMBOL), repeat=r) for r in range(4)
        ):
            if blank in prefix or END in prefix:
                continue
            step = PrefixScores(blank, END)
            ids = torch.tensor([[9]])
            state = None
            begun = 0.0
            for token in prefix:
                log_p, state = step(ids, state, shared)
                begun = begun + log_p[0, token].item()
                ids = torch.tensor([[token]])
            expected = sum(p for ids, p in every.items() if ids[: len(prefix)] == prefix)
            assert math.exp(begun) == pytest.approx(expected, abs=1e-12)
            log_p, _ = step(ids, state, shared)
            assert math.exp(begun + log_p[0, END].item()) == pytest.approx(
                every.get(prefix, 0.0), abs=1e-12
            )
            assert log_p[0, blank] == -math.inf
            if expected:
                assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_prefix_scores_stay_exact_over_many_frames():
    """The probability of a sequence of 40 symbols in 300 frames is torch's."""
    scores = random_frames(1, 300, 12, never=(END,))
    ids = [1, 3, 3, 4, 5, 11, 7, 7] * 5
    step = PrefixScores(BLANK, END)
    state = None
    token = 0
    total = 0.0
    for wanted in [*ids, END]:
        log_p, state = step(
            torch.tensor([[token]]), state, prefix_frames(scores, torch.tensor([300]), BLANK)
        )
        total = total + log_p[0, wanted].item()
        token = wanted
    lengths = torch.tensor([300]), torch.tensor([40])
    nats = torch.nn.functional.ctc_loss(
        scores.transpose(0, 1), torch.tensor([ids]), *lengths, blank=BLANK, reduction="sum"
    )
    assert -total == pytest.approx(nats.item(), rel=1e-10)


@pytest.mark.parametrize(
    "beam",
    [Beam(1), Beam(4), Beam(3, length_penalty=0.0), Beam(2, 0.5, early_stopping=True), Beam(30)],
    ids=lambda beam: str(beam)[:60],
)
@pytest.mark.parametrize("min_length", [0, 3])
def test_without_ctc_it_is_beam(beam, min_length):
    for network, (start, sources) in (
        (Network(N_SYMBOL), question(3)),
        (Network(N_SYMBOL, end_bias=1.0), question(3)),
    ):
        expected = beam(network, start, sources, END, 10, min_length)
        joint = JointBeam(beam.beam_size, 0.0, beam.length_penalty, beam.early_stopping)
        silent = Fusion(None, END, END, weight=0.0)
        for given in ({}, {"log_probs": frames(), "lengths": LENGTHS}, {"fusion": silent}):
            found = joint(network, start, sources, END, 10, min_length, **given)
            assert answers(found) == answers(expected)
            torch.testing.assert_close(found.score, expected.score, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("blank", [BLANK, N_SYMBOL])
@pytest.mark.parametrize(
    ("ctc_weight", "weight", "length_bonus"),
    [(1.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.5, 0.8, 0.0), (0.7, 0.4, 1.0), (0.0, 0.5, -0.3)],
)
def test_a_beam_of_everything_finds_the_best_of_all_by_its_formula(
    ctc_weight, weight, length_bonus, blank
):
    network = decoder()
    (start, sources) = question(3)
    log_probs = frames(blank)
    model, fusion = language_model(N_SYMBOL, weight=weight, length_bonus=length_bonus)
    joint = JointBeam(5**4, ctc_weight)
    found = joint(
        network,
        start,
        sources,
        END,
        6,
        log_probs=log_probs,
        lengths=LENGTHS,
        blank=blank,
        fusion=fusion,
    )
    for source, log_p, n, ids, score in zip(
        sources, log_probs, LENGTHS, answers(found), found.score.tolist(), strict=True
    ):
        every = all_sequences(log_p[:n], blank)
        scores = {}
        for tokens in itertools.chain.from_iterable(
            itertools.product(TOKENS, repeat=r) for r in range(5)
        ):
            if ctc_weight and tokens not in every:
                continue
            whole = [1, *tokens, END]
            attention = sum(
                network.log_p(whole[:t], source)[whole[t]].item() for t in range(1, len(whole))
            )
            ctc = ctc_weight * math.log(every[tokens]) if ctc_weight else 0.0
            model_says = weight * log_p_of(model, tokens) if weight else 0.0
            scores[tokens] = (
                (1 - ctc_weight) * attention + ctc + model_says + length_bonus * len(tokens)
            )
        best = max(scores, key=scores.__getitem__)
        assert (tuple(ids), score) == ((*best, END), pytest.approx(scores[best], abs=1e-9))


def test_other_rows_of_the_batch_change_nothing():
    network = decoder()
    (start, sources) = question(9)
    n_source = 9
    log_probs = random_frames(n_source, 12, N_SYMBOL, never=(END,))
    lengths = torch.tensor([12, 1, 5, 12, 3, 0, 8, 12, 2])
    _, fusion = language_model(N_SYMBOL, weight=0.4, length_bonus=0.2)
    joint = JointBeam(4, 0.5)
    together = joint(
        network,
        start,
        sources,
        END,
        15,
        log_probs=log_probs,
        lengths=lengths,
        blank=BLANK,
        fusion=fusion,
    )
    assert len(set(together.n_token.tolist())) > 2
    for i in range(n_source):
        own = {
            "log_probs": log_probs[i, None, : max(1, lengths[i])],
            "lengths": lengths[i, None],
            "blank": BLANK,
            "fusion": fusion,
        }
        alone = joint(network, start[:1], sources[i, None], END, 15, **own)
        assert answers(alone)[0] == answers(together)[i]
        assert alone.score[0].item() == pytest.approx(together.score[i].item(), abs=1e-9)


def test_inference_mode_around_a_search():
    """Tensors made in inference mode, as in Lightning's test loop, are not written to."""
    network = decoder()
    (start, sources) = question(3)
    _, fusion = language_model(N_SYMBOL, weight=0.4)
    given = {"lengths": LENGTHS, "blank": BLANK, "fusion": fusion}
    log_probs = frames()
    expected = JointBeam(4)(network, start, sources, END, 6, log_probs=log_probs, **given)
    hypotheses = CtcPrefixBeam(4)(log_probs, **given)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        made_there = log_probs.clone()
        found = JointBeam(4)(network, start, sources.clone(), END, 6, log_probs=made_there, **given)
        assert CtcPrefixBeam(4)(made_there, **given) == hypotheses
    assert answers(found) == answers(expected)


def test_no_answer_has_more_symbols_than_frames():
    network = Network(N_SYMBOL, end_bias=-9.0)
    (start, sources) = question(3)
    found = JointBeam(4, 0.3)(network, start, sources, END, 15, log_probs=frames(), lengths=LENGTHS)
    for ids, n in zip(answers(found), LENGTHS.tolist(), strict=True):
        assert ids[-1] == END
        assert len(ids) - 1 <= n


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: JointBeam(ctc_weight=1.5), "ctc_weight=1.5"),
        (lambda: JointBeam(beam_size=0), "beam_size=0"),
        (
            lambda: JointBeam()(Network(N_SYMBOL), *question(3), END, 5),
            "ctc_weight=0.3 .* without a CTC head",
        ),
        (
            lambda: JointBeam()(Network(N_SYMBOL), torch.ones(3, 2).long(), None, END, 5),
            "prefix has 2 tokens",
        ),
        (
            lambda: JointBeam(ctc_weight=0.0)(
                Network(N_SYMBOL), *question(3), END, 5, fusion=Fusion(None, END, 4)
            ),
            "end-of-sequence token 4 and the search 2",
        ),
        (
            lambda: JointBeam()(
                Network(N_SYMBOL),
                *question(3),
                END,
                5,
                log_probs=frames(),
                lengths=LENGTHS,
                fusion=language_model(9)[1],
            ),
            "5 tokens and the search 9",
        ),
        (
            lambda: JointBeam()(
                Network(N_SYMBOL), *question(3), END, 5, 3, log_probs=frames(), lengths=LENGTHS
            ),
            "min_length=3 must be at most 2",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(call, names):
    with pytest.raises(ValueError, match=names):
        call()

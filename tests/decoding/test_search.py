"""Laws of every search on small random networks in float64."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from lslm_lightning.decoding import Beam, Decoded, Greedy, Sampling, reorder, stepwise
from tests.decoding.network import END, Network, answers, question

SEARCHES = [
    Greedy(),
    Sampling(temperature=1.3),
    Sampling(top_k=3, top_p=0.8),
    Beam(1),
    Beam(4),
    Beam(3, 0.0),
    Beam(3, early_stopping=True),
]
TAKES_ONE = [
    Greedy(),
    Beam(4),
    Beam(2, length_penalty=3.0),
    Beam(3, early_stopping=True),
    Beam(4, no_repeat_ngram=2),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.slow
@pytest.mark.parametrize("no_repeat_ngram", [0, 2])
@pytest.mark.parametrize("min_length", [0, 3])
def test_one_beam_and_one_choice_are_greedy(no_repeat_ngram, min_length):
    for _ in range(20):
        network = Network()
        (start, sources) = question()
        expected = Greedy(no_repeat_ngram)(network, start, sources, END, 12, min_length)
        for search in (
            Beam(1, no_repeat_ngram=no_repeat_ngram),
            Sampling(top_k=1, no_repeat_ngram=no_repeat_ngram),
            Sampling(top_p=1e-9, no_repeat_ngram=no_repeat_ngram),
            Sampling(temperature=1e-30, no_repeat_ngram=no_repeat_ngram),
        ):
            found = search(network, start, sources, END, 12, min_length)
            assert answers(found) == answers(expected), search


@pytest.mark.parametrize("search", TAKES_ONE, ids=str)
def test_other_rows_of_the_batch_change_nothing(search):
    network = Network(end_bias=1.0)
    (start, sources) = question(16)
    together = search(network, start, sources, END, 15)
    assert len(set(together.n_token.tolist())) > 2
    order = torch.randperm(16)
    assert answers(search(network, start, sources[order], END, 15)) == [
        answers(together)[i] for i in order
    ]
    for i in range(16):
        alone = search(network, start[:1], sources[i, None], END, 15)
        assert answers(alone)[0] == answers(together)[i]
        torch.testing.assert_close(alone.score[0], together.score[i], rtol=0, atol=1e-6)


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_lengths_and_ends(search):
    for min_length, max_length in ((0, 1), (0, 12), (4, 12), (5, 5)):
        network = Network(end_bias=2.0)
        (start, sources) = question(12)
        found = search(network, start, sources, END, max_length, min_length)
        assert found.ids.size(1) == found.n_token.max() <= max_length
        for ids, n in zip(found.ids.tolist(), found.n_token.tolist(), strict=True):
            assert END not in ids[: n - 1], "an answer went on after its end"
            assert ids[n - 1] == END or n == max_length
            assert set(ids[n:]) <= {END}
            assert n > min_length or (n == min_length == max_length and ids[n - 1] != END)
        assert found.is_cut(END).tolist() == [
            END not in ids[:n]
            for ids, n in zip(found.ids.tolist(), found.n_token.tolist(), strict=True)
        ]


def test_an_answer_that_was_cut_goes_on_where_it_may_be_longer():
    network = Network(end_bias=2.0)
    (start, sources) = question(40)
    short, long = (Greedy()(network, start, sources, END, n) for n in (4, 30))
    cut = short.is_cut(END)
    assert 0 < int(cut.sum()) < 40
    assert torch.equal(cut, long.n_token > short.n_token)


@pytest.mark.parametrize("search", [Greedy, Sampling, Beam])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_repeats(search, n):
    network = Network(vocab_size=6, end_bias=-3.0)
    (_, sources) = question(12)
    start = torch.randint(3, 6, (12, n))
    found = search(no_repeat_ngram=n)(network, start, sources, END, 20)
    repeats = search()(network, start, sources, END, 20)

    def n_repeated(answer: Decoded) -> int:
        texts = [begin + ids for begin, ids in zip(start.tolist(), answers(answer), strict=True)]
        grams = [list(zip(*(ids[i:] for i in range(n)), strict=False)) for ids in texts]
        return sum(len(g) - len(set(g)) for g in grams)

    assert n_repeated(repeats) > 0 == n_repeated(found)


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_score_is_the_sum_of_log_probabilities(search):
    network = Network(end_bias=0.5)
    (start, sources) = question(8)
    found = search(network, start, sources, END, 12, min_length=2)
    for source, ids, score in zip(sources, answers(found), found.score.tolist(), strict=True):
        nats = sum(
            network.log_p([1, *ids[:t]], source)[token].item() for t, token in enumerate(ids)
        )
        assert score == pytest.approx(
            nats / len(ids) ** getattr(search, "length_penalty", 0.0), abs=1e-5
        )  # greedy and sampling sum in float32


@pytest.mark.slow
@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("min_length", [0, 2])
def test_a_beam_of_everything_finds_the_best_of_all(length_penalty, min_length):
    for _ in range(5):
        network = Network(vocab_size=4)
        (start, sources) = question(3)
        found = Beam(4**4, length_penalty)(network, start, sources, END, 4, min_length)
        for source, ids, score in zip(sources, answers(found), found.score.tolist(), strict=True):
            scores = {}
            for whole in itertools.product(range(4), repeat=4):
                cut = whole[: whole.index(END) + 1] if END in whole else whole
                if cut.count(END) == 0 or len(cut) > min_length:
                    nats = sum(
                        network.log_p([1, *cut[:t]], source)[token].item()
                        for t, token in enumerate(cut)
                    )
                    scores[cut] = nats / len(cut) ** length_penalty
            best = max(scores, key=scores.__getitem__)
            assert (tuple(ids), score) == (best, pytest.approx(scores[best], abs=1e-9))


@pytest.mark.parametrize(
    "search",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(top_k=4),
        Sampling(top_p=0.7),
        Sampling(1.5, top_k=6, top_p=0.9),
    ],
    ids=str,
)
def test_sampling_draws_from_the_distribution(search):
    n = 20_000
    log_p = torch.randn(10).log_softmax(-1)
    found = search(
        lambda ids, state, shared: (log_p.expand(len(ids), -1), ()),
        torch.ones(n, 1, dtype=torch.long),
        None,
        END,
        1,
    )
    sharp = {i: math.exp(x / search.temperature) for i, x in enumerate(log_p.tolist())}
    kept = {}
    mass = 0.0
    likely = sorted(sharp, key=sharp.__getitem__, reverse=True)[: search.top_k]
    for i in likely:
        if mass < (search.top_p or 1) * sum(sharp[j] for j in likely):
            kept[i] = sharp[i]
        mass += sharp[i]
    count = found.ids[:, 0].bincount(minlength=10)
    assert set(count.nonzero()[:, 0].tolist()) == set(kept)
    expected = torch.tensor([n * p / sum(kept.values()) for p in kept.values()])
    chi_square = ((count[list(kept)] - expected) ** 2 / expected).sum()
    assert chi_square < 28, "p < 0.001 at 9 degrees of freedom"


@pytest.mark.parametrize(
    "search", [Sampling(), Sampling(top_k=1000), Sampling(top_p=0.99)], ids=str
)
def test_rounding_changes_hardly_a_draw(search):
    n = 5_000
    log_p = torch.randn(n, 2048).log_softmax(-1)
    rounded = log_p * (1 + 2e-7 * torch.randn_like(log_p))
    key = search.random_keys(n, 1)[:, 0]
    assert search.choose(log_p, key).ne(search.choose(rounded, key)).sum() <= 2


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.9999, 1.0])
def test_few_tokens_of_a_large_vocabulary_are_those_of_a_full_sort(top_p):
    # a peaked and a flat distribution in one batch
    log_p = torch.stack([scale * torch.randn(3000).double() for scale in (9.0, 0.1)])
    log_p = log_p.log_softmax(-1)
    p, order = log_p.exp().sort(descending=True)
    is_cut = torch.zeros_like(log_p, dtype=torch.bool).scatter(1, order, p.cumsum(1) - p >= top_p)
    rows, kept = (
        each.repeat_interleave(2000, 0) for each in (log_p, log_p.masked_fill(is_cut, -torch.inf))
    )
    keys = Sampling().random_keys(len(rows), 1)[:, 0]
    assert torch.equal(Sampling(top_p=top_p).choose(rows, keys), Sampling().choose(kept, keys))


def test_tokens_of_a_row_are_drawn_independently():
    # the next token, and that of a row whose key differs by one, tell nothing about this one
    n = 40_000
    log_p = torch.zeros(1, 8).log_softmax(-1).expand(n, -1)
    keys = Sampling().random_keys(n, 1)[:, 0]
    first, second, shifted = (
        Sampling().choose(log_p, key) for key in (keys, keys.roll(1), keys + 1)
    )
    for other in (second, shifted):
        count = torch.zeros(64).index_add_(0, 8 * first + other, torch.ones(n))
        chi_square = ((count - n / 64) ** 2 / (n / 64)).sum()
        assert chi_square < 104, "p < 0.001 at 63 degrees of freedom"


def test_chance_comes_from_the_seed():
    network = Network()
    (start, sources) = question()

    def sample(search: Sampling, **source_of_chance) -> list[list[int]]:
        return answers(search(network, start, sources, END, 12, **source_of_chance))

    before = torch.get_rng_state()
    assert sample(Sampling(seed=7)) == sample(Sampling(seed=7)) != sample(Sampling(seed=8))
    assert sample(Sampling(), generator=torch.Generator().manual_seed(7)) == sample(
        Sampling(seed=7)
    )
    assert torch.equal(torch.get_rng_state(), before), (
        "sampling with a seed must leave the global generator alone"
    )
    assert sample(Sampling(seed=None)) != sample(Sampling(seed=None))


@pytest.mark.parametrize(
    "search", [Greedy(), Greedy(no_repeat_ngram=2), Sampling(top_k=1)], ids=str
)
def test_prompts_of_different_lengths_equal_one_at_a_time(search):
    network = Network(end_bias=1.0)
    (_, sources) = question(10)
    prompts = torch.randint(3, 9, (10, 7))
    length = torch.tensor([2, 7, 3, 3, 5, 2, 6, 4, 7, 2])
    prompts[:, :2] = torch.tensor([3, END])  # an end in the prompt ends nothing
    together = search(network, prompts, sources, END, 8, 2, prefix_length=length)
    for i, n in enumerate(length):
        alone = search(network, prompts[i, None, :n], sources[i, None], END, 8, 2)
        assert answers(alone)[0] == answers(together)[i]
        torch.testing.assert_close(alone.score[0], together.score[i])


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_looking_rarely_changes_nothing(search, monkeypatch):
    network = Network(end_bias=1.0)
    (start, sources) = question(12)
    expected = search(network, start, sources, END, 21)
    monkeypatch.setattr(stepwise, "steps_between_checks", lambda device: 8)
    found = search(network, start, sources, END, 21)
    assert answers(found) == answers(expected)
    torch.testing.assert_close(found.score, expected.score)


@pytest.mark.parametrize("search", [Greedy(), Sampling(), Beam(3)], ids=str)
def test_sources_that_are_done_leave_the_batch(search):
    length = torch.arange(1, 33)
    rows = []

    def step(ids: Tensor, n: Tensor | None, length: Tensor) -> tuple[Tensor, Tensor]:
        """Source i wants to end after length[i] tokens."""
        n = torch.zeros(len(ids)) if n is None else n + 1
        rows.append(len(ids))
        logits = torch.zeros(len(ids), 8)
        logits[:, END] = torch.where(
            n >= length.repeat_interleave(len(ids) // len(length)), 50.0, -50.0
        )
        return logits, n

    found = search(step, torch.ones(32, 1, dtype=torch.long), length, END, 50)
    assert found.n_token.tolist() == (length + 1).tolist()
    for n, n_row in enumerate(rows[1:-1]):
        assert n_row <= max(4, 1.5 * (32 - n)) * (rows[1] // 32), (
            "less than a third of the batch may be done, and two steps late for beams"
        )
    assert len(rows) <= 35


def test_state_is_not_copied_where_rows_stay():
    seen = []

    def step(ids: Tensor, state: Tensor | None, shared: None) -> tuple[Tensor, Tensor]:
        seen.append(state)
        return torch.tensor([[0.0, 0, 0, 9, 1]]).expand(len(ids), -1), torch.zeros(
            len(ids), 1
        ) if state is None else state

    Beam(1)(step, torch.ones(2, 1, dtype=torch.long), None, END, 5)
    assert len(seen) == 5
    assert all(state is seen[2] for state in seen[2:])


@pytest.mark.parametrize("search", [Greedy(), Sampling(), Beam(2)], ids=str)
def test_processes_step_together(search):
    """A process that is done early keeps stepping until the others are."""
    network = Network(end_bias=9.0)
    (start, sources) = question(3)
    others = 6
    said = []

    def agree(done: bool) -> bool:
        said.append(done)
        return done and len(said) >= others

    found = search(network, start, sources, END, 12, all_ranks_done=agree)
    assert found.n_token.max() < others
    assert len(network.rows) == len(said) == others
    assert said == sorted(said)


def test_reorder_takes_rows_of_everything():
    nested = (torch.arange(3), (None, torch.eye(3)), Decoded(*torch.arange(9).view(3, 3)))
    first, (nothing, second), third = reorder(nested, torch.tensor([2, 0, 2]))
    assert first.tolist() == [2, 0, 2]
    assert nothing is None
    assert torch.equal(second, torch.eye(3)[[2, 0, 2]])
    assert isinstance(third, Decoded)
    assert third.score.tolist() == [8, 6, 8]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: Beam(0), "beam_size=0"),
        (lambda: Sampling(temperature=0.0), "temperature=0.0"),
        (lambda: Sampling(temperature=-1.0), "temperature=-1.0"),
        (lambda: Sampling(temperature=math.nan), "temperature=nan"),
        (lambda: Sampling(top_k=0), "top_k=0"),
        (lambda: Sampling(top_p=0.0), "top_p=0.0"),
        (lambda: Sampling(top_p=1.5), "top_p=1.5"),
        (lambda: Greedy(no_repeat_ngram=-1), "no_repeat_ngram=-1"),
        (lambda: Greedy()(Network(), *question(), END, 5, 6), "min_length=6 .* max_length=5"),
        (lambda: Beam()(Network(), *question(), END, 5, -1), "min_length=-1"),
        (lambda: Greedy()(Network(), *question(), END, 0), "max_length=0"),
        (lambda: Greedy()(Network(), torch.ones(2, 0), None, END, 5), r"prefix has shape \(2, 0\)"),
        (
            lambda: Greedy()(Network(), *question(2), END, 5, prefix_length=torch.tensor([1, 2])),
            "prefix_length",
        ),
        (
            lambda: Beam()(
                Network(), torch.ones(2, 3).long(), None, END, 5, prefix_length=torch.tensor([1, 2])
            ),
            "prefix_length",
        ),
    ],
)
def test_bad_settings_are_named(make, names):
    with pytest.raises(ValueError, match=names):
        make()


@pytest.mark.parametrize("search", SEARCHES, ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_broken_logits_end_in_an_error(search, bad):
    def step(ids: Tensor, n: Tensor | None, shared: None) -> tuple[Tensor, Tensor]:
        n = torch.zeros(len(ids), 1) if n is None else n + 1
        logits = torch.tensor([[0.0, 1, -9, 2, 3]]).repeat(len(ids), 1)
        return logits.masked_fill(n == 2, bad), n

    with pytest.raises(ValueError, match=r"after 3 steps .* 2 of 2 sources"):
        search(step, torch.ones(2, 1, dtype=torch.long), None, END, 50)

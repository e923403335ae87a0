"""A running batch gives each source the answers that its search gives to it alone."""

import random
from collections.abc import Sequence

import pytest
import torch

from lslm_lightning.decoding import Beam, Greedy, Sampling, Search
from lslm_lightning.decoding.row_pool import RowPool, moved
from lslm_lightning.decoding.running import Logits, SearchJob, StepwiseBatch, Written
from lslm_lightning.decoding.running_beams import BeamBatch
from lslm_lightning.decoding.search import reorder
from tests.decoding.network import END, Network, question

LENGTH = 12
STEPWISE = [
    Greedy(),
    Greedy(no_repeat_ngram=2),
    Sampling(temperature=1.3, seed=None),
    Sampling(top_k=3, top_p=0.8, seed=None),
    Sampling(top_p=0.9, no_repeat_ngram=3, seed=None),
]
BEAMS = [
    Beam(1),
    Beam(4),
    Beam(3, 0.0),
    Beam(3, 2.5, early_stopping=True),
    Beam(3, no_repeat_ngram=2),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def alone(network, search: Search, source, n_best: int, seed: int, shortest: int, longest: int):
    """Answers of a search to one source."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.ones(1, 1, dtype=torch.long)
    found = search(
        network, start, source[None], END, longest, shortest, generator=generator, n_best=n_best
    )
    return found.n_best_lists(n_best)[0]


def run(batch, network, jobs: Sequence[SearchJob], sources, chance: random.Random) -> int:
    """Let jobs join at random times, several at once; return the most rows of a step."""
    waiting = list(range(len(jobs)))
    most = 0
    while waiting or batch.n_row:
        if waiting and chance.random() < 0.6:
            new = [waiting.pop(0) for _ in range(min(len(waiting), chance.randint(1, 3)))]
            shared = sources[new]
            logits, state = network(torch.ones(len(new), 1, dtype=torch.long), None, shared)
            batch.join([jobs[i] for i in new], logits, state, shared)
        batch.advance()
        most = max(most, batch.n_row)
    return most


def test_answers_of_many_searches_are_those_of_each_alone():
    network = Network(end_bias=1.0)
    chance = random.Random(0)
    _, sources = question(40)
    jobs = []
    expected = []
    for i, source in enumerate(sources):
        search = STEPWISE[i % len(STEPWISE)]
        n_best = 3 if isinstance(search, Sampling) and i % 2 else 1
        longest = chance.randint(1, LENGTH)
        shortest = chance.randint(0, longest)
        keys = search.random_keys(n_best, longest, torch.Generator().manual_seed(i))
        jobs.append(SearchJob(search, [1], longest, shortest, n_best, keys))
        expected.append(alone(network, search, source, n_best, i, shortest, longest))
    most = run(StepwiseBatch(network, END), network, jobs, sources, chance)
    assert most > 5
    for job, answers in zip(jobs, expected, strict=True):
        found = sorted(job.found, key=lambda each: -each[1])
        assert [ids for ids, _ in found] == [ids for ids, _ in answers]
        assert [p for _, p in found] == pytest.approx([p for _, p in answers], abs=1e-5)


@pytest.mark.parametrize("search", BEAMS, ids=str)
def test_beams_that_join_late_are_those_of_each_source_alone(search):
    network = Network(end_bias=1.0)
    chance = random.Random(1)
    _, sources = question(20)
    lengths = [chance.randint(1, LENGTH) for _ in sources]
    least = [chance.randint(0, n) for n in lengths]
    n_best = min(2, search.beam_size)
    jobs = [
        SearchJob(search, [1], longest, shortest, n_best)
        for longest, shortest in zip(lengths, least, strict=True)
    ]
    most = run(BeamBatch(network, END, search), network, jobs, sources, chance)
    assert most > 3 * search.beam_size
    for job, source in zip(jobs, sources, strict=True):
        answers = alone(network, search, source, n_best, 0, job.shortest, job.longest)
        assert [ids for ids, _ in job.found] == [ids for ids, _ in answers]
        assert [p for _, p in job.found] == pytest.approx([p for _, p in answers], abs=1e-9)


def test_a_job_that_is_cancelled_leaves_and_the_others_keep_their_answers():
    for batch_of in (StepwiseBatch, lambda *of: BeamBatch(*of, Beam(3))):
        network = Network(end_bias=-5.0)
        _, sources = question(5)
        batch = batch_of(network, END)
        search = Greedy() if isinstance(batch, StepwiseBatch) else batch.search
        jobs = [SearchJob(search, [1], 10) for _ in sources]
        logits, state = network(torch.ones(5, 1, dtype=torch.long), None, sources)
        batch.join(jobs, logits, state, sources)
        batch.advance()
        jobs[1].is_cancelled = jobs[3].is_cancelled = True
        batch.advance()
        assert batch.n_row == 3 * (1 if isinstance(batch, StepwiseBatch) else 3)
        while batch.n_row:
            batch.advance()
        for i in (0, 2, 4):
            expected = alone(network, search, sources[i], 1, 0, 0, 10)
            assert jobs[i].found[0][0] == expected[0][0]
        assert not jobs[1].is_done


def test_changed_logits_are_those_of_the_formula():
    network = Network(end_bias=-9.0)
    _, sources = question(1)
    rules = Logits({3: 2.0, 4: -100.0}, presence=0.7, frequency=0.4)
    job = SearchJob(Greedy(), [1], 10, logits=rules)
    batch = StepwiseBatch(network, END)
    logits, state = network(torch.ones(1, 1, dtype=torch.long), None, sources)
    batch.join([job], logits, state, sources)
    while batch.n_row:
        batch.advance()
    ids: list[int] = []
    for token in job.found[0][0]:
        raw = network(torch.tensor([[1, *ids]]), None, sources)[0][0].clone()
        raw[3] += 2.0
        raw[4] -= 100.0
        for seen in set(ids):
            raw[seen] -= 0.7 + 0.4 * ids.count(seen)
        assert int(raw.argmax()) == token
        ids.append(token)
    assert 4 not in ids


def test_tokens_are_told_with_the_most_probable_ones_and_end_an_answer_on_request():
    network = Network(end_bias=-9.0)
    _, sources = question(1)
    told: list[Written] = []

    def on_token(written: Written) -> bool:
        told.append(written)
        return len(told) == 4

    job = SearchJob(Greedy(), [1], 10, n_top=3, on_token=on_token)
    batch = StepwiseBatch(network, END)
    logits, state = network(torch.ones(1, 1, dtype=torch.long), None, sources)
    batch.join([job], logits, state, sources)
    while batch.n_row:
        batch.advance()
    assert job.found[0][0] == [written.token for written in told]
    assert len(told) == 4
    for n, written in enumerate(told):
        log_p = network.log_p([1, *(each.token for each in told[:n])], sources[0])
        values, tokens = log_p.topk(3)
        assert [token for token, _ in written.top] == tokens.tolist()
        assert [value for _, value in written.top] == pytest.approx(values.tolist())
        assert written.log_p == pytest.approx(float(log_p[written.token]))


def test_numbers_that_are_none_fail_one_job_alone():
    network = Network()
    _, sources = question(2)
    for batch in (StepwiseBatch(network, END), BeamBatch(network, END, Beam(2))):
        search = Greedy() if isinstance(batch, StepwiseBatch) else batch.search
        jobs = [SearchJob(search, [1], 5), SearchJob(search, [1], 5)]
        logits, state = network(torch.ones(2, 1, dtype=torch.long), None, sources)
        logits[0] = torch.nan
        batch.join(jobs, logits, state, sources)
        while batch.n_row:
            batch.advance()
        assert "probability" in (jobs[0].error or "")
        assert jobs[1].error is None
        assert jobs[1].is_done


def test_a_pool_is_the_concatenation_of_its_rows():
    chance = random.Random(2)
    pool = RowPool()
    rows: list[tuple[torch.Tensor, torch.Tensor]] = []  # each of one row, without padding
    for _ in range(200):
        if not rows or chance.random() < 0.5:
            n = chance.randint(1, 3)
            width = chance.randint(1, 6)
            new = (torch.rand(n, 2, width), torch.zeros(n, width, dtype=torch.bool))
            pool.join((new[0], None, new[1]), n)
            rows += [(new[0][i], new[1][i]) for i in range(n)]
        elif chance.random() < 0.5:
            gone = chance.sample(range(len(rows)), chance.randint(1, len(rows)))
            order = pool.leave(gone)
            assert order == moved(len(rows), gone)
            assert sorted(order) == sorted(set(range(len(rows))) - set(gone))
            rows = [rows[i] for i in order]
        else:
            index = [chance.randrange(len(rows)) for _ in range(chance.randint(1, 8))]
            pool.reorder(torch.tensor(index))
            rows = [rows[i] for i in index]
        assert pool.n_row == len(rows)
        if not rows:
            assert pool.rows is None
            continue
        values, nothing, pad = pool.rows
        assert nothing is None
        for value, is_pad, (expected, own) in zip(values, pad, rows, strict=True):
            width = expected.size(-1)
            assert torch.equal(value[:, :width], expected)
            assert torch.equal(is_pad[:width], own)
            assert is_pad[width:].all()
            assert value.isfinite().all()
    assert torch.equal(reorder(pool.rows, torch.tensor([0]))[0][0], pool.rows[0][0])

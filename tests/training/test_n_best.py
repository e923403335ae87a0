"""The n best answers: those of `transformers` with the same weights, and the laws of a list."""

import math

import pytest
import torch

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding import Beam, Greedy, Sampling
from tests.training.tiny_tasks import gpt2_task, marian_task, ngram_task

SOURCES = ["abc", "head", "a bee", "fed", "g"]


def examples(sources: list[str]) -> list[Example]:
    return [Example(str(i), source, ()) for i, source in enumerate(sources)]


def beams_of_transformers(task, model, source: str, search: Beam, n_best: int, max_length: int):
    """Texts and scores of `generate(num_return_sequences=n_best)`, the best first."""
    tokenizer = task.tokenizer
    ids = tokenizer.encode(source)
    is_paired = model.config.is_encoder_decoder
    given = torch.tensor([[*ids, tokenizer.eos_id] if is_paired else [tokenizer.eos_id, *ids]])
    found = model.generate(
        given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=max_length,
        num_beams=search.beam_size,
        num_return_sequences=n_best,
        length_penalty=search.length_penalty,
        early_stopping=search.early_stopping,
        do_sample=False,
        pad_token_id=tokenizer.pad_id,
        return_dict_in_generate=True,
        output_scores=True,
    )
    new = found.sequences[:, 1 if is_paired else given.size(1) :]
    return [tokenizer.decode(row) for row in new.tolist()], found.sequences_scores.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "n_best"),
    [
        (Beam(5), 5),
        (Beam(6, length_penalty=0.0), 3),
        (Beam(4, length_penalty=2.0), 4),
        (Beam(4, early_stopping=True), 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [gpt2_task, marian_task])
def test_n_best_are_those_of_transformers(make, search, n_best):
    """Texts, their order and their scores; ended and cut ones."""
    task, model = make(search=search, max_length=7)
    n_ended = 0
    for example in examples(SOURCES):
        texts, scores = beams_of_transformers(task, model, example.source, search, n_best, 7)
        [found] = task.generate([example], n_best=n_best)
        assert [each.output for each in found.alternatives] == texts
        lists = n_best_tokens(task, example, search, n_best)
        for (ids, log_p), score in zip(lists, scores, strict=True):
            # transformers adds up in float32, whatever the model is in
            assert log_p / len(ids) ** search.length_penalty == pytest.approx(score, rel=5e-7)
            assert log_p == pytest.approx(summed(task, model, example.source, ids), abs=1e-6)
            n_ended += ids[-1] == task.tokenizer.eos_id
        assert [-each.nats for each in found.alternatives] == [log_p for _, log_p in lists]
    assert n_ended > 0
    assert n_ended < n_best * len(SOURCES) or search != Beam(5), "none was cut"


def summed(task, model, source: str, ids: list[int]) -> float:
    """Sum of the log-softmax of transformers' logits at these ids, in float64."""
    given = task.tokenizer.encode(source)
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            begin = torch.tensor([[task.tokenizer.bos_id, *ids[:-1]]])
            read = torch.tensor([[*given, task.tokenizer.eos_id]])
            logits = model(input_ids=read, decoder_input_ids=begin).logits[0]
        else:
            row = torch.tensor([[task.tokenizer.eos_id, *given, *ids[:-1]]])
            logits = model(row).logits[0, len(given) :]
    log_p = logits.log_softmax(-1)
    return sum(float(log_p[t, token]) for t, token in enumerate(ids))


def n_best_tokens(task, example: Example, search: Beam, n_best: int):
    """Token ids and log p of the answers, straight from the search."""
    ids = task.tokenizer.encode(example.source)
    if hasattr(task, "continue_n_best"):
        [found] = task.continue_n_best([[task.tokenizer.eos_id, *ids]], task.max_length, n_best)
        return found
    source = torch.tensor([[*ids, task.tokenizer.eos_id]])
    [found] = task.decode(source, search, n_best=n_best).n_best_lists(n_best)
    return found


def without_time(predictions: list[Prediction]) -> list[tuple]:
    return [(p.id, p.output, p.n_token, p.finish_reason) for p in predictions]


@pytest.mark.parametrize("make", [gpt2_task, marian_task])
def test_the_first_of_n_beams_is_the_answer(make):
    """One more answer changes no answer, in batches of unlike sources too."""
    task, _ = make(search=Beam(5), max_length=7)
    batch = examples(SOURCES)
    answers = list(task.generate(batch))
    several = list(task.generate(batch, n_best=4))
    assert without_time(several) == without_time(answers)
    for prediction in several:
        [first, *others] = prediction.alternatives
        assert (first.output, first.nats) == (prediction.output, prediction.nats)
        assert len(others) == 3
    assert all(p.nats is None and not p.alternatives for p in answers)


@pytest.mark.parametrize("n_best", [1, 2])
def test_a_language_model_beams_prompts_of_unlike_lengths(n_best):
    """As `lslm evaluate` asks for them: the answer to each prompt is its answer alone, in order,
    beyond the context too.
    """
    task, _ = gpt2_task(context=8, search=Beam(3), max_length=12)
    batch = examples(["abc", "fed", "a bee", "", "head", "a bee had a head"])
    alone = [prediction for each in batch for prediction in task.generate([each], n_best=n_best)]
    together = list(task.generate(batch, n_best=n_best))
    assert without_time(together) == without_time(alone)
    for one, other in zip(together, alone, strict=True):
        assert [a.output for a in one.alternatives] == [a.output for a in other.alternatives]


@pytest.mark.parametrize("make", [gpt2_task, marian_task])
@pytest.mark.parametrize(("search", "n_best"), [(Beam(4), 4), (Sampling(seed=1), 30)], ids=str)
def test_log_p_of_an_alternative_is_that_of_the_given_answer(make, search, n_best):
    """Compared are answers that ended, and are written in the tokens of their text."""
    task, _ = make(search=search, max_length=6)
    compared = 0
    for example in examples(SOURCES):
        lists = n_best_tokens(task, example, search, n_best)
        for ids, log_p in lists:
            text = task.tokenizer.decode(ids)
            if ids == [*task.tokenizer.encode(text), task.tokenizer.eos_id]:
                [scored] = task.log_prob([example], [text])
                assert -scored.nats == pytest.approx(log_p, abs=1e-5)  # a sample sums in float32
                compared += 1
    assert compared > 3


@pytest.mark.parametrize(("search", "n_best"), [(Beam(4), 4), (Sampling(seed=1), 9)], ids=str)
def test_an_ngram_model_knows_its_n_best(search, n_best, tmp_path):
    """With the log p of the given answer, where it is written in the tokens of its text."""
    task = ngram_task(tmp_path)
    task.search = search
    [found] = task.generate(examples(["a"]), n_best=n_best)
    known = [each for each in found.alternatives if "<unk>" not in each.output]
    scored = list(task.log_prob(examples(["a"]), [[each.output for each in known]]))
    assert len(known) > 2
    assert [each.nats for each in known] == pytest.approx([p.nats for p in scored], abs=1e-4)


@pytest.mark.parametrize("make", [gpt2_task, marian_task])
def test_samples_come_best_first_and_again_with_their_seed(make):
    task, _ = make(search=Sampling(temperature=1.2, seed=3), max_length=8)
    first, second = (list(task.generate(examples(SOURCES), n_best=6)) for _ in range(2))
    assert [p.alternatives for p in first] == [p.alternatives for p in second]
    for prediction in first:
        nats = [each.nats for each in prediction.alternatives]
        assert len(nats) == 6
        assert nats == sorted(nats)
    assert len({p.alternatives for p in first}) == len(SOURCES)
    assert max(len({each.output for each in p.alternatives}) for p in first) > 2


def test_samples_are_drawn_as_often_as_they_are_probable():
    """Answers of one token: their frequencies are the probabilities of the model."""
    task, _ = marian_task("ab", search=Sampling(), max_length=1)
    source = torch.tensor([[*task.tokenizer.encode("ab"), task.tokenizer.eos_id]])
    decoded = task.decode(source, Sampling(seed=0), n_best=4000)
    [found] = decoded.n_best_lists(4000)
    drawn = torch.bincount(
        torch.tensor([ids[0] for ids, _ in found]), minlength=task.tokenizer.vocab_size
    )
    expected = {ids[0]: math.exp(log_p) for ids, log_p in found}
    for token, p in expected.items():
        deviation = 5 * math.sqrt(p * (1 - p) / 4000)
        assert drawn[token] / 4000 == pytest.approx(p, abs=deviation + 1e-3)


@pytest.mark.parametrize("search", [Beam(3), Sampling(seed=2)], ids=str)
def test_beyond_the_context_each_goes_on_by_itself(search):
    """Their log p is that of all tokens, each from what the model then reads."""
    task, _ = gpt2_task(context=8, search=search, max_length=20, min_length=20)
    [found] = task.generate(examples(["abc"]), n_best=3)
    nats = [each.nats for each in found.alternatives]
    assert nats == sorted(nats)
    assert len(nats) == 3
    eos = task.tokenizer.eos_id
    prompt = [eos, *task.tokenizer.encode("abc")]
    [lists] = task.continue_n_best([prompt], 20, 3)
    for ids, log_p in lists:
        assert len(ids) == 20
        row = [*prompt, *ids]
        least = most = 0.0
        for t in range(len(prompt), len(row)):
            values = []
            for n in range(min(4, t), min(8, t) + 1):
                with torch.no_grad():
                    logits = task.logits(torch.tensor([row[t - n : t]]))[0, -1]
                values.append(float(logits.log_softmax(-1)[row[t]]))
            least += min(values)
            most += max(values)
        assert least - 1e-4 <= log_p <= most + 1e-4


def test_fewer_answers_than_asked_are_all_there_are():
    """Answers of one token are only as many as tokens."""
    task, _ = marian_task("ab", search=Beam(12), max_length=1)
    [found] = task.generate(examples(["ab"]), n_best=12)
    assert len(found.alternatives) == task.tokenizer.vocab_size
    assert math.fsum(math.exp(-each.nats) for each in found.alternatives) == pytest.approx(1)


@pytest.mark.parametrize(
    ("search", "n_best", "message"),
    [
        (Greedy(), 2, "n_best=2 must be 1 for Greedy, which finds one answer"),
        (Beam(3), 4, "n_best=4 must be at least 1 and at most beam_size=3"),
        (Sampling(), 0, "n_best=0 must be at least 1"),
    ],
)
@pytest.mark.parametrize("make", [gpt2_task, marian_task])
def test_more_than_a_search_finds_is_refused(make, search, n_best, message):
    task, _ = make(search=search, max_length=4)
    with pytest.raises(ValueError, match=message):
        list(task.generate(examples(["abc"]), n_best=n_best))

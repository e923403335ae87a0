"""log p of a given answer after a given source: the sums of `transformers` with the same weights,
and the laws of a probability, for causal, sequence-to-sequence and n-gram models.
"""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lslm_lightning.contracts import CannotError, Example, pair_answers
from lslm_lightning.models.positions import Learned
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.systems.interpolation import Interpolation
from lslm_lightning.training import sequence_to_sequence
from lslm_lightning.training.causal import CausalTask
from lslm_lightning.training.scoring import TextScorer
from tasks.language_modeling.ngram import NgramTask
from tasks.translation.task import TranslationTask
from tests.training.tiny_tasks import (
    N_POSITION,
    gpt2_task,
    marian_task,
    ngram_task,
    tokenizer_of,
)

EXACT = {"rel": 0, "abs": 1e-6}
PAIRS = [
    ("abc", "de"),
    ("", "bad cab"),
    ("head", ""),
    ("", ""),
    ("abc", " fed"),
    ("a bee", "x?a"),  # two unknown characters
]
EXAMPLES = [Example(str(i), source, ()) for i, (source, _) in enumerate(PAIRS)]
ANSWERS = [answer for _, answer in PAIRS]


def gpt2_log_p(task, model, source: str, answer: str) -> float:
    """Sum of the log-softmax of transformers' logits at the tokens of the answer and its end."""
    given = [task.tokenizer.eos_id, *task.tokenizer.encode(source)]
    row = [*given, *task.tokenizer.encode(answer), task.tokenizer.eos_id]
    with torch.no_grad():
        log_p = model(torch.tensor([row])).logits[0].log_softmax(-1)
    return sum(float(log_p[t - 1, row[t]]) for t in range(len(given), len(row)))


def marian_log_p(task, model, source: str, answer: str) -> float:
    tokenizer = task.tokenizer
    target = [tokenizer.bos_id, *tokenizer.encode(answer), tokenizer.eos_id]
    with torch.no_grad():
        log_p = (
            model(
                input_ids=torch.tensor([[*tokenizer.encode(source), tokenizer.eos_id]]),
                decoder_input_ids=torch.tensor([target[:-1]]),
            )
            .logits[0]
            .log_softmax(-1)
        )
    return sum(float(log_p[t - 1, target[t]]) for t in range(1, len(target)))


@pytest.mark.parametrize(("make", "log_p"), [(gpt2_task, gpt2_log_p), (marian_task, marian_log_p)])
def test_log_p_is_the_sum_of_transformers(make, log_p):
    task, model = make()
    found = list(task.log_prob(EXAMPLES, ANSWERS))
    for (source, answer), prediction in zip(PAIRS, found, strict=True):
        assert -prediction.nats == pytest.approx(log_p(task, model, source, answer), **EXACT)
        assert prediction.n_token == len(answer) + 1
        assert prediction.output == answer
    assert [p.unknown for p in found] == [0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("kind", ["causal", "sequence to sequence", "ngram"])
def test_a_batch_scores_each_answer_as_if_alone(kind, tmp_path, monkeypatch):
    """Whatever fits into a batch."""
    monkeypatch.setattr(sequence_to_sequence, "SCORED_TOKENS", 10)
    task = task_of(kind, tmp_path, "abcdefgh ")
    several = [["a", "bcd", ""], ["head"], [], [" a", "abc", "de"], ["h"], ["x", "g a"]]
    together = list(task.log_prob(EXAMPLES, several))
    pairs = pair_answers(EXAMPLES, several)
    assert [(p.id, p.output) for p in together] == [(e.id, answer) for e, answer in pairs]
    for (example, answer), prediction in zip(pairs, together, strict=True):
        [alone] = task.log_prob([example], [answer])
        assert prediction.nats == pytest.approx(alone.nats, rel=0, abs=1e-9)
        assert prediction.n_token == alone.n_token


def task_of(kind: str, folder: Path, alphabet: str) -> NgramTask | CausalTask | TranslationTask:
    if kind == "ngram":
        return ngram_task(folder, alphabet)
    task, _ = gpt2_task(alphabet) if kind == "causal" else marian_task(alphabet)
    return task


def total_probability(task, source: str, symbols: str, longest: int) -> float:
    """Probability of all answers of at most `longest` tokens, the end included: those that end, and
    those that have `longest` tokens and may go on.
    """
    texts = ["".join(s) for n in range(longest) for s in itertools.product(symbols, repeat=n)]
    ended = task.log_prob([Example("x", source, ())], [texts])
    total = math.fsum(math.exp(-prediction.nats) for prediction in ended)
    tokenizer = task.tokenizer
    cut = [tokenizer.encode("".join(s)) for s in itertools.product(symbols, repeat=longest)]
    given = tokenizer.encode(source)
    if isinstance(task, TextScorer):
        before = [tokenizer.eos_id, *given]
        nats = task.token_nats([[*before, *ids] for ids in cut], [len(before)] * len(cut))
        nats = [row[len(given) :] for row in nats]
    else:
        sources = [[*given, tokenizer.eos_id]] * len(cut)
        nats = task.target_nats(sources, [[tokenizer.bos_id, *ids] for ids in cut])
    assert {len(row) for row in nats} == {longest}
    return total + math.fsum(math.exp(-row.sum()) for row in nats)


@pytest.mark.parametrize("source", ["", "ab", "b?"])
@pytest.mark.parametrize("kind", ["causal", "sequence to sequence", "ngram"])
def test_probabilities_of_all_continuations_sum_to_one(kind, source, tmp_path):
    """Texts of two letters and an unknown one; what no text is made of has no probability."""
    task = task_of(kind, tmp_path, "ab")
    if kind != "ngram":
        never = torch.zeros(task.tokenizer.vocab_size, dtype=torch.float64)
        never[[task.tokenizer.pad_id, task.tokenizer.bos_id]] = -torch.inf
        never[task.tokenizer.eos_id] = 0.0
        task.head.register_forward_hook(lambda head, given, logits: logits + never)
    # the tables of an n-gram model are in float32
    assert total_probability(task, source, "ab?", 4) == pytest.approx(
        1, abs=1e-5 if kind == "ngram" else 1e-9
    )


def test_a_text_is_an_answer_without_a_source(tmp_path):
    """Longer than the context too: read in the same windows."""
    texts = ["bad cab", "", "abcdefgh " * 7]
    examples = [Example(str(i), "", (text,)) for i, text in enumerate(texts)]
    for task in (gpt2_task()[0], gpt2_task(context=8, stride=3)[0], ngram_task(tmp_path)):
        whole = list(task.log_prob(examples))
        answers = list(task.log_prob(examples, texts))
        assert [p.nats for p in answers] == pytest.approx([p.nats for p in whole], abs=1e-9)
        for name in ("n_token", "unknown", "spelling", "tokens"):
            assert [getattr(p, name) for p in answers] == [getattr(p, name) for p in whole], name


def test_what_exceeds_the_context_is_read_in_windows():
    """Whatever is in front of them: answers see the tokens that a whole text would show them."""
    task, model = gpt2_task(context=8, stride=2)
    source = "abcdefgh" * 5
    answer = "fed a head" * 3
    [found] = task.log_prob([Example("x", source, ())], [answer])
    row = [task.tokenizer.eos_id, *task.tokenizer.encode(source + answer), task.tokenizer.eos_id]
    expected = 0.0
    for t, token in enumerate(found.tokens, 1 + len(source)):
        assert token.context >= 6
        with torch.no_grad():
            logits = model(torch.tensor([row[t - token.context : t]])).logits[0, -1]
        expected -= float(logits.log_softmax(-1)[row[t]])
    assert len(found.tokens) == len(answer) + 1
    assert found.nats == pytest.approx(expected, **EXACT)


def test_an_answer_beyond_the_positions_of_a_decoder_is_refused():
    tokenizer = tokenizer_of("ab")
    backbone = Transformer(
        16, 2, 1, 1, position=lambda *sizes: Learned(*sizes, max_length=N_POSITION)
    )
    task = TranslationTask(backbone, tokenizer).double().eval()
    fits = "a" * (N_POSITION - 1)
    assert len(list(task.log_prob([Example("7", fits, ())], [fits]))) == 1
    for source, answer, name in (("a", fits + "b", "answer"), (fits + "b", "a", "source")):
        with pytest.raises(ValueError, match=rf"example '7': its {name} has 25 tokens, .*=24"):
            list(task.log_prob([Example("7", source, ())], [answer]))


def test_a_reader_of_sources_scores_no_text_alone():
    task, _ = marian_task()
    with pytest.raises(CannotError, match="no probability of a text alone"):
        list(task.log_prob([Example("1", "", ("abc",))]))


@pytest.mark.parametrize("answers", [["a"], ["a", "b", "c"]])
def test_each_example_needs_its_answers(answers):
    with pytest.raises(ValueError, match=rf"answers has {len(answers)} entries for 2 examples"):
        list(gpt2_task()[0].log_prob(EXAMPLES[:2], answers))


def test_a_mixture_scores_answers_token_by_token(tmp_path):
    tasks = [ngram_task(tmp_path, "ab"), gpt2_task("ab")[0]]
    system = Interpolation(["one", "other"], weights=[0.25, 0.75])
    system.__dict__["_tasks"] = tasks
    [found] = system.log_prob([Example("1", "ab", ())], ["ba"])
    eos, encode = tasks[0].tokenizer.eos_id, tasks[0].tokenizer.encode
    rows = [task.token_nats([[eos, *encode("abba"), eos]])[0][2:] for task in tasks]
    mixed = 0.25 * np.exp(-rows[0]) + 0.75 * np.exp(-rows[1])
    assert found.nats == pytest.approx(-np.log(mixed).sum(), abs=1e-6)

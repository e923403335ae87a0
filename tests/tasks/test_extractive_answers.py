"""Answers are found where they are: the laws of the task, the choice among candidates, and whole
runs.
"""

import math
import random
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.contracts import Alternative, Example
from lslm_lightning.evaluation.predictions import write_predictions
from lslm_lightning.evaluation.scoring import score
from lslm_lightning.models.positions import Learned
from lslm_lightning.models.recurrent import LSTM
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import Constant
from lslm_lightning.text.recipes import BytePair, Characters, Words
from lslm_lightning.training.footprint import footprint
from tasks.question_answering.data import as_question
from tasks.question_answering.extractive import task as spans
from tasks.question_answering.extractive.answerability import AnswerabilityHead
from tasks.question_answering.extractive.bidaf import AttentionFlow, true_indices
from tasks.question_answering.extractive.data import SpanData
from tasks.question_answering.extractive.decoding import (
    apply_threshold,
    best_threshold,
    ranked_answers,
    span_scores,
)
from tasks.question_answering.extractive.task import SpanTask
from tasks.question_answering.extractive.windows import AnswerWindowBatch, Passage, Window
from tests.support import question_corpus
from tests.training.conftest import assert_resumes_exactly, fit

pytestmark = pytest.mark.slow

SMALL = {"max_length": 40, "stride": 8, "max_question_length": 10}
BACKBONES = {
    "transformer": lambda: (
        Transformer(32, 2, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0),
        {},
    ),
    "lstm": lambda: (LSTM(32, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0), {}),
    "bidaf": lambda: (LSTM(32, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0), {"flow": flow}),
    "judged": lambda: (
        LSTM(32, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0),
        {"answerability_head": answerability_head},
    ),
    "bidaf, judged": lambda: (
        LSTM(32, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0),
        {"flow": flow, "answerability_head": answerability_head},
    ),
}
everyone = pytest.mark.parametrize("backbone", BACKBONES)


def flow(d_model: int) -> AttentionFlow:
    return AttentionFlow(
        d_model, lambda d: LSTM(d, n_encoder_layer=1, n_decoder_layer=0, dropout=0.0)
    )


def answerability_head(d_model: int) -> AnswerabilityHead:
    return AnswerabilityHead(d_model, dropout=0.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSLM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., SpanData]:
    def make(language: str = "en", n: int = 60, missing: bool = True, **settings) -> SpanData:
        folder = question_corpus.write(tmp_path / f"{language}{missing}", n, language, missing)
        tokenizer = Words() if language == "en" else Characters()
        return SpanData(
            str(folder),
            **{"tokenizer": tokenizer, "max_tokens": 600, "n_validation_example": 12}
            | SMALL
            | settings,
        )

    return make


def task_of(data: SpanData, backbone: str = "transformer", **settings) -> SpanTask:
    torch.manual_seed(0)
    network, more = BACKBONES[backbone]()
    return SpanTask(network, data.tokenizer, **{"max_answer_length": 8} | more | SMALL | settings)


# Candidates


def brute_force(windows, n: int, longest: int) -> tuple[dict[tuple[int, int], float], float]:
    """Every span of every window."""
    found: dict[tuple[int, int], float] = {}
    for window, scores in windows:
        for i in range(window.n_passage):
            for j in range(i, min(window.n_passage, i + longest)):
                if window.begins[window.n_before + i] and window.ends[window.n_before + j]:
                    total = scores[window.n_before + i, 0] + scores[window.n_before + j, 1]
                    place = (window.first + i, window.first + j)
                    found[place] = max(found.get(place, -math.inf), total)
    return found, min(scores[0].sum() for _, scores in windows)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_spans_are_those_of_exhaustive_search(seed):
    chance = random.Random(seed)
    rng = np.random.default_rng(seed)
    n = chance.randint(0, 12)
    longest = chance.randint(1, 5)
    room = 5
    stride = chance.randint(1, 5)
    text = "abcdefghijkl"[:n]
    windows = []
    for first in range(0, max(1, n - room + stride), stride):
        size = min(room, n - first)
        edges = rng.random((2, size + 3)) < 0.7
        window = Window(0, np.zeros(size + 3), np.zeros(size + 3), 2, first, size, *edges)
        windows.append((window, rng.normal(size=(size + 4, 2))))  # with one of padding
    passage = Passage(
        list(range(n)), [(i, i + 1) for i in range(n)], None, np.ones(n, bool), np.ones(n, bool)
    )
    expected, none = brute_force(windows, n, longest)
    scores, nothing = span_scores(windows, n, longest)
    assert nothing == none
    assert {
        (i, i + j): scores[i, j] for i, j in zip(*np.nonzero(np.isfinite(scores)))
    } == pytest.approx(expected)
    answers = ranked_answers(scores, nothing, text, passage, 4)
    total = math.log(sum(map(math.exp, [*expected.values(), none])))
    best = sorted(expected.items(), key=lambda item: -item[1])[:4]
    assert [a.output for a in answers] == [*(text[i : j + 1] for (i, j), _ in best), ""]
    assert [a.nats for a in answers] == pytest.approx(
        [*(total - value for _, value in best), total - none]
    )


def test_equal_texts_are_one_answer_and_white_space_is_none():
    text = "a  a b"
    offsets = [(0, 1), (1, 3), (3, 4), (4, 6)]
    passage = Passage([0] * 4, offsets, None, np.ones(4, bool), np.ones(4, bool))
    scores = np.array([[-1.0], [-0.5], [-2.0], [-3.0]])
    assert [a.output for a in ranked_answers(scores, -9.0, text, passage, 5)] == ["a", "b", ""]


nats = st.lists(st.floats(0.01, 30), min_size=1, max_size=5)


@given(nats, st.floats(0.01, 30), st.floats(-20, 20))
@hypothesis.example([28.0], 1.0, 0.0)
def test_a_threshold_moves_no_answer_and_nothing_else(values, none, threshold):
    """As if its score had been lower from the start: probabilities add up to one, and the rest keep
    their order and their distances.
    """
    total = math.log(sum(math.exp(-v) for v in [*values, none]))
    answers = [Alternative(str(i), v + total) for i, v in enumerate(sorted(values))] + [
        Alternative("", none + total)
    ]
    found = {a.output: a.nats for a in apply_threshold(answers, threshold)}
    assert sum(math.exp(-n) for n in found.values()) == pytest.approx(1, abs=1e-5)
    moved = math.log(sum(math.exp(-v) for v in [*values, none + threshold]))
    assert found == pytest.approx(
        {**{str(i): v + moved for i, v in enumerate(sorted(values))}, "": none + threshold + moved},
        abs=1e-5,
    )
    first = apply_threshold(answers, threshold)[0]
    margin = answers[0].nats - answers[-1].nats
    if abs(margin - threshold) > 1e-5:
        assert (first.output == "") == (margin > threshold)
    never = apply_threshold(answers, math.inf)
    assert [a.output for a in never] == [a.output for a in answers[:-1]]
    assert sum(math.exp(-a.nats) for a in never) == pytest.approx(1, abs=1e-5)


def test_nothing_to_choose_from_is_no_answer_for_certain():
    assert apply_threshold([Alternative("", 0.0)], math.inf) == [Alternative("", 0.0)]


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(-4, 4)), min_size=1, max_size=9)
)
def test_the_best_threshold_is_that_of_exhaustive_search(drawn):
    """Each is (has an answer, its best span is right, by how many nats no answer leads)."""
    examples = [Example(str(i), "", ("yes" if has else "",)) for i, (has, _, _) in enumerate(drawn)]
    answers = [
        [Alternative("yes" if right else "no", 5.0 + lead), Alternative("", 5.0)]
        for _, right, lead in drawn
    ]

    def total(threshold: float) -> float:
        given = [apply_threshold(own, threshold)[0].output for own in answers]
        return sum(e.references[0] == text for e, text in zip(examples, given, strict=True))

    found = best_threshold(examples, answers)
    if all(has for has, _, _ in drawn):
        assert found == math.inf
    else:
        assert total(found) == max(total(t + 0.5) for t in range(-6, 6))


# The network


@everyone
def test_padding_changes_nothing(made, backbone):
    data = made(max_length=24, tokenizer=BytePair(300))
    task = task_of(data, backbone, max_length=24).double().eval()
    encoded = data.encoded("train")
    rows = list(range(0, len(encoded), 9))
    assert len({len(encoded.windows[i].ids) for i in rows}) > 1
    together = task.scores(encoded[rows])
    for i, row in enumerate(rows):
        alone = task.scores(encoded[[row]])[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, rtol=0, atol=1e-12)
    losses = sum(task.loss(encoded[[row]]) for row in rows)
    torch.testing.assert_close(task.loss(encoded[rows]), losses, rtol=0, atol=1e-10)


@everyone
def test_only_candidates_have_a_chance(made, backbone):
    data = made()
    task = task_of(data, backbone).double().eval()
    batch = data.encoded("train")[[0, 3, 7]]
    p = task.scores(batch).exp()
    assert (p[~batch.candidate] == 0).all()
    assert (p[batch.candidate] > 0).all()
    log_probs, verdict = task.candidate_log_probs(batch)
    torch.testing.assert_close(
        log_probs.exp().sum(1), torch.ones(3, 2, dtype=torch.double), rtol=0, atol=1e-12
    )
    if verdict is None:
        assert torch.equal(log_probs.exp(), p)
        return
    # of no answer
    torch.testing.assert_close(p[:, 0].prod(1), 1 - verdict.sigmoid(), rtol=0, atol=1e-12)
    pairs = p[:, 1:, None, 0] * p[:, None, 1:, 1]  # of each start and end
    expected = (
        verdict.sigmoid()[:, None, None]
        * log_probs[:, 1:, None, 0].exp()
        * log_probs[:, None, 1:, 1].exp()
    )
    torch.testing.assert_close(pairs, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_is_the_nats_of_each_start_and_end(made, label_smoothing):
    data = made()
    task = task_of(data).double().eval()
    batch = data.encoded("train")[[0, 1, 2, 3]]
    scores = task.scores(batch)
    by_hand = 0.0
    for row, (start, end) in enumerate(zip(batch.start.tolist(), batch.end.tolist())):
        by_hand -= (1 - label_smoothing) * float(
            scores[row, max(0, start), 0] + scores[row, max(0, end), 1]
        )
        by_hand -= label_smoothing * sum(
            float(scores[row, batch.candidate[row, :, side], side].mean()) for side in (0, 1)
        )
    assert task.loss(batch, label_smoothing).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_beside_a_judge_the_loss_is_of_its_verdict_and_of_known_places(made, label_smoothing):
    """Those of what only looks like an answer, and "not here" of windows whose place is in another;
    without an answerability head it is as if nobody had marked what is none.
    """
    data = made()
    batch = data.encoded("train")[[1, 2, 4, 5]]
    assert batch.has_answer.all()
    looks = batch._replace(has_answer=torch.zeros(4, dtype=torch.bool))
    nowhere = torch.full_like(batch.start, -1)
    unmarked = looks._replace(start=nowhere, end=nowhere)
    elsewhere = batch._replace(start=torch.zeros_like(batch.start), end=torch.zeros_like(batch.end))
    plain, judged = (task_of(data, name).double().eval() for name in ("lstm", "judged"))
    assert plain.loss(looks).item() == plain.loss(unmarked).item() != plain.loss(batch).item()
    log_probs, verdict = judged.candidate_log_probs(batch)

    def by_hand(case: AnswerWindowBatch) -> float:
        total = 0.0
        for row, (start, end, has) in enumerate(
            zip(case.start.tolist(), case.end.tolist(), case.has_answer.tolist())
        ):
            total -= math.log(1 / (1 + math.exp(-verdict[row] if has else verdict[row])))
            if start >= 0:
                total -= (1 - label_smoothing) * float(
                    log_probs[row, start, 0] + log_probs[row, end, 1]
                )
                total -= label_smoothing * sum(
                    float(log_probs[row, case.candidate[row, :, side], side].mean())
                    for side in (0, 1)
                )
        return total

    for case in (batch, looks, unmarked, elsewhere):
        assert judged.loss(case, label_smoothing).item() == pytest.approx(by_hand(case), rel=1e-12)


def test_nothing_to_choose_from_is_learned_without_harm(made):
    """A passage of white space has no place where an answer could begin."""
    data = made()
    task = task_of(data, "judged", word_dropout=0.3).train()
    [(_, windows)] = task.reader.read([as_question(Example("1", "Who?\n \t ", ("",)))])
    loss = task.loss(task.reader.batch(windows, [(-1, -1, False)] * len(windows)), 0.1)
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)


def test_a_judge_says_the_same_of_all_windows_and_places_tell_them_apart(made):
    """A passage of several windows, the answer in one: the others learn that it is not there."""

    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=1e-2)

    small = {"max_length": 14, "stride": 4, "max_question_length": 6}
    data = made(n=240, max_tokens=2000, **small)
    encoded = data.encoded("train")
    numbers = [window.question for window in encoded.windows]
    assert len(numbers) > len(set(numbers)) + 50
    several = [i for i, target in enumerate(encoded.targets) if target[:2] == (0, 0)]
    assert several
    assert all(encoded.targets[i][2] for i in several), "the question has an answer all the same"
    task = task_of(data, "judged", optimizer=adam, schedule=Constant(0), **small)
    fit(task, data, max_steps=120)
    task._trainer = None
    task.eval().threshold.fill_(0.0)
    batch = encoded[[i for i, number in enumerate(numbers) if number == numbers[several[0]]]]
    verdicts = task.candidate_log_probs(batch)[1]
    torch.testing.assert_close(verdicts, verdicts[:1].expand_as(verdicts))
    answerable = [e for e in data.examples("test") if any(e.references)]
    said = [next(a.output for a in p.alternatives if a.output) for p in task.answer(answerable)]
    right = sum(
        text.removesuffix(".") == e.references[0] for text, e in zip(said, answerable, strict=True)
    )
    assert right >= 0.8 * len(answerable)


def test_words_that_are_not_seen_keep_their_hints(made):
    data = made()
    batch = data.encoded("train")[[0, 1]]
    task = task_of(data, "lstm", word_dropout=0.999).double().train()
    torch.manual_seed(1)
    seen = task.scores(batch)
    other = batch._replace(source=batch.source.roll(1, 1))
    torch.manual_seed(1)
    assert torch.equal(task.scores(other), seen), "whatever the words"
    torch.manual_seed(1)
    assert not torch.equal(
        task.scores(batch._replace(features=torch.zeros_like(batch.features))), seen
    )
    assert not torch.equal(task.eval().scores(other), task.scores(batch)), (
        "all are seen after training"
    )


@everyone
def test_a_batch_is_learned_by_heart(made, backbone):
    data = made()
    task = task_of(data, backbone)
    encoded = data.encoded("train")
    batch = encoded[range(8)]
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (task.loss(batch) / batch.n_token).backward()
        optimizer.step()
    assert task.loss(batch).item() / batch.n_token < 0.02
    task.threshold.fill_(0.0)
    examples = data.examples("train")[:8]
    # which is part of the word to this tokenizer
    found = [p.output.removesuffix(".") for p in task.eval().answer(examples)]
    assert found == [e.references[0] for e in examples]


def test_the_flow_is_that_of_the_paper():
    """Equations 1 and 2, written out for one window."""
    torch.manual_seed(0)
    module = flow(4).double()
    h = torch.randn(1, 5, 4, dtype=torch.double)
    u = torch.randn(1, 3, 4, dtype=torch.double)
    weight = torch.cat([module.of_passage.weight[0], module.of_question.weight[0], module.of_both])
    s = torch.stack(
        [
            torch.stack(
                [weight @ torch.cat([a, b, a * b]) + module.of_passage.bias[0] for b in u[0]]
            )
            for a in h[0]
        ]
    )
    attended = torch.stack([sum(p * b for p, b in zip(row.softmax(0), u[0])) for row in s])
    summary = sum(p * a for p, a in zip(s.amax(1).softmax(0), h[0]))
    g = torch.stack([torch.cat([a, c, a * c, a * summary]) for a, c in zip(h[0], attended)])
    none = torch.zeros(1, 5, dtype=torch.bool)
    torch.testing.assert_close(
        module.flow(h, u, none, none[:, :3])[0], module.joined(g), rtol=0, atol=1e-12
    )


def test_places_are_found_in_order():
    at, pad = true_indices(torch.tensor([[True, False, True, True], [False, False, True, False]]))
    assert at[0].tolist() == [0, 2, 3]
    assert at[1, 0] == 2
    assert pad.tolist() == [[False, False, False], [False, True, True]]


@pytest.mark.parametrize(
    ("backbone", "language"),
    [("transformer", "en"), ("lstm", "zh"), ("bidaf", "en"), ("judged", "zh")],
)
def test_what_is_learned_answers_questions_never_seen(made, backbone, language, tmp_path):
    """And knows where there is no answer, by a threshold that a validation has chosen and that a
    checkpoint keeps.
    """

    def adam(parameters):
        return torch.optim.AdamW(parameters, lr=1e-2)

    data = made(language, n=240, max_tokens=1500)
    task = task_of(data, backbone, optimizer=adam, schedule=Constant(0))
    fit(task, data, max_steps=90)
    task.threshold.fill_(0.0)
    examples = data.examples("val")
    raw = task.eval().answer(examples)
    task._trainer = None
    answers = [sorted(p.alternatives, key=lambda a: a.output == "") for p in raw]
    task.threshold.fill_(best_threshold(examples, answers))
    result = score(
        data.examples("test"),
        task.answer(data.examples("test")),
        task.metrics(language),
        n_resample=0,
    )
    assert result["f1"].value > 80


# Answers


@everyone
@pytest.mark.parametrize("whole_words", [True, False])
def test_answers_are_in_their_passages_whatever_they_are_asked(made, backbone, whole_words):
    data = made(tokenizer=BytePair(300), whole_words=whole_words)
    task = task_of(data, backbone, whole_words=whole_words).eval()
    passages = [
        "",
        " \n ",
        "x",
        "Ünï e\u0301 👩‍👩‍👧 猫在睡。",
        " ".join(f"word{i}" for i in range(60)),
    ]
    asked = ["", "Who?", "Where does " + "Anna " * 20 + "live?"]
    examples = [
        Example(f"{i}-{j}", f"{a}\n{p}", ())
        for i, a in enumerate(asked)
        for j, p in enumerate(passages)
    ]
    together = task.answer(examples)
    for example, answer in zip(examples, together, strict=True):
        passage = as_question(example).passage
        assert answer.output in passage
        assert bool(answer.output) == bool(passage.strip()), "the threshold is off"
        assert answer.nats >= 0
        assert answer.alternatives[0] == (answer.output, answer.nats)
        assert len(task.tokenizer.encode(answer.output)) <= 8 + 1
        if whole_words and answer.output:
            assert answer.output[0] not in "ord", "no answer begins within a word"
    for example, answer in zip(examples, together, strict=True):
        [alone] = task.answer([example])
        assert alone.output == answer.output
        assert alone.nats == pytest.approx(answer.nats, abs=1e-4)


@everyone
def test_windows_beyond_what_is_read_at_once_are_read_after(made, backbone, monkeypatch):
    data = made(tokenizer=BytePair(300))
    task = task_of(data, backbone).double().eval()
    examples = [
        Example(str(n), "Who?\n" + " ".join(f"word{i}" for i in range(n)), ()) for n in (60, 3, 40)
    ]
    together = task.answer(examples)
    monkeypatch.setattr(spans, "MAX_POSITIONS", 100)
    for one, other in zip(together, task.answer(examples), strict=True):
        assert one.output == other.output
        assert one.nats == pytest.approx(other.nats, abs=1e-9)


def test_a_network_that_gives_nan_does_not_answer_that_there_is_none(made, tmp_path):
    task = task_of(made()).eval()
    task.ends.bias.data.fill_(math.nan)
    answers = task.answer([Example("1", "Who?\nAnna.", ())])
    with pytest.raises(ValueError, match="nats=nan"):
        write_predictions(tmp_path / "answers.jsonl", answers)


def test_every_question_has_an_answer_the_threshold_is_off(made):
    data = made(missing=False)
    task = task_of(data)
    assert all(p.output for p in task.eval().answer(data.examples("val")))
    assert float(task.threshold) == math.inf


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_answer_length": 0}, "max_answer_length=0 must be at least 1"),
        ({"n_alternative": 0}, "n_alternative=0 must be at least 1"),
        ({"stride": 28}, "stride=28 must be at most 27"),
        ({"word_dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        (
            {"overlap_features": False, "answerability_head": answerability_head},
            "overlap_features=false does not fit answerability_head and word_dropout",
        ),
        (
            {"overlap_features": False, "word_dropout": 0.1},
            "overlap_features=false does not fit answerability_head and word_dropout",
        ),
        (
            {"flow": lambda d: AttentionFlow(d, lambda d: Transformer(d, 2))},
            "of modelling must be at least 1 and n_decoder_layer=3",
        ),
    ],
)
def test_bad_settings_of_the_task(made, settings, words):
    with pytest.raises(ValueError, match=words):
        task_of(made(), **settings)


def test_a_backbone_that_writes_is_refused(made):
    with pytest.raises(
        ValueError, match="of backbone must be at least 1 and n_decoder_layer=1 must be 0"
    ):
        SpanTask(Transformer(32, 2, 1, 1), made().tokenizer)


def test_task_and_data_must_fit(made):
    data = made()
    task_of(data).requirements.check(data)
    for name, value in (
        ("max_length", 39),
        ("stride", 9),
        ("max_question_length", 9),
        ("overlap_features", False),
        ("whole_words", False),
    ):
        with pytest.raises(
            ValueError, match=rf"model.{name}=.* and data.{name}={value} must be equal"
        ):
            task_of(data).requirements.bind(made(**{name: value}))
    with pytest.raises(ValueError, match="n_validation_example=0"):
        task_of(data).requirements.check(made(n_validation_example=0))
    short = Transformer(32, 2, 1, 0, position=lambda *sizes: Learned(*sizes, max_length=30))
    with pytest.raises(
        ValueError,
        match="max_length=30 of the positions of backbone must be at least max_length=40",
    ):
        SpanTask(short, data.tokenizer, **SMALL).requirements.check(data)


# Runs


def test_straight_equals_stopped_and_resumed_bit_for_bit(made, tmp_path):
    def parts():
        torch.manual_seed(0)
        data = made(max_tokens=300)
        network = Transformer(32, 2, n_encoder_layer=1, n_decoder_layer=0, dropout=0.1)
        return SpanTask(
            network, data.tokenizer, answerability_head=AnswerabilityHead, word_dropout=0.2, **SMALL
        ), data

    assert_resumes_exactly(parts, tmp_path, 7)


@pytest.mark.parametrize("backbone", ["transformer", "bidaf, judged"])
def test_a_step_in_shapes_alone(made, backbone):
    """What `lslm plan` needs."""
    data = made()
    with torch.device("meta"):
        task = task_of(data, backbone)
    batch = AnswerWindowBatch(
        *(v.to("meta") if isinstance(v, torch.Tensor) else v for v in data.sizes().usual)
    )
    found = footprint(task, batch, bfloat16=True)
    assert found.flops > 0
    assert found.n_position == batch.source.numel()

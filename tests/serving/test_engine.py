"""Laws of the engine: answers do not depend on what else is being answered."""

import random
from dataclasses import replace

import pytest

from lslm_lightning.contracts import Example
from lslm_lightning.decoding import Greedy
from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.engine import EngineCore
from lslm_lightning.serving.prompt_tokens import SOURCE_TOKENS, parts
from lslm_lightning.serving.protocol import (
    AnswerPart,
    AnswerRequest,
    Cancel,
    Refusal,
    ScoredAnswers,
    ScoreRequest,
)
from tests.serving.conftest import LANGUAGE_MODELS, SPECS, answered, answers_of, generated

TEXTS = ["the quick", "fox", "over lazy dogs. the fox jumps", "敏捷的棕色狐狸", "j"]
SEARCHES = [
    (SearchSettings(search="greedy", max_length=9), 1),
    (SearchSettings(search="sampling", temperature=1.2, max_length=14), 1),
    (SearchSettings(search="sampling", top_p=0.8, max_length=20, min_length=3), 3),
    (SearchSettings(search="beam", beam_size=3, max_length=8), 1),
    (SearchSettings(search="beam", beam_size=4, max_length=11, length_penalty=0.5), 2),
    (SearchSettings(search="greedy", no_repeat_ngram=2, max_length=15), 1),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SPECS if name not in ("bert", "chat")])
def test_answers_are_those_of_generate_whatever_else_is_in_the_batch(name, served, tiny_run):
    model = served(name)
    chance = random.Random(0)
    requests = []
    for i in range(18):
        settings, n = SEARCHES[i % len(SEARCHES)]
        text = TEXTS[chance.randrange(len(TEXTS))]
        requests.append(
            AnswerRequest(i + 1, name, source=text, settings=settings, n=n, best_of=n, seed=i % 4)
        )
    chance.shuffle(requests)
    found = answers_of(answered(EngineCore([model]), requests, every=2))
    assert len(found) == len(requests)
    for request in requests:
        expected = generated(
            tiny_run(name), str(request.source), request.settings, request.n, request.seed
        )
        assert [answer.text for answer in found[request.id].answers] == expected, request


@pytest.mark.parametrize("name", ["rotary", "lstm", "t5"])
def test_streamed_parts_are_the_answer_and_log_p_of_tokens_adds_up(name, served):
    engine = EngineCore([served(name)])
    requests = [
        AnswerRequest(
            i,
            name,
            source=TEXTS[i % len(TEXTS)],
            settings=SearchSettings(search="sampling", max_length=15),
            n=2,
            best_of=2,
            n_top=3,
            seed=i,
            streams=True,
        )
        for i in range(1, 6)
    ]
    events = answered(engine, requests)
    for id, whole in answers_of(events).items():
        for index, answer in enumerate(whole.answers):
            parts = [
                e for e in events if isinstance(e, AnswerPart) and (e.id, e.index) == (id, index)
            ]
            assert "".join(part.text for part in parts) == answer.text
            assert [token for part in parts for token in part.tokens] == list(answer.tokens)
            assert [part.finish_reason for part in parts[:-1]] == [None] * (len(parts) - 1)
            assert parts[-1].finish_reason == answer.finish_reason
            assert sum(token.log_p for token in answer.tokens) == pytest.approx(answer.log_p)
            assert len(answer.tokens) == answer.n_token
            for token in answer.tokens:
                assert len(token.top) == 3
                assert [p for *_, p in token.top] == sorted((p for *_, p in token.top))[::-1]


@pytest.mark.parametrize("name", ["learned", "bart"])
def test_log_p_of_the_tokens_of_a_beam_search_adds_up_to_that_of_the_answer(name, served):
    request = AnswerRequest(
        1,
        name,
        source="the fox",
        settings=SearchSettings(search="beam", beam_size=3, max_length=9),
        n=3,
        best_of=3,
        n_top=1,
    )
    found = answers_of(answered(EngineCore([served(name)]), [request]))[1]
    for answer in found.answers:
        assert sum(token.log_p for token in answer.tokens) == pytest.approx(answer.log_p, abs=1e-6)
        special = "</s>" if answer.finish_reason == "stop" else ""
        assert "".join(token.text for token in answer.tokens) == answer.text + special


def test_a_prompt_that_is_echoed_has_the_log_p_of_scoring(served):
    model = served("rotary")
    text = "the quick brown fox jumps over lazy dogs"
    settings = SearchSettings(max_length=0)
    request = AnswerRequest(1, "rotary", source=text, settings=settings, n_top=2, echo=True)
    [answer] = answers_of(answered(EngineCore([model]), [request]))[1].answers
    assert answer.text == text
    assert [token.offset for token in answer.tokens] == list(range(len(text)))
    [scored] = model.task.log_prob([Example("1", "", (text,))])
    of_tokens = [-token.nats for token in scored.tokens]
    assert [token.log_p for token in answer.tokens] == pytest.approx(of_tokens[:-1], abs=1e-4)
    longer = replace(request, settings=SearchSettings(search="greedy", max_length=5))
    [answer] = answers_of(answered(EngineCore([model]), [longer]))[1].answers
    assert answer.text.startswith(text)
    assert len(answer.tokens) == len(text) + answer.n_token
    assert "".join(token.text for token in answer.tokens if token.text != "</s>") == answer.text


def test_a_text_of_stop_ends_an_answer_and_is_no_part_of_it(served):
    engine = EngineCore([served("rotary")])
    settings = SearchSettings(search="sampling", max_length=40)
    whole = AnswerRequest(1, "rotary", source="fox", settings=settings, seed=3)
    text = answers_of(answered(engine, [whole]))[1].answers[0].text
    stop = text[8:10]
    first = text.find(stop)
    for streams in (False, True):
        request = replace(whole, stop=("zzzz", stop), streams=streams)
        events = answered(engine, [request])
        [answer] = answers_of(events)[1].answers
        assert answer.text == text[:first]
        assert answer.finish_reason == "stop"
        assert answer.n_token < 40
        if streams:
            assert "".join(e.text for e in events if isinstance(e, AnswerPart)) == answer.text


def test_prompts_that_begin_alike_are_read_once(served):
    model = served("learned", 64)
    engine = EngineCore([model])
    settings = SearchSettings(search="greedy", max_length=4)
    shared = "the quick brown fox "
    requests = [
        AnswerRequest(i, "learned", source=shared + end, settings=settings)
        for i, end in enumerate(["", "dog", "dogs", "j"], 1)
    ]
    expected = [
        answers_of(answered(EngineCore([served("learned")]), [each]))[each.id].answers
        for each in requests
    ]
    found = answers_of(answered(engine, requests, every=3))
    assert [found[each.id].answers[0].text for each in requests] == [a[0].text for a in expected]
    n_shared = 1 + len(shared)
    assert found[1].n_cached_token == 0
    assert found[2].n_cached_token == n_shared
    assert found[3].n_cached_token == n_shared + len("dog")
    assert found[4].n_cached_token == n_shared


def test_requests_that_are_dropped_or_refused_leave_nothing_behind(served):
    model = served("rotary", 8)
    engine = EngineCore([model])
    settings = SearchSettings(search="greedy", max_length=30)
    for i in range(1, 21):
        engine.take(AnswerRequest(i, "rotary", source="fox", settings=settings))
    engine.work()
    assert model.n_row <= 8
    assert model.n_running + model.n_waiting == 20
    for i in range(1, 21):
        engine.take(Cancel(i))
    engine.work()
    assert not engine.is_busy
    assert model.n_row == 0
    wrong = [
        AnswerRequest(1, "no model", source="fox"),
        AnswerRequest(2, "rotary", source=(10**9,)),
        AnswerRequest(3, "rotary", source="fox", settings=SearchSettings(top_p=2.0)),
        AnswerRequest(4, "rotary", source="fox", settings=SearchSettings(beam_size=3)),
        AnswerRequest(5, "rotary", source="fox", n=9, best_of=9, settings=settings),
        AnswerRequest(6, "rotary", messages=(("user", "fox"),)),
        AnswerRequest(
            7,
            "rotary",
            source="fox",
            settings=SearchSettings(search="beam", max_length=30),
            n_top=1,
        ),
    ]
    events = answered(engine, wrong)
    assert [event.id for event in events if isinstance(event, Refusal)] == [1, 2, 3, 4, 5, 6, 7]
    assert all("--" not in event.message for event in events if isinstance(event, Refusal))


def test_a_request_whose_time_is_over_gives_what_it_has(served):
    engine = EngineCore([served("rotary")])
    settings = SearchSettings(search="sampling", max_length=4000)
    request = AnswerRequest(1, "rotary", 0.2, source="fox", settings=settings)
    [answer] = answers_of(answered(engine, [request]))[1].answers
    assert answer.finish_reason in ("timeout", "stop")
    beam = replace(request, settings=SearchSettings(search="beam", max_length=4000), max_seconds=0)
    [event] = [e for e in answered(engine, [beam]) if isinstance(e, Refusal)]
    assert event.kind == "timeout"


@pytest.mark.parametrize("name", ["rotary", "t5"])
def test_scores_are_those_of_the_task(name, served):
    model = served(name)
    answers = ("jumps", "over the fox", "")
    source = None if name in LANGUAGE_MODELS else "the quick"
    [found] = [
        event
        for event in answered(
            EngineCore([model]), [ScoreRequest(1, name, source=source, answers=answers)]
        )
        if isinstance(event, ScoredAnswers)
    ]
    for text, scored in zip(answers, found.answers, strict=True):
        example = Example("1", source or "", (text,))
        [expected] = model.task.log_prob([example], None if source is None else [[text]])
        assert scored.log_p == pytest.approx(-expected.nats)
        assert scored.n_token == expected.n_token


def test_a_conversation_is_read_in_the_template_of_the_model(served, tiny_run):
    model = served("chat")
    settings = SearchSettings(search="greedy", max_length=6)
    turns = (("user", "fox"), ("assistant", "dog"), ("user", "the j"))
    requests = [
        AnswerRequest(1, "chat", messages=turns, settings=settings),
        AnswerRequest(2, "chat", messages=turns[:1], settings=settings),
        AnswerRequest(3, "chat", source="fox", settings=settings),
    ]
    found = answers_of(answered(EngineCore([model]), requests))
    ids = model.tokenizer.encode("u fox. a dog. u the j. a ")
    assert "chat" in model.info.abilities
    model.task.search = Greedy()
    [expected] = model.task.continue_any_length([ids], 6)
    assert found[1].answers[0].text == model.tokenizer.decode(expected)
    assert found[1].n_prompt_token == len(ids)
    assert found[2].answers[0].text == found[3].answers[0].text
    assert generated(tiny_run("chat"), "fox", settings) == [found[2].answers[0].text]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        ([(0, 2), (2, 3)], ["ab", "c"]),
        ([(0, 1), (1, 2), (1, 2), (2, 3)], ["a", "b", "", "c"]),  # two parts of a character
        ([(0, 2), (1, 2), (2, 3)], ["ab", "", "c"]),
        ([(1, 2)], ["abc"]),  # what belongs to no token
        ([], []),
    ],
)
def test_tokens_of_a_prompt_add_up_to_it(offsets, expected):
    assert ["abc"[start:end] for start, end in parts(offsets, 3)] == expected


def test_what_one_request_breaks_ends_that_request_alone(served):
    """Errors of any kind, at every place where work is done."""
    model = served("rotary")
    engine = EngineCore([model])
    settings = SearchSettings(search="greedy", max_length=9)
    good = AnswerRequest(1, "rotary", source="fox", settings=settings)
    [expected] = answers_of(answered(EngineCore([served("rotary")]), [good]))[1].answers
    read = model.reader.first_steps

    def first_steps(group):
        if any(each.writing.request.id == 2 for each in group):
            raise KeyError("of a user's own code")
        return read(group)

    model.reader.first_steps = first_steps
    engine.take(good)
    events = engine.work()
    broken = [
        AnswerRequest(2, "rotary", source="j", settings=settings),
        AnswerRequest(3, "rotary", source="a\ud83d", settings=settings, echo=True, n_top=1),
        ScoreRequest(4, "rotary", answers=("a\ud83d",)),
    ]
    events += answered(engine, broken)
    refused = [event.id for event in events if isinstance(event, Refusal)]
    assert sorted(refused) == [2, 3, 4]
    assert answers_of(events)[1].answers[0].text == expected.text
    assert not engine.is_busy
    assert model.n_row == 0


def test_attention_of_an_answer_that_never_began_is_none(served):
    model = served("bart", 1)
    engine = EngineCore([model])
    settings = SearchSettings(search="greedy", max_length=20)
    running = AnswerRequest(1, "bart", source="fox", settings=settings)
    late = AnswerRequest(2, "bart", 0.0, source="j", settings=settings, with_attention=True)
    found = answers_of(answered(engine, [running, late]))
    [answer] = found[2].answers
    assert (answer.text, answer.attention, answer.finish_reason) == ("", None, "timeout")
    assert found[1].answers[0].finish_reason != "timeout"


def test_attention_has_a_row_for_each_token_of_the_answer(served):
    settings = SearchSettings(search="greedy", max_length=7)
    request = AnswerRequest(1, "bart", source="the fox", settings=settings, with_attention=True)
    [answer] = answers_of(answered(EngineCore([served("bart")]), [request]))[1].answers
    assert len(answer.attention.weights) == len(answer.attention.target) == answer.n_token
    for row in answer.attention.weights:
        assert len(row) == len(answer.attention.source) == len("the fox") + 1
        assert sum(row) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_a_text_of_stop_ends_an_answer_wherever_its_window_ends(served):
    engine = EngineCore([served("rotary")])
    settings = SearchSettings(search="sampling", max_length=40)
    whole = AnswerRequest(1, "rotary", source="fox", settings=settings, seed=3, n_top=0)
    [answer] = answers_of(answered(engine, [whole]))[1].answers
    tokens, text = answer.tokens, answer.text
    ends = [i for i in range(4, len(text) - 1) if text.find(text[i - 2 : i]) == i - 2]
    assert len(ends) > 10
    for end in ends:
        request = replace(whole, stop=(text[end - 2 : end],), streams=True)
        events = answered(engine, [request])
        [answer] = answers_of(events)[1].answers
        n = next(
            n for n in range(len(tokens) + 1) if len("".join(t.text for t in tokens[:n])) >= end
        )
        assert answer.n_token == n
        assert answer.text == text[: end - 2]
        assert "".join(token.text for token in answer.tokens) == answer.text
        parts = [event for event in events if isinstance(event, AnswerPart)]
        assert "".join(part.text for part in parts) == answer.text
        assert [token for part in parts for token in part.tokens] == list(answer.tokens)


def test_cached_tokens_are_those_of_the_prompt_alone(served):
    engine = EngineCore([served("rotary")])
    settings = SearchSettings(search="greedy", max_length=40)
    for i in range(1, 3):
        request = AnswerRequest(i, "rotary", source="fox", settings=settings)
        found = answers_of(answered(engine, [request]))[i]
        assert found.n_cached_token <= found.n_prompt_token == len("fox") + 1


@pytest.mark.parametrize("name", ["t5", "attending lstm"])
def test_a_source_that_would_stop_all_others_is_refused(name, served):
    engine = EngineCore([served(name)])
    settings = SearchSettings(search="greedy", max_length=3)
    long = "j " * SOURCE_TOKENS
    requests = [
        AnswerRequest(1, name, source=long, settings=settings),
        AnswerRequest(2, name, source=(5,) * SOURCE_TOKENS, settings=settings),
        ScoreRequest(3, name, source=long, answers=("j",)),
        ScoreRequest(4, name, source="j", answers=(long,)),
        AnswerRequest(5, name, source="j", settings=settings),
    ]
    events = answered(engine, requests)
    refused = {event.id: event for event in events if isinstance(event, Refusal)}
    assert set(refused) == {1, 2, 3, 4}
    assert {event.kind for event in refused.values()} == {"too_long"}
    assert set(answers_of(events)) == {5}


def test_a_source_of_the_length_that_is_read_is_answered(served):
    request = AnswerRequest(1, "t5", source=(5,) * (SOURCE_TOKENS - 1))
    request = replace(request, settings=SearchSettings(search="greedy", max_length=2))
    assert set(answers_of(answered(EngineCore([served("t5")]), [request]))) == {1}

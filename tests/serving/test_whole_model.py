"""Models that answer requests as a whole: spans of a passage, and models of another engine."""

import pytest

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.runs import load_run
from lslm_lightning.serving.engine import EngineCore
from lslm_lightning.serving.prompt_tokens import SOURCE_TOKENS
from lslm_lightning.serving.protocol import AnswerRequest, Refusal
from lslm_lightning.serving.whole_model import WholeModel
from tests.serving.conftest import answered, answers_of

TEXTS = ["the quick", "fox", "over lazy dogs", "敏捷的棕色狐狸", "j"]


@pytest.fixture
def spans(tiny_run) -> WholeModel:
    loaded = load_run(tiny_run("bert"))
    loaded.task.double()
    return WholeModel("bert", "bert", loaded)


def test_a_span_is_where_the_answer_stands_in_the_passage(spans):
    # every word stands twice: only its place tells which is meant
    passages = ["fox dogs fox dogs", "the fox the fox", "敏捷的狐狸敏捷的狐狸"]
    requests = [
        AnswerRequest(i, "bert", source=f"the fox\n{passage}") for i, passage in enumerate(passages)
    ]
    events = answered(EngineCore([spans]), requests)
    found = answers_of(events)
    assert len(found) == len(requests), events
    for request, passage in zip(requests, passages, strict=True):
        [answer] = found[request.id].answers
        [expected] = spans.task.generate([spans.example(str(request.source))])
        assert answer.text == expected.output
        assert answer.log_p == pytest.approx(-expected.nats)
        assert answer.no_answer_score is not None
        if answer.text:
            start, end = answer.span
            assert passage[start:end] == answer.text
        else:
            assert answer.span is None
    assert any(found[request.id].answers[0].text for request in requests)


def test_what_is_written_at_once_refuses_what_it_cannot_do(spans):
    wrong = [
        AnswerRequest(1, "bert", source="fox\nthe fox", stop=("x",)),
        AnswerRequest(2, "bert", source=(3, 4)),
        AnswerRequest(3, "bert", source="fox\nthe fox", settings=SearchSettings(beam_size=2)),
        AnswerRequest(4, "bert", source="fox\nthe fox", n=2, best_of=2),
    ]
    events = answered(EngineCore([spans]), wrong)
    assert [event.id for event in events if isinstance(event, Refusal)] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_source_that_would_stop_all_others_is_refused(name, tiny_run):
    engine = EngineCore([WholeModel(name, name, load_run(tiny_run(name)))])
    wrong = AnswerRequest(1, name, source="j " * SOURCE_TOKENS)
    [event] = [e for e in answered(engine, [wrong]) if isinstance(e, Refusal)]
    assert event.kind == "too_long"


@pytest.mark.slow
def test_answers_of_another_engine_are_those_of_pytorch(served, tiny_run):
    pytest.importorskip("ctranslate2")
    loaded = load_run(tiny_run("pegasus"))
    loaded.task.answering.use_engine("ctranslate2", "float32")
    fast = WholeModel("pegasus", "pegasus", loaded)
    requests = [
        AnswerRequest(
            i, "pegasus", source=text, settings=SearchSettings(max_length=9), n=n, best_of=n
        )
        for i, (text, n) in enumerate((text, n) for text in TEXTS for n in (1, 3))
    ]
    ours = answers_of(answered(EngineCore([served("pegasus")]), requests))
    theirs = answers_of(answered(EngineCore([fast]), requests))
    for request in requests:
        assert [a.text for a in theirs[request.id].answers] == [
            a.text for a in ours[request.id].answers
        ]

"""Laws of the engine: the work for one request does not grow with those that wait for their turn,
and no request is answered alone while others wait.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import pytest

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.runs import load_run
from lslm_lightning.serving.engine import EngineCore
from lslm_lightning.serving.protocol import (
    AnswerRequest,
    Cancel,
    EngineRequest,
    Refusal,
    ScoreRequest,
)
from lslm_lightning.serving.served_model import ServedModel
from lslm_lightning.serving.whole_model import WholeModel
from tests.serving.conftest import answered, answers_of

GREEDY = SearchSettings(search="greedy", max_length=20)


def n_instruction(act: Callable[[], object]) -> int:
    """Return the number of instructions of Python that the engine's own code executes in a call."""
    n = 0

    def count(frame: FrameType, event: str, _: object) -> Callable[..., object] | None:
        nonlocal n
        if "serving" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        n += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        act()
    finally:
        sys.settrace(before)
    return n


def writing(id: int) -> EngineRequest:
    return AnswerRequest(id, "rotary", source="fox", settings=GREEDY)


def scoring(id: int) -> EngineRequest:
    return ScoreRequest(id, "rotary", answers=("fox",))


def marking(id: int) -> EngineRequest:
    return AnswerRequest(id, "bert", source="the fox\nfox dogs fox dogs")


@pytest.mark.parametrize("request_of", [writing, scoring, marking])
def test_the_work_for_a_request_does_not_grow_with_those_that_wait(
    request_of: Callable[[int], EngineRequest],
    served: Callable[..., ServedModel],
    tiny_run: Callable[[str], object],
) -> None:
    costs = []
    for n in (8, 64):
        name = request_of(1).model
        model = (
            WholeModel(name, name, load_run(tiny_run(name)), batch_size=2)
            if name == "bert"
            else served(name, 2)
        )
        engine = EngineCore([model])
        for id in range(1, n + 1):
            engine.take(request_of(id))
        engine.work()
        acts: list[Callable[[], object]] = [
            lambda engine=engine, n=n: engine.take(request_of(n + 1)),  # type: ignore[misc]
            lambda engine=engine: engine.load,  # type: ignore[misc]
            lambda engine=engine: engine.take(Cancel(5)),  # type: ignore[misc]
            engine.work,
        ]
        costs.append([n_instruction(act) for act in acts])
        assert model.n_waiting >= n // 2
    assert costs[0] == costs[1]
    assert min(costs[0]) > 0


def test_requests_that_wait_end_in_time_and_leave_nothing_behind(
    served: Callable[..., ServedModel],
) -> None:
    model = served("rotary", 1)
    engine = EngineCore([model])
    for id in range(1, 9):
        seconds = 0.0 if id % 2 == 0 else 600.0
        engine.take(AnswerRequest(id, "rotary", seconds, source="fox", settings=GREEDY))
    ended = [getattr(event, "id", None) for event in engine.work()]
    assert sorted(id for id in ended if id is not None) == [2, 4, 6, 8]
    assert model.n_running + model.n_waiting == 4
    for id in (1, 3, 5, 7):
        engine.take(Cancel(id))
    engine.work()
    assert not engine.is_busy


def test_texts_are_scored_in_turn_with_those_of_others(served):
    engine = EngineCore([served("rotary")])
    long = ScoreRequest(1, "rotary", answers=("fox",) * 9)
    short = ScoreRequest(2, "rotary", answers=("fox",))
    found = [event.id for event in answered(engine, [long, short]) if event.id]
    assert found == [2, 1]


@pytest.mark.parametrize("max_length", [0, 3])
def test_others_are_answered_while_a_long_prompt_is_scored(served, max_length):
    """Its windows are read one by one; its time counts from its arrival."""
    engine = EngineCore([served("rotary")])
    settings = SearchSettings(search="greedy", max_length=max_length)
    long = AnswerRequest(
        1, "rotary", source="the quick fox " * 20, settings=settings, n_top=1, echo=True
    )
    short = AnswerRequest(2, "rotary", source="fox", settings=replace(settings, max_length=9))
    assert engine.take(long) == engine.take(short) == []
    events = []
    while engine.is_busy:
        events += engine.work()
    assert [*answers_of(events)] == [2, 1]
    assert engine.take(replace(long, max_seconds=0.0)) == []
    events = []
    while engine.is_busy:
        events += engine.work()
    [refused] = events
    assert isinstance(refused, Refusal)
    assert refused.kind == "timeout"

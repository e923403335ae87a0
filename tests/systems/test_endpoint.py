"""A hosted model: every fault of its server, its cache, its bill, and its key."""

import math

import pytest

from lslm_lightning.contracts import CannotError, Example
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.endpoint import Endpoint, EndpointError
from lslm_lightning.systems.ledger import BudgetError, Prices
from tests.provider import KEY

EXAMPLES = [Example(str(i), f"source {i}", ("reference",), question=f"问题 {i}") for i in range(6)]
ANSWERS = {e.id: f"{e.question}!" for e in EXAMPLES}


def endpoint(provider, **settings):
    return Endpoint("tiny", base_url=provider.url, timeout_seconds=1.0, **({"max_retries": 3} | settings))


def answers(system, examples=EXAMPLES):
    return {p.id: p.output for p in system.generate(examples)}


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_every_question_is_asked_once(provider, kind):
    assert answers(endpoint(provider, kind=kind)) == ANSWERS
    assert len(provider.requests) == len(EXAMPLES)
    assert provider.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("fault", [429, 500, 503, "slow", "broken", "empty", "cut"])
def test_a_passing_fault_is_asked_again(provider, fault):
    provider.faults = [fault, fault]
    assert answers(endpoint(provider, concurrency=1)) == ANSWERS
    assert len(provider.requests) == len(EXAMPLES) + 2


def test_a_lasting_fault_is_one_line_without_the_key_and_loses_nothing(provider):
    provider.faults = [None, None, 400]
    got = []
    with pytest.raises(EndpointError, match="failed with Bearer") as error:
        got.extend(endpoint(provider, concurrency=1, max_retries=0).generate(EXAMPLES))
    assert KEY not in str(error.value)
    assert {p.id: p.output for p in got} == {i: ANSWERS[i] for i in ("0", "1")}


def test_an_answer_is_paid_once(provider):
    prices = Prices(1.0, 2.0)
    first, second = (endpoint(provider, prices=prices) for _ in range(2))
    assert answers(first) == answers(second) == ANSWERS
    assert len(provider.requests) == len(EXAMPLES)
    assert first.facts()["money"] == pytest.approx(second.facts()["money"])
    read = sum(len(e.question.encode()) for e in EXAMPLES)
    assert first.facts()["money"] == pytest.approx((read + 2 * (read + 6)) / 1e6)
    answers(endpoint(provider, temperature=0.5))
    assert len(provider.requests) == 2 * len(EXAMPLES)  # another setting is another question


def test_the_budget_stops_before_it_is_passed_and_what_came_is_kept(provider):
    prices = Prices(1e6, 1e6)  # 1 a byte here
    system, got = endpoint(provider, prices=prices, budget=400, max_tokens=20, concurrency=2), []
    with pytest.raises(BudgetError, match="budget=400"):
        got.extend(system.generate(EXAMPLES * 1 + [Example(str(i), "s", ("r",), question=f"more {i}") for i in range(6, 60)]))
    assert system.ledger.spent <= 400
    assert 2 <= len(got) == len(provider.requests)


def test_so_many_requests_at_a_time(provider):
    provider.pause = 0.1
    answers(endpoint(provider, concurrency=3))
    assert provider.most_under_way == 3


def test_probabilities_come_from_an_echo(provider):
    text = ("白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。")
    passages = [Example(f"poem#{i}", "", (part,), "zh", "zh") for i, part in enumerate(text)]
    metric = BitsPerByte()
    predictions = {p.id: p for p in endpoint(provider, kind="completions").log_prob(passages)}
    total = sum(metric.statistics(predictions[e.id], e.references) for e in passages)
    assert metric.score(total) == pytest.approx(8)
    assert math.isfinite(total.sum())
    with pytest.raises(CannotError, match="chat"):
        list(endpoint(provider).log_prob(passages))


def test_no_key_is_told_before_anything_is_asked(provider, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set"):
        endpoint(provider).ready([])


def test_a_budget_is_of_the_exam_and_not_of_an_attempt(provider):
    """Asked again after an interruption: what the cache answers counts as what it cost."""
    prices = Prices(1e6, 1e6)
    first = Endpoint("m", base_url=provider.url, prices=prices)
    list(first.generate(EXAMPLES[:2]))
    second = Endpoint("m", base_url=provider.url, prices=prices, budget=first.ledger.spent + 1)
    with pytest.raises(BudgetError):
        list(second.generate(EXAMPLES))
    assert second.ledger.spent == first.ledger.spent


def test_a_server_that_does_not_echo_is_a_reason(provider):
    provider.faults = []
    content = provider.content

    def without(path, body):
        found = content(path, body)
        found["choices"][0].pop("logprobs", None)
        return found

    provider.content = without
    with pytest.raises(CannotError, match="echo"):
        list(Endpoint("m", kind="completions", base_url=provider.url).log_prob([Example("1", "", ("a text",))]))


def test_a_server_that_does_not_count_is_counted_at_the_most(provider):
    content = provider.content
    provider.content = lambda path, body: content(path, body) | {"usage": {}}
    system = Endpoint("m", base_url=provider.url, max_tokens=7)
    list(system.generate(EXAMPLES[:1]))
    assert system.ledger.n_output == 7

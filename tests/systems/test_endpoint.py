"""A hosted model: every fault of its server, its cache, its bill, and its key."""

import errno
import json
import math
import select
import socket
import threading
import time
from contextlib import suppress
from itertools import chain, count, cycle, repeat

import pytest

from lslm_lightning.contracts import CannotError, Example
from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.evaluation.diagnostics import other_model, run_checks
from lslm_lightning.metrics.likelihood import BitsPerByte
from lslm_lightning.systems.endpoint import Endpoint, EndpointError
from lslm_lightning.systems.ledger import BudgetError, Prices
from lslm_lightning.systems.replies import Problem, ProblemError, read_pause
from tests.support.openai_server import KEY, Raw
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow

EXAMPLES = [Example(str(i), f"source {i}", ("reference",), question=f"问题 {i}") for i in range(6)]
ANSWERS = {e.id: f"{e.question}!" for e in EXAMPLES}


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr("lslm_lightning.systems.endpoint_client.LONGEST_PAUSE", 0.01)


def endpoint(provider, **settings):
    return Endpoint("tiny", base_url=provider.url, **({"max_retries": 3} | settings))


def answers(system, examples=EXAMPLES):
    return {p.id: p.output for p in system.generate(examples)}


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_every_question_is_asked_once(provider, kind):
    assert answers(endpoint(provider, kind=kind)) == ANSWERS
    assert len(provider.requests) == len(EXAMPLES)
    assert provider.keys == {f"Bearer {KEY}"}


@pytest.mark.parametrize("fault", [429, 500, 503, "broken", "empty", "cut"])
def test_a_passing_fault_is_asked_again(provider, fault):
    provider.faults = [fault, fault]
    assert answers(endpoint(provider, concurrency=1)) == ANSWERS
    assert len(provider.requests) == len(EXAMPLES) + 2


@pytest.mark.parametrize(
    "body",
    [
        '{"choices": [{"message": {"content": "a", "content": "b"}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"content": "caf\xe9"}, "finish_reason": "stop"}]}',
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_a_reply_of_two_meanings_is_none(provider, body, kind):
    """JSON as the server sent it: no key twice, nothing replaced that is not UTF-8."""
    provider.content = lambda path, asked: Raw(body, kind=kind)
    with pytest.raises(EndpointError, match=r"stands twice|can't decode"):
        answers(endpoint(provider, concurrency=1))


def test_a_server_that_is_too_slow_is_asked_again(provider):
    """More often than it was told to be slow, where the machine is."""
    provider.faults = ["slow", "slow"]
    assert (
        answers(endpoint(provider, concurrency=1, timeout_seconds=1.0, max_retries=100)) == ANSWERS
    )
    assert len(provider.requests) >= len(EXAMPLES) + 2


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
    assert first.info()["money"] == pytest.approx(second.info()["money"])
    read = sum(len(e.question.encode()) for e in EXAMPLES)
    assert first.info()["money"] == pytest.approx((read + 2 * (read + 6)) / 1e6)
    answers(endpoint(provider, temperature=0.5))
    assert len(provider.requests) == 2 * len(EXAMPLES)  # another setting is another question


def test_the_budget_stops_before_it_is_passed_and_what_came_is_kept(provider):
    prices = Prices(1e6, 1e6)  # 1 a byte here
    system = endpoint(provider, prices=prices, budget=400, max_tokens=20, concurrency=2)
    got = []
    with pytest.raises(BudgetError, match="budget=400"):
        got.extend(
            system.generate(
                EXAMPLES * 1
                + [Example(str(i), "s", ("r",), question=f"more {i}") for i in range(6, 60)]
            )
        )
    assert system.ledger.spent <= 400
    assert 2 <= len(got) == len(provider.requests)


def test_so_many_requests_at_a_time(provider):
    provider.pause = 0.1  # in which a fourth would come
    together = threading.Barrier(3)
    provider.answer = lambda question: f"{together.wait(PATIENCE)}"
    answers(endpoint(provider, concurrency=3))
    assert provider.most_under_way == 3


def test_probabilities_come_from_an_echo(provider):
    text = ("白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。")
    passages = [Example(f"poem#{i}", "", (part,), "zh", "zh") for i, part in enumerate(text)]
    metric = BitsPerByte()
    predictions = {p.id: p for p in endpoint(provider, kind="completions").log_prob(passages)}
    total = sum(metric.statistics(e, predictions[e.id]) for e in passages)
    assert metric.score(total) == pytest.approx(8)
    assert math.isfinite(total.sum())
    with pytest.raises(CannotError, match="chat"):
        list(endpoint(provider).log_prob(passages))


def test_no_key_is_told_before_anything_is_asked(provider, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set"):
        endpoint(provider).prepare([])


def test_a_budget_covers_all_attempts(provider):
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
        list(
            Endpoint("m", kind="completions", base_url=provider.url).log_prob(
                [Example("1", "", ("a text",))]
            )
        )


def test_a_server_that_does_not_count_is_counted_at_the_most(provider):
    content = provider.content
    provider.content = lambda path, body: content(path, body) | {"usage": {}}
    system = Endpoint("m", base_url=provider.url, max_tokens=7)
    list(system.generate(EXAMPLES[:1]))
    assert system.ledger.n_output == 7


# What was scored is the text


def passages(*texts):
    return [Example(f"poem#{i}", "", (text,)) for i, text in enumerate(texts)]


def tokenized(provider, tokens_of):
    """Echo in these tokens, of one nat each."""
    content = provider.content

    def echo(path, body):
        tokens = tokens_of(body["prompt"])
        found = content(path, body)
        found["choices"][0]["logprobs"] = {
            "tokens": tokens,
            "token_logprobs": [None, *[-1.0] * (len(tokens) - 1)],
        }
        return found

    provider.content = echo


@pytest.mark.parametrize(
    ("tokens_of", "reason"),
    [
        (lambda prompt: ["Z"], "begin 'Z'"),
        (lambda prompt: list(prompt[:-1]), "end 1 characters before"),
        (lambda prompt: list(prompt[3:]), "its tokens begin 'r'"),
        (lambda prompt: list(prompt.strip()), "its tokens begin 'f'"),
        (lambda prompt: list(prompt.lower()), "after 8 characters its token is 's'"),
        (lambda prompt: [prompt], "holds the end of the context"),
    ],
)
def test_a_text_that_was_not_scored_whole_is_a_reason(provider, tokens_of, reason):
    tokenized(provider, tokens_of)
    with pytest.raises(
        CannotError, match=rf"tiny does not return the log probabilities .*{reason}"
    ):
        list(endpoint(provider, kind="completions").log_prob(passages("first. Second")))


def test_what_the_server_writes_behind_the_text_is_not_scored(provider):
    tokenized(provider, lambda prompt: [*prompt, *"ZZZZ"])
    [found] = endpoint(provider, kind="completions").log_prob(passages("text"))
    assert (found.nats, found.n_token) == (4.0, 4)


def test_a_passage_is_scored_after_a_context_that_ends_where_a_token_does(provider):
    """A blank line is one token, half of which belongs to the passage before: neither lost nor
    counted twice.
    """
    tokenized(
        provider,
        lambda prompt: [part for word in prompt.split("\n\n") for part in (*word, "\n\n")][:-1],
    )
    found = {
        p.id: p for p in endpoint(provider, kind="completions").log_prob(passages("ab\n", "\ncd"))
    }
    assert [(found[f"poem#{i}"].nats, found[f"poem#{i}"].n_token) for i in (0, 1)] == [
        (3.0, 3),
        (3.0, 3),
    ]
    assert "ab\ncd" in [body["prompt"] for body in provider.requests]
    [first] = endpoint(provider, kind="completions").log_prob(passages("\ncd"))
    assert first.n_token == 3


def test_a_server_that_must_write_a_token_is_asked_for_one(provider):
    content = provider.content
    refusal = Raw(
        {
            "object": "error",
            "message": "max_tokens must be at least 1, got 0.",
            "param": None,
            "code": 400,
        },
        400,
    )
    provider.content = lambda path, body: (
        refusal if body["max_tokens"] == 0 else content(path, body)
    )
    found = list(
        endpoint(provider, kind="completions", concurrency=1).log_prob(
            [Example(str(i), "", (f"text {i}",)) for i in range(4)]
        )
    )
    assert [p.n_token for p in found] == [6] * 4
    assert [body["max_tokens"] for body in provider.requests] == [0, 1, 1, 1, 1]


def test_a_server_that_refuses_to_echo_is_a_reason(provider):
    message = "Setting 'echo' and 'logprobs' at the same time is not supported for this model."
    provider.content = lambda path, body: Raw(
        {"error": {"message": message, "param": None, "code": None}}, 400
    )
    with pytest.raises(CannotError, match="at the same time"):
        list(endpoint(provider, kind="completions").log_prob(passages("text")))


# log p of given answers


def test_answers_are_scored_after_their_questions_in_order(provider):
    """A byte is 8 bits here; what is asked is the question and the answer as one text."""
    examples = [*EXAMPLES[:2], Example("source", "白日", ()), Example("text", "", ())]
    answers = [["依山", "", "fin"], ["黄河"], ["入"], ["海流"]]
    system = endpoint(provider, kind="completions", concurrency=3)
    found = list(system.log_prob(examples, answers))
    expected = [(e.id, a) for e, given in zip(examples, answers, strict=True) for a in given]
    assert [(p.id, p.output) for p in found] == expected
    for prediction in found:
        size = len(prediction.output.encode())
        assert prediction.nats == pytest.approx(8 * math.log(2) * size)
        assert prediction.n_token == len(prediction.output)
    asked = {body["prompt"] for body in provider.requests}
    assert {EXAMPLES[0].question + "依山", "白日入"} < asked
    assert EXAMPLES[0].question not in asked, "an empty answer costs nothing"


def test_a_token_that_begins_in_the_source_is_the_first_of_the_answer(provider):
    """The text stays the source and the answer, whatever the server's tokens."""
    tokenized(provider, lambda prompt: [*prompt[:2], prompt[2:5], *prompt[5:]])
    [found] = endpoint(provider, kind="completions").log_prob([Example("1", "ab ", ())], ["cdef"])
    assert found.n_token == 3
    assert [body["prompt"] for body in provider.requests] == ["ab cdef"]


def test_answers_need_a_server_that_echoes(provider):
    with pytest.raises(CannotError, match="chat"):
        list(endpoint(provider).log_prob(EXAMPLES[:1], ["a"]))
    tokenized(provider, lambda prompt: ["other"])
    with pytest.raises(CannotError, match="does not return the log probabilities"):
        list(endpoint(provider, kind="completions").log_prob(EXAMPLES[:1], ["a"]))


# Why an answer ends, and reasoning


def replying(provider, message, finish="stop", usage=None):
    """Let every reply be this one."""
    content = provider.content

    def reply(path, body):
        found = content(path, body)
        found["choices"][0] |= {
            "message": {"role": "assistant", **message},
            "finish_reason": finish,
        }
        return found | ({} if usage is None else {"usage": usage})

    provider.content = reply


@pytest.mark.parametrize(
    ("message", "finish", "settings", "output", "reason"),
    [
        ({"content": "half an answ"}, "length", {}, "half an answ", "length"),
        ({"content": None, "reasoning_content": "let me think"}, "length", {}, "", "reasoning"),
        ({"content": None, "reasoning": "let me think"}, "stop", {}, "", "reasoning"),
        ({"content": "<think>no end"}, "length", {}, "<think>no end", "length"),
        ({"content": "<think>no end"}, "length", {"strip_reasoning": True}, "", "reasoning"),
        (
            {"content": "<think>red is 红</think>\n红"},
            "stop",
            {"strip_reasoning": True},
            "红",
            "stop",
        ),
        ({"content": ""}, "content_filter", {}, "", "content_filter"),
        ({"content": None, "refusal": "No."}, "stop", {}, "No.", "refusal"),
        (
            {
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}],
            },
            "tool_calls",
            {},
            "",
            "tool_calls",
        ),
    ],
)
def test_why_an_answer_ends_is_kept_and_told(provider, message, finish, settings, output, reason):
    replying(provider, message, finish)
    for _ in range(2):  # the second time from the cache
        found = list(endpoint(provider, **settings).generate(EXAMPLES))
        assert {(p.output, p.finish_reason) for p in found} == {(output, reason)}
    assert len(provider.requests) == len(EXAMPLES)
    findings = run_checks(EXAMPLES, {"tiny": found}, [], {"tiny": "max_tokens=256"})
    told = [
        f.words for f in findings if f.system == "tiny" and f.words.startswith("6 of 6 answers")
    ]
    assert len(told) == (reason != "stop")
    assert reason not in ("length", "reasoning") or "max_tokens=256" in told[0]


def test_stripping_changes_no_question_and_stands_in_the_signature(provider):
    replying(provider, {"content": "<think>why</think>红"})
    kept = endpoint(provider)
    stripped = endpoint(provider, strip_reasoning=True)
    assert set(answers(kept).values()) == {"<think>why</think>红"}
    assert set(answers(stripped).values()) == {"红"}
    assert len(provider.requests) == len(EXAMPLES)
    assert (kept.signature("generate"), stripped.signature("generate")) == (
        "",
        "|reasoning:stripped",
    )


def test_a_model_of_the_task_gets_the_source_alone(provider):
    system = endpoint(provider, kind="completions", sends="source")
    assert answers(system) == {e.id: f"{e.source}!" for e in EXAMPLES}
    assert {request["prompt"] for request in provider.requests} == {e.source for e in EXAMPLES}
    assert system.info()["asked_with"]["sends"] == "source"
    assert "sends" not in endpoint(provider).info()["asked_with"]


def test_a_reply_that_an_older_version_kept_is_still_an_answer(provider, tmp_path):
    answers(endpoint(provider))
    for path in (tmp_path / "cache" / "answers").rglob("*.json"):
        kept = json.loads(path.read_text("utf-8"))
        path.write_text(
            json.dumps({name: kept[name] for name in ("text", "n_input", "n_output", "seconds")}),
            "utf-8",
        )
    found = list(endpoint(provider).generate(EXAMPLES))
    assert {p.id: p.output for p in found} == ANSWERS
    assert {p.finish_reason for p in found} == {None}
    assert len(provider.requests) == len(EXAMPLES)


def test_a_question_that_the_providers_filter_refuses_leaves_the_others_their_answers(provider):
    """Azure says so by status 400."""
    content = provider.content
    error = {
        "message": "The response was filtered",
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
    }
    filtered = Raw({"error": error | {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, 400)
    provider.content = lambda path, body: (
        filtered if body["messages"][-1]["content"] == "问题 3" else content(path, body)
    )
    found = {p.id: (p.output, p.finish_reason) for p in endpoint(provider).generate(EXAMPLES)}
    assert found == {i: (text, "stop") for i, text in ANSWERS.items()} | {
        "3": ("", "content_filter")
    }


# Errors, and what a server does not take


@pytest.mark.parametrize(
    ("reply", "words", "n_request"),
    [
        (
            Raw({"error": {"message": "No endpoints found", "code": 404}}),
            "Error code: 404 - No endpoints found$",
            1,
        ),
        (
            Raw(
                {"error": {"message": "You exceeded your quota", "type": "insufficient_quota"}}, 429
            ),
            "429 - You exceeded your quota$",
            1,
        ),
        (Raw({"error": {"message": "too many", "type": "requests"}}, 429), "429 - too many$", 2),
        (Raw({"detail": "Not Found"}, 404), "404 - Not Found$", 1),
        (Raw({"error": {"message": "upstream", "code": 502}}), "502 - upstream$", 2),
        (
            Raw({"error": {"message": "bad temperature", "param": "temperature"}}, 400),
            "400 - bad temperature$",
            1,
        ),
    ],
)
def test_the_reason_of_an_error_is_told_once(provider, reply, words, n_request):
    provider.content = lambda path, body: reply
    with pytest.raises(EndpointError, match=words):
        list(endpoint(provider, max_retries=1).generate(EXAMPLES[:1]))
    assert len(provider.requests) == n_request


def test_a_stream_that_was_not_asked_for_is_an_answer(provider):
    piece = json.dumps({"choices": [{"index": 0, "delta": {"content": "红"}}]})
    provider.content = lambda path, body: Raw(
        f"data: {piece}\n\ndata: [DONE]\n\n", 200, "text/event-stream"
    )
    assert set(answers(endpoint(provider)).values()) == {"红"}


def reasoning_model(provider):
    """A server that takes neither max_tokens nor another temperature than its own."""
    content = provider.content
    refusals = []

    def reply(path, body):
        for name, words, code in (
            (
                "max_tokens",
                "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                "unsupported_parameter",
            ),
            (
                "temperature",
                "Unsupported value: 'temperature' does not support 0.",
                "unsupported_value",
            ),
        ):
            if name in body:
                refusals.append(name)
                return Raw({"error": {"message": words, "param": name, "code": code}}, 400)
        return content(path, body)

    provider.content = reply
    return refusals


def test_what_a_model_takes_is_learned_from_its_server_once(provider, caplog):
    refusals = reasoning_model(provider)
    many = [Example(str(i), "s", ("r",), question=f"问题 {i}") for i in range(40)]
    prices = Prices(1e6, 1e6)
    system = endpoint(provider, concurrency=3, max_tokens=20, prices=prices, budget=40 * 200)
    assert len(answers(system, many)) == 40
    assert len(refusals) <= 2 * 3, "by the workers whose request was under way"
    taken = [
        body for body in provider.requests if "temperature" not in body and "max_tokens" not in body
    ]
    assert len(taken) == 40
    assert {body["max_completion_tokens"] for body in taken} == {20}
    assert system.ledger.spent == sum(2 * len(e.question.encode()) + 1 for e in many), (
        "what was refused costs nothing"
    )
    facts = system.info()
    assert facts["left_out"] == {"temperature": 0.0}
    assert facts["replaced"] == {"max_tokens": "max_completion_tokens=20"}
    assert facts["limit"] == "max_tokens=20"
    renamed, left_out = [r.message for r in caplog.records if "server refuses" in r.message]
    assert "max_tokens=20" in renamed
    assert "max_completion_tokens=20 is sent" in renamed
    assert "temperature=0.0, which is left out" in left_out
    provider.content = lambda path, body: Raw({"error": {"message": "down"}}, 401)
    again = endpoint(provider, concurrency=1, max_tokens=20)
    assert len(answers(again, many[::-1])) == 40, "all from the cache, what was refused as well"
    assert again.info()["left_out"] == {"temperature": 0.0}


@pytest.mark.parametrize(
    ("asked", "named", "told"),
    [
        ("tiny", ["tiny"], []),
        ("gpt-4o", ["gpt-4o-2024-08-06"], []),
        ("openai/gpt-4o", ["gpt-4o-2024-08-06"], []),
        ("gpt-4o:free", ["openai/gpt-4o"], []),
        ("gpt-4o", ["qwen2.5-7b-instruct"], ["qwen2.5-7b-instruct"]),
        ("llama3.1:8b", ["llama3.2:1b"], ["llama3.2:1b"]),
        ("gpt-4o", ["gpt-4o-2024-05-13", "gpt-4o-2024-08-06"], None),
        ("tiny", [None], []),
        ("tiny", [7], []),
    ],
)
def test_a_model_that_was_not_asked_is_told(provider, asked, named, told):
    """Servers that ignore the name, or change the model behind it, answer nevertheless."""
    usual = provider.content
    names = cycle(named)
    provider.content = lambda path, body: usual(path, body) | {"model": next(names)}
    told = named if told is None else told
    for _ in range(2):  # from the server, and from the cache
        system = Endpoint(asked, base_url=provider.url)
        assert answers(system) == ANSWERS
        assert system.info().get("answered_as", []) == told
        found = other_model("it", system.info().get("answered_as", []))
        assert all(name in found.words for name in told) if told else found is None
    assert len(provider.requests) == len(EXAMPLES)


@pytest.mark.parametrize(
    ("limit", "n_cut"),
    [(300, 3), (400, 0), (100, 0), (10**6, 0)],
    ids=["cut", "too few", "too short", "whole"],
)
def test_questions_that_a_server_cuts_are_told(provider, limit, n_cut):
    """As servers do whose context is shorter than that of the model."""
    usual = provider.content

    def content(path, body):
        reply = usual(path, body)
        reply["usage"]["prompt_tokens"] = min(reply["usage"]["prompt_tokens"], limit)
        return reply

    provider.content = content
    examples = [Example(str(i), "x" * (50 + 100 * i), ("x",)) for i in range(6)]
    system = endpoint(provider)
    list(system.generate(examples))
    for asked in (system, endpoint(provider)):  # which has answered nothing itself
        n, phrase = asked.cut_sources(examples)
        assert n == n_cut
        assert (f"{limit:,} tokens" in phrase) == (n_cut > 0)


def test_questions_of_one_length_are_not_cut(provider):
    examples = [Example(str(i), f"{i:300}", ("x",)) for i in range(9)]
    system = endpoint(provider)
    list(system.generate(examples))
    assert system.cut_sources(examples) == (0, "")


def test_explicit_settings_are_sent_as_they_are(provider):
    refusals = reasoning_model(provider)
    extra = {"max_completion_tokens": 500, "reasoning_effort": "low", "provider": {"order": ["a"]}}
    system = endpoint(provider, temperature=None, extra=extra)
    answers(system)
    assert refusals == []
    [sent] = {
        json.dumps({name: value for name, value in body.items() if name != "messages"})
        for body in provider.requests
    }
    assert json.loads(sent) == {"model": "tiny", **extra}
    assert system.info()["asked_with"]["extra"] == extra
    assert system.info()["limit"] == "max_completion_tokens=500"
    answers(endpoint(provider, temperature=None, extra=extra | {"reasoning_effort": "high"}))
    assert len(provider.requests) == 2 * len(EXAMPLES), "another setting is another question"


def test_null_leaves_a_parameter_out(provider):
    answers(endpoint(provider, temperature=None, max_tokens=None))
    assert {frozenset(body) for body in provider.requests} == {frozenset({"model", "messages"})}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"extra": {"temperature": 1, "top_k": 3}},
            "extra must not have temperature, .* give temperature as settings",
        ),
        ({"extra": {"stream": True}}, "extra must not have stream"),
        ({"extra": {"n": 4, "model": "other"}}, "extra must not have n and model"),
        ({"max_tokens": None, "budget": 1.0, "prices": Prices(1, 1)}, "budget=1 needs max_tokens"),
        ({"max_tokens": 0}, "max_tokens=0 must be from 1 to"),
        ({"max_tokens": 10**12}, "max_tokens=1000000000000 must be from 1 to"),
        ({"concurrency": 0}, "concurrency=0 must be from 1 to"),
        ({"concurrency": 10**9}, "concurrency=1000000000 must be from 1 to 1,000"),
        ({"max_retries": -1}, "max_retries=-1 must be from 0"),
        ({"max_retries": 10**9}, "max_retries=1000000000 must be from 0"),
        ({"timeout_seconds": 0.0}, "timeout_seconds=0.0 must be from"),
        ({"timeout_seconds": math.nan}, "timeout_seconds=nan must be from"),
        ({"timeout_seconds": math.inf}, "timeout_seconds=inf must be from"),
        ({"temperature": math.nan}, "temperature=nan must be from"),
        ({"budget": math.nan, "prices": Prices(1, 1)}, "budget=nan must be a number of at least 0"),
        ({"budget": -1.0, "prices": Prices(1, 1)}, "budget=-1.0 must be a number of at least 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(provider, settings, words):
    with pytest.raises(ValueError, match=words):
        endpoint(provider, **settings)


def test_a_budget_is_not_left_without_its_limit(provider):
    refusal = Raw(
        {"error": {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}}, 400
    )
    content = provider.content
    provider.content = lambda path, body: refusal if "max_tokens" in body else content(path, body)
    with pytest.raises(
        EndpointError, match=r"without a limit budget=9 cannot be kept: .* {max_completion_tokens"
    ):
        list(endpoint(provider, prices=Prices(1, 1), budget=9.0).generate(EXAMPLES[:1]))
    assert answers(endpoint(provider, prices=Prices(1, 1))) == ANSWERS


REPLY = {
    "text": "红",
    "n_input": 1,
    "n_output": 1,
    "seconds": 0.5,
    "finish": "stop",
    "reasoning": False,
}
DAMAGED = [
    '{"text": "half \\ud83d", "n_input": 1, "n_output": 1, "seconds": 1}',
    '{"text": "a\\u0000b", "n_input": 1, "n_output": 1, "seconds": 1}',
    '{"text": "cu',
    "",
    "\0" * 64,
    "null",
    "[]",
    '"text"',
    "{}",
    "[" * 100_000,
    b"\xff\xfe{}",
    *(
        json.dumps({name: value for name, value in REPLY.items() if name != left_out})
        for left_out in list(REPLY)[:4]
    ),
    *(
        json.dumps(REPLY | {name: None})
        for name in ("text", "n_input", "n_output", "seconds", "reasoning")
    ),
    json.dumps(REPLY | {"text": 5}),
    json.dumps(REPLY | {"n_input": -1}),
    json.dumps(REPLY | {"n_output": 10**400}),
    json.dumps(REPLY | {"n_output": True}),
    json.dumps(REPLY | {"seconds": math.nan}),
    json.dumps(REPLY | {"logprobs": "none"}),
    '{"refused": [1]}',
    '{"refused": null}',
    '{"refused": [["message", 3, "code", 400]]}',
]


@pytest.mark.parametrize("kept", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_reply_in_the_cache_is_passed_over_and_named(provider, kept, caplog):
    before = answers(endpoint(provider), EXAMPLES[:2])
    paths = list((cache_directory() / "answers").glob("*/*.json"))
    for path in paths:
        path.write_bytes(kept if isinstance(kept, bytes) else kept.encode())
    assert answers(endpoint(provider), EXAMPLES[:2]) == before
    assert len(provider.requests) == 4
    told = [r.message for r in caplog.records]
    assert [
        len([words for words in told if f"cached reply {path} is damaged" in words])
        for path in paths
    ] == [1, 1]
    assert answers(endpoint(provider), EXAMPLES[:2]) == before
    assert len(provider.requests) == 4, "mended"


def test_a_cache_that_takes_nothing_takes_no_answer_away(provider, caplog):
    (cache_directory() / "answers").parent.mkdir(parents=True)
    (cache_directory() / "answers").write_text("a file where a folder should be")
    assert answers(endpoint(provider)) == ANSWERS
    assert len([r for r in caplog.records if "replies cannot be cached in" in r.message]) == 1


def test_threads_that_fail_at_once_tell_it_once(provider, caplog, monkeypatch):
    together = threading.Barrier(len(EXAMPLES), timeout=PATIENCE)

    def fail(path, reply):
        together.wait()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lslm_lightning.systems.reply_cache.write_reply", fail)
    # a slow warning: all come before it ends
    monkeypatch.setattr(
        "logging.Logger.isEnabledFor",
        lambda self, level: time.sleep(0.05 * self.name.startswith("lslm_lightning")) or True,
    )
    assert answers(endpoint(provider, concurrency=len(EXAMPLES))) == ANSWERS
    assert len([r for r in caplog.records if "replies cannot be cached in" in r.message]) == 1


# Late, cut and broken replies


def drip(connection, pieces):
    """Send pieces until the client hangs up."""
    with suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)
            if select.select([connection], [], [], 0.02)[0] and not connection.recv(65536):
                return


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "nothing": lambda: repeat(b""),
    "status": lambda: chain([b"HTTP/1.1 200 "], repeat(b"O")),
    "headers": lambda: chain([HEAD], (f"X-{i}: 1\r\n".encode() for i in count())),
    "interim": lambda: repeat(b"HTTP/1.1 102 Processing\r\n\r\n"),
    "body": lambda: chain([HEAD, b"Content-Length: 1000000\r\n\r\n{"], repeat(b" ")),
    "chunks": lambda: chain(
        [HEAD, b"Transfer-Encoding: chunked\r\n\r\n"], repeat(b"8\r\n: PING\r\n\r\n")
    ),
    "no length": lambda: chain([HEAD, b"Connection: close\r\n\r\n{"], repeat(b"\n")),
    "stream": lambda: chain(
        [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"], repeat(b": PING\n\n")
    ),
    "error": lambda: chain(
        [b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000\r\n\r\n{"], repeat(b" ")
    ),
}


@pytest.fixture
def dripping():
    """Serve what `drip` sends on every connection; returns the address."""
    opened = []

    def serve(pieces):
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def accept():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    opened.append(connection)
                    threading.Thread(target=drip, args=(connection, pieces()), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield serve
    for each in opened:
        each.close()


@pytest.mark.parametrize("kind", DRIPS)
def test_a_server_that_sends_a_byte_now_and_then_is_late(kind, dripping, provider):
    """Without end: the test would not end either."""
    system = Endpoint(
        "m",
        base_url=dripping(DRIPS[kind]),
        timeout_seconds=0.25,
        max_retries=0,
        max_tokens=7,
        prices=Prices(1e6, 1e6),
    )
    with pytest.raises(
        EndpointError,
        match=r"no reply to '0' in 1 requests: no complete reply in timeout_seconds=0.25",
    ):
        list(system.generate(EXAMPLES[:1]))
    facts = system.info()
    assert (facts["requests"], facts["requests_lost"], facts["tokens_written"]) == (1, 1, 7)
    assert facts["money"] > len(EXAMPLES[0].question.encode()) + 7 - 1


@pytest.mark.parametrize(
    ("fault", "n_lost"), [("slow", 2), ("cut", 2), ("broken", 2), (504, 2), (503, 0), (429, 0)]
)
def test_what_may_be_on_the_bill_is_entered(provider, fault, n_lost):
    """A token costs 1; a lost reply counts as the most that it may cost."""
    provider.faults = [fault, fault]
    deadline = {"timeout_seconds": 1.0} if fault == "slow" else {}
    system = endpoint(provider, concurrency=1, prices=Prices(1e6, 1e6), max_tokens=20, **deadline)
    list(system.generate(EXAMPLES[:1]))
    question = len(EXAMPLES[0].question.encode())
    answered = 2 * question + 1
    most = question + 64 + 20
    assert system.ledger.spent == answered + n_lost * most
    assert (system.ledger.n_request, system.ledger.n_lost) == (3, n_lost)


@pytest.mark.parametrize("fault", ["slow", "cut", "broken"])
def test_no_budget_is_passed_by_replies_that_are_lost(provider, fault):
    provider.faults = [fault] * 100
    deadline = {"timeout_seconds": 1.0} if fault == "slow" else {}
    system = endpoint(
        provider, prices=Prices(1e6, 1e6), budget=250, max_tokens=20, max_retries=50, **deadline
    )
    with pytest.raises(BudgetError, match="budget=250"):
        list(system.generate(EXAMPLES[:1]))
    assert len(provider.requests) <= 2
    assert system.ledger.spent <= 250


def test_what_was_lost_counts_in_the_next_attempt_too(provider):
    provider.faults = ["broken", "broken"]
    settings = {"prices": Prices(1e6, 1e6), "max_tokens": 20, "concurrency": 1}
    first = endpoint(provider, **settings)
    list(first.generate(EXAMPLES[:1]))
    second = endpoint(provider, **settings)
    list(second.generate(EXAMPLES[:1]))
    assert second.ledger.spent == first.ledger.spent
    assert second.ledger.n_lost == first.ledger.n_lost == 2
    with pytest.raises(BudgetError):
        list(endpoint(provider, budget=first.ledger.spent + 1, **settings).generate(EXAMPLES[:2]))
    assert len(provider.requests) == 3
    for damage in ("", "[1]", "[1, -1, 2]", "null", "[true, 1, 1]", "[" * 100_000):
        for path in (cache_directory() / "answers").glob("*/*.lost"):
            path.write_text(damage)
        third = endpoint(provider, **settings)
        list(third.generate(EXAMPLES[:1]))
        assert third.ledger.n_lost == 0


def test_a_server_that_is_not_there_costs_nothing(provider):
    provider.close()
    system = endpoint(provider, prices=Prices(1, 1), max_retries=1)
    with pytest.raises(EndpointError, match=r"no reply to '0' in 2 requests: Connection error"):
        list(system.generate(EXAMPLES[:1]))
    assert system.ledger.spent == system.ledger.n_lost == 0


def test_a_count_beyond_all_measure_is_no_count(provider):
    content = provider.content
    provider.content = lambda path, body: (
        content(path, body) | {"usage": {"prompt_tokens": 10**400, "completion_tokens": 1}}
    )
    system = endpoint(provider, max_tokens=7, prices=Prices(1, 1))
    list(system.generate(EXAMPLES[:1]))
    assert system.ledger.n_output == 7


def test_a_server_says_when_to_ask_again_and_that_it_is_vain():
    now = lambda: 1_000_000.0  # noqa: E731 (Mon, 12 Jan 1970 13:46:40 GMT)
    for headers, pause in (
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Mon, 12 Jan 1970 13:46:52 GMT"}, 12.0),
        *(({"retry-after": given}, None) for given in ("0", "-3", "nan", "inf", "1e9", "soon", "")),
        ({}, None),
    ):
        assert read_pause(headers, now) == pause, headers
    assert not ProblemError(Problem("busy"), {"x-should-retry": "false"}).may_pass
    assert ProblemError(Problem("busy")).may_pass

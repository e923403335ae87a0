"""OpenAI's API, asked by OpenAI's own client."""

import json
from collections.abc import Iterator

import openai
import pytest

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.protocol import Answered, AnswerRequest, ServingError
from lslm_lightning.systems.echo import read_echo, score_passage
from tests.serving.http_server import RunningServer, Served
from tests.serving.small_engine import log_p

NO_SEARCH = SearchSettings()


@pytest.fixture(scope="module")
def client(running: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def last_request(site: Served) -> AnswerRequest:
    request = site.engine.requests[-1]
    assert isinstance(request, AnswerRequest)
    return request


def test_models_are_listed_and_described(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [model.name for model in RunningServer().engine.models]
    assert client.models.retrieve("en-zh").model_extra["lslm"]["target_language"] == "zh"
    with pytest.raises(openai.NotFoundError, match="nowhere"):
        client.models.retrieve("nowhere")


def test_prompts_are_answered_in_order_with_counts(client: openai.OpenAI) -> None:
    found = client.completions.create(model="letters", prompt=["ab", "cde"], n=2)
    assert [choice.text for choice in found.choices] == ["AB", "AB1", "CDE", "CDE1"]
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.usage is not None
    assert found.usage.prompt_tokens == 5
    assert found.usage.completion_tokens == 2 + 3 + 3 + 4
    assert found.usage.total_tokens == 5 + 12


def test_token_ids_are_prompts(client: openai.OpenAI) -> None:
    one = client.completions.create(model="letters", prompt=[97, 98])
    two = client.completions.create(model="letters", prompt=[[97], [98]])
    assert one.choices[0].text == "AB"
    assert [choice.text for choice in two.choices] == ["A", "B"]


@pytest.mark.parametrize("prompt", ["abc", ["abc", "de"]])
@pytest.mark.parametrize("logprobs", [None, 2])
def test_a_stream_adds_up_to_the_whole(
    client: openai.OpenAI, prompt: str | list[str], logprobs: int | None
) -> None:
    asked = {"model": "letters", "prompt": prompt, "n": 2, "logprobs": logprobs, "max_tokens": 3}
    whole = client.completions.create(**asked)
    texts = [""] * len(whole.choices)
    reasons: list[str | None] = [None] * len(texts)
    tokens: list[list[str]] = [[] for _ in texts]
    options = {"include_usage": True}
    chunks = list(client.completions.create(**asked, stream=True, stream_options=options))
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.text
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
        if choice.logprobs:
            tokens[choice.index] += choice.logprobs.tokens or []
    assert texts == [choice.text for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    if logprobs is not None:
        assert tokens == [choice.logprobs.tokens for choice in whole.choices]
    assert chunks[-1].usage == whole.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_logprobs_have_the_forms_of_completions_and_of_chat(client: openai.OpenAI) -> None:
    asked = {"model": "talker", "max_tokens": 2}
    old = client.completions.create(**asked, prompt="xy", logprobs=1).choices[0].logprobs
    assert old is not None
    assert old.tokens == ["X", "Y"]
    assert old.text_offset == [0, 1]
    assert old.token_logprobs == [log_p("X"), log_p("Y")]
    assert all(max(top.values()) >= p for top, p in zip(old.top_logprobs, old.token_logprobs))
    assert all(token in top for token, top in zip(old.tokens, old.top_logprobs))
    messages = [{"role": "user", "content": "xy"}]
    new = client.chat.completions.create(**asked, messages=messages, logprobs=True, top_logprobs=1)
    content = new.choices[0].logprobs.content
    assert [token.token for token in content] == list("US")
    assert [token.logprob for token in content] == [log_p("U"), log_p("S")]
    assert [token.bytes for token in content] == [[ord("U")], [ord("S")]]
    assert all(len(token.top_logprobs) == 1 for token in content)


def test_an_echo_is_scored_as_systems_endpoint_reads_it(site: Served) -> None:
    asked = {"prompt": "a context, a passage", "echo": True, "max_tokens": 0, "logprobs": 0}
    body = site.client.post("/v1/completions", json=asked).json()
    context, passage = "a context,", " a passage"
    nats, n_token = score_passage(read_echo(body, body["choices"][0]), context, passage)
    assert n_token == len(passage)
    assert nats == pytest.approx(-sum(map(log_p, passage)), abs=1e-12)


def test_a_conversation_is_continued(client: openai.OpenAI) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    asked = {"model": "talker", "messages": messages}
    whole = client.chat.completions.create(**asked)
    assert whole.choices[0].message.content == "SYSTEM:BE BRIEF|USER:A\nB"
    deltas = [c.choices[0].delta for c in client.chat.completions.create(**asked, stream=True)]
    assert deltas[0].role == "assistant"
    assert "".join(d.content or "" for d in deltas) == whole.choices[0].message.content


def test_chat_needs_a_template_and_says_who_has_one(client: openai.OpenAI) -> None:
    messages = [{"role": "user", "content": "a"}]
    with pytest.raises(openai.BadRequestError) as failed:
        client.chat.completions.create(model="letters", messages=messages)
    assert failed.value.param == "model"
    assert "talker" in str(failed.value)
    assert client.chat.completions.create(model="talker", messages=messages).choices


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, NO_SEARCH),
        ({"temperature": 0, "top_p": 0.5}, SearchSettings(search="greedy")),
        ({"temperature": 0.5}, SearchSettings(search="sampling", temperature=0.5)),
        ({"top_p": 0.5, "top_k": -1}, SearchSettings(search="sampling", top_p=0.5)),
        ({"beam_size": 3, "temperature": 0}, SearchSettings(search="beam", beam_size=3)),
        ({"search": "greedy", "temperature": 1}, SearchSettings(search="greedy")),
        ({"max_tokens": 3, "min_tokens": 2}, SearchSettings(max_length=3, min_length=2)),
        ({"no_repeat_ngram": 3}, SearchSettings(no_repeat_ngram=3)),
    ],
)
def test_fields_are_settings_of_the_search(
    site: Served, fields: dict[str, object], expected: SearchSettings
) -> None:
    reply = site.client.post("/v1/completions", json={"prompt": "a", **fields})
    assert reply.status_code == 200, reply.text
    assert last_request(site).settings == expected


def test_greedy_search_has_one_answer(site: Served) -> None:
    for field in ("n", "best_of"):
        asked = {"prompt": "a", "temperature": 0, field: 2}
        error = site.client.post("/v1/completions", json=asked).json()["error"]
        assert error["param"] == field
        assert "beam_size" in error["message"]
    assert not site.engine.requests
    assert site.client.post("/v1/completions", json=asked | {"beam_size": 2}).status_code == 200


def test_a_seed_is_random_only_where_sampling_is_asked_for(site: Served) -> None:
    def seed(**fields: object) -> int:
        site.client.post("/v1/completions", json={"prompt": "a", **fields})
        return last_request(site).seed

    assert seed() == 0
    assert seed(seed=5, temperature=1) == 5
    assert seed(temperature=1) != seed(temperature=1)


def test_all_other_fields_reach_the_engine(site: Served) -> None:
    fields = {
        "n": 2,
        "best_of": 3,
        "stop": ["x", "y"],
        "logit_bias": {"5": -100},
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logprobs": 4,
    }
    site.client.post("/v1/completions", json={"prompt": "a", **fields})
    request = last_request(site)
    assert (request.n, request.best_of, request.stop) == (2, 3, ("x", "y"))
    assert request.logit_bias == ((5, -100.0),)
    assert (request.presence_penalty, request.frequency_penalty) == (0.5, -0.5)
    assert request.n_top == 4


def test_fields_that_change_nothing_are_ignored(site: Served) -> None:
    ignored = {"user": "u", "metadata": {"a": 1}, "store": True, "service_tier": "auto"}
    neutral = {"suffix": None, "stop": None, "logprobs": None, "n": None}
    plain = site.client.post("/v1/completions", json={"prompt": "a"}).json()
    other = site.client.post("/v1/completions", json={"prompt": "a", **ignored, **neutral})
    assert other.status_code == 200
    assert other.json()["choices"] == plain["choices"]
    chat = {"messages": [{"role": "user", "content": "a"}], "model": "talker"}
    neutral = {"tools": [], "response_format": {"type": "text"}, "tool_choice": "none"}
    assert site.client.post("/v1/chat/completions", json=chat | neutral).status_code == 200


@pytest.mark.parametrize(
    ("route", "field", "value"),
    [
        ("completions", "suffix", "end"),
        ("completions", "foo", 1),
        ("completions", "temperature", 3),
        ("completions", "temperature", "hot"),
        ("completions", "prompt", []),
        ("completions", "prompt", [1, "a"]),
        ("completions", "prompt", [2**31]),
        ("completions", "prompt", "\ud800"),
        ("completions", "stop", ["a"] * 5),
        ("completions", "length_penalty", -11),
        ("completions", "stop", "a" * 257),
        ("completions", "stop", ["a" * 257]),
        ("completions", "logit_bias", {"x": 1}),
        ("completions", "logit_bias", {"5": 101}),
        ("completions", "logit_bias", dict.fromkeys(map(str, range(1025)), 1)),
        ("completions", "best_of", 0),
        ("completions", "max_tokens", 0),
        ("completions", "stream_options", {"include_usage": True}),
        ("completions", "seed", 2**64),
        ("completions", "min_tokens", 10**6),
        ("completions", "n", True),
        ("chat/completions", "tools", [{"type": "function"}]),
        ("chat/completions", "response_format", {"type": "json_object"}),
        ("chat/completions", "top_logprobs", 2),
        ("chat/completions", "messages", []),
        ("chat/completions", "messages", [{"role": "tool", "content": "a"}]),
        ("chat/completions", "messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    site: Served, route: str, field: str, value: object
) -> None:
    required = {"prompt": "a"} if route == "completions" else {"messages": [], "model": "talker"}
    if route != "completions":
        required["messages"] = [{"role": "user", "content": "a"}]
    body = json.dumps(required | {field: value})
    headers = {"Content-Type": "application/json"}
    reply = site.client.post(f"/v1/{route}", content=body, headers=headers)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["param"] == field
    assert field in error["message"]
    assert "\n" not in error["message"]
    assert not site.engine.requests


def test_as_many_biases_are_read_as_the_document_says(site: Served) -> None:
    schemas = site.client.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas["CompletionFields"]["properties"]["logit_bias"]["anyOf"]
    most = next(each["maxProperties"] for each in fields if each["type"] == "object")
    for n, status in ((most, 200), (most + 1, 400)):
        asked = {"prompt": "a", "logit_bias": {str(i): 1 for i in range(n)}}
        assert site.client.post("/v1/completions", json=asked).status_code == status


def test_a_bound_is_told_as_it_is(site: Served) -> None:
    for field, value, bound in (("seed", 2**64, 2**63 - 1), ("top_k", 10**8, 10**7)):
        reply = site.client.post("/v1/completions", json={"prompt": "a", field: value})
        assert reply.json()["error"]["message"].endswith(f" {bound}")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"{\xff}", b"[" * 50_000, b"null", b'"a"'])
def test_a_body_that_is_no_object_is_refused(site: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    reply = site.client.post("/v1/completions", content=body, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *((kind, 400) for kind in ("invalid", "too_long", "unsupported")),
        *(("timeout", 504), ("overloaded", 429), ("unavailable", 503), ("internal", 500)),
        ("not_found", 404),
    ],
)
@pytest.mark.parametrize("streams", [False, True])
def test_errors_of_the_engine_have_their_status(
    site: Served, kind: str, status: int, streams: bool
) -> None:
    site.engine.failure = ServingError("the reason", kind, "prompt")
    reply = site.client.post("/v1/completions", json={"prompt": "a", "stream": streams})
    assert reply.status_code == status
    assert reply.json()["error"]["message"] == "the reason"
    assert reply.json()["error"]["param"] == "prompt"
    assert ("Retry-After" in reply.headers) == (status in (429, 503))


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_a_search_that_finds_nothing_is_an_error_however_it_is_sent(
    site: Served, monkeypatch: pytest.MonkeyPatch, streams: bool, n: int
) -> None:
    """The last of `n` texts has no answer; before that, a stream has sent those of the others."""
    whole = site.engine._answered

    def found(request: AnswerRequest) -> Answered:
        answered = whole(request)
        return Answered(0, (), 1) if request.source == "b" else answered

    monkeypatch.setattr(site.engine, "_answered", found)
    asked = {"prompt": ["a", "b"][-n:], "stream": streams}
    reply = site.client.post("/v1/completions", json=asked)
    if streams and reply.status_code == 200:
        assert n == 2
        lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
        assert "[DONE]" not in lines
        error = json.loads(lines[-1])["error"]
    else:
        assert reply.status_code == 500
        error = reply.json()["error"]
    assert "no answer" in error["message"]
    assert error["code"] == "server_error"


def test_no_model_answers_before_all_are_ready(site: Served) -> None:
    site.engine.is_ready = False
    for method, path in (("GET", "/ready"), ("GET", "/v1/models"), ("POST", "/v1/completions")):
        reply = site.client.request(method, path, json={"prompt": "a"})
        assert reply.status_code == 503
        assert int(reply.headers["Retry-After"]) >= 1
    assert site.client.get("/health").status_code == 200

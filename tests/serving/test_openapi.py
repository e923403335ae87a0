"""The OpenAPI document, and bodies of any shape."""

import json
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lslm_lightning.serving.fields import RequestFields
from lslm_lightning.serving.gateway import OPEN
from lslm_lightning.serving.openai_requests import ChatFields, CompletionFields
from lslm_lightning.serving.task_requests import (
    DetectionFields,
    QuestionFields,
    ScoreFields,
    SummaryFields,
    TranslationFields,
)
from tests.serving.http_server import Served

CLASSES: dict[str, type[RequestFields]] = {
    "/v1/completions": CompletionFields,
    "/v1/chat/completions": ChatFields,
    "/translate": TranslationFields,
    "/detect": DetectionFields,
    "/summarize": SummaryFields,
    "/answer": QuestionFields,
    "/log_prob": ScoreFields,
}
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["en", "zh", "auto", "letters", "html", "\ud800", "\0", "<script>", "1e999"]),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@cache
def site() -> Served:
    return Served()


@cache
def document() -> dict:
    found: dict = site().client.get("/openapi.json").json()
    return found


def bodies(path: str) -> st.SearchStrategy:
    """Return bodies with fields of a request, most of them wrong; and whatever else JSON has."""
    names = [*CLASSES[path].model_fields, *CLASSES[path].refused, "foo"]
    required = {name for name, field in CLASSES[path].model_fields.items() if field.is_required()}
    some = st.dictionaries(st.sampled_from(names), VALUES, max_size=4)
    filled = st.fixed_dictionaries(dict.fromkeys(sorted(required), st.text(max_size=5)))
    return st.one_of(VALUES, some, st.builds(lambda a, b: a | b, filled, some))


@pytest.mark.parametrize("path", CLASSES)
def test_any_body_has_a_documented_status_and_a_line_for_people(path: str) -> None:
    documented = document()["paths"][path]["post"]["responses"].keys()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(path))
    def ask(body: object) -> None:
        headers = {"Content-Type": "application/json"}
        reply = site().client.post(path, content=json.dumps(body), headers=headers)
        assert str(reply.status_code) in documented
        assert reply.status_code < 500, (body, reply.text)
        if reply.status_code != 200:
            error = reply.json()["error"]
            message = error["message"] if path.startswith("/v1/") else error
            assert message
            assert message.isprintable()

    ask()


@pytest.mark.parametrize(
    ("path", "field", "wrong"),
    [
        ("/v1/completions", "prompt", [1.5] * 20_000),
        ("/v1/completions", "prompt", [[]] * 20_000),
        ("/v1/completions", "prompt", [[1, "a"]] * 20_000),
        ("/v1/completions", "stop", [1] * 20_000),
        ("/v1/completions", "logit_bias", dict.fromkeys(map(str, range(20_000)), "x")),
        ("/v1/chat/completions", "messages", [{}] * 20_000),
        ("/v1/chat/completions", "messages", [{"role": "user", "content": [1] * 20_000}]),
        ("/translate", "q", [1] * 20_000),
        ("/log_prob", "answers", [1] * 20_000),
        ("/summarize", "a0", {f"a{i}": 1 for i in range(20_000)}),
        ("/v1/chat/completions", "messages", [{f"a{i}": 1 for i in range(20_000)}]),
    ],
)
def test_a_body_has_few_errors_however_much_is_wrong(path: str, field: str, wrong: object) -> None:
    body = wrong if field == "a0" else {field: wrong}
    with pytest.raises(ValidationError) as failed:
        CLASSES[path].model_validate(body)
    assert failed.value.error_count() < 20
    required = {"q": "a", "source": "en", "target": "zh"} if path == "/translate" else {}
    reply = site().client.post(path, json={**required, **body})
    assert reply.status_code == 400
    assert field in reply.text


@pytest.mark.parametrize("path", CLASSES)
def test_a_value_of_any_depth_is_answered(path: str) -> None:
    fields = CLASSES[path].model_fields
    required = {name: "a" for name, field in fields.items() if field.is_required()}
    for depth in (10, 500, 990, 100_000):
        value: object = 1
        for _ in range(depth):
            value = [value]
        for name in [*fields, *CLASSES[path].refused]:
            with suppress(ValidationError):
                CLASSES[path].model_validate(required | {name: value})
    ignored = {"/v1/completions": "metadata", "/v1/chat/completions": "user"}.get(path, "secret")
    headers = {"Content-Type": "application/json"}
    text = json.dumps(required)[:-1] + (", " if required else "") + f'"{ignored}": '
    for depth in range(880, 1020, 2):
        content = text + "[" * depth + "]" * depth + "}"
        assert site().client.post(path, content=content, headers=headers).status_code in (200, 400)


def test_every_route_documents_its_answer_and_its_errors() -> None:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            assert "422" not in operation["responses"], path
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                assert response["description"], (path, status)
            if method == "post":
                needed = {"400", "401", "408", "413", "429", "500", "503"}
                assert needed <= operation["responses"].keys(), path
            [(_, content), *_] = operation["responses"]["200"]["content"].items()
            assert "example" in content or path == "/metrics", path


def test_requests_that_reach_no_route_are_counted_by_every_documented_path() -> None:
    assert site().app.gateway.paths == document()["paths"].keys() | OPEN


def test_examples_are_answered() -> None:
    schemas = document()["components"]["schemas"]
    n_asked = 0
    for path in CLASSES:
        content = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        examples = schemas[name]["examples"] if name else content["examples"].values()
        for example in examples:
            body = example.get("value", example)
            reply = site().client.post(path, json=body)
            assert reply.status_code == 200, (path, body, reply.text)
            n_asked += 1
    assert n_asked >= len(CLASSES)

"""Replies of every provider: the text, why it ends, or the reason why there is none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm_lightning.systems.refusals import Refusals
from lslm_lightning.systems.replies import (
    Problem,
    ProblemError,
    known_shapes,
    read_body,
    read_problem,
    read_reply,
    read_usage,
)


def chat(content, finish="stop", usage=None, **message):
    """A reply of a chat."""
    return {
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": usage,
    }


@pytest.mark.parametrize(
    ("body", "text", "finish", "reasoning"),
    [
        (chat("红"), "红", "stop", False),
        (
            chat([{"type": "text", "text": "红"}, {"type": "text", "text": "色"}]),
            "红色",
            "stop",
            False,
        ),
        (chat(["红", {"text": "色"}]), "红色", "stop", False),
        (
            chat(
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "red"}]},
                    {"type": "text", "text": "红"},
                ]
            ),
            "红",
            "stop",
            True,
        ),
        (
            chat([{"type": "text", "text": "红"}, {"type": "reference", "reference_ids": [1]}]),
            "红",
            "stop",
            False,
        ),
        (json.dumps(chat("红")), "红", "stop", False),
        ("\ufeff" + json.dumps(chat("红")), "红", "stop", False),
        (": OPENROUTER PROCESSING\n\n" + json.dumps(chat("红"), indent=1), "红", "stop", False),
        (chat([]), "", "stop", False),
        (chat(None, "length", reasoning_content="red is"), "", "length", True),
        (
            chat("", "length", {"completion_tokens_details": {"reasoning_tokens": 256}}),
            "",
            "length",
            True,
        ),
        (chat("", "length", {"completion_tokens_details": None}), "", "length", False),
        (chat("红", reasoning="red is 红"), "红", "stop", True),
        (
            chat(None, refusal="I cannot help with that."),
            "I cannot help with that.",
            "refusal",
            False,
        ),
        (chat([{"type": "refusal", "refusal": "No."}]), "No.", "refusal", False),
        (chat(None, "tool_calls", tool_calls=[{"id": "1"}]), "", "tool_calls", False),
        (chat("红", "eos"), "红", "stop", False),
        (chat("红", "stop_sequence"), "红", "stop", False),
        (chat("红", "max_tokens"), "红", "length", False),
        (chat("红", "MAX_TOKENS"), "红", "length", False),
        (chat("", "SAFETY"), "", "content_filter", False),
        (chat("红", "abort"), "红", "abort", False),
        (chat("红", None), "红", None, False),
        ({"choices": [{"text": "红", "finish_reason": "length"}]}, "红", "length", False),
        ({"choices": [{"index": 1, "text": "绿"}, {"index": 0, "text": "红"}]}, "红", None, False),
    ],
)
def test_the_text_and_why_it_ends(body, text, finish, reasoning):
    assert read_reply(read_body(body)) == {"text": text, "finish": finish, "reasoning": reasoning}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": None}, "no choices"),
        ({"choices": ["红"]}, "no choices"),
        ({"choices": [{"index": 0}]}, "a choice without text"),
        (chat({"a": 1}), "content is {'a': 1}, no text"),
        (chat([{"type": "image_url", "image_url": {}}]), "a part of content without text"),
        ({**chat("a"), "model": "m\ud83d"}, "half a surrogate pair"),
        (chat("a", finish="\udc00"), "half a surrogate pair"),
        (
            '{"choices": [{"message": {"content": "a", "content": "b"}}]}',
            "the key 'content' stands twice",
        ),
        ('{"choices": [{"text": "a"}], "choices": [{"text": "b"}]}', "'choices' stands twice"),
        (
            'data: {"choices": [{"delta": {"content": "a", "content": "b"}}]}\n\ndata: [DONE]',
            "the key 'content' stands twice",
        ),
        (chat("half \ud83d"), "character 6 of the text is half a surrogate pair"),
        (chat("a\0b"), "character 2 of the text is NUL"),
        (chat("红", "error"), "finish_reason is error"),
        ("<html>bad gateway</html>", "no JSON in '<html>bad gateway</html>'"),
        ("", "no JSON"),
        ([1], "no JSON object"),
        ('data: {"choices":[{"index":0,"delta":{"content":"红"}}]}\n\n', "a stream that was cut"),
    ],
)
def test_what_is_no_reply(body, words):
    with pytest.raises(ValueError, match=words):
        read_reply(read_body(body))


def stream(*deltas):
    """Server-sent events, characters beyond ASCII as they are."""
    pieces = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    pieces[-1]["choices"][0]["finish_reason"] = "stop"
    return (
        "".join(f"data: {json.dumps(piece, ensure_ascii=False)}\n\n" for piece in pieces)
        + "data: [DONE]\n\n"
    )


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b"])
def test_only_line_ends_end_an_event(character):
    assert (
        read_reply(read_body(stream({"content": f"红{character}"}, {"content": "色"})))["text"]
        == f"红{character}色"
    )


def test_a_stream_of_parts():
    found = read_reply(
        read_body(stream({"content": [{"type": "text", "text": "红"}]}, {"content": "色"}))
    )
    assert found == {"text": "红色", "finish": "stop", "reasoning": False}
    thought = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "red"}]}]}
    assert read_reply(read_body(stream(thought, {"content": ""})))["reasoning"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (
            {
                "error": {
                    "message": "flagged",
                    "code": 403,
                    "metadata": {"reasons": ["violence"], "flagged_input": "x"},
                }
            },
            403,
        ),
        ({"error": {"message": "Content Exists Risk", "type": "invalid_request_error"}}, 400),
        (
            {
                "error": {
                    "message": "Invalid prompt: your prompt was flagged",
                    "code": "invalid_prompt",
                }
            },
            400,
        ),
        (
            {
                "error": {
                    "message": "Input data may contain inappropriate content.",
                    "code": "data_inspection_failed",
                }
            },
            400,
        ),
    ],
)
def test_a_question_that_a_filter_refuses(content, status):
    assert read_problem(content, status).is_filtered


def test_a_stream_that_was_not_asked_for_is_put_together():
    pieces = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {
            "choices": [
                {"index": 0, "delta": {"reasoning_content": "red"}},
                {"index": 1, "delta": {"content": "绿"}},
            ]
        },
        {"choices": [{"index": 0, "delta": {"content": "红"}}]},
        {"choices": [{"index": 0, "delta": {"content": "色"}, "finish_reason": "length"}]},
        {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ]
    body = read_body(
        "".join(f": ping\n\ndata: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"
    )
    assert read_reply(body) == {"text": "红色", "finish": "length", "reasoning": True}
    assert read_usage(body, 9, 9) == (3, 2)
    texts = [{"choices": [{"index": 0, "text": text}]} for text in "红色"]
    assert (
        read_reply(
            read_body("".join(f"data:{json.dumps(piece)}\n" for piece in texts) + "data: [DONE]")
        )["text"]
        == "红色"
    )
    with pytest.raises(ProblemError, match="Error code: 502 - upstream is gone"):
        read_body('data: {"error": {"message": "upstream is gone", "code": 502}}\n\n')


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (
            (
                '{"error": {"message": "m", "param": "seed", "code": "unsupported_parameter", '
                '"type": "t"}}'
            ),
            400,
            ("m", "seed", "unsupported_parameter t"),
        ),
        (
            (
                '{"object": "error", "message": "m", "type": "BadRequestError", "param": null, '
                '"code": 400}'
            ),
            400,
            ("m", None, "400 badrequesterror"),
        ),
        (
            '{"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "type": "x"}]}',
            422,
            ("Extra inputs (body.seed)", "seed", ""),
        ),
        ('{"detail": ["a", {"loc": "body", "msg": "b"}]}', 422, ("a; b (body)", "body", "")),
        ('{"detail": {"error": "seed not supported"}}', 422, ("seed not supported", None, "")),
        ('{"detail": "Not Found"}', 404, ("Not Found", None, "")),
        ('{"error": "model is loading"}', 503, ("model is loading", None, "")),
        ('[{"error": {"message": "m", "code": 400}}]', 400, ("m", None, "400")),
        (
            '{"error": {"message": "Provider returned error", "metadata": {"raw": "too long"}}}',
            400,
            ("Provider returned error: too long", None, ""),
        ),
        ("<html>\n nginx </html>", 502, ("<html> nginx </html>", None, "")),
        ("", 500, ("an empty reply", None, "")),
    ],
)
def test_the_reason_in_an_error_of_any_shape(content, status, problem):
    assert read_problem(content, status) == Problem(*problem, status)


@pytest.mark.parametrize(
    ("body", "status", "is_passing"),
    [
        ({"error": {"message": "m", "code": 404}}, 404, False),
        ({"error": {"message": "m", "code": 429}}, 429, True),
        ({"error": {"message": "m", "code": 502}}, 502, True),
        ({"error": {"message": "m"}}, 400, False),
        ({"error": {"message": "m", "code": "insufficient_quota"}}, 400, False),
        ({"error": {"message": "m", "code": 429, "type": "insufficient_quota"}}, 429, False),
        ({"error": {"message": "m", "code": 429, "type": "insufficient_capacity"}}, 429, True),
        (
            {"error": {"message": "m", "code": 429, "type": "billing_hard_limit_reached"}},
            429,
            False,
        ),
        ({"object": "error", "message": "m", "code": 400}, 400, False),
        (
            {"choices": [{"error": {"message": "m", "code": 503}, "finish_reason": "error"}]},
            503,
            True,
        ),
    ],
)
def test_an_error_in_a_reply_of_status_200(body, status, is_passing):
    with pytest.raises(ProblemError, match="m") as error:
        read_reply(read_body(body))
    assert (error.value.problem.status, error.value.problem.is_passing) == (status, is_passing)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        "5",
    ],
)
def test_who_does_not_count_is_counted_at_the_most(usage):
    assert read_usage({"usage": usage}, 7, 9) == (7, 9)


NAMES = (
    "choices",
    "message",
    "content",
    "text",
    "delta",
    "error",
    "usage",
    "logprobs",
    "tokens",
    "detail",
    "loc",
    "index",
    "finish_reason",
    "param",
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 600)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON, st.booleans())
def test_whatever_comes_is_a_reply_or_a_reason(content, streamed):
    """Never a traceback."""
    content = f"data: {json.dumps(content)}\n\ndata: [DONE]" if streamed else content
    try:
        with known_shapes("the reply is none"):
            body = read_body(content)
            read_usage(body, 1, 1)
            assert isinstance(read_reply(body)["text"], str)
    except (ValueError, ProblemError):
        pass
    assert isinstance(read_problem(content, 400).message, str)


# What a server does not take

SENT = {
    "model": "m",
    "messages": [],
    "max_tokens": 9,
    "temperature": 0.0,
    "seed": 3,
    "stop": ["x"],
    "top_k": 1,
}
FREE = ("max_tokens", "temperature", "seed", "stop")


@pytest.mark.parametrize(
    ("problem", "name", "other"),
    [
        (
            (
                "Unsupported parameter: 'max_tokens' ... Use 'max_completion_tokens' instead.",
                "max_tokens",
            ),
            "max_tokens",
            "max_completion_tokens",
        ),
        (
            ("`max_tokens` is deprecated, use the max_output_tokens parameter instead",),
            "max_tokens",
            "max_output_tokens",
        ),
        (
            ("`max_tokens` is not supported for this model, use `max_completion_tokens`",),
            "max_tokens",
            "max_completion_tokens",
        ),
        (
            ("max_tokens is deprecated in favor of max_completion_tokens",),
            "max_tokens",
            "max_completion_tokens",
        ),
        # TGI
        (("Input validation error: `temperature` must be strictly positive",), "temperature", None),
        # Anthropic
        (("temperature: may only be set to 1 when thinking is enabled",), "temperature", None),
        (
            ("Unsupported value: 'temperature' does not support 0 with this model.", "temperature"),
            "temperature",
            None,
        ),
        (
            (
                (
                    "Unsupported value: 'temperature' does not support 0 with this model. Only the "
                    "default (1) value"
                ),
            ),
            "temperature",
            None,
        ),
        # Google
        (('Invalid JSON payload received. Unknown name "seed": Cannot find field.',), "seed", None),
        (("Unrecognized request argument supplied: seed",), "seed", None),  # Azure
        (("Argument not supported on this model: stop",), "stop", None),  # xAI
        (("property 'seed' is unsupported",), "seed", None),  # Groq
        (("Extra inputs are not permitted (body.seed)", "seed"), "seed", None),  # Mistral
        (("m", "temperature", "unsupported_value"), "temperature", None),
    ],
)
def test_the_parameter_that_a_server_names_is_left_out_or_called_otherwise(problem, name, other):
    refusals = Refusals(FREE)
    assert name in refusals.learn(Problem(*problem), SENT)
    expected = {key: value for key, value in SENT.items() if key != name} | (
        {other: SENT[name]} if other else {}
    )
    assert refusals.apply(SENT) == expected
    assert refusals.left_out == ({} if other else {name: SENT[name]})
    assert refusals.replaced == ({name: f"{other}={SENT[name]!r}"} if other else {})
    assert refusals.learn(Problem(*problem), SENT) == "", (
        "another worker, whose request was under way"
    )
    assert refusals.learn(Problem(*problem), refusals.apply(SENT)) is None, "once"


@pytest.mark.parametrize(
    "problem",
    [
        (
            "max_tokens is too large: 9. This model supports at most 5 completion tokens",
            "max_tokens",
            "invalid_value",
        ),
        (
            "This model's maximum context length is 5 tokens. However, you requested 14 tokens",
            "messages",
            "context_length_exceeded",
        ),
        (
            (
                "'max_tokens' is too large: 9. This model's maximum context length is 5 tokens and "
                "your request has 3 input tokens"
            ),
        ),
        ("temperature must be at most 2",),
        # of `extra`: it is what the user wants
        ("'top_k' is not supported together with 'temperature'",),
        ("Unsupported parameter: 'top_k'", "top_k"),
        ("The model `o9` does not exist",),
        ("temperature and seed are not supported",),  # which of the two first is not said
    ],
)
def test_other_faults_are_the_users_to_mend(problem):
    assert Refusals(FREE).learn(Problem(*problem), SENT) is None


def test_a_server_that_must_write_one_token():
    sent = {"max_tokens": 0, "logprobs": 0, "echo": True}
    refusals = Refusals((), ("max_tokens", "logprobs"))
    assert refusals.learn(Problem("max_tokens must be at least 1, got 0."), sent)
    assert refusals.apply(sent) == {"max_tokens": 1, "logprobs": 0, "echo": True}
    assert refusals.learn(Problem("max_tokens must be at least 2"), refusals.apply(sent)) is None

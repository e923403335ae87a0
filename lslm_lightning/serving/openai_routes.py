"""Routes of OpenAI's API: models, completions, chat."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from lslm_lightning.serving.admission import check_limit
from lslm_lightning.serving.documents import (
    CHAT,
    COMPLETION,
    MODEL,
    MODELS,
    described,
)
from lslm_lightning.serving.errors import ApiError, as_api_error, error_body, json_response
from lslm_lightning.serving.openai_answers import (
    chat_choice,
    chat_delta,
    completion_choice,
    head,
    model_card,
    usage,
)
from lslm_lightning.serving.openai_requests import ChatFields, CompletionFields, OpenAIFields
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    ServedModelInfo,
    ServingError,
)
from lslm_lightning.serving.service import AnswerService, TextEvent, unless_gone
from lslm_lightning.types import JsonObject

FORWARDED = ("presence_penalty", "frequency_penalty")


class EventStream(StreamingResponse):
    """Response of server-sent events.

    Args:
        events: the events.
        source: where they come from; closed at the end, and when the client goes away.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[str, None], source: AsyncGenerator[TextEvent, None]
    ) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no"})
        self.events = events
        self.source = source

    async def stream_response(self, send: Send) -> None:
        """Send the events."""
        async with aclosing(self.source), aclosing(self.events):
            await super().stream_response(send)


def openai_routes(service: AnswerService) -> APIRouter:
    """Return the routes of OpenAI's API."""
    routes = APIRouter(prefix="/v1", tags=["OpenAI"])

    @routes.get("/models", summary="List the models", responses=described(MODELS, 401, 503))
    async def list_models() -> Response:
        """List the models that are served."""
        cards = [model_card(model) for model in service.models()]
        return json_response({"object": "list", "data": cards})

    @routes.get(
        "/models/{name:path}", summary="Describe a model", responses=described(MODEL, 401, 404, 503)
    )
    async def describe_model(name: str) -> Response:
        """Describe one model."""
        return json_response(model_card(service.model(name, lambda _: True, "is served")))

    @routes.post("/completions", summary="Continue texts", responses=described(COMPLETION))
    async def complete(fields: CompletionFields, http: Request) -> Response:
        """Continue one or more texts, or answer them as the model's task does."""
        return await completion(service, http, fields)

    @routes.post("/chat/completions", summary="Continue a conversation", responses=described(CHAT))
    async def chat(fields: ChatFields, http: Request) -> Response:
        """Write the next message of a conversation."""
        return await next_message(service, http, fields)

    return routes


async def completion(service: AnswerService, http: Request, fields: CompletionFields) -> Response:
    """Return the completions of one or more prompts, whole or as a stream.

    Raises:
        ApiError: a field is wrong, or the time is over.
        ServingError: the engine refuses it, or fails.
    """
    model = service.model(fields.model, lambda each: each.modality == "text", "takes texts")
    requests = completion_requests(service, model, fields)
    start = head("cmpl", "text_completion", model.name)
    n = fields.n or 1
    with_logprobs = fields.logprobs is not None

    if not fields.stream:
        found = await service.answers(http, requests)
        choices = [
            completion_choice(i * n + k, answer, with_logprobs)
            for i, answered in enumerate(found)
            for k, answer in enumerate(answered.answers)
        ]
        return json_response({**start, "choices": choices, "usage": usage(found)})

    def parts(number: int, piece: AnswerPart) -> list[JsonObject]:
        return [completion_choice(number * n + piece.index, piece, with_logprobs)]

    events = service.events(http, requests)
    return await event_stream(http, start, events, parts, fields.sends_usage)


async def next_message(service: AnswerService, http: Request, fields: ChatFields) -> Response:
    """Return the next message of a conversation, whole or as a stream.

    Raises:
        ApiError: a field is wrong, or the time is over.
        ServingError: the engine refuses it, or fails.
    """
    model = service.model(
        fields.model,
        lambda each: "chat" in each.abilities,
        "has a chat template; /v1/completions takes its texts as they are",
    )
    request = chat_request(service, model, fields)
    start = head("chatcmpl", "chat.completion", model.name)
    if not fields.stream:
        found = await service.answers(http, [request])
        choices = [
            chat_choice(k, answer, bool(fields.logprobs))
            for k, answer in enumerate(found[0].answers)
        ]
        return json_response({**start, "choices": choices, "usage": usage(found)})
    begun: set[int] = set()

    def parts(_: int, piece: AnswerPart) -> list[JsonObject]:
        found = []
        if piece.index not in begun:
            begun.add(piece.index)
            found.append(chat_delta(piece.index, {"role": "assistant", "content": ""}))
        if piece.text or piece.tokens:
            found.append(chat_delta(piece.index, {"content": piece.text}, piece.tokens))
        if piece.finish_reason:
            found.append(chat_delta(piece.index, {}, (), piece.finish_reason))
        return found

    events = service.events(http, [request])
    start["object"] = "chat.completion.chunk"
    return await event_stream(http, start, events, parts, fields.sends_usage)


def completion_requests(
    service: AnswerService, model: ServedModelInfo, fields: CompletionFields
) -> list[AnswerRequest]:
    """Return the requests to the engine for a request of `/v1/completions`, one for each prompt.

    Raises:
        ApiError: a field is beyond a limit, or contradicts another one.
    """
    prompts = fields.prompts
    best_of = fields.best_of or fields.n or 1
    service.check_texts("prompt", [len(prompt) for prompt in prompts], best_of)
    check_limit("best_of", best_of, service.limits.answers, "--answers")
    for prompt in prompts:
        if isinstance(prompt, tuple) and (id := max(prompt)) >= model.vocab_size:
            message = f"prompt has the token id {id}, and {model.name} has ids below"
            raise ApiError(400, f"{message} {model.vocab_size:,}", parameter="prompt")
    if best_of < (fields.n or 1):
        message = f"best_of={best_of} must be at least n={fields.n}"
        raise ApiError(400, message, parameter="best_of")
    if fields.stream and best_of > (fields.n or 1):
        message = (
            f"best_of={best_of} cannot be streamed: the best is known at the end; leave one out"
        )
        raise ApiError(400, message, parameter="best_of")
    if fields.max_tokens == 0 and not fields.echo:
        message = "max_tokens=0 must be at least 1, or come with echo=true"
        raise ApiError(400, message, parameter="max_tokens")
    return [
        answer_request(service, model, fields, prompt, n_top=fields.logprobs, best_of=best_of)
        for prompt in prompts
    ]


def chat_request(
    service: AnswerService, model: ServedModelInfo, fields: ChatFields
) -> AnswerRequest:
    """Return the request to the engine for a request of `/v1/chat/completions`.

    Raises:
        ApiError: a field is beyond a limit, or contradicts another one.
    """
    n = fields.n or 1
    service.check_texts("messages", [sum(len(each.text) for each in fields.messages)], n)
    if fields.max_completion_tokens is not None:
        if fields.max_tokens not in (None, fields.max_completion_tokens):
            message = "max_tokens and max_completion_tokens contradict each other; give one"
            raise ApiError(400, message, parameter="max_completion_tokens")
        fields.max_tokens = fields.max_completion_tokens
    if fields.max_tokens == 0:
        raise ApiError(400, "max_tokens=0 must be at least 1", parameter="max_tokens")
    if fields.top_logprobs is not None and not fields.logprobs:
        message = "top_logprobs comes with logprobs=true; give both or none"
        raise ApiError(400, message, parameter="top_logprobs")
    messages = tuple(
        ("system" if each.role == "developer" else each.role, each.text) for each in fields.messages
    )
    n_top = fields.top_logprobs or 0 if fields.logprobs else None
    return answer_request(service, model, fields, "", n_top=n_top, best_of=n, messages=messages)


def answer_request(
    service: AnswerService,
    model: ServedModelInfo,
    fields: OpenAIFields,
    source: str | tuple[int, ...],
    *,
    n_top: int | None,
    best_of: int,
    messages: tuple[tuple[str, str], ...] | None = None,
) -> AnswerRequest:
    """Return the request to the engine for one prompt or conversation.

    Args:
        n_top: number of most probable tokens beside each token; None for no log p.
        best_of: number of answers to search.
        messages: conversation in place of `source`.

    Raises:
        ApiError: a field is beyond a limit, or contradicts another one.
    """
    if best_of > 1 and fields.kind == "greedy":
        name = "n" if (fields.n or 1) > 1 else "best_of"
        message = f"{name}={best_of} needs a search with several answers, and this one is greedy"
        raise ApiError(400, f"{message}; give a temperature or beam_size", parameter=name)
    if fields.stream_options is not None and not fields.stream:
        message = "stream_options comes with stream=true; leave it out"
        raise ApiError(400, message, parameter="stream_options")
    return AnswerRequest(
        id=service.engine.new_id(),
        model=model.name,
        max_seconds=service.limits.seconds,
        source=source,
        messages=messages,
        settings=fields.settings(service.limits, model),
        n=fields.n or 1,
        best_of=best_of,
        seed=fields.chosen_seed,
        stop=fields.stops,
        logit_bias=biases(fields, model),
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        n_top=n_top,
        echo=isinstance(fields, CompletionFields) and bool(fields.echo),
        streams=bool(fields.stream),
    )


def biases(fields: OpenAIFields, model: ServedModelInfo) -> tuple[tuple[int, float], ...]:
    """Return the numbers added to logits, by token id.

    Raises:
        ApiError: a key is no token id of the model.
    """
    found = {}
    for key, bias in (fields.logit_bias or {}).items():
        is_short = key.isascii() and key.isdecimal() and len(key) <= len(str(model.vocab_size))
        if not (is_short and int(key) < model.vocab_size):
            message = f"logit_bias has the key {key[:20]!r}, which must be a token id below"
            raise ApiError(400, f"{message} {model.vocab_size:,}", parameter="logit_bias")
        found[int(key)] = bias
    return tuple(found.items())


async def event_stream(
    http: Request,
    start: JsonObject,
    events: AsyncGenerator[TextEvent, None],
    parts: Callable[[int, AnswerPart], Sequence[JsonObject]],
    sends_usage: bool,
) -> Response:
    """Return the response that sends answers in parts, once the first part is known.

    Args:
        start: fields with which every part begins.
        events: parts of the answers; errors before the first one are raised.
        parts: function that returns the choices of a part, each of which is sent by itself.
        sends_usage: send the numbers of tokens at the end.
    """
    try:
        first = await unless_gone(http.receive, anext(events))
    except BaseException:
        await events.aclose()
        raise
    more = {"usage": None} if sends_usage else {}

    async def lines() -> AsyncGenerator[str, None]:
        answered: list[Answered] = []
        try:
            item: TextEvent | None = first
            while item is not None:
                if isinstance(item.event, Answered):
                    answered.append(item.event)
                else:
                    for choice in parts(item.number, item.event):
                        yield _line({**start, "choices": [choice], **more})
                item = await anext(events, None)
            if sends_usage:
                yield _line({**start, "choices": [], "usage": usage(answered)})
            yield "data: [DONE]\n\n"
        except ServingError as error:
            yield _line(error_body(http.url.path, as_api_error(error)))
        except HTTPException as error:
            yield _line(error_body(http.url.path, error))

    return EventStream(lines(), events)


def _line(content: JsonObject) -> str:
    """Return a server-sent event with a JSON object."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"data: {text.encode('utf-8', 'backslashreplace').decode()}\n\n"

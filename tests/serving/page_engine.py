"""Deterministic engine for the page, and the routes that its script calls."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from pathlib import Path

from fastapi import FastAPI, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from lslm_lightning.serving.protocol import (
    Answer,
    Answered,
    AnswerRequest,
    Attention,
    ModelInfo,
    Piece,
    ServingError,
    TokenInfo,
)

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"
KEY = "lslm-0123456789"
ALL = frozenset(
    ("generate", "sample", "beam", "n_best", "log_prob", "attention", "span", "stream", "stop")
)


def model(name: str, task: str | None, **changes: object) -> ModelInfo:
    """Return a model that can do everything."""
    given: dict[str, object] = {
        "run": f"runs/{name}",
        "abilities": ALL,
        "source_language": "en",
        "target_language": "en",
        "modality": "text",
        "max_length": 64,
        "max_context": None,
        "vocab_size": 100,
        "n_parameter": 1000,
        "created": 0,
    }
    return ModelInfo(name=name, task=task, **(given | changes))  # type: ignore[arg-type]


MODELS = (
    model("multi30k", "translation", target_language="de"),
    model("news", "translation", source_language="zh"),
    model("headlines", "summarization"),
    model("squad", "question_answering"),
    model("gpt", "language_modeling", source_language=None),
    model("words", "speech_recognition", modality="audio", abilities=frozenset({"answer"})),
    model("digits", "speech_recognition", modality="frames", abilities=frozenset({"answer"})),
)


class ScriptedEngine:
    """Engine whose answers are made of the words of the request.

    A text with "refuse" in it is refused by name.
    """

    def __init__(self, models: tuple[ModelInfo, ...] = MODELS) -> None:
        self.models = models
        self.is_ready = True
        self.asked: list[AnswerRequest] = []

    def new_id(self) -> int:
        return len(self.asked)

    async def answer(self, request: AnswerRequest) -> Answered:
        self.asked.append(request)
        source = request.source
        assert isinstance(source, str)
        if "refuse" in source:
            raise ServingError(f"text={source!r} has 9 tokens, at most 5 are read; cut it")
        info = next(each for each in self.models if each.name == request.model)
        if info.task == "translation":
            answers = tuple(translated(source, i) for i in range(request.n))
        elif info.task == "question_answering":
            answers = (found(*source.split("\n", 1)),)
        elif info.task == "language_modeling":
            answers = (continued(source, request.settings.max_length or 8),)
        elif info.task == "speech_recognition":
            answers = (Answer(f"{len(Path(source).read_bytes())} bytes", "stop", 2, -0.5),)
        else:
            answers = (Answer(" ".join(source.split()[:6]), "stop", 6, -2.5),)
        return Answered(request.id, answers, len(source.split()), n_token=8)

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece | Answered, None]:
        answered = await self.answer(request)
        for token in answered.answers[0].tokens:
            await asyncio.sleep(0)
            yield Piece(request.id, 0, token.text, (token,))
        yield answered


def translated(source: str, i: int) -> Answer:
    """Return the words of a source backwards, without the first `i`."""
    words = source.split()
    target = tuple(reversed(words[i:]))
    n = len(words)
    weights = tuple(
        tuple((8.0 if s == n - 1 - r else 1.0) / (n + 7) for s in range(n))
        for r in range(len(target))
    )
    attention = Attention(tuple(words), target, weights)
    return Answer(" ".join(target), "stop", n, -1.25 * (i + 1), attention=attention)


def found(question: str, passage: str) -> Answer:
    """Return the last word of a question where the passage has it."""
    wanted = question.rstrip("?？").split()[-1]
    start = passage.find(wanted)
    if start < 0:
        return Answer("", "stop", 0, -0.1, no_answer_score=4.5)
    span = (start, start + len(wanted))
    return Answer(wanted, "stop", 1, -0.7, span=span, no_answer_score=-3.25)


def continued(source: str, n: int) -> Answer:
    """Return words, each less probable than the one before."""
    words = [
        HOSTILE if "hostile" in source else "so",
        "红",
        "👍🏽",
        "cat",
        "\n",
        "runs",
        "one",
        "two",
    ]
    text = ""
    tokens = []
    for i in range(n):
        piece = f" {words[i % len(words)]}"
        log_p = -0.2 * (i % 64) ** 1.5
        top = ((" a<b>", 1, math.log(0.5)), (piece, 2, log_p))
        tokens.append(TokenInfo(piece, i, log_p, len(text), top))
        text += piece
    return Answer(text, "length", n, sum(token.log_p or 0 for token in tokens), tuple(tokens))


def add_routes(app: FastAPI, engine: ScriptedEngine) -> None:
    """Add the routes that the script of the page calls, in the shape of the real ones."""

    def request_of(body: dict[str, object], source: str, **more: object) -> AnswerRequest:
        return AnswerRequest(0, str(body["model"]), source=source, **more)  # type: ignore[arg-type]

    @app.exception_handler(ServingError)
    async def refuse(_: Request, error: ServingError) -> Response:
        return JSONResponse({"error": {"message": str(error)}}, 400)

    @app.post("/translate")
    async def translate(body: dict) -> dict:
        asked = request_of(body, body["q"], n=1 + body["alternatives"])
        best, *others = (await engine.answer(asked)).answers
        attention = {
            name: getattr(best.attention, name) for name in ("source", "target", "weights")
        }
        return {
            "translatedText": best.text,
            "alternatives": [each.text for each in others],
            "attention": attention,
        }

    @app.post("/log_prob")
    async def log_prob(body: dict) -> dict:
        return {"scores": [{"log_prob": -1.25 * (i + 1)} for i in range(len(body["answers"]))]}

    @app.post("/summarize")
    async def summarize(body: dict) -> dict:
        answered = await engine.answer(request_of(body, body["text"]))
        return {"summary": answered.answers[0].text}

    @app.post("/answer")
    async def answer(body: dict) -> dict:
        source = f"{body['question']}\n{body['context']}"
        best = (await engine.answer(request_of(body, source))).answers[0]
        start, end = best.span or (None, None)
        scores = {"log_prob": best.log_p, "no_answer_score": best.no_answer_score}
        return {"answer": best.text, "start": start, "end": end, **scores}

    @app.post("/v1/completions")
    async def complete(body: dict) -> Response:
        engine.asked.append(request_of(body, body["prompt"]))
        if "refuse" in body["prompt"]:
            raise ServingError("prompt has 9 tokens, at most 5 are read; cut it")
        best = continued(body["prompt"], body.get("max_tokens") or 8)

        def lines():
            for token in best.tokens:
                logprobs = {
                    "tokens": [token.text],
                    "token_logprobs": [token.log_p],
                    "text_offset": [len(body["prompt"]) + token.offset],
                    "top_logprobs": [{text: log_p for text, _, log_p in token.top}],
                }
                part = {"choices": [{"index": 0, "text": token.text, "logprobs": logprobs}]}
                yield f"data: {json.dumps(part)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.post("/v1/audio/transcriptions")
    async def transcribe(file: UploadFile) -> dict:
        return {"text": f"{len(await file.read())} bytes"}

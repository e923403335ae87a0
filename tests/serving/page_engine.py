"""Deterministic engine for the page, and a server of it."""

import asyncio
import math
from collections.abc import AsyncGenerator
from pathlib import Path

from starlette.types import ASGIApp

from lslm_lightning.serving.app import ServedApp
from lslm_lightning.serving.keys import ApiKeys, KeyDigest, digest_of
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    AttentionMap,
    EngineLoad,
    ScoredAnswer,
    ScoredAnswers,
    ScoreRequest,
    ServedAnswer,
    ServedModelInfo,
    ServingError,
    TokenInfo,
)
from lslm_lightning.serving.visits import AccessLog

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"
KEY = "lslm-0123456789"
ALL = frozenset(
    ("generate", "sample", "beam", "n_best", "log_prob", "attention", "span", "stream", "stop")
)


def model(name: str, task: str | None, **changes: object) -> ServedModelInfo:
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
    return ServedModelInfo(name=name, task=task, **(given | changes))  # type: ignore[arg-type]


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

    load = EngineLoad(0, 0, 0, 0)
    n_restart = 0

    def __init__(self, models: tuple[ServedModelInfo, ...] = MODELS) -> None:
        self.models = models
        self.is_ready = True
        self.asked: list[AnswerRequest] = []

    def new_id(self) -> int:
        return len(self.asked) + 1

    async def start(self) -> None:
        """Nothing to start."""

    async def wait_ready(self) -> None:
        """Nothing to wait for."""

    async def stop(self, seconds: float) -> None:
        """Nothing to stop."""

    async def answer(self, request: AnswerRequest) -> Answered:
        self.asked.append(request)
        source = request.source
        assert isinstance(source, str)
        if "refuse" in source:
            message = f"text={source!r} has 9 tokens, at most 5 are read; cut it"
            raise ServingError(message, parameter="text")
        info = next(each for each in self.models if each.name == request.model)
        if info.task == "translation":
            answers = tuple(translated(source, i) for i in range(request.n))
        elif info.task == "question_answering":
            answers = (found(*source.split("\n", 1)),)
        elif info.task == "language_modeling":
            answers = (continued(source, request.settings.max_length or 8),)
        elif info.task == "speech_recognition":
            answers = (ServedAnswer(f"{len(Path(source).read_bytes())} bytes", "stop", 2, -0.5),)
        else:
            answers = (ServedAnswer(" ".join(source.split()[:6]), "stop", 6, -2.5),)
        return Answered(request.id, answers, len(source.split()), n_token=8)

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[AnswerPart | Answered, None]:
        answered = await self.answer(request)
        for token in answered.answers[0].tokens:
            await asyncio.sleep(0)
            yield AnswerPart(request.id, 0, token.text, (token,))
        yield AnswerPart(request.id, 0, "", (), answered.answers[0].finish_reason)
        yield answered

    async def score(self, request: ScoreRequest) -> ScoredAnswers:
        assert request.source is not None
        n_word = len(request.source.split())
        missing = [n_word - len(each.split()) for each in request.answers]
        scores = (ScoredAnswer(-1.25 * (n + 1), n_word - n) for n in missing)
        return ScoredAnswers(request.id, tuple(scores))


def page_app(
    engine: ScriptedEngine, limits: ServingLimits | None = None, key: str | None = None
) -> ASGIApp:
    """Return the application of a server with the page.

    Args:
        key: key that it demands; None for none.
    """
    keys = None if key is None else ApiKeys((KeyDigest("ada", digest_of(key)),))
    log = AccessLog(lambda line: None)
    return ServedApp(engine, limits, keys, log).asgi


def translated(source: str, i: int) -> ServedAnswer:
    """Return the words of a source backwards, without the first `i`."""
    words = source.split()
    target = tuple(reversed(words[i:]))
    n = len(words)
    weights = tuple(
        tuple((8.0 if s == n - 1 - r else 1.0) / (n + 7) for s in range(n))
        for r in range(len(target))
    )
    attention = AttentionMap(tuple(words), target, weights)
    return ServedAnswer(" ".join(target), "stop", n, -1.25 * (i + 1), attention=attention)


def found(question: str, passage: str) -> ServedAnswer:
    """Return the last word of a question where the passage has it."""
    wanted = question.rstrip("?？").split()[-1]
    start = passage.find(wanted)
    if start < 0:
        return ServedAnswer("", "stop", 0, -0.1, no_answer_score=4.5)
    span = (start, start + len(wanted))
    return ServedAnswer(wanted, "stop", 1, -0.7, span=span, no_answer_score=-3.25)


def continued(source: str, n: int) -> ServedAnswer:
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
    return ServedAnswer(text, "length", n, sum(token.log_p or 0 for token in tokens), tuple(tokens))

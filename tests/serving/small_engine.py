"""A small deterministic engine: answers are made of the source, without any model."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from itertools import count

from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    AnswerRequest,
    AnswerTimes,
    AttentionMap,
    EngineLoad,
    EngineRequest,
    ScoredAnswer,
    ScoredAnswers,
    ScoreRequest,
    ServedAnswer,
    ServedModelInfo,
    ServingError,
    TokenInfo,
)

ABILITIES = ("generate", "sample", "beam", "n_best", "log_prob", "stream", "stop", "attention")


def model(
    name: str,
    task: str | None,
    source: str | None = None,
    target: str | None = None,
    modality: str = "text",
    abilities: tuple[str, ...] = ABILITIES,
) -> ServedModelInfo:
    return ServedModelInfo(
        name=name,
        run=f"runs/{name}",
        task=task,
        abilities=frozenset(abilities),
        source_language=source,
        target_language=target,
        modality=modality,
        max_length=64,
        max_context=256,
        vocab_size=0x110000,
        n_parameter=1000,
        created=1_700_000_000,
    )


MODELS = (
    model("letters", "language_modeling", "en", "en"),
    model("talker", "language_modeling", "en", "en", abilities=(*ABILITIES, "chat")),
    model("en-zh", "translation", "en", "zh"),
    model("de-en", "translation", "de", "en"),
    model("headlines", "summarization", "en", "en"),
    model("questions", "question_answering", "en", "en", abilities=("answer", "span", "log_prob")),
    model("digits", "speech_recognition", "en", "en", modality="audio"),
    model("frames", "speech_recognition", "en", "en", modality="frames"),
)


def log_p(character: str) -> float:
    return -(1 + ord(character) % 7) / 10


def token(character: str, offset: int, n_top: int, is_first: bool = False) -> TokenInfo:
    others = [chr(ord(character) + k + 1) for k in range(n_top)]
    top = sorted(((c, ord(c), log_p(c)) for c in [character, *others]), key=lambda t: -t[2])
    value = None if is_first else log_p(character)
    return TokenInfo(
        character, ord(character), value, offset, () if is_first else tuple(top[:n_top])
    )


IDLE = EngineLoad(0, 0, 0, 0)
TIMES = AnswerTimes(begun=11.0, read=13.0, ended=17.0, n_row=5)


def log_p_of(text: str) -> float:
    return sum(map(log_p, text))


def prompt_of(request: AnswerRequest) -> str:
    if request.messages is not None:
        return "|".join(f"{role}:{text}" for role, text in request.messages)
    if isinstance(request.source, str):
        return request.source
    return "".join(map(chr, request.source))


def in_capitals(model: ServedModelInfo, request: AnswerRequest) -> tuple[ServedAnswer, ...]:
    """Return the source in capitals (and its number, from the second on); each character is a
    token.
    """
    prompt = prompt_of(request)
    most = request.settings.max_length
    answers = []
    for k in range(request.n):
        text = prompt.upper() + (str(k) if k else "")
        text = text if most is None else text[:most]
        for stop in request.stop:
            text = text.split(stop)[0]
        is_cut = most is not None and len(text) == most
        n_new = len(text)
        text = prompt + text if request.echo else text
        tokens = tuple(
            token(c, i, request.n_top, request.echo and i == 0)
            for i, c in enumerate(text)
            if request.n_top is not None
        )
        attention = None
        if request.with_attention:
            weights = tuple((1 / len(prompt),) * len(prompt) for _ in text)
            attention = AttentionMap(tuple(prompt), tuple(text), weights)
        span = (0, min(3, len(text))) if "\n" in prompt else None
        answers.append(
            ServedAnswer(
                text=text,
                finish_reason="length" if is_cut else "stop",
                n_token=n_new,
                log_p=log_p_of(text),
                tokens=tokens,
                span=span,
                no_answer_score=-1.5 if span else None,
                attention=attention,
            )
        )
    return tuple(answers)


@dataclass
class SmallEngine:
    """Answers as a function of the model and the request does, token by token.

    `gate` holds all answers back while it is closed (those of a stream from the token number
    `gate_at` on); `failure` is raised in place of answers.
    """

    models: tuple[ServedModelInfo, ...] = MODELS
    answers: Callable[[ServedModelInfo, AnswerRequest], tuple[ServedAnswer, ...]] = in_capitals
    is_ready: bool = True
    load: EngineLoad = IDLE
    n_restart: int = 0
    failure: ServingError | None = None
    requests: list[EngineRequest] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    gate: asyncio.Event | None = None
    gate_at: int = 0
    is_stopped: bool = False

    def __post_init__(self) -> None:
        self.ids = count(1)

    async def start(self) -> None:
        """Nothing to start."""

    async def wait_ready(self) -> None:
        if self.failure is not None:
            raise self.failure

    def new_id(self) -> int:
        return next(self.ids)

    async def stop(self, seconds: float) -> None:
        self.is_stopped = True

    async def _work(self, request: EngineRequest) -> None:
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        try:
            await asyncio.sleep(0)
            if self.gate is not None and not self.gate_at:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.id)
            raise

    def _answered(self, request: AnswerRequest) -> Answered:
        model = next(each for each in self.models if each.name == request.model)
        answers = self.answers(model, request)
        n_token = sum(answer.n_token for answer in answers)
        n_prompt = len(prompt_of(request))
        return Answered(request.id, answers, n_prompt, n_token=n_token, times=TIMES)

    async def answer(self, request: AnswerRequest) -> Answered:
        await self._work(request)
        return self._answered(request)

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[AnswerPart | Answered, None]:
        is_done = False
        try:
            await self._work(request)
            answered = self._answered(request)
            for k, answer in enumerate(answered.answers):
                pieces = [token.text for token in answer.tokens] or answer.text
                for i, piece in enumerate(pieces):
                    await asyncio.sleep(0)
                    if self.gate is not None and i == self.gate_at:
                        await self.gate.wait()
                    yield AnswerPart(request.id, k, piece, answer.tokens[i : i + 1])
                yield AnswerPart(request.id, k, "", (), answer.finish_reason)
            yield answered
            is_done = True
        finally:
            if not is_done and self.failure is None and request.id not in self.cancelled:
                self.cancelled.append(request.id)

    async def score(self, request: ScoreRequest) -> ScoredAnswers:
        await self._work(request)
        found = [ScoredAnswer(log_p_of(text), len(text)) for text in request.answers]
        return ScoredAnswers(request.id, tuple(found))

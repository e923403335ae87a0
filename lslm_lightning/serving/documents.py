"""Descriptions of answers, for the OpenAPI document."""

from typing import Literal, NamedTuple

from pydantic import BaseModel

from lslm_lightning.types import Json, JsonObject

ALL = (400, 401, 404, 408, 413, 429, 500, 503, 504)  # statuses of a route that works
MEANINGS = {
    400: "A field is wrong; the message names it.",
    401: "The API key is missing or not known.",
    404: "There is no such model.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    429: "Too many requests; Retry-After says when to try again.",
    500: "The server failed.",
    503: "The models are being loaded, or the server ends; Retry-After says when to try again.",
    504: "The answer was not ready in time.",
}


class ErrorDetail(BaseModel):
    """Error of OpenAI's API."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(BaseModel):
    """Body of an error of OpenAI's API."""

    error: ErrorDetail


class ErrorBody(BaseModel):
    """Body of an error of the other routes; with its code and the wrong field, if it has them."""

    error: str
    code: str | None = None
    param: str | None = None


class ModelDetail(BaseModel):
    """Description of a model, beside that of OpenAI's API."""

    task: str | None
    abilities: list[str]
    source_language: str | None
    target_language: str | None
    modality: str
    max_length: int | None
    max_context: int | None
    vocab_size: int
    n_parameter: int


class ModelCard(BaseModel):
    """Model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    lslm: ModelDetail


class ModelList(BaseModel):
    """Models that are served."""

    object: Literal["list"]
    data: list[ModelCard]


class TokenUsage(BaseModel):
    """Numbers of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


class CompletionLogprobs(BaseModel):
    """Tokens of a completion, with their log p."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """Completion of one prompt."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: str | None


class CompletionBody(BaseModel):
    """Completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: TokenUsage


class ChatAnswer(BaseModel):
    """Message that continues a conversation."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """One of the possible messages."""

    index: int
    message: ChatAnswer
    logprobs: Json = None
    finish_reason: str | None


class ChatBody(BaseModel):
    """Next message of a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class TranscriptionBody(BaseModel):
    """Transcript of a sound."""

    text: str


class LanguageCard(BaseModel):
    """Language, and the languages into which it is translated."""

    code: str
    name: str
    targets: list[str]


class DetectedLanguage(BaseModel):
    """Language of a text, with a confidence from 0 to 100."""

    language: str
    confidence: float


class AttentionBody(BaseModel):
    """Attention: a row of weights over the tokens of the source for each token of the answer."""

    source: list[str]
    target: list[str]
    weights: list[list[float]]


class TranslationBody(BaseModel):
    """Translation of one text, or of each of several."""

    translatedText: str | list[str]  # noqa: N815
    alternatives: list[str] | list[list[str]] | None = None
    detectedLanguage: DetectedLanguage | list[DetectedLanguage] | None = None  # noqa: N815
    attention: AttentionBody | list[AttentionBody] | None = None


class SummaryBody(BaseModel):
    """Summary of one text, or of each of several."""

    summary: str | list[str]
    model: str


class AnswerBody(BaseModel):
    """Answer to a question; `start` and `end` are character offsets in the context."""

    answer: str
    start: int | None
    end: int | None
    log_prob: float | None
    no_answer_score: float | None
    model: str


class ScoreCard(BaseModel):
    """Log probability of one text; null for a probability of 0."""

    log_prob: float | None
    n_token: int


class ScoresBody(BaseModel):
    """Log probabilities of texts."""

    scores: list[ScoreCard]
    model: str


class StatusBody(BaseModel):
    """State of the server."""

    status: Literal["ok", "ready"]


class AnswerExample(NamedTuple):
    """Documented answer of a route.

    Attributes:
        model: type of its body; None for a list or an object without a type of its own.
        example: example of the body.
        streams: True if it can also be sent as server-sent events.
        is_openai: True if errors have OpenAI's form.
    """

    model: type[BaseModel] | None
    example: Json
    streams: bool = False
    is_openai: bool = False


_DETAIL = {
    "task": "translation",
    "abilities": ["attention", "beam", "generate", "log_prob", "n_best", "sample"],
    "source_language": "en",
    "target_language": "zh",
    "modality": "text",
    "max_length": 128,
    "max_context": 128,
    "vocab_size": 8000,
    "n_parameter": 10_000_000,
}
_CARD = {
    "id": "dates",
    "object": "model",
    "created": 1_700_000_000,
    "owned_by": "lslm",
    "lslm": _DETAIL,
}
_USAGE = {
    "prompt_tokens": 6,
    "completion_tokens": 2,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 0},
}
_START = {"id": "cmpl-1", "created": 1_700_000_000, "model": "docstrings"}
_CHOICE = {"index": 0, "text": " Paris.", "logprobs": None, "finish_reason": "stop"}
_MESSAGE = {"role": "assistant", "content": "Paris", "refusal": None}
_CHAT_CHOICE = {"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}

MODELS = AnswerExample(ModelList, {"object": "list", "data": [_CARD]}, is_openai=True)
MODEL = AnswerExample(ModelCard, _CARD, is_openai=True)
COMPLETION = AnswerExample(
    CompletionBody,
    {**_START, "object": "text_completion", "choices": [_CHOICE], "usage": _USAGE},
    streams=True,
    is_openai=True,
)
CHAT = AnswerExample(
    ChatBody,
    {**_START, "object": "chat.completion", "choices": [_CHAT_CHOICE], "usage": _USAGE},
    streams=True,
    is_openai=True,
)
TRANSCRIPTION = AnswerExample(TranscriptionBody, {"text": "three five nine"}, is_openai=True)
LANGUAGES = AnswerExample(None, [{"code": "en", "name": "English", "targets": ["zh"]}])
DETECTED = AnswerExample(None, [{"language": "en", "confidence": 92.0}])
TRANSLATION = AnswerExample(
    TranslationBody, {"translatedText": "5月3日星期一", "alternatives": ["5月3日周一"]}
)
SUMMARY = AnswerExample(SummaryBody, {"summary": "Rain ends the drought.", "model": "headlines"})
ANSWER = AnswerExample(
    AnswerBody,
    {
        "answer": "Ada",
        "start": 0,
        "end": 3,
        "log_prob": -0.2,
        "no_answer_score": -4.1,
        "model": "questions",
    },
)
SCORES = AnswerExample(
    ScoresBody, {"scores": [{"log_prob": -12.5, "n_token": 7}], "model": "docstrings"}
)
STATE = AnswerExample(StatusBody, {"status": "ok"})
SETTINGS = AnswerExample(None, {"apiKeys": False, "keyRequired": False, "charLimit": 100_000})


def described(answer: AnswerExample, *statuses: int) -> dict[int | str, JsonObject]:
    """Return the description of the responses of a route.

    Args:
        answer: answer of status 200.
        statuses: statuses of errors; all that a route that works can have by default.
    """
    content: JsonObject = {"application/json": {"example": answer.example}}
    if answer.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    found: dict[int | str, JsonObject] = {200: {"description": "The answer.", "content": content}}
    if answer.model is not None:
        found[200]["model"] = answer.model
    error = OpenAIErrorBody if answer.is_openai else ErrorBody
    for status in statuses or ALL:
        found[status] = {"description": MEANINGS[status], "model": error}
    return found

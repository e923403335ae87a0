"""Requests of the task routes, and how bodies of forms and of JSON become them."""

import json
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import ConfigDict, Field, ValidationError
from starlette.datastructures import ImmutableMultiDict, UploadFile
from starlette.requests import Request

from lslm_lightning.serving.errors import ApiError
from lslm_lightning.serving.fields import RequestFields, SearchFields
from lslm_lightning.serving.service import visit_of
from lslm_lightning.types import Json, JsonObject

FormT = TypeVar("FormT", bound=RequestFields)
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
TextList = Annotated[list[str], Field(min_length=1, fail_fast=True)]
Texts = str | TextList
GivenTexts = Annotated[str, Field(min_length=1)] | TextList
MODEL = "Name of a model; the first that fits if left out."
IGNORED = "Accepted and ignored: it cannot change the answer."
KEY = "API key, where the server needs one and Authorization has none."


class TranslationFields(SearchFields):
    """Request for translations, as LibreTranslate's `/translate`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"q": "Monday, 3 May", "source": "en", "target": "zh"},
                {"q": ["Monday", "Friday"], "source": "auto", "target": "zh", "alternatives": 2},
            ]
        }
    )
    q: GivenTexts = Field(description="Text to translate, or a list of them.")
    source: str = Field(max_length=64, description="Language of the text, or auto.")
    target: str = Field(max_length=64, description="Language of the translation.")
    format: Literal["text", "html"] | None = Field(None, description="Form of the text.")
    alternatives: int | None = Field(None, ge=0, le=10_000, description="Further translations.")
    attention: bool | None = Field(None, description="Return the attention to the source.")
    model: str | None = Field(None, description=MODEL)
    api_key: str | None = Field(None, description=KEY)
    secret: object = Field(None, description=IGNORED)


class DetectionFields(RequestFields):
    """Request for the language of a text, as LibreTranslate's `/detect`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"q": "What language is this?"}]})
    q: GivenTexts = Field(description="Text whose language is wanted; of a list, that of all.")
    api_key: str | None = Field(None, description=KEY)
    secret: object = Field(None, description=IGNORED)


class SummaryFields(SearchFields):
    """Request for summaries."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "It rained all week, and the drought is over."}]}
    )
    text: Texts = Field(description="Text to summarize, or a list of them.")
    model: str | None = Field(None, description=MODEL)


class QuestionFields(SearchFields):
    """Request for the answer to a question on a passage."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"question": "Who wrote it?", "context": "Ada wrote the first program."}]
        }
    )
    question: str = Field(description="Question, on one line.")
    context: str = Field(description="Passage that has the answer.")
    model: str | None = Field(None, description=MODEL)


class ScoreFields(RequestFields):
    """Request for log probabilities: of answers after a source, or of whole texts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": ["A sentence.", "Another sentence."]},
                {"source": "Monday", "answers": ["星期一", "星期二"]},
            ]
        }
    )
    text: Texts | None = Field(None, description="Text to score, or a list of them.")
    source: str | None = Field(None, description="Text that stands before the answers.")
    answers: TextList | None = Field(None, description="Answers to score.")
    model: str | None = Field(None, description=MODEL)


class TranscriptionFields(RequestFields):
    """Request for a transcript, as OpenAI's `/v1/audio/transcriptions`, but for its file."""

    refused: ClassVar[dict[str, tuple[Json, ...]]] = {
        "prompt": ("",),
        "stream": ("false", "False", "0"),
        "timestamp_granularities[]": (),
        "timestamp_granularities": (),
        "include[]": (),
        "include": (),
        "chunking_strategy": ("auto",),
        "known_speaker_names[]": (),
        "known_speaker_references[]": (),
    }
    model: str | None = Field(None, description=MODEL)
    language: str | None = Field(None, max_length=64, description="Language of the speech.")
    response_format: Literal["json", "text"] | None = Field(
        None, description="Form of the answer; JSON if left out."
    )
    temperature: float | None = Field(
        None, ge=0, le=1, description="Temperature of sampling; 0 keeps the run's own search."
    )


async def read_fields(http: Request, kind: type[FormT]) -> FormT:
    """Return the fields of a body of JSON or of a form, whose key is checked before them.

    Raises:
        RequestValidationError: a field is wrong.
        ApiError: the body is neither, there is no such key, or its limit is reached.
    """
    given = await read_object(http)
    admit(http, given.get("api_key") if isinstance(given, dict) else None)
    is_form = not _is_json(http)
    try:
        return kind.model_validate(given, strict=not is_form)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def admit(http: Request, key: Json) -> None:
    """Check the key of a request whose key may be a field of its body.

    Raises:
        ApiError: there is no such key, or its limit is reached.
    """
    http.scope["state"]["gateway"].admit(visit_of(http), key if isinstance(key, str) else "")


async def read_object(http: Request) -> Json:
    """Return the JSON value of a body, or the fields of the address and of a form.

    Raises:
        ApiError: the body is neither.
    """
    if _is_json(http):
        body = await http.body()
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            message = "the body is no JSON in UTF-8; send one JSON object"
            raise ApiError(400, message) from None
    found = _by_name(http.query_params)
    if http.headers.get("content-type", "").startswith(FORMS):
        found = {**await read_form(http), **found}
    elif not found:
        message = "the body must be JSON or a form; Content-Type says neither"
        raise ApiError(400, message)
    return {name: value for name, value in found.items() if value != ""}


async def read_form(http: Request) -> Mapping[str, Json]:
    """Return the fields of a form; several values of one name are a list. Files are left out.

    Raises:
        ApiError: the form is broken.
    """
    return _by_name(await http.form(max_files=1, max_fields=100))


def _by_name(given: ImmutableMultiDict[str, Json]) -> JsonObject:
    """Return texts by name; several of one name are a list."""
    found: dict[str, list[Json]] = {}
    for name, value in given.multi_items():
        if not isinstance(value, UploadFile):
            found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _is_json(http: Request) -> bool:
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def form_schema(kind: type[RequestFields], files: Mapping[str, str] | None = None) -> JsonObject:
    """Return the description of a body for the OpenAPI document.

    Args:
        kind: fields of the body.
        files: name and meaning of files, for a form with files; None for JSON or a form.
    """
    schema = kind.model_json_schema()
    examples = schema.pop("examples", [])
    if files is None:
        found = {
            "application/json": {"schema": schema, "examples": _named(examples)},
            FORMS[0]: {"schema": schema},
        }
    else:
        for name, meaning in files.items():
            contents = {"type": "string", "format": "binary", "description": meaning}
            schema["properties"][name] = contents
            schema.setdefault("required", []).append(name)
        found = {FORMS[1]: {"schema": schema}}
    return {"requestBody": {"required": True, "content": found}}


def _named(examples: list[Json]) -> JsonObject:
    return {f"example {i}": {"value": each} for i, each in enumerate(examples, 1)}

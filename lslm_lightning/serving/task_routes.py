"""Routes of the other tasks: summaries, answers, log probabilities, transcripts."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import PlainTextResponse, Response

from lslm_lightning.serving.documents import (
    ANSWER,
    SCORES,
    SUMMARY,
    TRANSCRIPTION,
    described,
)
from lslm_lightning.serving.errors import UNSUPPORTED, ApiError, json_response, shown
from lslm_lightning.serving.fields import SearchFields
from lslm_lightning.serving.languages import fits_language
from lslm_lightning.serving.protocol import (
    AnswerRequest,
    ScoreRequest,
    ServedModelInfo,
    ServingError,
)
from lslm_lightning.serving.service import AnswerService
from lslm_lightning.serving.task_requests import (
    QuestionFields,
    ScoreFields,
    SummaryFields,
    TranscriptionFields,
    form_schema,
    read_form,
)
from lslm_lightning.types import JsonObject

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".au", ".m4a", ".webm")
BLOCK = 1 << 20  # bytes of a sound that are copied at once


def task_routes(service: AnswerService) -> APIRouter:
    """Return the routes of the tasks that have no API of their own, and of transcription."""
    routes = APIRouter()

    @routes.post(
        "/summarize", tags=["Tasks"], summary="Summarize texts", responses=described(SUMMARY)
    )
    async def summarize(fields: SummaryFields, http: Request) -> Response:
        """Summarize one or more texts."""
        model = service.model(fields.model, lambda each: each.task == "summarization", "summarizes")
        texts = [fields.text] if isinstance(fields.text, str) else fields.text
        service.check_texts("text", [len(text) for text in texts])
        requests = [task_request(service, model, fields, text) for text in texts]
        found = [each.answers[0].text for each in await service.answers(http, requests)]
        summary = found if isinstance(fields.text, list) else found[0]
        return json_response({"summary": summary, "model": model.name})

    @routes.post(
        "/answer", tags=["Tasks"], summary="Answer a question", responses=described(ANSWER)
    )
    async def answer(fields: QuestionFields, http: Request) -> Response:
        """Answer a question on a passage."""
        return json_response(await passage_answer(service, http, fields))

    @routes.post("/log_prob", tags=["Tasks"], summary="Score texts", responses=described(SCORES))
    async def log_prob(fields: ScoreFields, http: Request) -> Response:
        """Return log probabilities: of answers after a source, or of whole texts."""
        return json_response(await log_probabilities(service, http, fields))

    @routes.post(
        "/v1/audio/transcriptions",
        tags=["OpenAI"],
        summary="Transcribe a sound",
        responses=described(TRANSCRIPTION),
        openapi_extra=form_schema(TranscriptionFields, {"file": "Sound file."}),
    )
    async def transcribe(http: Request) -> Response:
        """Transcribe a sound file."""
        return await transcript(service, http)

    return routes


async def passage_answer(
    service: AnswerService, http: Request, fields: QuestionFields
) -> JsonObject:
    """Return the answer to a question on a passage.

    Raises:
        ApiError: a field is wrong, or the time is over.
        ServingError: the engine refuses it, or fails.
    """
    model = service.model(
        fields.model, lambda each: each.task == "question_answering", "answers questions"
    )
    question = " ".join(fields.question.split())
    if not question:
        raise ApiError(400, "question must not be empty", parameter="question")
    service.check_texts("context", [len(question) + len(fields.context)])
    request = task_request(service, model, fields, f"{question}\n{fields.context}")
    best = (await service.answers(http, [request]))[0].answers[0]
    start, end = best.span or (None, None)
    return {
        "answer": best.text,
        "start": start,
        "end": end,
        "log_prob": exact(best.log_p),
        "no_answer_score": best.no_answer_score,
        "model": model.name,
    }


async def log_probabilities(
    service: AnswerService, http: Request, fields: ScoreFields
) -> JsonObject:
    """Return the log probabilities of answers after a source, or of whole texts.

    Raises:
        ApiError: a field is wrong, or the time is over.
        ServingError: the engine refuses it, or fails.
    """
    answers, source = scored_texts(fields)
    service.check_texts("answers", [len(each) for each in [*answers, source or ""]])
    model = service.model(
        fields.model,
        lambda each: (
            "log_prob" in each.abilities
            and (source is not None or each.task in ("language_modeling", None))
        ),
        "gives log probabilities of these",
    )
    request = ScoreRequest(
        id=service.engine.new_id(),
        model=model.name,
        max_seconds=service.limits.seconds,
        source=source,
        answers=tuple(answers),
    )
    found = (await service.scores(http, [request]))[0].answers
    scores = [{"log_prob": exact(each.log_p), "n_token": each.n_token} for each in found]
    return {"scores": scores, "model": model.name}


async def transcript(service: AnswerService, http: Request) -> Response:
    """Return the transcript of the sound file of a form, in the form of text that it asks for.

    Raises:
        ApiError: a field is wrong, or the time is over.
        RequestValidationError: a field is wrong.
        ServingError: the engine refuses it, or fails.
    """
    if not http.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ApiError(400, "the body must be multipart/form-data with the field file")
    given = await read_form(http)
    sound = (await http.form()).get("file")
    if not isinstance(sound, UploadFile):
        message = "file is missing: it must be a sound file"
        raise ApiError(400, message, parameter="file")
    try:
        fields = TranscriptionFields.model_validate(given, strict=False)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None
    model = transcriber(service, fields)
    search = SearchFields.model_validate({"temperature": fields.temperature or None})
    with sound_file(sound, "file") as path:
        request = task_request(service, model, search, str(path))
        text = (await service.answers(http, [request]))[0].answers[0].text
    if fields.response_format == "text":
        return PlainTextResponse(f"{text}\n")
    return json_response({"text": text})


def task_request(
    service: AnswerService, model: ServedModelInfo, fields: SearchFields, source: str
) -> AnswerRequest:
    """Return the request to the engine for the answer to one text.

    Raises:
        ApiError: a field is beyond a limit.
    """
    return AnswerRequest(
        id=service.engine.new_id(),
        model=model.name,
        max_seconds=service.limits.seconds,
        source=source,
        settings=fields.settings(service.limits, model),
        seed=fields.chosen_seed,
    )


def exact(log_p: float | None) -> float | None:
    """Return the log probability of a text; None for minus infinity, which JSON does not have."""
    return log_p if log_p is not None and math.isfinite(log_p) else None


def scored_texts(fields: ScoreFields) -> tuple[list[str], str | None]:
    """Return the texts to score, and what stands before them.

    Raises:
        ApiError: the fields are neither `text` alone nor `source` and `answers`.
    """
    if fields.text is not None and fields.source is None and fields.answers is None:
        return ([fields.text] if isinstance(fields.text, str) else fields.text), None
    if fields.text is None and fields.answers is not None:
        return fields.answers, fields.source
    message = "give text alone, or answers with the source that stands before them"
    raise ApiError(400, message, parameter="text" if fields.answers else "answers")


def transcriber(service: AnswerService, fields: TranscriptionFields) -> ServedModelInfo:
    """Return the model that transcribes sounds.

    Raises:
        ApiError: there is none, it reads no sound, or the speech is in another language.
    """
    model = service.model(
        fields.model, lambda each: each.task == "speech_recognition", "transcribes speech"
    )
    if model.modality != "audio":
        message = f"model={model.name} reads ready features ({model.modality}) and no sound"
        raise ApiError(400, message, "model", UNSUPPORTED)
    language = model.target_language or model.source_language
    if fields.language and not fits_language(language, fields.language):
        message = f"language={shown(fields.language)} is not that of {model.name}, {language}"
        raise ApiError(400, message, "language", UNSUPPORTED)
    return model


@contextmanager
def sound_file(sound: UploadFile, name: str) -> Iterator[Path]:
    """Write an uploaded sound to a file that exists inside the `with` statement.

    Args:
        name: field of the sound, by which errors name it in place of the path, which is nobody's
            business.

    Raises:
        ServingError: the statement raised one.
    """
    suffix = Path(sound.filename or "").suffix.lower()
    with tempfile.TemporaryDirectory(prefix="lslm-sound-") as folder:
        path = Path(folder, f"sound{suffix if suffix in SUFFIXES else '.wav'}")
        with path.open("wb") as file:
            while block := sound.file.read(BLOCK):
                file.write(block)
        try:
            yield path
        except ServingError as error:
            message = str(error).replace(str(path), name)
            wrong = error.parameter if message == str(error) else name
            raise ServingError(message, error.kind, wrong) from None

"""Routes of LibreTranslate's API: translate, detect, languages, settings."""

from collections.abc import Sequence
from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from lslm_lightning.serving.admission import check_limit
from lslm_lightning.serving.documents import (
    DETECTED,
    LANGUAGES,
    SETTINGS,
    TRANSLATION,
    described,
)
from lslm_lightning.serving.errors import UNSUPPORTED, ApiError, json_response, shown
from lslm_lightning.serving.languages import detect, detected, fits_language, language_cards
from lslm_lightning.serving.markup import MarkupText, split_lines, split_markup
from lslm_lightning.serving.protocol import (
    AnswerRequest,
    AttentionMap,
    ServedAnswer,
    ServedModelInfo,
)
from lslm_lightning.serving.service import AnswerService
from lslm_lightning.serving.task_requests import (
    DetectionFields,
    TranslationFields,
    form_schema,
    read_fields,
)
from lslm_lightning.text.identification import SURE
from lslm_lightning.types import Json, JsonObject

MOST_LANGUAGES = 200  # of a text, that are ranked


def translation_routes(service: AnswerService) -> APIRouter:
    """Return the routes of LibreTranslate's API."""
    routes = APIRouter(tags=["LibreTranslate"])

    @routes.post(
        "/translate",
        summary="Translate texts",
        responses=described(TRANSLATION),
        openapi_extra=form_schema(TranslationFields),
    )
    async def translate(http: Request) -> Response:
        """Translate one or more texts, line by line."""
        fields = await read_fields(http, TranslationFields)
        return json_response(await translations(service, http, fields))

    @routes.post(
        "/detect",
        summary="Detect the language of a text",
        responses=described(DETECTED, 400, 401, 408, 413, 429, 500, 503),
        openapi_extra=form_schema(DetectionFields),
    )
    async def detect_language(http: Request) -> Response:
        """Detect the language of a text; the most probable languages come first."""
        fields = await read_fields(http, DetectionFields)
        texts = [fields.q] if isinstance(fields.q, str) else fields.q
        service.check_texts("q", [len(each) for each in texts])
        found = await detect("\n".join(texts))
        return json_response([detected(code, probability) for code, probability in found])

    @routes.get("/languages", summary="List the languages", responses=described(LANGUAGES, 503))
    async def languages() -> Response:
        """List the languages, each with those into which it is translated."""
        return json_response(language_cards(service.models()))

    @routes.get(
        "/frontend/settings", summary="Settings for clients", responses=described(SETTINGS, 503)
    )
    async def frontend_settings() -> Response:
        """Return what LibreTranslate's clients ask before they show a form."""
        return json_response(settings_for_clients(service))

    return routes


def settings_for_clients(service: AnswerService) -> JsonObject:
    """Return the settings that LibreTranslate's clients ask for.

    Raises:
        ApiError: the models are not ready.
    """
    cards = language_cards(service.models())
    source = next((card for card in cards if card["targets"]), {"code": "auto", "name": ""})
    target = next(iter(source.get("targets", [])), source["code"])
    named = {card["code"]: card["name"] for card in cards}
    return {
        "apiKeys": bool(service.keys),
        "keyRequired": bool(service.keys),
        "charLimit": service.limits.characters,
        "batchLimit": service.limits.texts,
        "filesTranslation": False,
        "supportedFilesFormat": [],
        "frontendTimeout": 500,
        "suggestions": False,
        "language": {
            "source": {"code": "auto", "name": "Auto Detect"},
            "target": {"code": target, "name": named.get(target, target)},
        },
    }


async def translations(
    service: AnswerService, http: Request, fields: TranslationFields
) -> JsonObject:
    """Return the answer to a request for translations, in LibreTranslate's form.

    Raises:
        ApiError: a field is wrong, or the time is over.
        ServingError: the engine refuses a text, or fails.
    """
    documents = [fields.q] if isinstance(fields.q, str) else fields.q
    n = 1 + (fields.alternatives or 0)
    check_limit("alternatives", fields.alternatives, service.limits.answers - 1, "--answers")
    service.check_texts("q", [len(each) for each in documents], n)
    is_markup = fields.format == "html"
    if is_markup and (fields.alternatives or fields.attention):
        name = "alternatives" if fields.alternatives else "attention"
        message = f"{name} belongs to format=text, not to html; leave one out"
        raise ApiError(400, message, parameter=name)
    model, languages = await translator(service, fields, documents)
    parts = [split_markup(each) if is_markup else split_lines(each) for each in documents]
    texts = [text for each in parts for text in each.texts]
    service.check_texts("q", [len(text) for text in texts], n)
    if fields.attention and any(len(each.texts) > 1 for each in parts):
        message = "attention belongs to texts of one line; send the lines of q as a list"
        raise ApiError(400, message, parameter="attention")
    settings = fields.settings(service.limits, model)
    if n > 1 and settings.search is None and "beam" in model.abilities:
        settings = replace(settings, search="beam")  # greedy search finds no alternatives
    request = AnswerRequest(
        id=0,
        model=model.name,
        max_seconds=service.limits.seconds,
        settings=settings,
        n=n,
        best_of=n,
        seed=fields.chosen_seed,
        with_attention=bool(fields.attention),
    )
    requests = [replace(request, id=service.engine.new_id(), source=text) for text in texts]
    found = iter(await service.answers(http, requests))
    by_document = [[next(found).answers for _ in each.texts] for each in parts]
    filled = [filled_in(each, answers, n) for each, answers in zip(parts, by_document, strict=True)]
    is_list = isinstance(fields.q, list)

    def shaped(values: Sequence[Json]) -> Json:
        return list(values) if is_list else values[0]

    answer: JsonObject = {"translatedText": shaped([each[0] for each in filled])}
    if fields.alternatives is not None and not is_markup:
        answer["alternatives"] = shaped([each[1:] for each in filled])
    if fields.source == "auto":
        answer["detectedLanguage"] = shaped(languages)
    if fields.attention:
        answer["attention"] = shaped([attention_body(each) for each in by_document])
    return answer


def filled_in(parts: MarkupText, answers: Sequence[Sequence[ServedAnswer]], n: int) -> list[str]:
    """Return a document with its best translations, followed by alternatives: the k-th has the
    k-th answer to each line, or the last where there are fewer. Repeated ones are left out.

    Args:
        answers: answers to each text of the document.
        n: number of translations.
    """
    ways = [parts.filled(found[min(k, len(found) - 1)].text for found in answers) for k in range(n)]
    return list(dict.fromkeys(ways))


def attention_body(answers: Sequence[Sequence[ServedAnswer]]) -> JsonObject:
    """Return the attention of the best answer to a document of one line."""
    attention = answers[0][0].attention if answers else None
    attention = attention or AttentionMap((), (), ())
    return {
        "source": list(attention.source),
        "target": list(attention.target),
        "weights": [list(row) for row in attention.weights],
    }


async def translator(
    service: AnswerService, fields: TranslationFields, documents: Sequence[str]
) -> tuple[ServedModelInfo, list[JsonObject]]:
    """Return the model for the languages of a request, and the language of each document if it is
    to be detected.

    Raises:
        ApiError: no model translates between the languages.
    """

    def fits(model: ServedModelInfo, source: str | None = None) -> bool:
        return (
            model.task == "translation"
            and fits_language(model.target_language, fields.target)
            and fits_language(model.source_language, source)
        )

    named = None
    if fields.model is not None:
        named = service.model(fields.model, lambda each: each.task == "translation", "translates")
    candidates = [named] if named is not None else list(service.models())
    candidates = [each for each in candidates if fits(each)]
    if not candidates:
        raise unsupported("target", fields.target)
    if fields.source != "auto":
        found = [each for each in candidates if fits(each, fields.source)]
        if not found:
            raise unsupported("source", fields.source)
        return found[0], []
    ranked = await detect("\n".join(documents), MOST_LANGUAGES)
    code, probability = ranked[0]
    known = [(each, code, sure) for code, sure in ranked for each in candidates if fits(each, code)]
    if not known or (known[0][1] != code and probability >= SURE):
        if probability >= SURE:
            raise unsupported("source", code)
        model, sure = candidates[0], 0.0
    else:
        model, code, sure = known[0]
    return model, [detected(model.source_language or code, sure) for _ in documents]


def unsupported(name: str, code: str) -> ApiError:
    """Return the error for a language that no model has.

    Args:
        name: field with the language.
    """
    message = f"{name}={shown(code)} is not supported; GET /languages lists what is"
    return ApiError(400, message, name, UNSUPPORTED)

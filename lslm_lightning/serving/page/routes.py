"""Routes of the page: it is shown at /, and a form that is sent without JavaScript is answered by
the same page.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

from fastapi import FastAPI
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lslm_lightning.localization import (
    LANGUAGES,
    interface_in,
    interface_language,
    language_code,
)
from lslm_lightning.serving.page.answers import blocks_of
from lslm_lightning.serving.page.document import Filled, render_page, security_policy
from lslm_lightning.serving.page.functions import chosen_function, chosen_model
from lslm_lightning.serving.protocol import Answered, AnswerRequest, ModelInfo, ServingError

STATUS = {
    "invalid": 400,
    "too_long": 400,
    "unsupported": 400,
    "timeout": 504,
    "overloaded": 429,
    "unavailable": 503,
}
RETRY_SECONDS = "2"
N_FIELD = 12  # of a form, at most


class PageEngine(Protocol):
    """Part of the engine's client that the page uses."""

    @property
    def models(self) -> Sequence[ModelInfo]:
        """Models that are served."""

    @property
    def is_ready(self) -> bool:
        """True if they can be asked."""

    def new_id(self) -> int:
        """Return a number for a request."""

    async def answer(self, request: AnswerRequest) -> Answered:
        """Return the answers to a request."""


Answering = Callable[[Request, str | None, Sequence[AnswerRequest]], Awaitable[Sequence[Answered]]]


def add_page(
    app: FastAPI,
    engine: PageEngine,
    answer: Answering | None = None,
    *,
    needs_key: bool = False,
) -> None:
    """Add the page at / to a server.

    Args:
        answer: function that answers a form by the rules of all routes: it gets the HTTP request,
            the key that was typed (None for none) and the requests to the engine, and raises
            `ServingError` or `HTTPException`. By default the engine is asked without checks.
        needs_key: whether the server demands a key; the page then has a field for it.
    """

    async def unchecked(
        request: Request, key: str | None, wanted: Sequence[AnswerRequest]
    ) -> Sequence[Answered]:
        return [await engine.answer(each) for each in wanted]

    answering = answer or unchecked

    def respond(
        request: Request,
        filled: Filled | None = None,
        status: int = 200,
        more: Mapping[str, str] | None = None,
    ) -> Response:
        if status == 200 and not engine.is_ready:
            status = 503
        with interface_in(requested_language(request)):
            page = render_page(engine.models, engine.is_ready, needs_key, filled)
            policy = security_policy()
        headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Vary": "Accept-Language",
            **(more or {}),
        }
        if status in (429, 503):
            headers.setdefault("Retry-After", RETRY_SECONDS)
        return HTMLResponse(page, status, headers)

    async def show(request: Request) -> Response:
        return respond(request)

    async def send(request: Request) -> Response:
        values: dict[str, str] = {}
        try:
            async with request.form(max_files=1, max_fields=N_FIELD) as form:
                values = {name: text for name, text in form.items() if isinstance(text, str)}
                key = values.pop("key", None) or None
                sound = form.get("sound")
                function = chosen_function(values)
                model = chosen_model(values, function, engine.models)
                with NamedTemporaryFile(suffix=suffix_of(sound)) as file:
                    if isinstance(sound, UploadFile) and sound.size:
                        while part := await sound.read(1 << 20):
                            file.write(part)
                        file.flush()
                        values["sound"] = file.name
                    wanted = function.requests(values, model, engine.new_id)
                    answered = await answering(request, key, wanted)
            blocks = blocks_of(function.name, values, answered, model)
            return respond(request, Filled(function.name, values, blocks))
        except ServingError as error:
            status, message, more = STATUS.get(error.kind, 500), str(error), None
        except HTTPException as error:
            status, message, more = error.status_code, str(error.detail), error.headers
        # the client knows its file by another name
        message = message.replace(values.get("sound") or "\0", "sound")
        filled = Filled(values.get("function", ""), values, (), message)
        return respond(request, filled, status, more)

    app.add_api_route("/", show, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/", send, methods=["POST"], include_in_schema=False)


def suffix_of(sound: object) -> str:
    """Return the suffix of the name of an uploaded file, by which readers tell its format; "" if it
    is not a plain one.
    """
    suffix = Path(getattr(sound, "filename", "") or "").suffix
    return suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 8 else ""


def requested_language(request: Request) -> str:
    """Return the language of the page: that of `?lang=`, or else the one of `Accept-Language` with
    the highest weight, or else that of the server.
    """
    if (named := language_code(request.query_params.get("lang", ""))) in LANGUAGES:
        return named
    weights: dict[str, float] = {}
    for part in request.headers.get("accept-language", "").split(","):
        code, _, weight = part.partition(";q=")
        try:
            weights.setdefault(language_code(code.strip()), float(weight or 1))
        except ValueError:
            continue
    known = [code for code in weights if code in LANGUAGES and weights[code] > 0]
    return max(known, key=weights.__getitem__) if known else interface_language()

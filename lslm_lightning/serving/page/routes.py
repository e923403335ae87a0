"""Routes of the page: it is shown at /, and a form that is sent without JavaScript is answered by
the same page.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack

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
from lslm_lightning.serving.errors import RESTART_SECONDS, ApiError, as_api_error
from lslm_lightning.serving.page.answers import blocks_of
from lslm_lightning.serving.page.document import Filled, render_page, security_policy
from lslm_lightning.serving.page.functions import chosen_function, chosen_model, label_of
from lslm_lightning.serving.page.problems import explained, most_megabytes
from lslm_lightning.serving.protocol import ServingError
from lslm_lightning.serving.service import AnswerService
from lslm_lightning.serving.task_requests import admit
from lslm_lightning.serving.task_routes import sound_file

ErrorPage = Callable[[Request, HTTPException], Awaitable[Response]]
N_FIELD = 12  # of a form, at most


def add_page(app: FastAPI, service: AnswerService) -> ErrorPage:
    """Add the page at / to the routes of a server, behind its gateway, and return the function that
    shows an error on the page.

    Forms keep to the keys and limits of the other routes.
    """
    engine = service.engine

    async def respond(
        request: Request,
        filled: Filled | None = None,
        status: int = 200,
        more: Mapping[str, str] | None = None,
    ) -> Response:
        headers = {"Vary": "Accept-Language", **(more or {})}
        if status == 200 and not engine.is_ready:
            status = 503
            headers["Retry-After"] = str(RESTART_SECONDS)
        with interface_in(requested_language(request)):
            headers["Content-Security-Policy"] = security_policy()
            page = await asyncio.to_thread(  # a long answer takes some tenths of a second
                render_page,
                engine.models,
                service.limits,
                engine.is_ready,
                bool(service.keys),
                filled,
            )
        return HTMLResponse(page, status, headers)

    async def show(request: Request) -> Response:
        return await respond(request)

    async def refuse(
        request: Request, error: HTTPException, values: Mapping[str, str] | None = None
    ) -> Response:
        values = values or {}
        # the address has the function too, for a body that is not read
        function = values.get("function") or request.query_params.get("function", "")
        most = most_megabytes(service.limits, function == "transcribe", bool(service.keys))
        parameter = error.parameter if isinstance(error, ApiError) else None
        label = label_of({"function": function}, parameter)
        with interface_in(requested_language(request)):
            filled = Filled(function, values, (), *explained(error, most, label))
        return await respond(request, filled, error.status_code, error.headers)

    async def send(request: Request) -> Response:
        values: dict[str, str] = {}
        path = ""  # of the uploaded sound, never of a text that the client sends
        try:
            with ExitStack() as files:
                form = await request.form(max_files=1, max_fields=N_FIELD)
                values = {name: text for name, text in form.items() if isinstance(text, str)}
                values.pop("sound", None)
                admit(request, values.pop("key", None))
                function = chosen_function(values)
                model = chosen_model(service, values, function)
                sound = form.get("sound")
                if isinstance(sound, UploadFile) and sound.size:
                    path = str(files.enter_context(sound_file(sound, "sound")))
                with interface_in(requested_language(request)):
                    wanted = function.requests(service, {**values, "sound": path}, model)
                answered = await service.answers(request, wanted)
        except (HTTPException, ServingError) as failure:
            error = as_api_error(failure) if isinstance(failure, ServingError) else failure
            return await refuse(request, error, values)
        with interface_in(requested_language(request)):
            blocks = blocks_of(function.name, values, answered, model)
        return await respond(request, Filled(function.name, values, blocks))

    app.add_api_route("/", show, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/", send, methods=["POST"], include_in_schema=False)
    return refuse


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

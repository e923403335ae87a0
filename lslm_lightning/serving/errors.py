"""Errors as answers to requests: statuses, and one line that says what to change."""

import json
from collections.abc import Mapping, Sequence

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lslm_lightning.serving.protocol import ServingError
from lslm_lightning.types import Json, JsonObject

SHOWN = 60  # characters of a value that a message repeats
GONE = 499  # status in the log for a client that went away before the answer
RESTART_SECONDS = 3  # after which a client may ask again, while the engine starts
STATUS = {  # of each kind of `ServingError`
    "invalid": 400,
    "too_long": 400,
    "unsupported": 400,
    "not_found": 404,
    "timeout": 504,
    "overloaded": 429,
    "unavailable": 503,
    "internal": 500,
}
UNSUPPORTED = "unsupported_value"  # code of what a model of this server cannot do
CODES = {
    "too_long": "context_length_exceeded",
    "not_found": "model_not_found",
    "unsupported": UNSUPPORTED,
}
STATUS_CODES = {  # codes of the errors of a status, unless they have others
    401: "invalid_api_key",
    408: "body_timeout",
    413: "body_too_large",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "unavailable",
    504: "timeout",
}
TYPES = {  # OpenAI's name of the errors of a status
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}
RULES = {  # of fields that have one of several types
    "prompt": "a text, a list of texts, a list of token ids, or a list of lists of token ids",
    "stop": "a text of at most 256 characters, or a list of at most 4 of them",
    "content": "a text, or a list of parts such as {type: text, text: ...}",
    "q": "a text that is not empty, or a list of texts",
    "text": "a text or a list of texts",
}
BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
LENGTHS = {"too_short": ("min_length", "at least"), "too_long": ("max_length", "at most")}


class ApiError(HTTPException):
    """Error that is the answer to a request.

    Args:
        status: HTTP status.
        message: one line for the client.
        parameter: field of the request that is wrong; None if it is none.
        code: code of the error, OpenAI's where it has one; by default that of the status.
        retry_after: seconds after which the client may try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        parameter: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == 504:  # it would take as long again, and OpenAI's clients ask twice more
            headers["X-Should-Retry"] = "false"
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.parameter = parameter
        self.code = code or STATUS_CODES.get(status)


def unavailable(message: str) -> ApiError:
    """Return the error for a request that comes while the engine starts or the server ends."""
    return ApiError(503, message, retry_after=RESTART_SECONDS)


def beyond_limit(message: str, parameter: str) -> ApiError:
    """Return the error for a field that is beyond a limit of the server."""
    return ApiError(400, message, parameter, "limit_exceeded")


def as_api_error(error: ServingError) -> ApiError:
    """Return the answer for an error of the engine."""
    status = STATUS.get(error.kind, 500)
    pause = {429: 1, 503: RESTART_SECONDS}.get(status)
    return ApiError(status, str(error), error.parameter, CODES.get(error.kind), pause)


def error_response(path: str, error: HTTPException) -> Response:
    """Return an error in the form of the API to which a path belongs: OpenAI's under /v1/, else
    LibreTranslate's.
    """
    return json_response(error_body(path, error), error.status_code, error.headers)


def error_body(path: str, error: HTTPException) -> JsonObject:
    """Return the JSON object of an error."""
    message = " ".join(printable(str(error.detail)).split())
    parameter = error.parameter if isinstance(error, ApiError) else None
    code = error.code if isinstance(error, ApiError) else None
    if not path.startswith("/v1/"):
        known = {"code": code, "param": parameter}
        return {"error": message, **{name: value for name, value in known.items() if value}}
    kind = TYPES.get(error.status_code, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": parameter, "code": code}}


def json_response(
    content: Json, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response of JSON; half surrogate pairs become escapes."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    body = text.encode("utf-8", "backslashreplace")
    return Response(body, status, headers, media_type="application/json")


def answer_http_exception(request: Request, error: Exception) -> Response:
    """Return the response for an `HTTPException`, such as that of an unknown path."""
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405) and not isinstance(error, ApiError):
        way_out = "GET /openapi.json lists the routes"
        if methods := (error.headers or {}).get("Allow"):
            way_out = f"this path takes {methods}"
        what = f"{request.method} {shown(request.url.path)} is no route of this server"
        error = HTTPException(error.status_code, f"{what}; {way_out}", error.headers)
    elif error.detail == "There was an error parsing the body":
        error = ApiError(400, "the body is no JSON in UTF-8; send one JSON object")
    return error_response(request.url.path, error)


def answer_serving_error(request: Request, error: Exception) -> Response:
    """Return the response for an error of the engine."""
    assert isinstance(error, ServingError)
    return error_response(request.url.path, as_api_error(error))


def answer_gone(request: Request, error: Exception) -> Response:
    """Return the response to a client that went away, for the log alone."""
    return Response(status_code=GONE)


def answer_failure(request: Request, error: Exception) -> Response:
    """Return the response for an error that nothing else answers; the log has its traceback."""
    message = f"the server failed; its log has more under request id {request.state.visit.id}"
    return error_response(request.url.path, ApiError(500, message))


def answer_validation_error(request: Request, error: Exception) -> Response:
    """Return the response for a body whose fields are wrong."""
    assert isinstance(error, RequestValidationError)
    return error_response(request.url.path, wrong_fields(error.errors()))


def wrong_fields(errors: Sequence[Json]) -> ApiError:
    """Return the error for wrong fields; it names the first.

    Args:
        errors: errors as pydantic lists them.
    """
    first = errors[0]
    places = [each for each in first["loc"] if each != "body"]
    context = first.get("ctx") or {}
    if first["type"] == "json_invalid":
        what = f"the body is no JSON: {context.get('error')} at character {places[-1]}"
        return ApiError(400, f"{what}; send one JSON object")
    if "name" in context:
        places = [*places, shown(context["name"])]
    if "field" in context:
        code = UNSUPPORTED if first["type"] == "refused_field" else None
        return ApiError(400, first["msg"], str(context["field"]), code)
    if not places:
        return ApiError(400, "the body must be one JSON object, sent as application/json")
    name = str(places[0])
    field = ".".join(str(each) for each in places if isinstance(each, int) or each.isidentifier())
    field = field or name
    last = next((each for each in reversed(places) if each in RULES), name)
    is_union = sum(name in each["loc"] for each in errors) > 1 or last != name
    if first["type"] == "missing":
        return ApiError(400, f"{field} is missing, and must be given", parameter=name)
    if first["type"] == "extra_forbidden":
        message = f"{field} is no field of this request; GET /openapi.json lists them"
        return ApiError(400, message, parameter=name)
    if is_union and last in RULES and first["type"] not in BOUNDS:
        path = ".".join(str(each) for each in places[: places.index(last) + 1])
        return ApiError(400, f"{path} must be {RULES[last]}", parameter=name)
    value = shown(first.get("input"))
    return ApiError(400, f"{field}={value} {rule_of(first['type'], context, first['msg'])}", name)


def rule_of(kind: str, context: Mapping[str, Json], message: str) -> str:
    """Return what a value must be, as the end of a sentence.

    Args:
        kind: pydantic's name of the error.
        context: bounds of the value.
        message: pydantic's message.
    """
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        bound = context[name]
        return f"must be {words} {bound if isinstance(bound, int) else f'{bound:g}'}"
    if kind in LENGTHS:
        name, words = LENGTHS[kind]
        return f"must have {words} {context[name]} entries"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    return message.replace("Input should be", "must be").replace("Value error, ", "")


def shown(value: Json) -> str:
    """Return a value as it is repeated in a message: short, on one line, all of it printable."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    text = printable(text[: SHOWN + 1])
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def printable(text: str) -> str:
    """Return a text in which control characters and half surrogate pairs are escapes."""
    safe = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in " \n" else f"\\x{ord(c):02x}" for c in safe)

"""Errors of the API in the words of the page, by their codes: messages of the API are English."""

from starlette.exceptions import HTTPException

from lslm_lightning.localization import ENGLISH, interface_language
from lslm_lightning.reports.words import words
from lslm_lightning.serving.errors import RESTART_SECONDS, ApiError
from lslm_lightning.serving.limits import ServingLimits

PROBLEMS = {
    "body_timeout": "The request did not reach the server in time.",
    "body_too_large": "This is more than the {megabytes} MB that can be sent here.",
    "context_length_exceeded": "The text is too long for this model.",
    "invalid_api_key": "The API key is missing or not known.",
    "limit_exceeded": "This is beyond a limit of the server.",
    "model_not_found": "This model is not served any more; load the page again.",
    "rate_limit_exceeded": "The server has too many requests; try again in {seconds} s.",
    "server_error": "The server failed; its log has the reason.",
    "timeout": "There was no answer in the time that a request has; ask for less.",
    "unavailable": "The models are being loaded, or the server ends; try again in {seconds} s.",
}
OWN = "wrong_field"  # code of errors that the page itself finds, in the language of the interface
DETAILED = ("context_length_exceeded", "limit_exceeded")  # whose messages have numbers
REFUSED = "The server refuses this."
REFUSED_FIELD = "The server refuses the field “{field}”."


def explained(error: HTTPException, megabytes: float, label: str = "") -> tuple[str, str]:
    """Return an error in the language of the interface, and its message in English where that tells
    more; "" where it does not.

    Args:
        megabytes: most megabytes of what was sent.
        label: label, in English, of the field that is wrong; "" if it is none of the form.
    """
    message = str(error.detail)
    code = error.code if isinstance(error, ApiError) else None
    if code == OWN:
        return message, ""
    known = PROBLEMS.get(code or "")
    has_details = known is None or code in DETAILED
    if interface_language() == ENGLISH and has_details:
        return message, ""
    if known is None:
        shown = words(REFUSED_FIELD).format(field=words(label)) if label else words(REFUSED)
        return shown, message
    seconds = (error.headers or {}).get("Retry-After", RESTART_SECONDS)
    shown = words(known).format(megabytes=f"{megabytes:g}", seconds=seconds)
    return shown, message if has_details else ""


def most_megabytes(limits: ServingLimits, has_sound: bool, needs_key: bool) -> float:
    """Return the most megabytes that a form can send.

    Args:
        has_sound: a sound is sent.
        needs_key: its key comes in the body: without JavaScript, on a server with keys.
    """
    return limits.sound_mb if has_sound and not needs_key else limits.body_mb


def problem_words() -> dict[str, str]:
    """Return the words of each code in the language of the interface."""
    return {code: words(text) for code, text in PROBLEMS.items()}

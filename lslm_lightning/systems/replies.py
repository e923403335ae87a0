"""Replies of a server with OpenAI's protocol: a text with its finish reason, or a problem."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import NamedTuple

from lslm_lightning.systems.echo import read_echo
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.text.surrogates import lone_surrogate
from lslm_lightning.types import Json, JsonObject

# Values of `Prediction.finish_reason` -> those of servers that mean the same; others are kept
FINISH = {
    "stop": (
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "stop_sequence_reached",
        "end_of_text",
    ),
    "length": ("max_tokens", "max_output_tokens", "max_completion_tokens", "model_length"),
    "content_filter": (
        "content_filtered",
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "sensitive",
    ),
    "tool_calls": ("tool_call", "tool_use", "function_call"),
}
_REASONS = {word: reason for reason, words in FINISH.items() for word in words}
# types of content parts with reasoning
_THOUGHT = ("thinking", "reasoning", "redacted_thinking", "reasoning_text")
_SILENT = ("reference",)  # types of parts without text: Mistral's citations
# fields of a message with reasoning
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
# In codes and messages of filters: of OpenAI, Azure, OpenRouter, Alibaba, DeepSeek
FILTERED = (
    "content_filter",
    "content_policy",
    "responsibleaipolicyviolation",
    "invalid_prompt",
    "flagged_input",
    "data_inspection_failed",
    "content exists risk",
)
LONGEST_PAUSE = 60.0  # seconds of a pause that a server asks for
MOST_TOKENS = 2**40  # of a plausible count
LATE = (504, 524)  # HTTP statuses of a proxy that did not wait for the model, which may go on
PASSING = (408, 409, 425, 429)  # HTTP statuses of temporary errors, besides 500 and above


_LINE_END = re.compile(r"\r\n|\n|\r")  # of server-sent events; no other character ends a line
# Errors of reading JSON that is built otherwise than expected
WRONG_SHAPE = (AttributeError, IndexError, KeyError, TypeError, RecursionError)


@contextmanager
def known_shapes(message: str) -> Iterator[None]:
    """Inside the context, turn errors of reading JSON with an unexpected structure into a
    ValueError with `message` and the error.
    """
    try:
        yield
    except WRONG_SHAPE as error:
        raise ValueError(f"{message} ({type(error).__name__}: {error})") from None


class Problem(NamedTuple):
    """Error that a server reports: its message, the parameter that it names, its code and type in
    one text, and the HTTP status.
    """

    message: str
    parameter: str | None = None
    code: str = ""
    status: int = 400

    @property
    def is_passing(self) -> bool:
        """True if the same request may succeed later; False for an exhausted quota."""
        return (self.status in PASSING or self.status >= 500) and not self.is_out_of_money

    @property
    def is_late(self) -> bool:
        """True if the model may have processed the request, which is then billed without an
        answer.
        """
        return self.status in LATE

    @property
    def is_out_of_money(self) -> bool:
        """True if a quota or the credit is exhausted."""
        return bool(
            re.search(r"insufficient_(?:quota|balance|funds|credit)|billing|credit", self.code)
        )

    @property
    def is_filtered(self) -> bool:
        """True if a content filter refused the question."""
        return any(word in f"{self.code} {self.message.lower()}" for word in FILTERED)


class ProblemError(RuntimeError):
    """The server reports an error instead of an answer.

    Attributes:
        pause: seconds after which the server asks for a retry; None if it states no sensible time.
        may_pass: False if the server says that a retry cannot succeed.
    """

    def __init__(self, problem: Problem, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(f"Error code: {problem.status} - {problem.message}")
        self.problem = problem
        self.pause = read_pause(headers)
        self.may_pass = headers.get("x-should-retry") != "false"


def read_pause(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return the seconds in a `retry-after-ms` header or a `retry-after` header, which may be a
    date.

    The result is None if the headers are missing or state no sensible time.
    """
    milliseconds = headers.get("retry-after-ms", "")
    given = headers.get("retry-after", "")
    readings = (
        lambda: float(milliseconds) / 1000,
        lambda: float(given),
        lambda: parsedate_to_datetime(given).timestamp() - now(),
    )
    for reading in readings:
        with suppress(ValueError, OverflowError):
            if 0 < (seconds := reading()) <= LONGEST_PAUSE:
                return seconds
    return None


def read_problem(content: Json, status: int) -> Problem:
    """Return the problem that an error reply describes.

    The reply may have the format of OpenAI, vLLM, FastAPI or OpenRouter, or be plain text.
    """
    if isinstance(content, str):
        try:
            content = parse_json(content)
        except ValueError:
            return Problem(_one_line(content) or "an empty reply", status=status)
    try:
        return _read_problem(content, status)
    except WRONG_SHAPE:
        return Problem(_one_line(json.dumps(content)), status=status)


def _read_problem(content: Json, status: int) -> Problem:
    """Return the problem that a JSON value describes."""
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, Mapping):
        return Problem(_one_line(str(content)), status=status)
    error = content.get("error") or content
    if not isinstance(error, Mapping):
        return Problem(_one_line(str(error)), status=status)
    message = error.get("message") or error.get("detail") or error.get("error") or json.dumps(error)
    parameter = error.get("param")
    if isinstance(message, list):  # FastAPI: a path and a message for each fault
        faults = [fault if isinstance(fault, Mapping) else {"msg": fault} for fault in message]
        paths = [
            [loc] if isinstance(loc := fault.get("loc") or [], str) else list(loc)
            for fault in faults
        ]
        parameter = parameter or next((str(path[-1]) for path in paths if path), None)
        told = zip(faults, paths, strict=True)
        message = "; ".join(
            f"{fault.get('msg')}" + (f" ({'.'.join(map(str, path))})" if path else "")
            for fault, path in told
        )
    elif isinstance(message, Mapping):
        return _read_problem(message, status)
    metadata = _mapping_in(error, "metadata")
    raw = metadata.get("raw")
    inner = _mapping_in(error, "innererror")
    moderated = "flagged_input" if "flagged_input" in metadata else None
    codes = [
        str(word)
        for word in (error.get("code"), error.get("type"), inner.get("code"), moderated)
        if word is not None
    ]
    known = next((int(word) for word in codes if word.isdigit() and 400 <= int(word) < 600), status)
    return Problem(
        _one_line(f"{message}: {raw}" if raw else str(message)),
        str(parameter).rpartition(".")[2] if parameter else None,
        " ".join(codes).lower(),
        status if status >= 400 else known,
    )


def _mapping_in(error: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    """Return the mapping in the field `name`, or an empty mapping if the field holds none."""
    value = error.get(name)
    return value if isinstance(value, Mapping) else {}


def read_body(content: Json) -> Mapping[str, Json]:
    """Return the JSON object of a reply, whatever its content type.

    The pieces of a stream, even if none was requested, are joined.

    Raises:
        ValueError: there is no JSON object; servers behind a proxy may send HTML, or nothing.
        ProblemError: the object describes an error, whatever the HTTP status.
    """
    body = _read_text(content) if isinstance(content, str) else content
    if not isinstance(body, Mapping):
        raise ValueError(f"no JSON object in {_one_line(str(content))[:100]!r}")
    if body.get("error") or (body.get("object") == "error" and "choices" not in body):
        raise ProblemError(read_problem(body, 200)._replace(status=_status(body)))
    return body


def read_reply(body: Mapping[str, Json]) -> JsonObject:
    """Return the fields of a reply: `text`, `finish`, `reasoning` (whether the model reasoned
    outside the text) and, if present, `tokens` and `logprobs`.

    Raises:
        ValueError: there is neither a text nor a reason for its absence.
        ProblemError: the first choice is an error.
    """
    choices = body.get("choices")
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(each, Mapping) for each in choices)
    ):
        raise ValueError(f"no choices in {_one_line(str(dict(body)))[:100]!r}")
    choice = min(choices, key=lambda each: each.get("index") or 0)
    if choice.get("error"):
        raise ProblemError(read_problem(choice, 200)._replace(status=_status(choice)))
    finish = choice.get("finish_reason")
    finish = _REASONS.get(str(finish).lower(), str(finish).lower()) if finish else None
    if finish == "error":
        raise ValueError("finish_reason is error, without a reason")
    message = choice.get("message")
    if message is None:
        text = choice.get("text")
        thought = False
        refusal = None
        if not isinstance(text, str):
            raise ValueError("a choice without text")
    else:
        text, thought, refusal = _read_content(message.get("content"))
        thought = thought or any(message.get(name) for name in _THOUGHTS)
        refusal = refusal or message.get("refusal")
    if not text.strip() and isinstance(refusal, str) and refusal:
        text = refusal
        finish = "refusal"
    check_characters(f"{text}{finish}{body.get('model')}")  # all that is recorded
    details = (
        usage.get("completion_tokens_details")
        if isinstance(usage := body.get("usage"), Mapping)
        else None
    )
    n_thought = details.get("reasoning_tokens") if isinstance(details, Mapping) else 0
    return {
        "text": text,
        "finish": finish,
        "reasoning": bool(thought or n_thought),
        **read_echo(body, choice),
    }


def _read_content(content: Json) -> tuple[str, bool, str | None]:
    """Return the text of a message's content, whether there is reasoning beside it, and a refusal
    or None.

    The texts of a list of parts are joined.
    """
    if content is None or isinstance(content, str):
        return content or "", False, None
    if not isinstance(content, list):
        raise ValueError(f"content is {_one_line(repr(content))[:60]}, no text")
    texts = []
    thought = False
    refusal = None
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping) and part.get("type") in _THOUGHT:
            thought = True
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, Mapping) and part.get("type") in _SILENT:
            continue
        elif isinstance(part, Mapping) and part.get("type") == "refusal":
            refusal = part.get("refusal")
        else:
            raise ValueError(f"a part of content without text: {_one_line(repr(part))[:60]}")
    return "".join(texts), thought, refusal


def check_characters(text: str) -> None:
    """Check that a text contains neither NUL nor an unpaired surrogate.

    Raises:
        ValueError: it contains one.
    """
    if "\0" in text:
        raise ValueError(f"character {text.index(chr(0)) + 1} of the text is NUL, U+0000")
    if (at := lone_surrogate(text)) is not None:
        raise ValueError(f"character {at + 1} of the text is half a surrogate pair, {text[at]!r}")


def read_usage(body: Mapping[str, Json], most_input: int, most_output: int) -> tuple[int, int]:
    """Return the numbers of tokens read and written according to the server; `most_input` and
    `most_output` if it states none.
    """
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return most_input, most_output
    n_input: Json = usage.get("prompt_tokens")
    n_output: Json = usage.get("completion_tokens")
    if not all(type(n) is int and 0 <= n <= MOST_TOKENS for n in (n_input, n_output)):
        return most_input, most_output
    return n_input, n_output


def _read_text(content: str) -> Json:
    """Return the JSON value of a text, or the joined reply of a stream.

    Comment lines, by which servers keep a connection alive, are ignored.

    Raises:
        ValueError: the text is neither JSON nor a stream, or an object has a key twice.
    """
    lines = (
        line for line in _LINE_END.split(content.removeprefix("\ufeff")) if not line.startswith(":")
    )
    try:
        return parse_json("\n".join(lines))
    except json.JSONDecodeError:
        return _joined_stream(content)


def _joined_stream(content: str) -> Json:
    """Return the reply whose pieces are sent as server-sent events, in the form of an ordinary
    reply.

    If a piece is an error, it is returned instead.

    Raises:
        ValueError: the text is not such a stream, or the stream was cut off.
    """
    lines = [line[5:].strip() for line in _LINE_END.split(content) if line.startswith("data:")]
    pieces = [parse_json(line) for line in lines if line and line != "[DONE]"]
    if not pieces or not all(isinstance(piece, Mapping) for piece in pieces):
        raise ValueError(f"no JSON in {_one_line(content)[:100]!r}")
    if error := next((piece for piece in pieces if piece.get("error")), None):
        return error
    whole: JsonObject = {"finish_reason": None}
    message: dict[str, str] = {}
    for piece in pieces:
        for choice in [each for each in piece.get("choices") or [] if not each.get("index")]:
            whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
            if isinstance(choice.get("text"), str):
                whole["text"] = whole.get("text", "") + choice["text"]
            for name, part in (choice.get("delta") or {}).items():
                if name == "content" and isinstance(part, list):
                    part, thought, _ = _read_content(part)
                    message |= {"thinking": "thought"} if thought else {}
                if isinstance(part, str) and name != "role":
                    message[name] = message.get(name, "") + part
    if not whole["finish_reason"] and "[DONE]" not in lines:
        raise ValueError("a stream that was cut")
    whole |= {} if "text" in whole else {"message": message}
    return {
        "choices": [whole],
        "usage": next((p["usage"] for p in reversed(pieces) if p.get("usage")), None),
    }


def _status(content: Mapping[str, Json]) -> int:
    """Return the HTTP status that is named by an error in a reply of status 200; 400 if it names
    none.
    """
    status = read_problem(content, 200).status
    return status if status >= 400 else 400


def _one_line(text: str) -> str:
    return " ".join(text.split())

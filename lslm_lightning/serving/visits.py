"""Record of one HTTP request, for the log and the figures."""

import json
import logging
import re
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lslm_lightning.serving.traces import RequestTrace

GIVEN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@dataclass
class Visit:
    """Request that is being answered.

    Attributes:
        began: time of its arrival, in seconds of `time.perf_counter`.
        method: method of HTTP.
        path: path of the address.
        address: address of the client, as far as known.
        id: id of the request, which the response repeats.
        route: template of the route, such as "/v1/models/{name}"; "other" for no route.
        key_name: name of the key; None without one.
        status: status of the response; 0 while there is none.
        n_prompt_token: tokens read.
        n_token: tokens written.
        first_seconds: seconds until the first part of a streamed answer; None without one.
        is_unread: True while a part of its body was not read.
        is_work: True if it asks for work, not for what is known.
        is_admitted: True once its key and its rate were checked.
        is_body_counted: True while `Admission.enter_body` counts it.
        is_counted: True once `Admission.enter` counted the request.
        is_key_counted: True once `Admission.enter_key` counted it too.
        trace: what is told of it in a trace; None if it is not traced.
    """

    began: float
    method: str
    path: str
    address: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    route: str = "other"
    key_name: str | None = None
    status: int = 0
    n_prompt_token: int = 0
    n_token: int = 0
    first_seconds: float | None = None
    is_unread: bool = False
    is_work: bool = False
    is_admitted: bool = False
    is_body_counted: bool = False
    is_counted: bool = False
    is_key_counted: bool = False
    trace: RequestTrace | None = None


def given_id(value: str) -> str:
    """Return the id of a request that a client or proxy gives, or a new one if it gives none that
    is safe to repeat.
    """
    return value if GIVEN_ID.fullmatch(value) else uuid.uuid4().hex


class AccessLog:
    """Log of requests: one JSON object a line, without texts and without keys.

    Args:
        write: function that takes a line; by default it writes to standard error.
    """

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self.write = write or _write_to_standard_error

    def add(self, visit: Visit, seconds: float) -> None:
        """Write the line of a request that has ended.

        Args:
            seconds: time from its arrival to the end of the response.
        """
        first = visit.first_seconds
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "id": visit.id,
            "method": visit.method if visit.method.isalpha() else "?",
            "route": visit.route,
            "status": visit.status,
            "seconds": round(seconds, 4),
            "first_seconds": None if first is None else round(first, 4),
            "prompt_tokens": visit.n_prompt_token,
            "tokens": visit.n_token,
            "key": visit.key_name,
            "address": visit.address,
        }
        self.write(json.dumps(line))


class JsonFormatter(logging.Formatter):
    """Format of other lines of the log, such as warnings of libraries: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """Write warnings of this process to standard error, each as a line of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _write_to_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

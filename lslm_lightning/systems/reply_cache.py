"""Disk cache of an endpoint's replies, so that no question is paid for twice."""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock

from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.safety.user_files import write_private
from lslm_lightning.systems.replies import MOST_TOKENS, check_characters, known_shapes
from lslm_lightning.types import Json, JsonObject

logger = logging.getLogger(__name__)
LOSSES = ".lost"  # suffix of files beside cached replies
REQUIRED = ("text", "n_input", "n_output", "seconds")  # fields of every cached reply
FIELDS: dict[str, tuple[type, ...]] = {  # of a cached reply, and their types
    "text": (str,),
    "n_input": (int,),
    "n_output": (int,),
    "seconds": (int, float),
    "finish": (str, type(None)),
    "reasoning": (bool,),
    "model": (str,),
    "tokens": (list,),
    "offsets": (list,),
    "logprobs": (list,),
}


class ReplyCache:
    """Cache of the replies of one server, keyed by the content of the request.

    A cache file holds a reply, or the problems for which the server refused the request. A second
    file beside it counts requests that may be billed although no reply came. The cache may be used
    from many threads.

    Args:
        base_url: address of the server.
        kind: "chat" or "completions".
    """

    def __init__(self, base_url: str, kind: str) -> None:
        self.base_url = base_url
        self.kind = kind
        self._lock = Lock()  # of what follows, and of losses on disk
        self._has_warned = False  # that nothing can be written
        self._counted: set[Path] = set()  # whose losses of earlier attempts were returned

    def path(self, payload: Mapping[str, Json]) -> Path:
        """Return the cache file for the reply to a request, whether the file exists or not."""
        asked = json.dumps([self.base_url, self.kind, payload], sort_keys=True, ensure_ascii=False)
        name = hashlib.sha256(asked.encode("utf-8", "backslashreplace")).hexdigest()
        return cache_directory() / "answers" / name[:2] / f"{name[2:]}.json"

    def write(self, path: Path, reply: JsonObject) -> None:
        """Write a reply to the cache file `path`.

        If it cannot be written, warn once; the reply is valid anyway.
        """
        self._warn(path, self._failure(path, reply))

    def earlier_losses(self, path: Path) -> list[int]:
        """Return the losses of earlier attempts, as `read_losses` does, at the first call for
        `path`.

        Further calls return zeros.
        """
        with self._lock:
            is_first = path not in self._counted
            self._counted.add(path)
            return read_losses(path) if is_first else [0, 0, 0]

    def add_loss(self, path: Path, used: tuple[int, int]) -> None:
        """Count a request without a reply.

        Args:
            path: cache file for the reply.
            used: numbers of tokens read and written that may be billed.
        """
        with self._lock:
            n_lost, n_input, n_output = read_losses(path)
            losses = [n_lost + 1, n_input + used[0], n_output + used[1]]
            reason = self._failure(path.with_suffix(LOSSES), losses)
        self._warn(path, reason)

    def _failure(self, path: Path, content: JsonObject | Sequence[int]) -> str:
        """Write a cache file; return the reason if it cannot be written, else ""."""
        try:
            write_reply(path, content)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _warn(self, path: Path, reason: str) -> None:
        """Warn once that replies cannot be cached; do nothing if `reason` is ""."""
        if not reason:
            return
        with self._lock:
            is_first = not self._has_warned
            self._has_warned = True
        if is_first:
            message = (
                "replies cannot be cached in %s (%s): repeating the evaluation will cost again"
            )
            logger.warning(message, path.parents[1], reason)


def read_cached(path: Path) -> JsonObject | None:
    """Return the cached reply or refusals in the file `path`; None if there is no file or it is
    damaged.

    A damaged file causes a warning.
    """
    try:
        cached = json.loads(path.read_text("utf-8"))
        check_cached(cached)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        logger.warning("cached reply %s is damaged (%s): it is requested again", path, reason)
        return None
    return cached


def check_cached(cached: Json) -> None:
    """Check that a JSON value is a reply or a list of refusals in the form that `write_reply`
    writes.

    Raises:
        ValueError: it is neither; the message states why.
    """
    if not isinstance(cached, dict):
        raise ValueError(f"a {type(cached).__name__} and no object")
    if "refused" in cached:
        with known_shapes("refused is no list of refusals"):
            for message, parameter, code, status in cached["refused"]:
                known = isinstance(parameter, str | None) and isinstance(status, int)
                if not known or not isinstance(message + code, str):
                    raise ValueError("a refusal of an unknown shape")
        return
    for name, kinds in FIELDS.items():
        if name not in cached and name in REQUIRED:
            raise ValueError(f"the cached reply has no {name}")
        if name not in cached:
            continue
        is_wrong = isinstance(cached[name], bool) != (kinds == (bool,))
        if is_wrong or not isinstance(cached[name], kinds):
            raise ValueError(f"{name} is {json.dumps(cached[name])[:40]}")
    for name in ("n_input", "n_output"):
        if not 0 <= cached[name] <= MOST_TOKENS:
            raise ValueError(f"{name} is {str(cached[name])[:40]}")
    if not 0 <= cached["seconds"] < math.inf:
        raise ValueError(f"seconds is {cached['seconds']}")
    check_characters(cached["text"])


def read_losses(path: Path) -> list[int]:
    """Return the number of requests without a reply, and the tokens read and written that may be
    billed for them.

    Args:
        path: cache file for the reply.
    """
    try:
        losses = json.loads(path.with_suffix(LOSSES).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return [0, 0, 0]
    if not isinstance(losses, list) or len(losses) != 3:
        return [0, 0, 0]
    is_count = all(type(n) is int and 0 <= n <= MOST_TOKENS for n in losses)
    return losses if is_count else [0, 0, 0]


def write_reply(path: Path, reply: JsonObject | Sequence[int]) -> None:
    """Write a reply as JSON, atomically; only its owner can read the file."""
    write_private(path, json.dumps(reply, ensure_ascii=False), "backslashreplace")

"""Request parameters that a server refuses, recognized from its error messages."""

import re
from collections.abc import Collection, Mapping
from threading import Lock
from typing import NamedTuple

from lslm_lightning.systems.replies import Problem
from lslm_lightning.types import Json, JsonObject

# A parameter that the server does not know, or whose value is fixed; a value out of range is for
# the user to change
UNSUPPORTED = re.compile(
    r"unsupported|not support|no longer support|unknown|unrecognized|unexpected|not "
    r"(?:permitted|recognized)|cannot find field"
    r"|extra (?:inputs|fields)|deprecated|only the default",
    re.IGNORECASE,
)
# said of a temperature of 0
TOO_LOW = re.compile(
    r"strictly positive|greater than (?:zero|0)\b|may only be set to", re.IGNORECASE
)
# names another parameter, where one is refused anyway
OTHER = re.compile(
    r"\b(?:use|try|in favou?r of)\s+(?:the\s+)?['\"`]?([a-z]+(?:_[a-z]+)+)\b", re.IGNORECASE
)
INSTEAD = re.compile(
    r"\b(?:use|try)\s+(?:the\s+)?['\"`]?([a-z]+(?:_[a-z]+)+)['\"`]?(?:\s+\w+)?\s+instead",
    re.IGNORECASE,
)
PROSE = ("model", "messages", "prompt")  # parameters whose names are common words in messages
QUOTED = re.compile(r"['\"`]([\w.]+)['\"`]")


class Change(NamedTuple):
    """Replacement of a refused parameter by the parameter `name` with `value`.

    `name` is None if the parameter is omitted.
    """

    name: str | None
    value: Json = None


class Refusals:
    """Parameters that a server has refused, shared by all threads.

    Args:
        free: parameters that may be omitted or renamed if the server demands it.
        positive: parameters whose value 0 may be replaced by 1.
    """

    def __init__(self, free: Collection[str], positive: Collection[str] = ()) -> None:
        self.free = free
        self.positive = positive
        self.changes: dict[str, Change] = {}
        self.problems: list[Problem] = []  # that taught them
        self.refused: JsonObject = {}  # parameter -> the value that was not taken
        self._lock = Lock()

    def apply(self, payload: Mapping[str, Json]) -> JsonObject:
        """Return `payload` without its refused parameters, or with their replacements."""
        with self._lock:
            sent = {name: value for name, value in payload.items() if name not in self.changes}
            for name, change in self.changes.items():
                if name in payload and change.name is not None:
                    sent[change.name] = change.value
            return sent

    def learn(self, problem: Problem, sent: Mapping[str, Json]) -> str | None:
        """Change future requests according to a problem, and return a sentence about the change.

        The sentence is empty if another thread has made the same change already. The result is None
        if the problem demands no change.

        Args:
            sent: payload of the request that caused the problem.
        """
        with self._lock:
            for name in self.free:
                text = f"{problem.message} {problem.code.replace('_', ' ')}"
                unsupported = UNSUPPORTED.search(text)
                other = INSTEAD.search(problem.message) or (
                    unsupported and OTHER.search(problem.message)
                )
                too_low = (
                    name == "temperature" and not sent.get(name) and TOO_LOW.search(problem.message)
                )
                if (
                    name in sent
                    and (other or unsupported or too_low)
                    and named_parameter(problem, sent) == name
                ):
                    change = (
                        Change(None)
                        if other is None or other[1] in sent
                        else Change(other[1], sent[name])
                    )
                    return self._change(name, change, sent, problem)
            for name in self.positive:
                if sent.get(name) == 0 and re.search(
                    rf"\b{name}\b", f"{problem.parameter} {problem.message}"
                ):
                    return self._change(name, Change(name, 1), sent, problem)
        return None

    @property
    def left_out(self) -> JsonObject:
        """Refused values of the parameters that are omitted from requests, by parameter."""
        return {
            name: value for name, value in self.refused.items() if self.changes[name].name is None
        }

    @property
    def replaced(self) -> dict[str, str]:
        """Replacements of refused parameters, each as "name=value", by parameter."""
        return {
            name: f"{change.name}={change.value!r}"
            for name, change in self.changes.items()
            if change.name is not None
        }

    def _change(self, name: str, change: Change, sent: Mapping[str, Json], problem: Problem) -> str:
        if name in self.changes:
            return ""
        self.problems.append(problem)
        self.changes[name] = change
        self.refused[name] = sent[name]
        if change.name is not None:
            return (
                f"the server refuses {name}={sent[name]!r}: {change.name}={change.value!r} is sent "
                "instead"
            )
        return (
            f"the server refuses {name}={sent[name]!r}, which is left out: its default applies, "
            "which may change answers"
        )


def named_parameter(problem: Problem, sent: Mapping[str, Json]) -> str | None:
    """Return the request parameter that a problem is about; None if this is unclear.

    It is the parameter that the server states, or the first one that its message quotes, or the
    only one that its message contains.

    Args:
        sent: payload of the request that caused the problem.
    """
    if problem.parameter is not None:
        return problem.parameter
    quoted = [name.rpartition(".")[2] for name in QUOTED.findall(problem.message)]
    if named := [name for name in quoted if name in sent]:
        return named[0]
    bare = [
        name for name in sent if name not in PROSE and re.search(rf"\b{name}\b", problem.message)
    ]
    return bare[0] if len(bare) == 1 and not quoted else None

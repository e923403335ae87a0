"""Limits of requests."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from lslm_lightning.types import Json


@dataclass(frozen=True)
class ServingLimits:
    """Limits of one request, and of all requests together.

    Args:
        body_mb: megabytes of a body.
        sound_mb: megabytes of a body with a sound file.
        characters: characters (or token ids) of all texts of a request.
        texts: texts of a request: prompts, lines to translate, answers to score.
        max_tokens: new tokens of an answer.
        beams: hypotheses of a beam search.
        answers: answers to a text, `n` and `best_of`.
        requests: requests that are being answered at the same time.
        requests_per_key: those with the same key.
        queue: texts that wait for room in the engine.
        seconds: time for a request.
        body_seconds: time in which a client sends a body.
        rate: requests per minute of one key, or of one address without keys; 0 for no limit.
    """

    body_mb: float = 1.0
    sound_mb: float = 25.0
    characters: int = 100_000
    texts: int = 256
    max_tokens: int = 2048
    beams: int = 16
    answers: int = 16
    requests: int = 256
    requests_per_key: int = 64
    queue: int = 1024
    seconds: float = 120.0
    body_seconds: float = 30.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < math.inf and (each.name, value) != ("rate", 0):
                option = f"--{each.name.replace('_', '-')}"
                raise ValueError(f"{option} {value} must be a number above 0")


def limits_of(options: Mapping[str, Json]) -> ServingLimits:
    """Return the limits that options of a command give; other options are left out.

    Raises:
        ValueError: one is no finite number above 0.
    """
    names = {each.name for each in fields(ServingLimits)} & options.keys()
    return ServingLimits(**{name: options[name] for name in names})

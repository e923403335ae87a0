"""Fields that several requests have: how to search, and what is accepted and ignored."""

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lslm_lightning.experiments.generation import SearchSettings
from lslm_lightning.serving.admission import check_limit
from lslm_lightning.serving.errors import ApiError, printable
from lslm_lightning.serving.limits import ServingLimits
from lslm_lightning.serving.protocol import ServedModelInfo
from lslm_lightning.types import Json, JsonObject

LARGEST = 2**63 - 1
SAMPLED = ("temperature", "top_p", "top_k")
# values that agree with a search without sampling, as clients send them by default
NEUTRAL: dict[str, tuple[float | None, ...]] = {
    "temperature": (None, 0, 1),
    "top_p": (None, 1),
    "top_k": (None, -1, 0),
}
Seed = Annotated[int, Field(ge=-LARGEST - 1, le=LARGEST)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class RequestFields(BaseModel):
    """Fields of a request, of which none is unknown.

    Attributes:
        refused: fields of the same request elsewhere that would change the answer and are not
            supported, with the values that would not change it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    refused: ClassVar[Mapping[str, tuple[Json, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def check_refused(cls, given: Json) -> Json:
        """Return the fields without those that change nothing; refuse those that would, the first
        unknown one, half surrogate pairs, which are no characters, and values that are nested
        too deeply for any of what follows.
        """
        if not isinstance(given, dict):
            return given
        for name in given:
            if name not in cls.model_fields and name not in cls.refused:
                raise PydanticCustomError("extra_forbidden", "unknown", {"name": name})
        if (found := unreadable(given)) is not None:
            raise PydanticCustomError("unreadable", "{message}", _context(*found))
        kept = {}
        for name, value in given.items():
            if name not in cls.refused:
                kept[name] = value
            elif value is not None and value not in cls.refused[name]:
                message = f"{name} would change the answer and is not supported; leave it out"
                raise PydanticCustomError("refused_field", "{message}", _context(name, message))
        return kept


def unreadable(given: JsonObject) -> tuple[str, str] | None:
    """Return the name of a field that nothing can read, and the message on it; None if there is
    none.
    """
    for name, value in given.items():
        try:
            json.dumps({name: value}, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            field = printable(name)
            message = f"{field} has half a surrogate pair, which is no character; leave it out"
            return field, message
        except RecursionError:
            field = printable(name)
            return field, f"{field} is nested too deeply; send less"
    return None


def _context(name: str, message: str) -> dict[str, Json]:
    return {"field": name, "message": message}


class SearchFields(RequestFields):
    """Settings of the decoding search. Without any, the run's own search is used."""

    temperature: float | None = Field(None, ge=0, le=2, description="0 for the most probable.")
    top_p: float | None = Field(None, ge=0, le=1, description="Share of the tokens to sample.")
    top_k: int | None = Field(None, ge=-1, le=10**7, description="Number of tokens to sample.")
    search: Literal["greedy", "beam", "sampling"] | None = Field(
        None, description="Kind of search; the run's own if no field of a search is given."
    )
    beam_size: int | None = Field(None, ge=1, le=10_000, description="Hypotheses of a beam search.")
    length_penalty: float | None = Field(
        None, ge=-10, le=10, description="Of a beam search; above 1 favours long answers."
    )
    no_repeat_ngram: int | None = Field(
        None, ge=0, le=10**7, description="Never write the same tokens of this number twice."
    )
    max_tokens: int | None = Field(
        None, ge=0, le=10**7, description="Most new tokens; as the run was configured if left out."
    )
    min_tokens: int | None = Field(None, ge=0, le=10**7, description="Least new tokens.")
    seed: Seed | None = Field(None, description="Random seed of sampling.")

    @property
    def chosen_seed(self) -> int:
        """Seed of sampling: the given one, else a random one if the request asks for sampling, else
        that of `lslm generate`.
        """
        if self.seed is not None:
            return self.seed
        return secrets.randbelow(2**31) if self.kind == "sampling" else 0

    @property
    def kind(self) -> Literal["greedy", "beam", "sampling"] | None:
        """Kind of search that the fields ask for; None for the run's own."""
        if self.search is not None:
            return self.search
        if self.beam_size is not None or self.length_penalty is not None:
            return "beam"
        if self.temperature == 0 or self.top_p == 0 or self.top_k == 1:
            return "greedy"
        return "sampling" if any(getattr(self, name) is not None for name in SAMPLED) else None

    def settings(self, limits: ServingLimits, model: ServedModelInfo) -> SearchSettings:
        """Return the settings of the search. A model that writes token by token gets the limit of
        the server, if it has none or a higher one.

        Raises:
            ApiError: a number is above a limit, or two fields contradict each other.
        """
        check_limit("max_tokens", self.max_tokens, limits.max_tokens, "--max-tokens")
        check_limit("min_tokens", self.min_tokens, limits.max_tokens, "--max-tokens")
        check_limit("beam_size", self.beam_size, limits.beams, "--beams")
        kind = self.kind
        if kind == "sampling" and self.temperature == 0:
            message = "temperature=0 is no sampling; leave search out, or give a temperature"
            raise ApiError(400, message, parameter="temperature")
        if kind == "beam" or self.search == "greedy":
            for name, neutral in NEUTRAL.items():
                if (value := getattr(self, name)) not in neutral:
                    message = f"{name}={value} belongs to sampling, not to {kind}; leave one out"
                    raise ApiError(400, message, parameter=name)
        if self.max_tokens is not None and (self.min_tokens or 0) > self.max_tokens:
            message = f"min_tokens={self.min_tokens} must be at most max_tokens={self.max_tokens}"
            raise ApiError(400, message, parameter="min_tokens")
        sampled = {name: getattr(self, name) for name in SAMPLED} if kind == "sampling" else {}
        if sampled.get("top_k") in (-1, 0):
            sampled["top_k"] = None
        longest = self.max_tokens
        if longest is None and "generate" in model.abilities:
            is_within = model.max_length is not None and model.max_length <= limits.max_tokens
            longest = None if is_within else limits.max_tokens
        return SearchSettings(
            search=kind,
            no_repeat_ngram=self.no_repeat_ngram,
            beam_size=self.beam_size,
            length_penalty=self.length_penalty,
            max_length=longest,
            min_length=self.min_tokens,
            **sampled,
        )

"""Requests of OpenAI's API, as far as they are supported."""

from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, field_validator

from lslm_lightning.serving.errors import shown
from lslm_lightning.serving.fields import Penalty, RequestFields, SearchFields
from lslm_lightning.types import Json

T = TypeVar("T")
TokenId = Annotated[int, Field(ge=0, le=2**31)]
StopText = Annotated[str, Field(max_length=256)]
FewList = Annotated[list[T], Field(fail_fast=True)]  # one error, whatever is wrong
Tokens = Annotated[FewList[TokenId], Field(min_length=1)]
Bias = Annotated[float, Field(ge=-100, le=100)]
MOST_BIASES = 1024  # each costs time at every token of the answer
IGNORED = "Accepted and ignored: it cannot change the answer."


class TextPart(RequestFields):
    """Part of the content of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(RequestFields):
    """Message of a conversation."""

    refused = {  # noqa: RUF012
        "tool_calls": ([],),
        "function_call": (),
        "tool_call_id": (),
        "audio": (),
        "refusal": ("",),
        "annotations": ([],),
        "reasoning_content": ("",),
    }
    role: Literal["system", "developer", "user", "assistant"]
    content: str | FewList[TextPart]
    name: str | None = Field(None, description=IGNORED)

    @property
    def text(self) -> str:
        """Text of the message; parts are joined by line breaks."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class StreamOptions(RequestFields):
    """Options of a stream."""

    include_usage: bool | None = Field(None, description="Send the numbers of tokens at the end.")
    include_obfuscation: bool | None = Field(None, description=IGNORED)


class OpenAIFields(SearchFields):
    """Fields that completions and chat completions share."""

    model: str | None = Field(None, description="Name of a model; the first that fits if left out.")
    n: int | None = Field(None, ge=1, le=10_000, description="Answers to each prompt.")
    stop: StopText | Annotated[FewList[StopText], Field(max_length=4)] | None = Field(
        None, description="Texts that end an answer."
    )
    presence_penalty: Penalty | None = Field(
        None, description="Subtracted from the logit of each token that the answer has."
    )
    frequency_penalty: Penalty | None = Field(
        None, description="Subtracted from it for each time that the answer has the token."
    )
    logit_bias: dict[str, Bias] | None = Field(
        None,
        max_length=MOST_BIASES,
        description=f"From token id to the number added to its logit; at most {MOST_BIASES:,}.",
    )
    stream: bool | None = Field(None, description="Send the answer in parts, as it is written.")
    stream_options: StreamOptions | None = Field(
        None, description="`include_usage` sends the numbers of tokens at the end of a stream."
    )
    user: object = Field(None, description=IGNORED)
    metadata: object = Field(None, description=IGNORED)
    store: object = Field(None, description=IGNORED)
    service_tier: object = Field(None, description=IGNORED)
    prompt_cache_key: object = Field(None, description=IGNORED)
    prompt_cache_retention: object = Field(None, description=IGNORED)
    safety_identifier: object = Field(None, description=IGNORED)

    @field_validator("logit_bias", mode="before")
    @classmethod
    def check_bias(cls, given: Json) -> Json:
        """Return the biases. Too many are refused before any is looked at, and the first that is no
        number in range is refused for all.
        """
        if isinstance(given, dict) and len(given) > MOST_BIASES:
            raise ValueError(f"must have at most {MOST_BIASES:,} entries, and has {len(given):,}")
        for key, bias in given.items() if isinstance(given, dict) else ():
            is_number = isinstance(bias, int | float) and not isinstance(bias, bool)
            if not is_number or not -100 <= bias <= 100:
                raise ValueError(f"must have numbers from -100 to 100, and has {shown(key)}")
        return given

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in given if text)

    @property
    def sends_usage(self) -> bool:
        """True if a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionFields(OpenAIFields):
    """Request for completions of a text, as OpenAI's `/v1/completions`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0},
                {"prompt": ["One", "Two"], "max_tokens": 4, "temperature": 0.8, "seed": 1, "n": 2},
            ]
        }
    )
    refused: ClassVar[dict[str, tuple[Json, ...]]] = {"suffix": ("",)}
    prompt: (
        str
        | Annotated[FewList[str], Field(min_length=1)]
        | Tokens
        | Annotated[FewList[Tokens], Field(min_length=1)]
    ) = Field(description="Text to continue, or token ids; a list of either for several.")
    best_of: int | None = Field(
        None, ge=1, le=10_000, description="Answers to search, of which the best `n` are returned."
    )
    echo: bool | None = Field(None, description="Put the prompt before the answer.")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="Log p of each token and of so many most probable ones."
    )

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """Prompts of the request."""
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if isinstance(given[0], int):
            return [tuple(each for each in given if isinstance(each, int))]
        return [each if isinstance(each, str) else tuple(_ids(each)) for each in given]


def _ids(given: list[int] | int) -> list[int]:
    return given if isinstance(given, list) else [given]


class ChatFields(OpenAIFields):
    """Request for the next message of a conversation, as OpenAI's `/v1/chat/completions`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [
                        {"role": "system", "content": "Answer in one word."},
                        {"role": "user", "content": "What is the capital of France?"},
                    ],
                    "max_tokens": 8,
                }
            ]
        }
    )
    refused: ClassVar[dict[str, tuple[Json, ...]]] = {
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "functions": ([],),
        "function_call": ("none", "auto"),
        "response_format": ({"type": "text"},),
        "modalities": (["text"],),
        "audio": (),
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "web_search_options": (),
    }
    messages: Annotated[FewList[ChatMessage], Field(min_length=1)] = Field(
        description="The conversation: objects with `role` and `content`."
    )
    max_completion_tokens: int | None = Field(
        None, ge=1, le=10**7, description="Newer name of max_tokens."
    )
    logprobs: bool | None = Field(None, description="Log p of each token.")
    top_logprobs: int | None = Field(
        None, ge=0, le=20, description="So many most probable tokens, with `logprobs`."
    )
    parallel_tool_calls: object = Field(None, description=IGNORED)
    prediction: object = Field(None, description=IGNORED)

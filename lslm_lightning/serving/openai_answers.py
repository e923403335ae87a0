"""Answers in the forms of OpenAI's API."""

import math
import time
import uuid
from collections.abc import Mapping, Sequence

from lslm_lightning.serving.protocol import (
    Answered,
    AnswerPart,
    ServedAnswer,
    ServedModelInfo,
    TokenInfo,
)
from lslm_lightning.types import JsonObject

LEAST = -9999.0  # stands for a log p of minus infinity, as in OpenAI's answers


def head(prefix: str, kind: str, model: str) -> JsonObject:
    """Return the fields with which every answer begins.

    Args:
        prefix: beginning of the id.
        kind: name of the kind of object.
        model: name of the model.
    """
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def usage(answered: Sequence[Answered]) -> JsonObject:
    """Return the numbers of tokens of the answers to all prompts."""
    n_prompt_token = sum(each.n_prompt_token for each in answered)
    n_token = sum(each.n_token for each in answered)
    return {
        "prompt_tokens": n_prompt_token,
        "completion_tokens": n_token,
        "total_tokens": n_prompt_token + n_token,
        "prompt_tokens_details": {"cached_tokens": sum(each.n_cached_token for each in answered)},
    }


def completion_choice(
    index: int, answer: ServedAnswer | AnswerPart, with_logprobs: bool
) -> JsonObject:
    """Return a choice of `/v1/completions`, or a part of one."""
    return {
        "index": index,
        "text": answer.text,
        "logprobs": completion_logprobs(answer.tokens) if with_logprobs else None,
        "finish_reason": answer.finish_reason,
    }


def completion_logprobs(tokens: Sequence[TokenInfo]) -> JsonObject:
    """Return tokens in the form of `/v1/completions`.

    A token that is not among the most probable ones is added to them, as OpenAI does. Of several
    tokens with the same text, the most probable is shown.
    """
    tops: list[JsonObject | None] = []
    for token in tokens:
        if token.log_p is None:
            tops.append(None)
            continue
        top: JsonObject = {}
        for text, _, log_p in token.top:
            top.setdefault(text, finite(log_p))
        top.setdefault(token.text, finite(token.log_p))
        tops.append(top)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [None if t.log_p is None else finite(t.log_p) for t in tokens],
        "top_logprobs": tops,
        "text_offset": [token.offset for token in tokens],
    }


def chat_choice(index: int, answer: ServedAnswer, with_logprobs: bool) -> JsonObject:
    """Return a choice of `/v1/chat/completions`."""
    return {
        "index": index,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "logprobs": chat_logprobs(answer.tokens) if with_logprobs else None,
        "finish_reason": answer.finish_reason,
    }


def chat_delta(
    index: int,
    delta: Mapping[str, str],
    tokens: Sequence[TokenInfo] = (),
    finish_reason: str | None = None,
) -> JsonObject:
    """Return a part of a choice of `/v1/chat/completions`."""
    return {
        "index": index,
        "delta": dict(delta),
        "logprobs": chat_logprobs(tokens) if tokens else None,
        "finish_reason": finish_reason,
    }


def chat_logprobs(tokens: Sequence[TokenInfo]) -> JsonObject:
    """Return tokens in the form of `/v1/chat/completions`."""
    content = [
        _entry(token.text, token.log_p or 0.0)
        | {"top_logprobs": [_entry(text, log_p) for text, _, log_p in token.top]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(text: str, log_p: float) -> JsonObject:
    """Return a token with its log p and the bytes of its text."""
    data = list(text.encode("utf-8", "replace"))
    return {"token": text, "logprob": finite(log_p), "bytes": data}


def finite(log_p: float) -> float:
    """Return the log probability of a token, as OpenAI's answers express it."""
    return max(LEAST, log_p) if not math.isnan(log_p) else LEAST


def model_card(model: ServedModelInfo) -> JsonObject:
    """Return a model as `/v1/models` lists it, with what OpenAI's list does not have under
    "lslm".
    """
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "lslm",
        "lslm": {
            "task": model.task,
            "abilities": sorted(model.abilities),
            "source_language": model.source_language,
            "target_language": model.target_language,
            "modality": model.modality,
            "max_length": model.max_length,
            "max_context": model.max_context,
            "vocab_size": model.vocab_size,
            "n_parameter": model.n_parameter,
        },
    }

"""Log probabilities of a text that a server echoes, aligned with the text that was sent."""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from lslm_lightning.types import Json, JsonObject

# OpenAI's form of an incomplete character
BYTES = re.compile(r"bytes:((?:\\x[0-9a-f]{2}|.)+)", re.DOTALL)
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # SentencePiece's form of one
UNKNOWN = -9999.0  # log probability by which OpenAI and vLLM mark an unknown one
ROUNDING = 1e-4  # log probabilities up to here above 0 are rounded
FIRST = 32  # bytes at most of a first token whose text the server omits
ALL_CERTAIN = 8  # tokens; a text of so many with probability 1 each was not scored


class EchoError(ValueError):
    """The server did not score the text that it was sent; the message states what it returned."""


class BoundaryError(ValueError):
    """A token begins in the context and ends in the passage.

    `start` is the character offset in the text (context and passage) at which the token begins.
    """

    def __init__(self, start: int) -> None:
        super().__init__(
            f"a token that begins at character {start} holds the end of the context and the "
            "passage's beginning"
        )
        self.start = start


class Span(NamedTuple):
    """Byte range of the text that a token covers.

    Both fields are None for a token before the text, such as `<s>`.
    """

    start: int | None
    end: int | None


def read_echo(body: Mapping[str, Json], choice: Mapping[str, Json]) -> JsonObject:
    """Return the fields `tokens`, `logprobs` and `offsets` of the echoed text, as far as a reply
    has them.

    The result is empty if the reply has no log probabilities. A token is None if the server omits
    its text. The known formats are those of OpenAI's completions and chat, of Together (log
    probabilities of the prompt are beside the choices) and of vLLM (`prompt_logprobs`).

    Args:
        body: JSON object of the reply.
        choice: element of `body["choices"]` to read.
    """
    if isinstance(prompt := choice.get("prompt_logprobs") or body.get("prompt_logprobs"), list):
        return _of_vllm(prompt)
    prompts = body.get("prompt")
    beside = (
        prompts[0].get("logprobs")
        if isinstance(prompts, list) and prompts and isinstance(prompts[0], dict)
        else None
    )
    found = beside or choice.get("logprobs")
    if not isinstance(found, dict):
        return {}
    if isinstance(content := found.get("content"), list):
        return {
            "tokens": [_text_of(part) for part in content],
            "logprobs": [part.get("logprob") for part in content],
        }
    if not (logprobs := found.get("token_logprobs")):
        return {}
    names = {"tokens": found.get("tokens"), "offsets": found.get("text_offset")}
    return {"logprobs": logprobs} | {name: value for name, value in names.items() if value}


def _of_vllm(prompt: Sequence[Mapping[str, Json] | None]) -> JsonObject:
    """Return `tokens` and `logprobs` from vLLM's format: one dictionary per token, keyed by token
    id.

    A dictionary with several entries does not tell which of them is the token of the text, so its
    token and log probability are None.
    """
    entries = [next(iter(each.values())) if each and len(each) == 1 else {} for each in prompt]
    entries = [entry if isinstance(entry, dict) else {} for entry in entries]
    return {
        "tokens": [e.get("decoded_token") for e in entries],
        "logprobs": [e.get("logprob") for e in entries],
    }


def _text_of(part: Mapping[str, Json]) -> str | None:
    """Return the text of one token in a chat's `logprobs.content`.

    An incomplete character is returned as "bytes:\\x..".
    """
    token = part.get("token")
    data = part.get("bytes")
    if data and isinstance(token, str) and bytes(data) != token.encode("utf-8", "replace"):
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
    return token


def score_passage(echo: Mapping[str, Json], context: str, passage: str) -> tuple[float, int]:
    """Return the negative log probability (nats) of `passage` after `context`, and its number of
    tokens.

    Args:
        echo: result of `read_echo` for a request whose text was `context + passage`.

    Raises:
        EchoError: the tokens do not match the text, or a token of the passage has no probability.
        BoundaryError: a token begins in the context and ends in the passage.
    """
    text = context + passage
    logprobs = echo.get("logprobs") or []
    tokens = echo.get("tokens") or _slices(echo, text)
    if not tokens or not logprobs:
        raise EchoError("its reply has no tokens with probabilities")
    if (
        not isinstance(tokens, list)
        or not isinstance(logprobs, list)
        or not all(isinstance(t, str | None) for t in tokens)
    ):
        raise EchoError("its tokens are no list of texts")
    if len(tokens) != len(logprobs):
        raise EchoError(f"its reply has {len(tokens):,} tokens and {len(logprobs):,} probabilities")
    boundary = len(context.encode())
    scored = []
    spans = match(tokens, text, boundary)
    for i, (start, end) in enumerate(spans):
        if start is None or end is None or (start < boundary and end <= boundary):
            continue
        if start < boundary:
            raise BoundaryError(len(text.encode()[:start].decode("utf-8", "ignore")))
        scored.append(-check_log_probability(logprobs[i], tokens[i], i))
    if len(scored) >= ALL_CERTAIN and not any(scored):
        raise EchoError(f"it gives a probability of 1 to each of {len(scored):,} tokens")
    return math.fsum(scored), len(scored)


def check_log_probability(value: Json, token: str | None, number: int) -> float:
    """Return the log probability `value`; rounding errors above 0 become 0.

    Args:
        token: text of the token, for the message.
        number: index of the token, for the message.

    Raises:
        EchoError: the value is not a log probability, or is the one by which servers mark an
            unknown log probability.
    """
    what = f"token {number + 1}, {token!r},"
    if value is None:
        raise EchoError(f"{what} has no probability")
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or math.isnan(value)
        or value > ROUNDING
    ):
        raise EchoError(
            f"{what} has {value!r} for a log probability, which must be a number of at most 0"
        )
    if value <= UNKNOWN:
        raise EchoError(
            f"{what} has the log probability {value:g}, by which servers say that they do not "
            "know it"
        )
    return min(0.0, float(value))


def match(tokens: Sequence[str | None], text: str, boundary: int) -> list[Span]:
    """Return the byte range of `text` that each token covers; tokens generated after the text are
    left out.

    A token that is an incomplete character is given as its bytes, as U+FFFD or as an empty text;
    the last two stand for one to three non-ASCII bytes. Several alignments may therefore be
    possible. The chosen one reaches the end of the text, has as many tokens as possible and, if
    possible, a token that begins at the byte `boundary`.

    Raises:
        EchoError: the joined tokens are not the text.
    """
    data = text.encode()
    for split in (True, False):
        ways = _ways(tokens, data, boundary, split)
        last = max((i for i, ends in enumerate(ways) if len(data) in ends), default=None)
        if last is not None:
            break
    else:
        raise EchoError(_mismatch(tokens, data, len(ways) - 1, max(ways[-1])))
    spans = []
    end = len(data)
    for ends in reversed(ways[1 : last + 1]):
        start = ends[end]
        spans.append(Span(None, None) if start is None else Span(start, end))
        end = 0 if start is None else start
    return spans[::-1]


def _ways(
    tokens: Sequence[str | None], data: bytes, boundary: int, split: bool
) -> list[dict[int, int | None]]:
    """Return, for each token, a map from each byte offset at which it may end to the offset at
    which it begins.

    The list has one more element at the start, for the empty sequence of tokens. It ends early if a
    token does not match.

    Args:
        data: the text in UTF-8.
        boundary: byte offset at which the context ends.
        split: forbid tokens with bytes on both sides of the boundary.
    """
    ways: list[dict[int, int | None]] = [{0: None}]
    # where U+FFFD may end, by its start: it may stand hundreds of times in a row
    known: dict[int, set[int]] = {}
    for i, token in enumerate(tokens):
        ends: dict[int, int | None] = {}
        for start in ways[-1]:
            if token is None and i == 0:
                ends |= dict.fromkeys(range(min(boundary, FIRST) + 1), 0)
            elif token is not None and start < len(data):
                if token != "\ufffd":
                    possible = _ends(token, data, start)
                else:
                    if start not in known:
                        known[start] = _ends(token, data, start)
                    possible = known[start]
                ends |= {end: start for end in possible if not (split and start < boundary < end)}
        if not ends and ways[-1].keys() == {0} and _is_before_text(token):
            ends = {0: None}
        if not ends:
            break
        ways.append(ends)
    return ways


def _is_before_text(token: str | None) -> bool:
    """Return whether a token may precede the text without being part of it, such as `<s>` or the
    space that SentencePiece adds.
    """
    return token is not None and (
        not token.strip(" ▁") or bool(re.fullmatch(r"<.*>|\[[A-Z]+\]", token, re.DOTALL))
    )


def _ends(token: str, data: bytes, start: int) -> set[int]:
    """Return the byte offsets of `data` at which a token that begins at `start` may end.

    The result is empty if the token does not match the text.
    """
    forms = {token.encode("utf-8", "replace"), token.replace("▁", " ").encode("utf-8", "replace")}
    if found := BYTES.fullmatch(token):
        parts = re.split(r"\\x([0-9a-f]{2})", found[1])
        forms.add(
            b"".join(
                bytes.fromhex(part) if i % 2 else part.encode("utf-8", "replace")
                for i, part in enumerate(parts)
            )
        )
    if found := BYTE.fullmatch(token):
        forms.add(bytes.fromhex(found[1]))
    ends = {start + len(form) for form in forms if data.startswith(form, start)}
    # a part of a character, which some servers leave out, or write beside its last part
    if not token:
        return {
            end
            for end in range(start, start + 4)
            if min(data[start:end], default=0x80) >= 0x80 and end <= len(data)
        }
    if ends or "\ufffd" not in token:
        return ends
    known, *others = (part.encode("utf-8", "replace") for part in token.split("\ufffd"))
    ends = {start + len(known)} if data.startswith(known, start) else set()
    for part in others:
        after = {
            end + n
            for end in ends
            for n in (1, 2, 3)
            if len(piece := data[end : end + n]) == n and _is_part(piece)
        }
        ends = {end + len(part) for end in after if data.startswith(part, end)}
    return ends


def _is_part(piece: bytes) -> bool:
    """Return whether these bytes can belong to one non-ASCII character."""
    return min(piece) >= 0x80 and max(piece[1:], default=0) < 0xC0


def _slices(echo: Mapping[str, Json], text: str) -> list[str]:
    """Return the tokens of a reply that has only their character offsets in the text.

    Older versions cached such replies.

    Raises:
        EchoError: the offsets are invalid, or the echoed text differs from `text`.
    """
    if not (offsets := echo.get("offsets")):
        return []
    if not isinstance(offsets, list) or not all(isinstance(offset, int) for offset in offsets):
        raise EchoError("the offsets of its tokens are no numbers")
    if "text" in echo and not echo["text"].strip().startswith(text.strip()):
        raise EchoError(f"it returned {_short(echo['text'])} for {_short(text)}")
    bounds = [*offsets, max(len(text), offsets[-1])]
    if offsets[0] != 0 or any(second < first for first, second in pairwise(bounds)):
        raise EchoError(
            f"its tokens begin at characters {offsets[0]:,} to {offsets[-1]:,} of a text of "
            f"{len(text):,}"
        )
    if offsets[-1] >= len(text) and not text.isascii():
        raise EchoError(
            "it returned no tokens, so that it is unknown whether its text offsets count bytes or "
            "characters; use another server, or score ASCII text alone"
        )
    return [text[first:second] for first, second in pairwise(bounds)]


def _mismatch(tokens: Sequence[str | None], data: bytes, n_matched: int, reached: int) -> str:
    """Return a message which states where tokens and text differ.

    Args:
        n_matched: number of leading tokens that match.
        reached: byte offset at which the last of them ends.
    """
    done, rest = (part.decode("utf-8", "ignore") for part in (data[:reached], data[reached:]))
    if n_matched == len(tokens):
        return (
            f"its tokens end {len(rest):,} characters before the text does, which goes on "
            f"{_short(rest)}"
        )
    if not n_matched:
        return f"its tokens begin {_short(tokens[0])}, and the text {_short(rest)}"
    given = tokens[n_matched] or ""
    normal = [unicodedata.normalize("NFKC", part) for part in (given, rest)]
    form = ", another form of Unicode" if normal[0] and normal[1].startswith(normal[0]) else ""
    return (
        f"after {len(done):,} characters its token is {_short(given)}{form}, where the text "
        f"goes on {_short(rest)}"
    )


def _short(text: str | None) -> str:
    """Return at most 20 characters of a text, in quotes; "without a text" for None."""
    return "without a text" if text is None else repr(text if len(text) <= 20 else text[:19] + "…")

"""Answers of the small engine that fill all that the page can show."""

import math
from pathlib import Path

from lslm_lightning.serving.protocol import (
    AnswerRequest,
    AttentionMap,
    ServedAnswer,
    ServedModelInfo,
    ServingError,
    TokenInfo,
)

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>"


def by_task(model: ServedModelInfo, request: AnswerRequest) -> tuple[ServedAnswer, ...]:
    """Return answers made of the words of the source; one with "refuse" in it is refused by
    name.
    """
    source = request.source
    assert isinstance(source, str)
    if "refuse" in source:
        message = f"text={source!r} has 9 tokens, at most 5 are read; cut it"
        raise ServingError(message, parameter="text")
    if model.task == "translation":
        return tuple(translated(source, i) for i in range(request.n))
    if model.task == "question_answering":
        return (found(*source.split("\n", 1)),)
    if model.task == "language_modeling":
        return (continued(source, request.settings.max_length or 8),)
    if model.task == "speech_recognition":
        return (ServedAnswer(f"{len(Path(source).read_bytes())} bytes", "stop", 2, -0.5),)
    return (ServedAnswer(" ".join(source.split()[:6]), "stop", 6, -2.5),)


def translated(source: str, i: int) -> ServedAnswer:
    """Return the words of a source backwards, without the first `i`."""
    words = source.split()
    target = tuple(reversed(words[i:]))
    n = len(words)
    weights = tuple(
        tuple((8.0 if s == n - 1 - r else 1.0) / (n + 7) for s in range(n))
        for r in range(len(target))
    )
    attention = AttentionMap(tuple(words), target, weights)
    return ServedAnswer(" ".join(target), "stop", n, -1.25 * (i + 1), attention=attention)


def found(question: str, passage: str) -> ServedAnswer:
    """Return the last word of a question where the passage has it."""
    wanted = question.rstrip("?？").split()[-1]
    start = passage.find(wanted)
    if start < 0:
        return ServedAnswer("", "stop", 0, -0.1, no_answer_score=4.5)
    span = (start, start + len(wanted))
    return ServedAnswer(wanted, "stop", 1, -0.7, span=span, no_answer_score=-3.25)


def continued(source: str, n: int) -> ServedAnswer:
    """Return words, each less probable than the one before."""
    words = [
        HOSTILE if "hostile" in source else "so",
        "红",
        "👍🏽",
        "cat",
        "\n",
        "runs",
        "one",
        "two",
    ]
    text = ""
    tokens = []
    for i in range(n):
        piece = f" {words[i % len(words)]}"
        log_p = -0.2 * (i % 64) ** 1.5
        others = [(f" {1000 + j}", 3 + j, math.log(0.05)) for j in range(3)]
        top = ((" a<b>", 1, math.log(0.5)), (piece, 2, log_p), *others)
        tokens.append(TokenInfo(piece, i, log_p, len(text), top))
        text += piece
    return ServedAnswer(text, "length", n, sum(token.log_p or 0 for token in tokens), tuple(tokens))

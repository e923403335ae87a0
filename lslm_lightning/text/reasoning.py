"""Removal of the reasoning in model output: `<think>` blocks, and the channels of gpt-oss."""

import re

_NAMES = "think|thinking|thought|reasoning"
_OPEN = re.compile(rf"<(?:{_NAMES})>|\[THINK\]", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_NAMES})>|\[/THINK\]", re.IGNORECASE)
_BLOCK = re.compile(rf"(?:{_OPEN.pattern}).*?(?:{_CLOSE.pattern})", re.IGNORECASE | re.DOTALL)
_ANALYSIS = re.compile(
    r"<\|channel\|>\s*(?:analysis|commentary)|\Aanalysis.*?assistantfinal", re.DOTALL
)
_FINAL = re.compile(r"<\|channel\|>\s*final\s*<\|message\|>|\Aanalysis.*assistantfinal", re.DOTALL)
_SPECIAL = re.compile(r"<\|(?:start|channel|message|end|return)\|>.*", re.DOTALL)


def has_reasoning(text: str) -> bool:
    """Return whether `text` contains a marker of reasoning, such as `<think>`."""
    return any(pattern.search(text) for pattern in (_OPEN, _CLOSE, _ANALYSIS, _FINAL))


def strip_reasoning(text: str) -> str:
    """Return the answer in `text` without the reasoning; "" if the reasoning is not closed.

    The opening marker may be missing, since many chat templates put it into the prompt.
    """
    if finals := list(_FINAL.finditer(text)):
        text = _SPECIAL.sub("", text[finals[-1].end() :])
    elif analysis := _ANALYSIS.search(text):
        text = text[: analysis.start()]
    text = _BLOCK.sub("", text)
    if stray := list(_CLOSE.finditer(text)):
        text = text[stray[-1].end() :]
    if unfinished := _OPEN.search(text):
        text = text[: unfinished.start()]
    return text.strip()

"""Question answering as a prompt, for systems that follow instructions."""

from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.text.languages import base_language

VERSION = "question-answering-1"
NOTHING = "-"
"""Output that means no answer: a character that is ignored when answers are compared, in English
and Chinese; see `metrics.answer_rules`.
"""
ENGLISH = (
    "Answer the question with the shortest words of the passage that answer it, copied exactly, "
    "and nothing else."
    f" If the passage does not answer it, reply with {NOTHING} alone."
)
CHINESE = (
    "请用短文中能回答问题的最短原文作答，一字不改，不要写任何其他内容。"
    f"如果短文没有给出答案，只回复 {NOTHING} 。"
)
LABELS = {"en": ("Passage: ", "Question: ", "Answer:"), "zh": ("短文：", "问题：", "答案：")}


def question(example: Example, shots: Sequence[Example] = ()) -> str:
    """Return the prompt for an example, preceded by the few-shot examples `shots`. It is in Chinese
    for Chinese passages, otherwise in English.
    """
    language = "zh" if base_language(example.language) == "zh" else "en"
    lines = [CHINESE if language == "zh" else ENGLISH]
    for shot in shots:
        lines += [
            "",
            *asked(shot, language),
            f"{LABELS[language][2]} {shot.references[0] or NOTHING}",
        ]
    return "\n".join([*lines, "", *asked(example, language), LABELS[language][2]])


def asked(example: Example, language: str) -> list[str]:
    """Return the lines with the passage and with the question of an example, labelled in
    `language`.
    """
    words, _, passage = example.source.partition("\n")
    before_passage, before_question, _ = LABELS[language]
    return [before_passage + passage, before_question + words]

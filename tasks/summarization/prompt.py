"""Summarization as a prompt, for systems that follow instructions."""

from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.text.languages import UNDETERMINED, base_language, name_of_language

VERSION = "summarization-1"
INSTRUCTION = "Summarize the text in one short sentence."


def question(
    example: Example, shots: Sequence[Example] = (), instruction: str = INSTRUCTION
) -> str:
    """Return the prompt for an example, preceded by the few-shot examples `shots`.

    Args:
        instruction: first sentence of the prompt, which says what kind of summary to write.
    """
    is_known = base_language(example.language) != UNDETERMINED
    language = name_of_language(example.language) if is_known else "the language of the text"
    lines = [f"{instruction} Answer in {language}, with the summary and nothing else."]
    for shot in shots:
        lines += ["", f"Text: {shot.source}", f"Summary: {shot.references[0]}"]
    return "\n".join([*lines, "", f"Text: {example.source}", "Summary:"])

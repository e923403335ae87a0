"""Translation as a prompt, for systems that follow instructions."""

from collections.abc import Sequence

from lslm_lightning.contracts import Example
from lslm_lightning.text.languages import name_of_language

VERSION = "translation-1"


def question(example: Example, shots: Sequence[Example] = ()) -> str:
    """Return the prompt for an example, preceded by the few-shot examples `shots`."""
    source = name_of_language(example.source_language)
    target = name_of_language(example.language)
    lines = [f"Translate from {source} to {target}. Write the translation and nothing else."]
    for shot in shots:
        lines += ["", f"{source}: {shot.source}", f"{target}: {shot.references[0]}"]
    return "\n".join([*lines, "", f"{source}: {example.source}", f"{target}:"])

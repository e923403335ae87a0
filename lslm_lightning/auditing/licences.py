"""Uses that the licence of a corpus allows or forbids, as far as its name tells."""

import re

NOT_STATED = ("", "not stated", "none stated", "none")
USES = (  # pattern of a licence's name, and what it says about use
    (r"\bNC\b|non-?commercial", "It forbids commercial use."),
    (r"\bND\b|no-?deriv", "It forbids to pass on adapted versions of the texts."),
    (r"\bSA\b|share-?alike|\bA?GPL", "Adapted versions of the texts must have the same licence."),
    (r"\bresearch\b|academic", "It is for research; another use needs permission."),
    (r"\bCC[ -]BY|attribution", "It asks to name the source."),
    (r"\bCC0\b|public domain", "It allows any use."),
    (r"^(MIT|BSD|Apache)", "It allows any use; the notice must be kept."),
)


def licence_sentences(licence: str) -> list[str]:
    """Return sentences on the uses that a licence allows, read from its name; they are no legal
    advice.

    Args:
        licence: name of the licence of a corpus, such as "CC BY-NC-SA 4.0"; "not stated" if there
            is none.
    """
    if licence.strip().lower() in NOT_STATED:
        return ["Without a licence nothing is allowed that the law does not allow: ask the owner."]
    found = [use for pattern, use in USES if re.search(pattern, licence, re.IGNORECASE)]
    return found or ["What it allows is not known here: read it before the model is used."]

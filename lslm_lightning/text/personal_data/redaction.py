"""Replacement of personal data by placeholders, with counts."""

from collections import Counter
from collections.abc import Mapping

from lslm_lightning.text.personal_data.finder import PersonalDataFinder

PLACEHOLDERS: Mapping[str, str] = {
    "email": "[EMAIL]",
    "phone": "[PHONE]",
    "identity_number": "[IDENTITY NUMBER]",
    "payment_card": "[CARD NUMBER]",
    "iban": "[IBAN]",
    "ip_address": "[IP ADDRESS]",
    "name": "[NAME]",
}


def placeholder_of(kind: str) -> str:
    """Return the text that replaces personal data of a kind, such as "[EMAIL]"."""
    return PLACEHOLDERS[kind]


class Redaction:
    """Replacement of personal data in texts, with the number of replacements by kind.

    The same kind always becomes the same placeholder, in every language. A redacted text is not
    changed by another redaction.
    """

    def __init__(self, finder: PersonalDataFinder) -> None:
        self.finder = finder
        self.counts: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """Return the text with a placeholder for each personal datum."""
        pieces = []
        end = 0
        for found in self.finder.find(text):
            pieces += [text[end : found.start], PLACEHOLDERS[found.kind]]
            end = found.end
            self.counts[found.kind] += 1
        return "".join([*pieces, text[end:]])

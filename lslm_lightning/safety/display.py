"""Text that is safe to show: invisible characters are visible, and secrets are masked."""

from collections.abc import Mapping

from lslm_lightning.safety.redaction import without_known
from lslm_lightning.safety.visible_text import visible
from lslm_lightning.types import Json


def safe_text(value: object) -> str:
    """Return a value as text, with invisible characters written as code points and secrets
    masked.
    """
    return visible(without_known(str(value)))


def safe_values(value: Json) -> Json:
    """Return nested mappings and lists with `safe_text` applied to every text in them."""
    if isinstance(value, Mapping):
        return {name: safe_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [safe_values(inner) for inner in value]
    return safe_text(value) if isinstance(value, str) else value

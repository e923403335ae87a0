"""Text that is safe to show: invisible characters made visible, and no secret in use."""

from collections.abc import Mapping

from lslm_lightning.safety.redaction import without_known
from lslm_lightning.safety.visible_text import visible
from lslm_lightning.types import Json


def safe_text(value: object) -> str:
    """Return the text of a value with invisible characters as code points and without secrets."""
    return visible(without_known(str(value)))


def safe_values(value: Json) -> Json:
    """Return the same mappings and lists with `safe_text` applied to each text in them."""
    if isinstance(value, Mapping):
        return {name: safe_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [safe_values(inner) for inner in value]
    return safe_text(value) if isinstance(value, str) else value

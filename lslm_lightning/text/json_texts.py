"""Parser of JSON from elsewhere: an object with a key that stands twice is rejected."""

import json

from lslm_lightning.types import Json, JsonObject


def parse_json(text: str | bytes) -> Json:
    """Return the value of a JSON text.

    Raises:
        json.JSONDecodeError: the text is not JSON.
        ValueError: an object has a key twice, the text is nested too deeply, or the bytes are not
            in a Unicode encoding.
    """
    try:
        return json.loads(text, object_pairs_hook=object_of)
    except RecursionError:
        raise ValueError("not JSON (nested too deeply)") from None


def object_of(pairs: list[tuple[str, Json]]) -> JsonObject:
    """Return a JSON object as a dict.

    Args:
        pairs: its keys and values.

    Raises:
        ValueError: a key occurs twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in values if names.count(name) > 1)
        raise ValueError(
            f"the key {twice!r} stands twice in one object; leave one out, or rename it"
        )
    return values

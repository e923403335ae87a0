"""Languages of the models, and of texts whose language is not given."""

import asyncio
import threading
from collections.abc import Sequence

from lslm_lightning.serving.protocol import ServedModelInfo
from lslm_lightning.text.identification import LENGTH, likely_languages
from lslm_lightning.text.languages import UNDETERMINED, base_language, name_of_language
from lslm_lightning.types import JsonObject

_LOCK = threading.Lock()  # of the identifier, which keeps a state


def fits_language(own: str | None, wanted: str | None) -> bool:
    """Return whether a model's language is the one that a request names; an unknown one fits."""
    if own is None or wanted is None:
        return True
    return own.lower() == wanted.lower() or base_language(own) == base_language(wanted)


def language_cards(models: Sequence[ServedModelInfo]) -> list[JsonObject]:
    """Return the languages of translation models as LibreTranslate lists them."""
    targets: dict[str, list[str]] = {}
    for model in models:
        if model.task != "translation":
            continue
        source, target = model.source_language, model.target_language
        for code in (source, target):
            if code is not None:
                targets.setdefault(code, [])
        if source is not None and target is not None and target not in targets[source]:
            targets[source].append(target)
    return [
        {"code": code, "name": name_of_language(code), "targets": found}
        for code, found in targets.items()
    ]


async def detect(text: str, n: int = 3) -> list[tuple[str, float]]:
    """Return the probable languages of a text as (code, probability) pairs, the best first; "und"
    for a text without letters.

    Args:
        n: number of languages at most.
    """

    def identify() -> list[tuple[str, float]]:
        with _LOCK:
            return likely_languages(text[:LENGTH], n)

    return await asyncio.to_thread(identify) or [(UNDETERMINED, 0.0)]


def detected(code: str, probability: float) -> JsonObject:
    """Return a language in LibreTranslate's form, with a confidence from 0 to 100."""
    return {"language": code, "confidence": round(100 * probability, 1)}

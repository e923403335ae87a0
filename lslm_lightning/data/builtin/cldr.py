"""`cldr`: translation among five languages of what Unicode's Common Locale Data Repository can say,
made by Babel without a download.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from random import Random
from typing import Any

from lslm_lightning.data.builtin.made import Splits, made_once, rows_digest
from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.rows import Row

LANGUAGES = ("en", "zh", "de", "fr", "ja")
SIZES = {"test": 1000, "val": 1000, "train": 20_000}
SEED = 1


def open_cldr(columns: Mapping[str, Any]) -> Corpus:
    """Rows with the same phrase in all five languages; no sentence of any language occurs twice in
    the corpus, so none in two splits.

    Names alone (territories, languages, units, currencies) are all in train; test and val hold
    combinations of them.
    """
    if unknown := set(columns) - set(LANGUAGES):
        raise ValueError(
            f"corpus cldr: columns={dict(columns)} names {', '.join(sorted(unknown))}; its "
            f"languages are {', '.join(LANGUAGES)}"
        )
    return Corpus(
        name="cldr",
        task="translation",
        fields=LANGUAGES,
        languages=LANGUAGES,
        splits=("train", "val", "test"),
        load=lambda split: _splits()[split],
        fingerprint=lambda split: rows_digest(_splits()[split]),
        licence="Unicode-3.0",
        citation="Unicode CLDR, formatted by Babel",
        home="https://cldr.unicode.org",
        note=(
            f"Made by Babel {metadata.version('babel')}, seed {SEED}; no-break spaces are "
            "written as spaces."
        ),
        sizes=SIZES,
    )


@cache
def _splits() -> Splits:
    return made_once(
        "cldr", [metadata.version("babel"), SIZES, SEED], lambda: make_splits(SIZES, SEED)
    )


def make_splits(sizes: Mapping[str, int], seed: int) -> Splits:
    """Distinct phrases, as many as `sizes` says, filled in its order; the names alone are the first
    of train.
    """
    from babel import Locale  # loads its data on import

    from lslm_lightning.data.builtin.phrases import Phrases

    locales = [Locale.parse(language) for language in LANGUAGES]
    phrases = Phrases(locales, Random(seed))
    seen: dict[str, set[str]] = {language: set() for language in LANGUAGES}

    def distinct(phrase: Callable[[Any], str]) -> Row | None:
        row = {
            language: " ".join(phrase(locale).split())
            for language, locale in zip(LANGUAGES, locales, strict=True)
        }
        if any(row[language] in seen[language] for language in LANGUAGES):
            return None
        for language in LANGUAGES:
            seen[language].add(row[language])
        return row

    names = [row for phrase in phrases.names() if (row := distinct(phrase))]
    splits: dict[str, list[Row]] = {}
    for split, size in sizes.items():
        rows = list(names) if split == "train" else []
        while len(rows) < size:
            if row := distinct(phrases.draw()):
                rows.append(row)
        splits[split] = [{"id": f"{split}:{number}", **row} for number, row in enumerate(rows, 1)]
    return splits

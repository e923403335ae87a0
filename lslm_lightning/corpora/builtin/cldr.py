"""Corpus `cldr` for translation: phrases in five languages, made by Babel from Unicode's Common
Locale Data Repository, without a download.
"""

import logging
from collections.abc import Mapping
from functools import cache
from random import Random

from lslm_lightning.corpora.builtin.cache import Splits, load_or_make, rows_digest
from lslm_lightning.corpora.builtin.versions import comparability, installed_versions
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.rows import Row

PACKAGES = {"babel": "2.18.0"}
"""Distribution -> version in constraints.txt."""
LANGUAGES = ("en", "zh", "de", "fr", "ja")
SIZES = {"test": 1000, "val": 1000, "train": 20_000}
SEED = 1
log = logging.getLogger(__name__)


def open_cldr(columns: Mapping[str, object]) -> Corpus:
    """Return the built-in corpus `cldr`, whose rows hold the same phrase in all five languages.

    In every language, each sentence occurs once in the whole corpus, so that splits do not overlap.
    Single names (territories, languages, units, currencies) are all in train; test and val contain
    combinations of them.

    Args:
        columns: its keys must be languages of the corpus; the values are ignored.

    Raises:
        ValueError: `columns` names another language.
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
            f"Made by Babel {_babel_version()}, seed {SEED}; no-break spaces are written as spaces."
        ),
        sizes=SIZES,
        comparability=comparability("cldr", PACKAGES),
    )


@cache
def _splits() -> Splits:
    if warning := comparability("cldr", PACKAGES):
        log.warning("%s", warning)
    depends_on = [_babel_version(), SIZES, SEED]
    return load_or_make("cldr", depends_on, lambda: make_splits(SIZES, SEED))


def _babel_version() -> str:
    return installed_versions(PACKAGES)["babel"]


def make_splits(sizes: Mapping[str, int], seed: int) -> Splits:
    """Return distinct phrases by split; `train` begins with all single names.

    Args:
        sizes: split -> number of phrases; splits are filled in this order.
    """
    from babel import Locale  # loads its data on import

    from lslm_lightning.corpora.builtin.phrases import Phrase, Phrases

    locales = [Locale.parse(language) for language in LANGUAGES]
    phrases = Phrases(locales, Random(seed))
    seen: dict[str, set[str]] = {language: set() for language in LANGUAGES}

    def distinct(phrase: Phrase) -> dict[str, str] | None:
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

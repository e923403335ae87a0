"""Corpus `docstrings` for language modeling and summarization: documented objects of installed
packages, without a download.
"""

import gc
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain

from lslm_lightning.corpora.builtin.cache import Splits, load_or_make, rows_digest
from lslm_lightning.corpora.builtin.sources import (
    DocumentedObject,
    distribution_modules,
    documented_objects,
)
from lslm_lightning.corpora.builtin.versions import comparability, installed_versions
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.corpora.rows import Row

log = logging.getLogger(__name__)

PACKAGES = {
    "sympy": "1.14.0",
    "mlflow": "3.17.2",
    "sqlalchemy": "2.1.9",
    "networkx": "3.6.1",
    "nltk": "3.10.4",
}
"""Distribution -> version in constraints.txt. Every installation has these, for torch, mlflow and
rouge-score need them; their Python code is the same on every platform.
"""

MAX_CHARACTERS = 2000
TEST_BYTES = 470_000
VAL_BYTES = 230_000


def open_docstrings(columns: Mapping[str, object]) -> Corpus:
    """Return the built-in corpus `docstrings`, whose rows serve language modeling and
    summarization.

    `text` is the whole docstring. `document` holds the name in words, the qualified name, the
    signature and the body; `summary` is the first paragraph. Baselines use `name`, the unqualified
    name, and `body`, the docstring without its summary.

    Args:
        columns: must be empty.

    Raises:
        ValueError: `columns` is not empty.
    """
    if columns:
        raise ValueError(
            f"corpus docstrings: columns={dict(columns)} cannot be set; its rows have text, "
            "document, summary, name and body"
        )
    versions = installed_versions(PACKAGES)
    return Corpus(
        name="docstrings",
        task="summarization",
        fields=("document", "summary"),
        languages=("en",),
        splits=("train", "val", "test"),
        load=lambda split: _splits()[split],
        fingerprint=lambda split: rows_digest(_splits()[split]),
        licence="each package's own",
        citation="the installed packages (BSD, MIT, Apache-2.0)",
        note=(
            f"Docstrings with a summary and a body, up to {MAX_CHARACTERS} characters, equal ones "
            "once; split by module. Made from "
            + ", ".join(f"{name} {version}" for name, version in versions.items())
        ),
        comparability=comparability("docstrings", PACKAGES),
    )


@cache
def _splits() -> Splits:
    if warning := comparability("docstrings", PACKAGES):
        log.warning("%s", warning)
    return load_or_make("docstrings", installed_versions(PACKAGES), _make_splits)


def _make_splits() -> Splits:
    log.info("reading the docstrings of %s: up to a minute, once", ", ".join(PACKAGES))
    gc.disable()  # syntax trees hold no cycles; looking for them takes a third of the time
    try:
        modules = chain.from_iterable(map(distribution_modules, PACKAGES))
        return split_by_module(summary_rows(documented_objects(modules)))
    finally:
        gc.enable()


def summary_rows(objects: Iterable[DocumentedObject]) -> list[Row]:
    """Return a row for each object whose docstring has a summary and a body.

    If several objects have equal names, summaries or bodies (ignoring case and punctuation), only
    the first is used.
    """
    rows: list[Row] = []
    seen: set[tuple[str, str]] = set()
    for documented in objects:
        paragraph, _, body = documented.docstring.partition("\n\n")
        summary = " ".join(paragraph.split())
        body = body.strip()
        if not body or not _is_summary(summary) or len(documented.docstring) > MAX_CHARACTERS:
            continue
        keys = {
            ("name", documented.name),
            ("summary", _normalized(summary)),
            ("body", _normalized(body)),
        }
        if keys & seen:
            continue
        seen |= keys
        rows.append(
            {
                "id": documented.name,
                "module": documented.module,
                "name": documented.name.rpartition(".")[2],
                "text": documented.docstring,
                "body": body,
                "document": (
                    f"{name_in_words(documented)}\n{documented.name}{documented.signature}\n{body}"
                ),
                "summary": [summary],
            }
        )
    return rows


def name_in_words(documented: DocumentedObject) -> str:
    """Return an object's name within its module as English words, innermost part first.

    An example is "Read line of text file". A summary can copy these words.
    """
    parts = documented.name.removeprefix(f"{documented.module}.").split(".")
    words = " of ".join(
        " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", part)) for part in reversed(parts)
    )
    return words.lower().capitalize()


def split_by_module(
    rows: Iterable[Row], test_bytes: int = TEST_BYTES, val_bytes: int = VAL_BYTES
) -> Splits:
    """Return the rows by split, with all rows of a module in the same split.

    Modules are taken in the order of a hash of their names. They fill `test` up to `test_bytes` of
    text, then `val` up to `val_bytes`; the rest is `train`. A module that does not fit, or exceeds
    a tenth of its split, goes to `train`.
    """
    modules: dict[str, list[Row]] = {}
    for row in rows:
        modules.setdefault(str(row["module"]), []).append(row)
    splits: dict[str, list[Row]] = {"test": [], "val": [], "train": []}
    bytes_left = {"test": test_bytes, "val": val_bytes}
    for module in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).digest()):
        size = sum(len(str(row["text"]).encode()) + 1 for row in modules[module])
        split = next(
            (
                name
                for name, total in (("test", test_bytes), ("val", val_bytes))
                if size <= min(bytes_left[name], total / 10)
            ),
            "train",
        )
        bytes_left[split] = bytes_left.get(split, 0) - size
        splits[split] += modules[module]
    return splits


def _is_summary(text: str) -> bool:
    return len(text.split()) >= 3 and len(text) <= 200 and not re.search(r"->|>>>|::", text)


def _normalized(text: str) -> str:
    """Return the words of a text in lower case, separated by single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))

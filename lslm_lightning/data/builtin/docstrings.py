"""`docstrings`: documented objects of installed packages, for language modeling and summarization
without a download.
"""

import gc
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain

from lslm_lightning.data.builtin.cache import Splits, load_or_make, rows_digest
from lslm_lightning.data.builtin.sources import (
    DocumentedObject,
    distribution_modules,
    documented_objects,
)
from lslm_lightning.data.builtin.versions import comparability, installed_versions
from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.rows import Row

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
    """Return the built-in corpus `docstrings`; `columns` must be empty.

    Rows serve both tasks. `text` is the whole docstring; `document` is the name in words, the
    qualified name, the signature and the body, `summary` the first paragraph. `name`, the bare
    name, and `body`, the docstring without its summary, are for baselines.

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
    """Return the rows of the objects whose docstring has a summary and a body.

    Of several with equal names, summaries or bodies (case and punctuation aside) the first is
    taken.
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
    """Return the object's name within its module as English would write it, innermost first, such
    as "Read line of text file": a summary can copy these words.
    """
    parts = documented.name.removeprefix(f"{documented.module}.").split(".")
    words = " of ".join(
        " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", part)) for part in reversed(parts)
    )
    return words.lower().capitalize()


def split_by_module(
    rows: Iterable[Row], test_bytes: int = TEST_BYTES, val_bytes: int = VAL_BYTES
) -> Splits:
    """Return the rows in splits, each module whole in one of them.

    Modules fill `test` up to `test_bytes` of text, then `val` up to `val_bytes`, in the order of a
    hash of their names; the rest is `train`. A module too big for what is left, or for a tenth of
    its split, goes to `train`.
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
    """Return the words of a text in lower case, one blank between two."""
    return " ".join(re.findall(r"\w+", text.lower()))

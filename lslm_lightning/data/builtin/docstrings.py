"""`docstrings`: documented objects of the installed Python and packages, for language modeling and
summarization without a download.
"""

import gc
import hashlib
import logging
import platform
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from typing import Any

from lslm_lightning.data.builtin.made import Splits, made_once, rows_digest
from lslm_lightning.data.builtin.sources import (
    Documented,
    distribution,
    documented,
    standard_library,
)
from lslm_lightning.data.corpus import Corpus
from lslm_lightning.data.rows import Row

log = logging.getLogger(__name__)

PACKAGES = (
    *(
        "torch",
        "sympy",
        "networkx",
        "filelock",
        "jinja2",
        "fsspec",
        "lightning",
        "torchmetrics",
        "mlflow",
        "sqlalchemy",
        "matplotlib",
    ),
    *("datasets", "huggingface_hub", "jsonargparse", "babel", "rich", "pooch"),
)
"""What an installation of this project always holds: its own dependencies and theirs, those whose
docstrings are prose first.
"""

MAX_CHARACTERS = 1200
TEST_BYTES = 470_000
VAL_BYTES = 230_000


def open_docstrings(columns: Mapping[str, Any]) -> Corpus:
    """Rows serve both tasks.

    `text` is the whole docstring; `document` is the name spelled out, qualified name, signature and
    body, `summary` the first paragraph, `name` the bare name and `body` the docstring without its
    summary, for baselines.
    """
    if columns:
        raise ValueError(
            f"corpus docstrings: columns={dict(columns)} cannot be set; its rows have text, "
            "document, summary, name and body"
        )
    return Corpus(
        name="docstrings",
        task="summarization",
        fields=("document", "summary"),
        languages=("en",),
        splits=("train", "val", "test"),
        load=lambda split: _splits()[split],
        fingerprint=lambda split: rows_digest(_splits()[split]),
        licence="each package's own",
        citation="the installed Python (PSF-2.0) and packages (BSD, MIT, Apache-2.0)",
        note=(
            "Docstrings with a summary and a body, up to 1200 characters, equal ones once; "
            "split by module. Made from "
        )
        + ", ".join(versions()),
    )


def versions() -> list[str]:
    """The Python and the packages it is made from, such as "torch 2.11.0"; those not installed are
    left out.
    """
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return [
        f"Python {platform.python_version()}",
        *(f"{name} {version}" for name, version in installed.items()),
    ]


@cache
def _splits() -> Splits:
    return made_once("docstrings", versions(), _make)


def _make() -> Splits:
    log.info("reading the docstrings of %s: up to a minute, once", ", ".join(versions()))
    gc.disable()  # syntax trees hold no cycles; looking for them takes a third of the time
    try:
        return split_by_module(pairs(_objects()))
    finally:
        gc.enable()


def _objects() -> Iterable[Documented]:
    yield from documented(standard_library())
    for name in PACKAGES:
        yield from documented(distribution(name))


def pairs(objects: Iterable[Documented]) -> list[Row]:
    """Rows of the objects whose docstring has a summary and a body.

    Of several with equal names, summaries or bodies (case and punctuation aside) the first is
    taken.
    """
    rows = []
    seen = set()
    for found in objects:
        paragraph, _, body = found.docstring.partition("\n\n")
        summary = " ".join(paragraph.split())
        body = body.strip()
        if not body or not _is_summary(summary) or len(found.docstring) > MAX_CHARACTERS:
            continue
        keys = {("name", found.name), ("summary", _words(summary)), ("body", _words(body))}
        if keys & seen:
            continue
        seen |= keys
        rows.append(
            {
                "id": found.name,
                "module": found.module,
                "name": found.name.rpartition(".")[2],
                "text": found.docstring,
                "body": body,
                "document": f"{spelled(found)}\n{found.name}{found.signature}\n{body}",
                "summary": [summary],
            }
        )
    return rows


def spelled(found: Documented) -> str:
    """Its name within its module as English would write it, innermost first, so that its words can
    be copied: Read line of text file.
    """
    parts = found.name.removeprefix(f"{found.module}.").split(".")
    words = " of ".join(
        " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", part)) for part in reversed(parts)
    )
    return words.lower().capitalize()


def split_by_module(
    rows: Iterable[Row], test_bytes: int = TEST_BYTES, val_bytes: int = VAL_BYTES
) -> Splits:
    """Whole modules, in the order of a hash of their names, until `test_bytes` of text are full,
    then `val_bytes`; the rest is `train`.

    A module too big for what is left, or for a tenth of its split, goes to train.
    """
    modules: dict[str, list[Row]] = {}
    for row in rows:
        modules.setdefault(row["module"], []).append(row)
    splits: dict[str, list[Row]] = {"test": [], "val": [], "train": []}
    room = {"test": test_bytes, "val": val_bytes}
    for module in sorted(modules, key=lambda name: hashlib.sha256(name.encode()).digest()):
        size = sum(len(row["text"].encode()) + 1 for row in modules[module])
        split = next(
            (
                name
                for name, total in (("test", test_bytes), ("val", val_bytes))
                if size <= min(room[name], total / 10)
            ),
            "train",
        )
        room[split] = room.get(split, 0) - size
        splits[split] += modules[module]
    return splits


def _is_summary(text: str) -> bool:
    return len(text.split()) >= 3 and len(text) <= 200 and not re.search(r"->|>>>|::", text)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))

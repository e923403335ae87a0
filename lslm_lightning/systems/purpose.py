"""What a trained system is for, as far as its own files say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lslm_lightning.contracts import Purpose
from lslm_lightning.data.catalogue import read_catalogue
from lslm_lightning.runs import RunDirectory, find_run
from lslm_lightning.runs.loading import read_config
from lslm_lightning.task_package import NAMES


def purpose_of_run(reference: str | Path) -> Purpose:
    """Read from a run's config what it was trained for; nothing is known of one that cannot be
    read.
    """
    try:
        directory = find_run(reference)
        config = read_config(directory.config)
    except (ValueError, OSError, RuntimeError):
        return Purpose()
    root, _, rest = config["model"]["class_path"].partition(".")
    task = rest.partition(".")[0] if root in NAMES else None
    return Purpose(task, languages_of_run(directory, config.get("data") or {}))


def languages_of_run(directory: RunDirectory, data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Languages as the run's config states them, or else as it noted them, or as the catalogue
    knows its corpus.
    """
    given = data.get("init_args") or {}
    source, target, language = (
        given.get(name) for name in ("source_language", "target_language", "language")
    )
    if isinstance(source, str) and isinstance(target, str):
        return source, target
    if isinstance(language, str):
        return language, language
    noted = str(directory.beginning.get("tags", {}).get("languages", "")).split()
    if noted:
        return noted[0], noted[-1]
    entry = read_catalogue().get(str(given.get("corpus")))
    languages = () if entry is None else entry.languages
    return (languages[0], languages[0]) if languages else None

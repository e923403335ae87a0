"""Task and languages of a trained run, read from the run's own files."""

from pathlib import Path

from lslm_lightning.contracts import Purpose
from lslm_lightning.corpora.catalogue import read_catalogue
from lslm_lightning.runs import RunDirectory, find_run
from lslm_lightning.runs.loading import read_config
from lslm_lightning.task_package import NAMES
from lslm_lightning.types import Settings


def purpose_of_run(reference: str | Path) -> Purpose:
    """Return the task and the languages that a run was trained for, read from its config.

    The result is `Purpose()` if the run cannot be read.
    """
    try:
        directory = find_run(reference)
        config = read_config(directory.config)
    except (ValueError, OSError, RuntimeError):
        return Purpose()
    root, _, rest = config["model"]["class_path"].partition(".")
    task = rest.partition(".")[0] if root in NAMES else None
    return Purpose(task, languages_of_run(directory, config.get("data") or {}))


def languages_of_run(directory: RunDirectory, data: Settings) -> tuple[str, str] | None:
    """Return the source and target language of a run; None if they are unknown.

    They are taken from the run's config, from its recorded tags, or from the catalogue entry of its
    corpus, whichever states them first.

    Args:
        data: section `data` of the run's config.
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

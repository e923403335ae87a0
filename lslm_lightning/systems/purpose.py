"""Task and languages of a trained run, read from the run's own files."""

import json
import re

from lslm_lightning.contracts import Purpose
from lslm_lightning.corpora.catalogue import read_catalogue
from lslm_lightning.runs import RunDirectory
from lslm_lightning.task_package import NAMES
from lslm_lightning.text.languages import canonical
from lslm_lightning.types import Settings


def purpose_of(directory: RunDirectory, config: Settings) -> Purpose:
    """Return the task and the languages that a run was trained for.

    Args:
        directory: directory of the run.
        config: configuration of the run.
    """
    root, _, rest = config["model"]["class_path"].partition(".")
    task = rest.partition(".")[0] if root in NAMES else None
    return Purpose(task, languages_of_run(directory, config.get("data") or {}))


def languages_of_answers(directory: RunDirectory, config: Settings) -> tuple[str, str] | None:
    """Return the source and target language in which a run was trained to answer, as its test has
    them; None if they are unknown.

    They are those that were stated, else those of `told_languages`.

    Args:
        directory: directory of the run.
        config: configuration of the run.
    """
    try:
        known = purpose_of(directory, config).languages or told_languages(directory)
        return known and (canonical(known[0]), canonical(known[1]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # by another release, or with a corpora.yaml that is broken


def told_languages(directory: RunDirectory) -> tuple[str, str] | None:
    """Return the source and target language that were told from the texts of a run's corpus and
    recorded with the scores of its test; None if they are unknown.
    """
    try:
        data = json.loads(directory.metrics.read_text("utf-8"))["data"]
        codes = split_codes(str(data["languages"]))
        return codes[0], codes[-1]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # not tested, or by another release


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
    try:
        beginning = directory.beginning
    except ValueError:  # it is damaged
        beginning = {}
    tag = str(beginning.get("tags", {}).get("languages", ""))
    # an earlier release only set the tag
    if noted := beginning.get("languages") or split_codes(tag):
        return str(noted[0]), str(noted[-1])
    entry = read_catalogue().get(str(given.get("corpus")))
    languages = () if entry is None else entry.languages
    return (languages[0], languages[0]) if languages else None


def split_codes(text: str) -> list[str]:
    """Return the language codes in a text: "en-de" and "en de" are two, "zh-Hans" and "pt-BR" are
    one, since scripts and regions are written with capitals.
    """
    return [code for code in re.split(r"\s|-(?=[a-z]{2,3}(?:-|$))", text) if code]

"""Parts of pages that are generated from the code when the site is built.

A line `<!-- generated: NAME ARGUMENT ... -->` of a page is replaced by the text of `NAME`.
"""

import re
import shlex
from collections.abc import Callable
from functools import cache

from docs.generate import (
    architecture,
    benchmarks,
    commands,
    configs,
    documents,
    figures,
    metrics,
    python_api,
    run_files,
    serving,
    settings,
    trained_figures,
)
from docs.generate.language import language_of_texts
from lslm_lightning.localization import ENGLISH

MARKER = re.compile(r"^<!-- generated: (.*?) -->$", re.MULTILINE)
TEXTS: dict[str, Callable[..., str]] = {
    "architecture": architecture.architecture,
    "benchmarks": benchmarks.tables,
    "benchmarks-to-come": benchmarks.tables_to_come,
    "capacity": benchmarks.capacity,
    "command": commands.command,
    "configs": configs.configs,
    "contents": configs.contents,
    "corpora": configs.corpora,
    "corpus-keys": configs.corpus_keys,
    "diagram": figures.diagram,
    "document": documents.document,
    "fields": run_files.fields,
    "masks": figures.masks,
    "metrics": metrics.metrics,
    "python": python_api.members,
    "python-results": python_api.results,
    "record": run_files.record,
    "refused-fields": serving.refused,
    "report-sections": run_files.report_sections,
    "request-fields": serving.fields,
    "run-files": run_files.paths,
    "settings": settings.classes,
    "settings-block": settings.block,
    "signature-keys": metrics.signature_keys,
    "signatures": metrics.signatures,
    "size-figure": figures.size_figure,
    "sweep-figure": figures.sweep_figure,
    "sweep-table": benchmarks.sweep_table,
    **trained_figures.TRAINED,
}


def filled_in(text: str, language: str) -> str:
    """Return the text of a page with its markers replaced by what they name, in a language.

    Raises:
        ValueError: a marker names no generated text.
    """
    return MARKER.sub(lambda marker: text_of(marker[1], language), text)


@cache
def text_of(marker: str, language: str = ENGLISH) -> str:
    """Return the generated text that a marker names, such as "settings Backbone"."""
    name, *arguments = shlex.split(marker)
    if name not in TEXTS:
        raise ValueError(f"generated: {name} is not known; give one of {', '.join(TEXTS)}")
    with language_of_texts(language):
        return TEXTS[name](*arguments)

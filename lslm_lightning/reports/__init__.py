"""Reports of results: one self-contained HTML page and a Markdown file. This package depends on no
task.

A task's `report.py` fills blocks with plain text and numbers. `compose_report` combines them with
the sections that every report has. `write_report` writes the page.
"""

from lslm_lightning.reports.blocks import (
    Code,
    Columns,
    Facts,
    Folded,
    Heading,
    Interval,
    Measure,
    Missing,
    Report,
    Section,
    Table,
    Text,
)
from lslm_lightning.reports.composition import (
    compose_report,
    details_section,
    length_section,
    model_section,
)
from lslm_lightning.reports.figures import Curves, Heatmap, Histogram, Series
from lslm_lightning.reports.marking import MarkedText
from lslm_lightning.reports.page import render_html, render_markdown, write_report
from lslm_lightning.reports.samples import Sample, Samples
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.reports.trained import learning_curves

__all__ = [
    "Code",
    "Columns",
    "Curves",
    "Facts",
    "Folded",
    "Heading",
    "Heatmap",
    "Histogram",
    "Interval",
    "MarkedText",
    "Measure",
    "Missing",
    "Report",
    "Sample",
    "Samples",
    "ScoreTable",
    "Section",
    "Series",
    "Table",
    "Text",
    "compose_report",
    "details_section",
    "learning_curves",
    "length_section",
    "model_section",
    "render_html",
    "render_markdown",
    "write_report",
]

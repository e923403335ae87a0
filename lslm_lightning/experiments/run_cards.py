"""Model card and data sheet of a run in its directory, its report and MLflow."""

from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.auditing.card_subject import CardSubject
from lslm_lightning.auditing.cards import card_section, model_card
from lslm_lightning.auditing.data_sheet import data_sheet
from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.harness import read_findings
from lslm_lightning.auditing.licences import UNKNOWN
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.experiments.run_records import trained
from lslm_lightning.files import atomic_write
from lslm_lightning.reports.added import add_section
from lslm_lightning.reports.blocks import Cell
from lslm_lightning.reports.page import render_markdown
from lslm_lightning.run_files import AUDIT, DATA_SHEET, MODEL_CARD
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config

ANCHOR = "section-card"


def write_run_cards(
    directory: RunDirectory,
    corpus: Corpus | None,
    findings: Sequence[AuditFinding] | None = None,
) -> list[Path]:
    """Write the model card and the data sheet of a run, and the section on them in its report, if
    it has one; return their paths.

    Args:
        corpus: corpus of the run; None if it cannot be opened here.
        findings: findings of an audit; None for those in the run directory.
    """
    found = read_findings(directory.path / AUDIT) if findings is None else findings
    licence = corpus.licence if corpus else UNKNOWN
    config = read_config(directory.config)
    subject = CardSubject(directory, config, corpus, found, costs(directory), licence)
    add_section(directory.report, card_section(subject), ANCHOR)
    return write_cards(subject)


def write_cards(subject: CardSubject) -> list[Path]:
    """Write `model_card.md` and, for a run with data, `data_sheet.md` into the run directory, in
    the language of the interface; return their paths.
    """
    folder = subject.directory.path
    cards = {MODEL_CARD: model_card(subject)}
    if subject.config.get("data"):
        cards[DATA_SHEET] = data_sheet(subject)
    for name, card in cards.items():
        atomic_write(folder / name, render_markdown(card))
    return [folder / name for name in cards]


def costs(directory: RunDirectory) -> dict[str, Cell]:
    """Return the number of training tokens, if the metric log has it."""
    record = trained(directory, "")
    return {"Training tokens": int(record.n_token)} if record.n_token else {}

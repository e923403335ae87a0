"""Model card and data sheet of a run in its directory and in MLflow."""

from collections.abc import Sequence
from pathlib import Path

from lslm_lightning.auditing.cards import UNKNOWN, CardSubject, write_cards
from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.harness import read_findings
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.experiments.run_records import trained
from lslm_lightning.run_files import AUDIT
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config


def write_run_cards(
    directory: RunDirectory,
    corpus: Corpus | None,
    findings: Sequence[AuditFinding] | None = None,
) -> list[Path]:
    """Write the model card and the data sheet of a run; return their paths.

    Args:
        corpus: corpus of the run; None if it cannot be opened here.
        findings: findings of an audit; None for those in the run directory.
    """
    found = read_findings(directory.path / AUDIT) if findings is None else findings
    licence = corpus.licence if corpus else UNKNOWN
    config = read_config(directory.config)
    return write_cards(CardSubject(directory, config, corpus, found, costs(directory), licence))


def costs(directory: RunDirectory) -> dict[str, str]:
    """Return the number of training tokens, if the metric log has it."""
    record = trained(directory, "")
    return {"Training tokens": f"{record.n_token:,.0f}"} if record.n_token else {}

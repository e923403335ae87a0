"""The run that model card and data sheet describe, and what both say of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.licence_part import LICENCE, licence_finding, stated_uses
from lslm_lightning.auditing.licence_part import NAME as LICENCE_PART
from lslm_lightning.auditing.licences import UNKNOWN
from lslm_lightning.contracts import Score
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import Cell, Missing
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.training.energy import MeasuredTraining, read_energy
from lslm_lightning.types import JsonObject

NOBODY = Missing(UNKNOWN)


@dataclass(frozen=True)
class CardSubject:
    """Run that a card describes.

    Args:
        directory: directory of the run.
        config: configuration of the run.
        corpus: corpus of the run; None if it cannot be opened here.
        findings: findings of an audit of the run; empty before one.
        costs: costs of training by name, such as "Training tokens"; empty if unknown.
        licence: licence of the corpus; "not known" if it cannot be opened.
    """

    directory: RunDirectory
    config: JsonObject
    corpus: Corpus | None
    findings: Sequence[AuditFinding] = ()
    costs: Mapping[str, Cell] = field(default_factory=dict)
    licence: str = UNKNOWN

    @property
    def record(self) -> JsonObject:
        """Content of metrics.json; empty before a test."""
        path = self.directory.metrics
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    @property
    def task(self) -> str:
        """Name of the task, such as "translation"."""
        parts = str(self.config["model"]["class_path"]).split(".")
        return parts[1] if len(parts) > 1 else parts[0]

    @property
    def tags(self) -> JsonObject:
        """Tags of the run in MLflow, by name; empty without a record."""
        tags: JsonObject = self.directory.beginning.get("tags", {})
        return tags

    @property
    def data(self) -> JsonObject:
        """Settings of the run's data; empty for an imported model."""
        return (self.config.get("data") or {}).get("init_args") or {}

    @property
    def corpus_name(self) -> str:
        """Name of the corpus, of a folder without its path; "not known" if there is none."""
        name = self.corpus.name if self.corpus else str(self.data.get("corpus", UNKNOWN))
        return Path(name).name if Path(name).is_absolute() else name

    @property
    def scores(self) -> list[Score]:
        """Scores of the test, the headline first; empty before a test."""
        if not self.directory.metrics.is_file():
            return []
        headline = str(self.tags.get("headline", "")).removeprefix("test/")
        found = read_scores(self.directory.metrics)
        return sorted(found, key=lambda score: score.metric != headline)

    @property
    def trainings(self) -> list[MeasuredTraining]:
        """Energy of the trainings of the run; of a test, that of the run whose checkpoint it is
        of.
        """
        own = read_energy(self.directory.energy)
        checkpoint = self.config.get("ckpt_path")
        if own or not checkpoint:
            return own
        return read_energy(RunDirectory.of_checkpoint(Path(str(checkpoint))).energy)

    @property
    def licence_finding(self) -> AuditFinding:
        """Licence against the intended use: as the audit found it, if there was one."""
        audited = [each for each in self.findings if each.part == LICENCE_PART and each.tables]
        return (audited or [licence_finding(self.licence, stated_uses(self.config))])[0]


def licence_facts(subject: CardSubject) -> dict[str, Cell]:
    """Return licence, SPDX id, and what follows for each intended use, by name."""
    if not subject.config.get("data"):
        return {LICENCE: NOBODY}
    [table] = subject.licence_finding.tables
    return {str(question): Term(answer) for question, answer in table.rows}


def counted_value(text: object) -> Cell:
    """Return a recorded number as a number; that it is not known if it is none."""
    return int(text) if isinstance(text, str) and text.isdecimal() else NOBODY

"""Model cards and data sheets."""

import json
from pathlib import Path

import pytest

from lslm_lightning import AuditSettings, audit
from lslm_lightning.auditing.cards import CardSubject, data_sheet, model_card
from lslm_lightning.auditing.licences import licence_sentences
from lslm_lightning.experiments.run import Run
from lslm_lightning.runs import RunDirectory


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


@pytest.mark.slow
def test_a_tested_run_has_a_card_with_its_scores_and_what_is_not_known(memorizing: Run) -> None:
    card = (memorizing.path / "model_card.md").read_text("utf-8")
    for title in ("Intended use", "Data", "Scores of the run", "Limits", "Energy", "Not known"):
        assert title in headings(card)
    for score in memorizing.scores.values():
        assert f"| {score.metric} | {score.value:.4g}" in card
    sheet = (memorizing.path / "data_sheet.md").read_text("utf-8")
    assert {"Composition", "Collection", "Use and distribution"} <= {*headings(sheet)}
    assert "Planted canaries" in sheet


@pytest.mark.slow
def test_an_audit_brings_its_findings_into_the_card(memorizing: Run) -> None:
    results = audit(memorizing, AuditSettings(n_sample=32))
    card = (memorizing.path / "model_card.md").read_text("utf-8")
    for finding in results.findings:
        assert finding.title in card


def test_a_run_of_which_nothing_is_known_has_a_card(tmp_path: Path) -> None:
    config = {"model": {"class_path": "tasks.translation.TranslationTask"}}
    subject = CardSubject(RunDirectory(tmp_path), config, None)
    assert "not tested" in model_card(subject)
    assert "not known" in data_sheet(subject)


def test_markup_of_a_name_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(
        json.dumps({"scores": [], "data": {}, "findings": [{"words": "<script>|x\n# y"}]})
    )
    config = {"model": {"class_path": "tasks.translation.TranslationTask"}}
    card = model_card(CardSubject(RunDirectory(folder), config, None))
    assert "<script>" not in card
    assert "\n# y" not in card


@pytest.mark.parametrize(
    ("licence", "n_sentence"),
    [
        ("CC BY-NC-SA 4.0", 3),
        ("MIT", 1),
        ("not stated", 1),
        ("CMU AN4 licence", 1),
        ("CC BY 4.0", 1),
    ],
)
def test_licences_are_read_by_their_names(licence: str, n_sentence: int) -> None:
    found = licence_sentences(licence)
    assert len(found) == n_sentence
    assert any("commercial" in sentence for sentence in found) == ("NC" in licence)

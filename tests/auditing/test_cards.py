"""Model cards and data sheets."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from lslm_lightning import AuditSettings, audit
from lslm_lightning.auditing.card_subject import CardSubject
from lslm_lightning.auditing.cards import glance, model_card
from lslm_lightning.auditing.data_sheet import data_sheet
from lslm_lightning.auditing.energy_facts import energy_sentences, kilowatt_hours
from lslm_lightning.auditing.licence_part import licence_finding
from lslm_lightning.contracts import metric_label
from lslm_lightning.experiments.run import Run
from lslm_lightning.experiments.run_cards import write_run_cards
from lslm_lightning.reports import Section, Text, render_markdown
from lslm_lightning.reports.added import with_markdown
from lslm_lightning.reports.formatting import number
from lslm_lightning.runs import RunDirectory
from lslm_lightning.training.energy import NO_COUNTER, MeasuredTraining, write_energy


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


@pytest.mark.slow
def test_a_tested_run_has_a_card_with_its_scores_and_what_is_not_known(memorizing: Run) -> None:
    card = (memorizing.path / "model_card.md").read_text("utf-8")
    sections = ["Intended use", "Data and licence", "Scores", "Limits", "Audit", "Energy"]
    assert headings(card) == ["At a glance", *sections, "Model", "Not known"]
    for score in memorizing.scores.values():
        assert re.search(rf"^\| {metric_label(score.metric)} .*{number(score.value)}", card, re.M)
    sheet = (memorizing.path / "data_sheet.md").read_text("utf-8")
    assert {"Composition", "Collection", "Use and distribution"} <= {*headings(sheet)}
    assert "Planted canaries" in sheet


@pytest.mark.slow
def test_an_audit_brings_its_findings_into_the_card(memorizing: Run) -> None:
    results = audit(memorizing, AuditSettings(n_sample=32))
    card = (memorizing.path / "model_card.md").read_text("utf-8")
    for finding in results.findings:
        assert (finding.title if finding.part != "licence" else finding.summary[0]) in card


def test_a_run_of_which_nothing_is_known_has_a_card(tmp_path: Path) -> None:
    config = {"model": {"class_path": "tasks.translation.TranslationTask"}}
    subject = CardSubject(RunDirectory(tmp_path), config, None)
    card = render_markdown(model_card(subject))
    assert "not tested" in card
    assert "not measured" in card.lower()
    assert "not known" in render_markdown(data_sheet(subject))
    assert "imported" in card


def card_of(folder: Path, **settings: object) -> str:
    """The model card of a run with a corpus under CC BY-NC 4.0."""
    config = {
        "model": {"class_path": "tasks.translation.TranslationTask"},
        "data": {"class_path": "data", "init_args": {"corpus": "pairs"}},
        "job": settings,
    }
    subject = CardSubject(RunDirectory(folder), config, None, licence="CC BY-NC 4.0")
    return render_markdown(model_card(subject))


def glance_of(card: str) -> dict[str, str]:
    """The facts that a card begins with."""
    lines = card.partition("## ")[2].partition("## ")[0].splitlines()
    return dict(line.removeprefix("- ").split(": ", 1) for line in lines if ": " in line)


def test_a_card_begins_with_what_a_reader_asks_first(tmp_path: Path) -> None:
    facts = glance_of(card_of(tmp_path))
    assert facts["Corpus"] == "pairs"
    assert facts["Licence of the corpus"] == "CC BY-NC 4.0"
    assert facts["Intended use"] == "not stated"
    assert {"Score", "Limits", "Energy"} <= facts.keys()
    found = card_of(tmp_path, intended_use=["research", "commercial"])
    assert "- Intended use (commercial): not allowed" in found
    assert "does not allow commercial use." in found


def test_the_use_that_an_audit_was_told_counts(tmp_path: Path) -> None:
    config = {
        "model": {"class_path": "tasks.translation.TranslationTask"},
        "data": {"class_path": "data", "init_args": {"corpus": "pairs"}},
        "job": {"intended_use": "research"},
    }
    audited = licence_finding("CC BY-NC 4.0", ("commercial",))
    for findings, use in (([], "research"), ([audited], "commercial")):
        subject = CardSubject(RunDirectory(tmp_path), config, None, findings, {}, "CC BY-NC 4.0")
        [row] = [line for line in glance_lines(subject) if "Intended use" in line]
        assert row.startswith(f"Intended use ({use})")


def glance_lines(subject: CardSubject) -> list[str]:
    return [f"{name}: {value}" for name, value in glance(subject).items()]


def test_numbers_of_a_card_are_grouped(tmp_path: Path) -> None:
    record = {
        "parameters": {"n_parameter": "1118208", "data.train_tokens": "2164696"},
        "tags": {"model": "Transformer"},
    }
    (tmp_path / "mlflow.json").write_text(json.dumps(record))
    assert "- Parameters: 1,118,208" in card_of(tmp_path)
    config = {"model": {"class_path": "tasks.translation.TranslationTask"}, "data": {"x": 1}}
    sheet = render_markdown(data_sheet(CardSubject(RunDirectory(tmp_path), config, None)))
    assert "2,164,696" in sheet


TRAINING = MeasuredTraining(1.0, 600.0, {"package": 3.6e6, "dram": 1.8e6})
BLIND = MeasuredTraining(2.0, 60.0, reason=NO_COUNTER)


def test_energy_is_said_in_kilowatt_hours_with_what_it_covers() -> None:
    first, covers = energy_sentences([TRAINING, replace(TRAINING, joules={"package": 3.6e6})])
    assert first == "2.5 kWh in 20 min 0 s of training, by the CPUs and the memory."
    assert "rest of the machine" in covers


def test_energy_that_was_not_measured_has_its_reason() -> None:
    assert energy_sentences([BLIND]) == [f"Not measured: {BLIND.reason}."]
    assert kilowatt_hours([BLIND]) is None
    assert energy_sentences([])[0].startswith("Not measured")


def test_energy_of_a_part_of_the_training_is_a_lower_bound() -> None:
    sentences = energy_sentences([TRAINING, BLIND])
    assert sentences[0].startswith("At least 1.5 kWh in 10 min")
    assert any("1 min 0 s" in sentence for sentence in sentences)
    assert BLIND.reason in sentences[-1]
    late = energy_sentences([replace(TRAINING, unsure_seconds=30.0)])
    assert late[0].startswith("At least")
    several = energy_sentences([replace(TRAINING, n_machine=4)])
    assert "4 machines" in several[-1]


def test_the_report_has_one_section_of_the_card_that_links_to_the_files(
    memorizing: Run,
) -> None:
    for _ in range(2):
        write_run_cards(memorizing.directory, None)
    assert memorizing.report is not None
    page = memorizing.report.read_text("utf-8")
    assert page.count('id="section-card"') == page.count('href="#section-card"') == 1
    for name in ("model_card.md", "data_sheet.md"):
        assert f'href="../{name}"' in page
        assert (memorizing.report.parent / ".." / name).exists()
    markdown = (memorizing.report.parent / "report.md").read_text("utf-8")
    assert markdown.count("## Model card") == 1


def test_a_section_that_is_added_anew_leaves_the_others() -> None:
    """Sections of a report in Markdown can be replaced in any order."""
    text = "# Report\n\n## Scores\n\nGood.\n"
    for name in ("card", "audit", "card", "audit"):
        text = with_markdown(text, Section(name, [Text(f"Of the {name}.")]), f"section-{name}")
    assert headings(text) == ["Scores", "card", "audit"]
    assert "Good." in text


def test_cards_are_chinese_for_chinese_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    write_energy(folder / "energy.json", [TRAINING, BLIND])
    monkeypatch.setenv("LSLM_LANG", "zh")
    card = card_of(folder, intended_use=["research", "commercial", "publication"])
    names = {"SPDX", "kWh", "lslm", "audit", "lightning", "Linux", "RAPL", "NVIDIA", "GPU"}
    known = {*names, "CC", "BY", "NC", "pairs"}
    assert set(re.findall("[A-Za-z]+", card)) <= known


def test_markup_of_a_name_stays_text(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(
        json.dumps({"scores": [], "data": {}, "findings": [{"words": "<script>|x\n# y"}]})
    )
    config = {"model": {"class_path": "tasks.translation.TranslationTask"}}
    card = render_markdown(model_card(CardSubject(RunDirectory(folder), config, None)))
    assert "<script>" not in card
    assert "\n# y" not in card

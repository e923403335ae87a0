"""Model card of a run, written from what is known, with what is not known named.

Source: Mitchell et al. 2019, "Model cards for model reporting".
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lslm_lightning.auditing.card_subject import NOBODY, CardSubject, counted_value, licence_facts
from lslm_lightning.auditing.energy_facts import energy_sentences
from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.auditing.licence_part import LICENCE
from lslm_lightning.auditing.licence_part import NAME as LICENCE_PART
from lslm_lightning.auditing.licences import is_stated
from lslm_lightning.auditing.page import figure_table, overview
from lslm_lightning.localization import ENGLISH, Term, interface_in
from lslm_lightning.reports.blocks import (
    Cell,
    Code,
    Facts,
    Links,
    Missing,
    Points,
    Report,
    Section,
    Settings,
    Text,
)
from lslm_lightning.reports.conclusion import score_sentence
from lslm_lightning.reports.page import section_markdown
from lslm_lightning.reports.scores import ScoreTable
from lslm_lightning.run_files import DATA_SHEET, MODEL_CARD
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.systems.purpose import languages_of_answers
from lslm_lightning.types import JsonObject

MEASURED_FOR = {  # sentence on what a task is measured for
    "language_modeling": "It is measured for continuing texts and for their probability.",
    "translation": "It is measured for translating.",
    "summarization": "It is measured for summarizing.",
    "question_answering": "It is measured for answering questions about a given text.",
    "speech_recognition": "It is measured for transcribing speech.",
}
NOT_MEASURED_FOR = (
    "It is not measured for other tasks, languages and kinds of text than those of its test set, "
    "nor for decisions about people."
)
NOT_TESTED = "The run was not tested."
NOT_AUDITED = "The run was not audited; lslm audit does it."
IMPORTED = "The model was imported: its training data and their licence are not known."
NO_FAILURE = "No sanity check of the test failed; that proves no quality."


def model_card(subject: CardSubject) -> Report:
    """Return the model card of a run."""
    sections = [
        Section("At a glance", [Facts(glance(subject))]),
        *card_sections(subject),
        Section("Model", [Facts({**model_facts(subject), **subject.costs})]),
        Section("Not known", [Points(unknown_of_model(subject))]),
    ]
    title = f"Model card: {subject.directory.path.name}"
    return Report(title, sections, origin_of(subject.directory))


def card_section(subject: CardSubject) -> Section:
    """Return the section "Model card" of the report of a run: what it was trained on, what its
    licence allows, how good it is, its limits, its energy, and links to the cards.
    """
    links = {"Full model card": f"../{MODEL_CARD}"}
    if subject.config.get("data"):
        links["Data sheet"] = f"../{DATA_SHEET}"
    return Section("Model card", [Settings(glance(subject)), Links(links)])


def glance(subject: CardSubject) -> dict[str, Cell]:
    """Return what a reader asks first, a line each: task, data, licence, use, score, limits,
    energy.
    """
    facts: dict[str, Cell] = {
        "Task": Term(subject.task.replace("_", " ").capitalize()),
        "Corpus": subject.corpus_name,
    }
    facts |= {name: answer for name, answer in licence_facts(subject).items() if name != "SPDX id"}
    scores = subject.scores
    sentence = score_sentence(scores[0], None) if scores else ""
    facts["Score"] = Term(sentence or NOT_TESTED)
    if conclusion := subject.tags.get("conclusion"):
        facts["Baselines"] = Term(conclusion)
    facts["Limits"] = Term(limits_of(subject)[0])
    facts["Energy"] = Term(energy_sentences(subject.trainings)[0])
    return facts


def card_sections(subject: CardSubject) -> list[Section]:
    """Return the sections that the card of a run and that of an exported model share: use, data,
    scores, limits, audit, energy.
    """
    use = [MEASURED_FOR[subject.task]] if subject.task in MEASURED_FOR else []
    if subject.config.get("data"):
        use = [subject.licence_finding.summary[0], *use]
    findings = [each for each in subject.findings if each.part != LICENCE_PART]
    return [
        Section("Intended use", [Points([*use, NOT_MEASURED_FOR])]),
        Section("Data and licence", data_blocks(subject)),
        Section("Scores", score_blocks(subject)),
        Section("Limits", [Points(limits_of(subject))]),
        Section("Audit", audit_blocks(findings)),
        Section("Energy", [Points(energy_sentences(subject.trainings))]),
    ]


def english_sections(subject: CardSubject) -> list[str]:
    """Return the `card_sections` as Markdown in English, for a file that other tools read too."""
    with interface_in(ENGLISH):
        return [f"{section_markdown(each)}\n" for each in card_sections(subject)]


def data_blocks(subject: CardSubject) -> list[object]:
    """Return the corpus of a run, its licence and what that says, and the digest of its test
    set.
    """
    if not subject.config.get("data"):
        return [Text(IMPORTED)]
    facts: dict[str, Cell] = {"Corpus": subject.corpus_name, **licence_facts(subject)}
    tested = subject.record.get("data", {})
    if digest := tested.get("digest"):
        facts["Digest of the test set"] = Code(str(digest))
    return [
        Facts(facts),
        Points([*subject.licence_finding.summary[1:], *subject.licence_finding.limits]),
    ]


def score_blocks(subject: CardSubject) -> list[object]:
    """Return the table of the test scores of a run, and the comparison with its baselines."""
    if not (scores := subject.scores):
        return [Text(NOT_TESTED)]
    conclusion = subject.tags.get("conclusion")
    table = ScoreTable({subject.directory.path.name: scores}).table()
    return [*([Text(conclusion)] if conclusion else []), table]


def audit_blocks(findings: Sequence[AuditFinding]) -> list[object]:
    """Return the findings of an audit and their figures."""
    if not findings:
        return [Text(NOT_AUDITED)]
    figures = [
        replace(figure_table(finding.figures), caption=finding.title)
        for finding in findings
        if finding.figures
    ]
    return [overview(findings), *figures]


def limits_of(subject: CardSubject) -> list[str]:
    """Return the sanity checks that the test failed, in sentences."""
    if not subject.record:
        return [NOT_TESTED]
    checks = [str(each.get("words", "")) for each in subject.record.get("findings", [])]
    return checks or [NO_FAILURE]


def origin_of(directory: RunDirectory) -> str:
    """Return a sentence on where the weights of a run come from."""
    record = json.loads(directory.record.read_text("utf-8")) if directory.record.is_file() else {}
    if not (imported := record.get("imported")):
        return "Trained by lslm-lightning."
    name = Path(imported["path"])
    source = name.name if name.is_absolute() or name.exists() else str(name)
    return f"Imported by lslm-lightning from {source}, and not trained further."


def model_facts(subject: CardSubject) -> dict[str, Cell]:
    """Return kind, size, tokenizer, languages, code and starting weights of the model, as far as
    they were recorded.
    """
    noted = subject.directory.beginning
    languages = languages_of_answers(subject.directory, subject.config)
    facts: dict[str, Cell] = {
        "Kind": str(subject.tags["model"]) if "model" in subject.tags else NOBODY,
        "Parameters": counted_value(noted.get("parameters", {}).get("n_parameter")),
        "Tokenizer": str(subject.tags["tokenizer"]) if "tokenizer" in subject.tags else NOBODY,
        "Languages": " → ".join(dict.fromkeys(languages)) if languages else NOBODY,
    }
    if start := start_of(subject.config):
        facts["Weights to start from"] = Code(start)
    if commit := noted.get("git.commit"):
        facts["Git commit"] = Code(commit)
    return facts


def start_of(config: JsonObject) -> str:
    """Return the name of the run or of the pretrained model whose weights training started from;
    "" for random weights.
    """
    backbone = (config["model"].get("init_args") or {}).get("backbone") or {}
    pretrained = ".pretrained." in str(backbone.get("class_path", ""))
    start = (config.get("job") or {}).get("start") or (
        (backbone.get("init_args") or {}).get("path") if pretrained else None
    )
    return Path(str(start)).name if start and Path(str(start)).is_absolute() else str(start or "")


def unknown_of_model(subject: CardSubject) -> list[str]:
    """Return what a reader of the card would want to know and the run does not tell."""
    found = []
    if not subject.record:
        found.append("Quality: the run was not tested.")
    if not subject.findings:
        found.append("Memorization and contamination: the run was not audited.")
    licence = licence_facts(subject)[LICENCE]
    if isinstance(licence, Missing) or not is_stated(str(licence)):
        found.append("Licence of the training data.")
    if start_of(subject.config):
        found.append("Data, licence and energy of the weights that training started from.")
    return [
        *found,
        "Who is responsible for the model, and whom to ask.",
        "Quality for groups of people, dialects and kinds of text that the test set does not tell "
        "apart.",
        "Emissions of training: they depend on where its electricity came from.",
    ]

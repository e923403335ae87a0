"""Model card and data sheet of a run, written from what is known, with what is not known named.

Sources: Mitchell et al. 2019, "Model cards for model reporting"; Gebru et al. 2021, "Datasheets for
datasets".
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lslm_lightning.auditing.finding import AuditFigure, AuditFinding
from lslm_lightning.auditing.licences import licence_sentences
from lslm_lightning.contracts import Score
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.evaluation.scoring import read_scores
from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import DATA_SHEET, MODEL_CARD
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.safety.visible_text import one_visible_line
from lslm_lightning.systems.purpose import languages_of_answers
from lslm_lightning.types import JsonObject

UNKNOWN = "not known"
CONSEQUENCES = {  # uses that a task is measured for
    "language_modeling": "continue texts and compute their probability",
    "translation": "translate",
    "summarization": "summarize",
    "question_answering": "answer questions about a given text",
    "speech_recognition": "transcribe speech",
}


@dataclass(frozen=True)
class CardSubject:
    """Run that a card describes.

    Args:
        directory: directory of the run.
        config: configuration of the run.
        corpus: corpus of the run; None if it cannot be opened here.
        findings: findings of an audit of the run; empty before one.
        costs: costs of training as text by name, such as "Wall time"; empty if unknown.
        licence: licence of the corpus.
    """

    directory: RunDirectory
    config: JsonObject
    corpus: Corpus | None
    findings: Sequence[AuditFinding] = ()
    costs: Mapping[str, str] = field(default_factory=dict)
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


def in_markdown(text: str) -> str:
    """Return a text for a line of Markdown, without control characters and table borders."""
    return one_visible_line(text).replace("|", "\\|").replace("<", "&lt;")


def model_card(subject: CardSubject) -> str:
    """Return the model card of a run in Markdown."""
    facts = {**size_facts(subject), **subject.costs}
    lines = [
        f"# Model card: {in_markdown(subject.directory.path.name)}",
        "",
        origin_of(subject.directory),
        "",
        *card_section("Model", bullets(facts)),
        *card_sections(subject),
        *card_section("Not known", bullets_of(unknown_of_model(subject))),
    ]
    return "\n".join(lines).strip() + "\n"


def card_sections(subject: CardSubject) -> list[str]:
    """Return the sections that the card of a run and that of an exported model share: use, data,
    scores, audit, limits, energy.
    """
    return [
        *card_section("Intended use", use_lines(subject)),
        *card_section("Data", data_lines(subject)),
        *card_section("Scores of the run", score_lines(subject.directory)),
        *card_section("Audit", audit_lines(subject.findings)),
        *card_section("Limits", limit_lines(subject)),
        *card_section("Energy", energy_lines()),
    ]


def data_sheet(subject: CardSubject) -> str:
    """Return the data sheet of a run's corpus in Markdown, with the questions of Gebru et al."""
    corpus = subject.corpus
    data = subject.config.get("data") or {}
    name = str((data.get("init_args") or {}).get("corpus", UNKNOWN))
    known = bool(corpus)
    composition = {"Corpus": corpus.name if corpus else name}
    if corpus is not None:
        composition |= {
            "Task": corpus.task,
            "Languages": ", ".join(corpus.languages) or UNKNOWN,
            "Splits": ", ".join(split_sizes(corpus)),
        }
    lines = [
        f"# Data sheet: {in_markdown(corpus.name if corpus else name)}",
        "",
        *card_section("Motivation", ["- Who made the data, what for, and who paid: not known."]),
        *card_section("Composition", bullets(composition) + contamination_lines(subject.findings)),
        *card_section(
            "Collection",
            bullets(
                {
                    "Source": (corpus.home if corpus else "") or UNKNOWN,
                    "Citation": (corpus.citation if corpus else "") or UNKNOWN,
                    "Consent of the people in the data": UNKNOWN,
                }
            ),
        ),
        *card_section("Preparation", preparation_lines(subject)),
        *card_section("Use and distribution", licence_lines(subject.licence)),
        *card_section("Maintenance", ["- Who corrects and updates the data: not known here."]),
    ]
    if not known:
        lines += ["The corpus cannot be opened on this machine; most of its facts are missing.", ""]
    return "\n".join(lines).strip() + "\n"


def write_cards(subject: CardSubject) -> list[Path]:
    """Write `model_card.md` and, for a run with data, `data_sheet.md` into the run directory;
    return their paths.
    """
    folder = subject.directory.path
    texts = {MODEL_CARD: model_card(subject)}
    if subject.config.get("data"):
        texts[DATA_SHEET] = data_sheet(subject)
    for name, text in texts.items():
        atomic_write(folder / name, text)
    return [folder / name for name in texts]


def card_section(title: str, lines: Sequence[str]) -> list[str]:
    """Return the lines of a section of Markdown; none if it is empty."""
    return [f"## {title}", "", *lines, ""] if lines else []


def bullets(facts: Mapping[str, str]) -> list[str]:
    """Return facts by name as a list of Markdown."""
    return [f"- {name}: {in_markdown(str(value))}" for name, value in facts.items()]


def bullets_of(sentences: Sequence[str]) -> list[str]:
    """Return sentences as a list of Markdown."""
    return [f"- {in_markdown(sentence)}" for sentence in sentences]


def origin_of(directory: RunDirectory) -> str:
    """Return a sentence on where the weights of a run come from."""
    record = json.loads(directory.record.read_text("utf-8")) if directory.record.is_file() else {}
    if not (imported := record.get("imported")):
        return "Trained by lslm-lightning."
    name = Path(imported["path"])
    source = name.name if name.is_absolute() or name.exists() else str(name)
    return f"Imported by lslm-lightning from {in_markdown(source)}, and not trained further."


def size_facts(subject: CardSubject) -> dict[str, str]:
    """Return kind, size and languages of the model, as far as they were recorded."""
    noted = subject.directory.beginning
    parameters = noted.get("parameters", {})
    tags = noted.get("tags", {})
    languages = languages_of_answers(subject.directory, subject.config)
    found = {
        "Kind": str(tags.get("model", UNKNOWN)),
        "Parameters": str(parameters.get("n_parameter", UNKNOWN)),
        "Tokenizer": str(tags.get("tokenizer", UNKNOWN)),
        "Languages": " to ".join(dict.fromkeys(languages)) if languages else UNKNOWN,
    }
    if commit := noted.get("git.commit"):
        found["Code"] = f"commit {commit}"
    return found


def use_lines(subject: CardSubject) -> list[str]:
    """Return what the model is measured for, and what the licence of its data says about use."""
    verb = CONSEQUENCES.get(subject.task, UNKNOWN)
    lines = [
        f"- Measured for: {verb}, on texts like those of its test set.",
        "- Not measured for: other tasks, languages and kinds of text; decisions about people.",
    ]
    return [*lines, *licence_lines(subject.licence)] if subject.config.get("data") else lines


def licence_lines(licence: str) -> list[str]:
    """Return the licence of the data, and what it says about use."""
    sentences = [] if licence == UNKNOWN else licence_sentences(licence)
    return [f"- Licence of the corpus: {in_markdown(licence)}. {' '.join(sentences)}".strip()]


def data_lines(subject: CardSubject) -> list[str]:
    """Return the corpus of a run, its licence, and the digest of its test set."""
    data = subject.config.get("data") or {}
    corpus = str((data.get("init_args") or {}).get("corpus", "not stated"))
    lines = [
        f"- Corpus: {in_markdown(corpus)}",
        f"- Licence of the corpus: {in_markdown(subject.licence)}",
    ]
    tested = subject.record.get("data", {})
    if digest := tested.get("digest"):
        split = in_markdown(str(tested.get("split", "test")))
        lines.append(f"- Test set: {split}, {in_markdown(str(digest))}")
    return [*lines, *contamination_lines(subject.findings)]


def contamination_lines(findings: Sequence[AuditFinding]) -> list[str]:
    """Return the finding of an audit on contamination; that there was none otherwise."""
    found = [finding for finding in findings if finding.part == "contamination"]
    if not found:
        return ["- Contamination of the test set: not measured; lslm audit measures it."]
    return [f"- Contamination of the test set: {in_markdown(found[0].summary[0])}"]


def score_lines(directory: RunDirectory) -> list[str]:
    """Return a table of the test scores of a run, with their signatures."""
    if not directory.metrics.is_file():
        return ["The run was not tested."]
    return [
        "| metric | score | 95 % interval | examples | signature |",
        "|---|---|---|---|---|",
        *map(score_row, read_scores(directory.metrics)),
    ]


def score_row(score: Score) -> str:
    """Return the row of a score."""
    unit = f" {score.unit}" if score.unit else ""
    cells = (
        score.metric,
        f"{score.value:.4g}{unit}",
        interval_text(score.low, score.high),
        f"{score.n_example:,}",
        score.signature,
    )
    return f"| {' | '.join(map(in_markdown, cells))} |"


def interval_text(low: float | None, high: float | None) -> str:
    """Return the bounds of an interval as text; "" without them."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"{low:.4g} to {high:.4g}"


def audit_lines(findings: Sequence[AuditFinding]) -> list[str]:
    """Return the findings of an audit and their figures."""
    if not findings:
        return ["The run was not audited; lslm audit does it."]
    lines = []
    for finding in findings:
        lines.append(f"- {in_markdown(finding.title)}: {in_markdown(' '.join(finding.summary))}")
        lines += [f"  - {in_markdown(figure_text(figure))}" for figure in finding.figures]
    return lines


def figure_text(figure: AuditFigure) -> str:
    """Return a figure with its unit and interval as text."""
    interval = interval_text(figure.low, figure.high)
    bounds = f" ({interval})" if interval else ""
    return f"{figure.name}: {figure.value:.4g} {figure.unit}".rstrip() + bounds


def limit_lines(subject: CardSubject) -> list[str]:
    """Return the sanity checks that the test failed, and the parts of the audit to look at."""
    checks = [str(each.get("words", "")) for each in subject.record.get("findings", [])]
    return bullets_of(checks) or ["- No sanity check of the test failed; that proves no quality."]


def energy_lines() -> list[str]:
    """Return a sentence on energy, which is not measured."""
    return ["The energy of training was not measured, and is not guessed."]


def preparation_lines(subject: CardSubject) -> list[str]:
    """Return how the texts were prepared: numbers that training recorded, and remarks."""
    parameters = subject.directory.beginning.get("parameters", {})
    counts = {
        key.removeprefix("data."): str(value)
        for key, value in parameters.items()
        if key.startswith("data.train") or key.startswith("data.val")
    }
    note = subject.corpus.note if subject.corpus else ""
    remarks = {"Remarks": note} if note else {}
    data = subject.config.get("data") or {}
    canaries = (data.get("init_args") or {}).get("canaries")
    planted = {"Planted canaries": f"{canaries.get('n', '')}"} if canaries else {}
    return bullets({**remarks, **planted, **counts}) or ["- Not known."]


def split_sizes(corpus: Corpus) -> list[str]:
    """Return the splits of a corpus, with the number of rows of each if it is known."""
    return [
        f"{split} ({corpus.sizes[split]:,} rows)" if split in corpus.sizes else split
        for split in corpus.splits
    ]


def unknown_of_model(subject: CardSubject) -> list[str]:
    """Return what a reader of the card would want to know and the run does not tell."""
    found = []
    if not subject.record:
        found.append("Quality: the run was not tested.")
    if not subject.findings:
        found.append("Memorization, contamination: the run was not audited.")
    if subject.licence.strip().lower() in ("not stated", "none stated", UNKNOWN):
        found.append("Licence of the training data.")
    return [
        *found,
        "Who is responsible for the model, and whom to ask.",
        "Quality for groups of people, dialects and kinds of text that the test set does not tell "
        "apart.",
        "Energy and emissions of training.",
    ]

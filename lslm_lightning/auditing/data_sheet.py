"""Data sheet of a run's corpus, written from what is known, with what is not known named.

Source: Gebru et al. 2021, "Datasheets for datasets".
"""

from collections.abc import Sequence

from lslm_lightning.auditing.card_subject import NOBODY, CardSubject, counted_value, licence_facts
from lslm_lightning.auditing.finding import AuditFinding
from lslm_lightning.corpora.corpus import Corpus
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import Cell, Facts, Missing, Points, Report, Section, Table


def data_sheet(subject: CardSubject) -> Report:
    """Return the data sheet of a run's corpus, with the questions of Gebru et al."""
    corpus = subject.corpus
    composition: dict[str, Cell] = {"Corpus": subject.corpus_name}
    if corpus is not None:
        composition |= {
            "Task": Term(corpus.task.replace("_", " ").capitalize()),
            "Languages": ", ".join(corpus.languages) or NOBODY,
            "Splits": ", ".join(split_sizes(corpus)),
        }
    collection: dict[str, Cell] = {
        "Source": (corpus.home if corpus else "") or NOBODY,
        "Citation": (corpus.citation if corpus else "") or NOBODY,
        "Consent of the people in the data": NOBODY,
    }
    use = [*subject.licence_finding.summary, *subject.licence_finding.limits]
    sections = [
        Section("Motivation", [Facts({"Who made the data, what for, and who paid": NOBODY})]),
        Section("Composition", [Facts(composition), Points([contamination_of(subject.findings)])]),
        Section("Collection", [Facts(collection)]),
        Section("Preparation", preparation_blocks(subject)),
        Section("Use and distribution", [Facts(licence_facts(subject)), Points(use)]),
        Section("Maintenance", [Facts({"Who corrects and updates the data": NOBODY})]),
    ]
    lost = "The corpus cannot be opened on this machine; most of its facts are missing."
    return Report(f"Data sheet: {subject.corpus_name}", sections, "" if corpus else lost)


def contamination_of(findings: Sequence[AuditFinding]) -> str:
    """Return the finding of an audit on contamination; that there was none otherwise."""
    found = [finding.summary[0] for finding in findings if finding.part == "contamination"]
    return found[0] if found else "Contamination of the test set was not measured."


def preparation_blocks(subject: CardSubject) -> list[object]:
    """Return how the texts were prepared: remarks, and numbers that training recorded."""
    parameters = subject.directory.beginning.get("parameters", {})
    rows: dict[str, dict[str, Cell]] = {}
    for key, value in parameters.items():
        split, _, name = key.removeprefix("data.").partition("_")
        if key.startswith("data.") and split in ("train", "val"):
            number = counted_value(value)
            rows.setdefault(name, {})[split] = value if isinstance(number, Missing) else number
    columns = ["number", "training", "validation"]
    table = [
        [Term(name.replace("_", " ")), counts.get("train"), counts.get("val")]
        for name, counts in rows.items()
    ]
    canaries = subject.data.get("canaries") or {}
    facts: dict[str, Cell] = {}
    if subject.corpus and subject.corpus.note:
        facts["Remarks"] = subject.corpus.note
    if canaries:
        facts["Planted canaries"] = canaries.get("n")
    blocks: list[object] = [Facts(facts)] if facts else []
    blocks += [Table(columns, table)] if table else []
    return blocks or [Facts({"How the texts were prepared": NOBODY})]


def split_sizes(corpus: Corpus) -> list[str]:
    """Return the splits of a corpus, with the number of rows of each if it is known."""
    return [
        f"{split} ({corpus.sizes[split]:,})" if split in corpus.sizes else split
        for split in corpus.splits
    ]

"""Every message that reaches users has a translation, and every translation is used."""

import errno
import os
import re

import pytest

from lslm_lightning.interchange.layouts.layout import Obstacle
from lslm_lightning.localization import MESSAGES, REPORTS, SETTINGS, translated
from lslm_lightning.localization.catalogue import FIELD, entries_of
from tests.localization.source_texts import Collector, collected, source_files

NOT_SHOWN = {  # texts that the collector finds, but that are data, names, or parts of files
    "ngram {n}={keys}",
    "how many|how much",
    "GB 18030",
    "ISO 8859-2",
    "ISO 8859-5",
    "ISO 8859-6",
    "Mac Cyrillic",
    "DOS 866",
    "Best first (lslm)",
    "Newest first, with their parts (lslm)",
    "lslm run --help {name}",
    "leave out",
    "columns: {strip}",
    "copy of the source",
    "first sentence",
    "first {k} sentences",
    "longest sentence",
    "extractive oracle, {k}",
    "no answer",
    "most frequent span",
    "word overlap",
    "tuple[object, ...]",
    "clean example",
    "|context:one passage|tokens:{model}",
    "<!-- lslm {hash_of} -->",
    "ROUGE-{found} ({found2})",
    "Compare runs: {value}",
    "lslm audit",
    "lslm compare",
    "lslm consolidate",
    "lslm data",
    "lslm demo",
    "lslm evaluate",
    "lslm export",
    "lslm gate",
    "lslm generate",
    "lslm human",
    "lslm import",
    "lslm import {source} --output {folder}",
    "lslm log-prob",
    "lslm plan",
    "lslm resume",
    "lslm serve",
    "lslm sweep",
    "lslm sync",
    "lslm ui",
    "lslm verify-resume",
    "trainer.{name}={trainer}: {why}",
    "trainer.callbacks: {name} {why}",
    "trainer: {split}",
    "trainer.callbacks: Timer",
    "Answer the question with the shortest words of the passage that answer it, copie"
    "d exactly, and nothing else. If the passage does not answer it, reply with {noth"
    "ing} alone.",
    "corpora.yaml: {name}",
    "{where}: splits.{split}",
    "--search {search}",
    "model.optimizer: {split}",
    "--output FILE",
    "--file {file}: {error}",
    "at_least: baseline",
    "metrics.jsonl: {strerror}",
    "lslm run --config {relpath}",
    "--ckpt_path FILE",
    ", no test is possible",
    "({low} to {high}), p = {p}",
    ", {megabytes_per_second} MB/s",
    "context {context}, batch_size {batch_size}",
    "{name}.statistics(answer, references) {message}{last}",
    "mlflow.json: {strerror}",
    "{minutes} h {minutes2} min",
    "{minutes} min {rest} s",
    "(default %(default)s)",
    "a cat sat there",
    "{prog} [OPTIONS]",
    "{instruction} Answer in {language}, with the summary and nothing else.",
    "Summarize the text in one short sentence.",
    "Text: {source}",
    "Summary: {references}",
    "Translate from {source} to {target}. Write the translation and nothing else.",
    "{error}",
    "{translated}",
    "It has no settings.",
    "lslm {command} {options}",
    "In a config it stands as class_path, with init_args; in the shell after its key:",
    "{message}",
    "{one_line}",
    "{reference}: {error}",
    "usage: lslm {command} --config FILE{given} [--NAME VALUE ...]",
    "Any setting of a config can be given in this way, without its init_args.",
    "{name}: {error}",
    "{worker_lost_message}",
    "MB",
    "{speed} MB/s",
    "LSLM_DATA",
    "--config FILE, --ckpt_path FILE, --seed_everything N, --print_config, --trust",
    "lslm {command} --config FILE{given} [--KEY VALUE ...]",
    'pip install "lslm-lightning[{extras}]"',
    "lslm {command} parses nothing",  # our own error
    "=== lslm {run}",
    "--model.{key} {value}",
    "Monday, 3 May 2021: three men are at work.",
    "Two dogs play in the snow, and a child looks on.",
    "Ein Mann in einer blauen Jacke steht auf einer Leiter.",
    "Une femme lit un livre dans un café à Paris.",
    "El perro marrón corre por la playa.",
    "def forward(self, x): return x + 1",
}
PYTHON = (
    "argument {}: invalid choice: {} (choose from {})",
    "argument {}: invalid {} value: {}",
    "argument {}: expected one argument",
    "argument {}: expected at least one argument",
    "argument {}: not allowed with argument {}",
    "argument {}: ignored explicit argument {}",
    "argument {}",
    "ambiguous option: {} could match {}",
    "unrecognized arguments: {}",
    "the following arguments are required: {}",
    "the following arguments are required: {}; {} --help",  # with our advice
    "File is not a zip file",  # of zipfile
)
FOREIGN = {*PYTHON, *map(os.strerror, errno.errorcode)}  # messages of Python and the system
COUNTS = re.compile(r'"(?:\{split\}|train)_(\w+)"')  # names of what data count, as they are printed


def skeleton(text: str) -> str:
    """Return a template with anonymous fields."""
    return re.sub(r"\{\w+(!\w+)?\}", "{}", text)


def po(text: str) -> str:
    """Return an entry of a catalogue without its translation."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'msgid "{quoted}"\nmsgstr ""\n'


@pytest.fixture(scope="module")
def source() -> Collector:
    return collected()


@pytest.fixture(scope="module")
def texts(source: Collector) -> dict[str, dict[str, set[str]]]:
    return source.texts


def test_every_message_has_a_translation(texts: dict[str, dict[str, set[str]]]) -> None:
    entries = (entries_of(kind, "zh") for kind in (MESSAGES, REPORTS, SETTINGS))
    translated = {skeleton(text) for texts in entries for text in texts}
    renamed = {text for text in texts if re.fullmatch(r"\w+\.\w+, in \w+_class", text)}
    known = translated | {*map(skeleton, NOT_SHOWN)} | renamed
    lacking = [text for text in texts if skeleton(text) not in known]
    assert not lacking, "add to zh/messages.po:\n\n" + "\n".join(map(po, lacking))


def test_every_translation_is_of_a_message(texts: dict[str, dict[str, set[str]]]) -> None:
    sources = "".join(path.read_text("utf-8") for path in source_files())
    counts = {name.replace("_", " ") for name in COUNTS.findall(sources)} | {"too long left out"}
    obstacle = str(Obstacle("{key}", "{value}", ("{allowed}",)))
    used = set(map(skeleton, [*texts, obstacle])) | FOREIGN | counts
    unused = [text for text in entries_of(MESSAGES, "zh") if skeleton(text) not in used]
    assert not unused


EXAMPLES = {
    "where": "a.txt: line 7",
    "location": "a.txt: line 7",
    "metric_label": "val/BLEU",
    "columns_as_yaml": "columns: {a: b}",
    "mapping": "columns: {a: b}",
    "type_of": "text",
    "problem": "an empty value is null to YAML",
}
MOST_PIECES = 10  # of one field: functions that pass values on seem to return texts of all callers


def english(text: str) -> set[str]:
    """Return the English words of a text or template, outside of its fields."""
    return set(re.findall(r"(?<![\w.=-])[a-z]{2,}(?![\w.=-])", FIELD.sub(" ", text), re.A))


def test_texts_within_texts_are_translated(
    source: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence that is composed of texts keeps no English word of theirs."""
    monkeypatch.setenv("LSLM_LANG", "zh")
    chinese = {skeleton(text): other for text, other in entries_of(MESSAGES, "zh").items()}

    def filled(text: str, /, **values: str) -> str:
        """Return a text with values in its fields, and texts or numbers in the other ones."""

        def value(field: re.Match[str]) -> str:
            name = field[1]
            if name in values:
                return values[name]
            if (text, field[0]) in source.lists:
                return "a.7, b.8"
            inner = sorted(source.texts.get(text, {}).get(field[0], ()))
            known = [each for each in inner if skeleton(each) in chinese and each != text]
            is_inner = f"{{{name}!t}}" in chinese[skeleton(text)]
            if name in EXAMPLES or not known or not is_inner:
                return EXAMPLES.get(name, "7")
            return filled(known[0])

        shown = FIELD.sub(value, text)
        return f" {shown}" if shown.startswith("(") else shown

    leaks = []
    for text, fields in source.texts.items():
        for field, pieces in fields.items() if skeleton(text) in chinese else ():
            for piece in pieces if len(pieces) < MOST_PIECES else ():
                is_inner = f"{field[:-1]}!t}}" in chinese[skeleton(text)]
                if skeleton(piece) not in chinese or (not is_inner and "; " in piece):
                    continue
                sentence = filled(text, **{field[1:-1]: filled(piece)})
                shown = translated(sentence, MESSAGES)
                known = english(chinese[skeleton(text)] + chinese[skeleton(piece)])
                if english(shown) & english(piece) - known:
                    leaks.append(f"{field} = {piece!r} in {text!r}: {shown}")
    assert not leaks, "\n".join(leaks)

"""Every message that reaches users has a translation, and every translation is used."""

import errno
import os
import re

import pytest

from lslm_lightning.localization import MESSAGES, REPORTS, SETTINGS
from lslm_lightning.localization.catalogue import entries_of
from tests.localization.source_texts import collected, source_files

NOT_SHOWN = {  # texts that the collector finds, but that are data, names, or parts of files
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
    "lslm compare",
    "lslm consolidate",
    "lslm data",
    "lslm demo",
    "lslm evaluate",
    "lslm export",
    "lslm generate",
    "lslm import",
    "lslm import {source} --output {folder}",
    "lslm log-prob",
    "lslm plan",
    "lslm resume",
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
def texts() -> dict[str, set[str]]:
    return collected()


def test_every_message_has_a_translation(texts: dict[str, set[str]]) -> None:
    entries = (entries_of(kind, "zh") for kind in (MESSAGES, REPORTS, SETTINGS))
    translated = {skeleton(text) for texts in entries for text in texts}
    lacking = [
        text for text in texts if skeleton(text) not in translated | {*map(skeleton, NOT_SHOWN)}
    ]
    assert not lacking, "add to zh/messages.po:\n\n" + "\n".join(map(po, lacking))


def test_every_translation_is_of_a_message(texts: dict[str, set[str]]) -> None:
    sources = "".join(path.read_text("utf-8") for path in source_files())
    counts = {name.replace("_", " ") for name in COUNTS.findall(sources)} | {"too long left out"}
    used = set(map(skeleton, texts)) | FOREIGN | counts
    unused = [text for text in entries_of(MESSAGES, "zh") if skeleton(text) not in used]
    assert not unused

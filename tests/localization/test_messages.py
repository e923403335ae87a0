"""Every message that reaches users has a translation, and every translation is used."""

import errno
import os
import re

import pytest

from lslm_lightning.localization import MESSAGES
from lslm_lightning.localization.catalogue import entries_of
from tests.localization.source_texts import collected

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
    "lslm generate",
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
    "Answer the question with the shortest words of the passage that answer"
    " it, copied exactly, and nothing else. If the passage does not answer it, reply with {nothing} alone.",
    "corpora.yaml: {name}",
    "{where}: splits.{split}",
    "--search {search}",
    "model.optimizer: {split}",
    "--output FILE",
    "metrics.jsonl: {strerror}",
    "lslm run --config {relpath}",
    "--ckpt_path FILE",
    "--{name}={value}{steps}: {why}",
    ", no test is possible",
    "({low} to {high}), p = {p}",
    ", {megabytes_per_second} MB/s",
    "context {context}, batch_size {batch_size}",
    "{name}.statistics(answer, references) {message}{last}",
    "mlflow.json: {strerror}",
    "a cat sat there",
    "interrupted",
    "{argv} is no command; did you mean {near}? lslm --help lists them",
    "{argv} is no command; lslm --help lists them",
    "give two runs or more, or --experiment NAME; lslm compare --help",
    "--n-resample {n_resample} must be at least 1; {test_resamples} suits most test sets",
    "--devices {devices} must be at least 1 and at most {n_process}",
    "{message}",
    "{one_line}",
    "{error}",
    "{reference}: {error}",
    "{failed} of {references} runs were not uploaded",
    "usage: lslm {command} --config FILE{given} [--NAME VALUE ...]",
    "Any setting of a config can be given in this way, without its init_args.",
    "--steps {steps} must be at least 2 and --kills {kills} at least 1",
    "{name}: {error}",
    "{worker_lost_message}",
    "To continue: {command}",
    "To continue: {steps}",
    "MB",
    "{speed} MB/s",
    "messages",
    "LSLM_DATA",
}
ARGPARSE = (
    "argument {}: invalid choice: {} (choose from {})",
    "argument {}: invalid {} value: {}",
    "argument {}: expected one argument",
    "argument {}: expected at least one argument",
    "argument {}: not allowed with argument {}",
    "argument {}: ignored explicit argument {}",
    "argument {}: {}",
    "ambiguous option: {} could match {}",
    "unrecognized arguments: {}",
    "the following arguments are required: {}",
)
FOREIGN = {*ARGPARSE, *map(os.strerror, errno.errorcode)}  # messages of Python and the system


def skeleton(text: str) -> str:
    """Return a template with anonymous fields."""
    return re.sub(r"\{\w+\}", "{}", text)


def po(text: str) -> str:
    """Return an entry of a catalogue without its translation."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'msgid "{quoted}"\nmsgstr ""\n'


@pytest.fixture(scope="module")
def texts() -> dict[str, set[str]]:
    return collected()


def test_every_message_has_a_translation(texts: dict[str, set[str]]) -> None:
    translated = set(map(skeleton, entries_of(MESSAGES, "zh")))
    lacking = [
        text for text in texts if skeleton(text) not in translated | {*map(skeleton, NOT_SHOWN)}
    ]
    assert not lacking, "add to zh/messages.po:\n\n" + "\n".join(map(po, lacking))


def test_every_translation_is_of_a_message(texts: dict[str, set[str]]) -> None:
    used = set(map(skeleton, texts)) | FOREIGN
    unused = [text for text in entries_of(MESSAGES, "zh") if skeleton(text) not in used]
    assert not unused

"""Readers for the file formats of particular published corpora."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from lslm_lightning.corpora.text_lines import Source, decode, lines_of
from lslm_lightning.corpora.values import Record

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_tagged(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield one record with the words of a file of `word/tag` tokens, one sentence per line.

    The word is everything before the last slash. This is the format of the Brown corpus.
    """
    sentences = (line.split() for line in lines_of(name, source))
    text = "\n".join(
        " ".join(token.rpartition("/")[0] for token in tokens) for tokens in sentences if tokens
    )
    yield Record(name, {"id": _stem(name), "text": text})


def read_subject(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield one record for an email of the AESLC corpus.

    The file holds the body, then lines `@subject`, `@ann0`, `@ann1`..., each followed by a subject
    line.
    """
    body, *parts = re.split(r"^@(subject|ann\d)\r?\n", decode(name, source), flags=re.MULTILINE)
    if not parts or parts[0] != "subject":
        raise ValueError(f"{name}: has no line @subject after the body")
    named = {key: value.strip() for key, value in zip(parts[::2], parts[1::2], strict=True)}
    yield Record(name, {"id": _stem(name), "body": body.strip()} | named)


def read_spoken_digits(name: str, source: Source, header: bool) -> Iterator[Record]:
    """Yield one record for a recording of the Free Spoken Digit Dataset.

    The file is called `DIGIT_SPEAKER_INDEX.wav`; the text is the English word for the digit.
    """
    match = re.fullmatch(r"(\d)_([^_]+)_(\d+)", _stem(name))
    if not match:
        raise ValueError(f"{name}: the name of a recording must be DIGIT_SPEAKER_INDEX.wav")
    digit, speaker, index = match.groups()
    named = {"audio": name, "text": DIGITS[int(digit)], "speaker": speaker, "index": index}
    yield Record(name, {"id": _stem(name)} | named)


def read_parallel(files: Mapping[str, tuple[str, Source]]) -> Iterator[Record]:
    """Yield a record for each line number, with that line from the file of every language.

    Args:
        files: language -> (name, content) of its file.

    Raises:
        ValueError: the files differ in their number of lines.
    """
    lines = {language: lines_of(name, source) for language, (name, source) in files.items()}
    if len({len(side) for side in lines.values()}) > 1:
        counts = ", ".join(
            f"{name} has {len(lines[language])}" for language, (name, _) in files.items()
        )
        raise ValueError(
            f"parallel files must have equal numbers of lines: {counts}; line i of each must be "
            "a translation of the others"
        )
    first = next(iter(files.values()))[0]
    for number, sentences in enumerate(zip(*lines.values(), strict=True), 1):
        identity = f"{first.split('.')[0]}:{number}"
        yield Record(identity, dict(zip(lines, sentences, strict=True)))


def read_sphinx(files: Mapping[str, Source]) -> Iterator[Record]:
    """Yield a record for each utterance of a corpus in the layout of CMU Sphinx.

    Line i of `*.fileids` is the path of its features within the folder of features. Line i of
    `*.transcription` is its transcript, followed by its name in parentheses. The speaker is the
    name of the folder that holds the features.

    Args:
        files: name -> content of the two files, and the name of the folder of features.

    Raises:
        ValueError: a file is missing, or the two files do not match line by line.
    """
    names = [
        next((name for name in files if PurePosixPath(name).suffix == kind), None)
        for kind in (".fileids", ".transcription", "")
    ]
    list_name, text_name, folder = names
    if list_name is None or text_name is None or folder is None:
        raise ValueError(
            "format sphinx needs a file *.fileids, one *.transcription and a folder of "
            f"features, not {', '.join(files)}"
        )
    paths = lines_of(list_name, files[list_name])
    transcripts = lines_of(text_name, files[text_name])
    if len(paths) != len(transcripts):
        raise ValueError(
            f"{list_name} has {len(paths)} lines and {text_name} {len(transcripts)}; line i of "
            "both must be of one utterance"
        )
    for number, (stated_path, line) in enumerate(zip(paths, transcripts, strict=True), 1):
        path = PurePosixPath(stated_path.strip())
        text, _, name = line.rpartition("(")
        if name.strip() != f"{path.name})":
            raise ValueError(
                f"{text_name}: line {number}: must end in ({path.name}), as line {number} of "
                f"{list_name} says, not in {line[-40:]!r}"
            )
        values = {
            "id": path.name,
            "audio": f"{folder}/{path}.mfc",
            "text": text.strip(),
            "speaker": path.parent.name,
        }
        yield Record(f"{text_name}:{number}", values)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].split(".")[0]

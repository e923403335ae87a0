"""Parsing of file names in a corpus folder into split, part and language, and consistency checks of
the files.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from lslm_lightning.corpora.archives import bare_name, refused_where_damaged, unpacked
from lslm_lightning.corpora.rows import SPLIT_NAMES
from lslm_lightning.safety.paths import check_is_file
from lslm_lightning.text.language_names import LANGUAGE, is_language

FORMATS = {
    "txt": "text",
    "tsv": "tsv",
    "csv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "json",
    "parquet": "parquet",
    "arrow": "arrow",
}
"""Ending of a name -> format, a key of `READERS`."""
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")
SPLIT = re.compile(
    r"(?i:training|validation|valid|(?:train|val|dev|test)(?:set|test)?)(?![a-z])[\w-]*"
)
"""Name of a split, with a suffix: test_2016 is one, testimony is none."""
FOLDERS = frozenset({"train", "val", "test", *SPLIT_NAMES})
"""Names of folders whose files are all of one split."""
NUMBER = re.compile(
    r"(?P<word>[-_.]?(?:part|shard|chunk)[-_.]?|[-_.])(?P<number>\d+)"
    r"(?:[-_.]of[-_.](?P<total>\d+))?$",
    re.I,
)
"""End of the name of one of several parts: -00000-of-00002, .part1, -1."""
NAMES_IN_MESSAGE = 5
LONGEST_OBJECT = 64 << 20  # bytes of a line that tells JSON Lines from JSON


@dataclass(frozen=True)
class File:
    """Components of a file name.

    `split` is "" if the name contains none. `number` is the number of a part, one of `total` parts;
    both are None if the name does not state them.
    """

    name: str  # from the corpus's folder on
    split: str
    label: str  # its own name without language and format
    stem: str  # from the corpus's folder on, without number, language and format
    number: int | None
    total: int | None
    marked: bool  # the number is certainly that of a part
    language: str
    form: str  # "" of none that is read

    @property
    def twin(self) -> str:
        """Key that is equal for two files with the same content: one compressed and one not, or
        names of a split that differ in case.
        """
        return bare_name(self.name).casefold() if self.split else bare_name(self.name)

    @property
    def is_whole_split(self) -> bool:
        """True if the name consists of a split and a part number (before language and format), or
        the file lies in the folder of a split.
        """
        *folders, bare = self.stem.split("/")
        return bool(SPLIT.fullmatch(bare)) or any(folder.lower() in FOLDERS for folder in folders)


def files_of(path: Path) -> list[File]:
    """Return the files of a corpus folder, without hidden ones.

    Subfolders are included unless files at the top level have names that state splits.

    Raises:
        ValueError: a pipe, a device or a folder has the name of a split's file, or a name contains
            *.
    """
    seen = sorted(
        (file for file in path.iterdir() if not file.name.startswith(".")),
        key=lambda file: natural(file.name),
    )
    for other in (file for file in seen if not file.is_file()):
        claimed = _parsed(other.name, path)
        if claimed.split and claimed.form and other.is_dir():
            raise ValueError(
                f"{other} is a folder: call it {claimed.split}, if its files are that split, or "
                "put a file in its place"
            )
        if claimed.split and (claimed.form or is_language(claimed.language)) and not other.is_dir():
            check_is_file(other)
    top = [_parsed(file.name, path) for file in seen if file.is_file()]
    if any(file.split and (file.form or file.language) for file in top):
        return top
    names: list[str] = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        names += [
            (Path(folder) / name).relative_to(path).as_posix()
            for name in files
            if not name.startswith(".")
        ]
    if starred := [name for name in names if "*" in name]:
        raise ValueError(f"{path}: {starred[0]} has * in its name; give it another name")
    return [_parsed(name, path) for name in sorted(names, key=natural)]


def _parsed(name: str, path: Path) -> File:
    """Return the components of the name of a file.

    Args:
        name: path of the file relative to `path`.
        path: folder of the corpus.
    """
    *folders, bare = name.split("/")
    stem, _, ending = bare_name(bare).rpartition(".")
    form = format_of(path / name) or ""
    language = ""
    if not form and re.fullmatch(LANGUAGE, ending, re.I) and stem:
        language = ending
    elif form == "text" and is_language(stem.rpartition(".")[2]) and "." in stem:
        stem, _, language = stem.rpartition(".")
    if (
        language
        and (pair := re.search(r"\.([a-z]{2,3})-([a-z]{2,3})$", stem, re.I))
        and language in pair.groups()
    ):
        stem = stem[: pair.start()]  # train.de-en.de
    label = stem
    numbered = NUMBER.search(stem)
    if numbered:
        stem = stem[: numbered.start()]
    split = next((folder.lower() for folder in folders if folder.lower() in FOLDERS), "")
    if not split and SPLIT.fullmatch(stem.split(".")[0]):
        split = stem.split(".")[0]
        split = split.lower() if split.lower() in FOLDERS else split
    marked = numbered is not None and (numbered["total"] is not None or len(numbered["word"]) > 1)
    return File(
        name=name,
        split=split,
        label=label,
        stem="/".join([*folders, stem]),
        number=int(numbered["number"]) if numbered else None,
        total=int(numbered["total"]) if numbered and numbered["total"] else None,
        marked=marked or any(folder.lower() in FOLDERS for folder in folders),
        language=language,
        form=form,
    )


def part_of(file: File) -> tuple[str]:
    """Return the name of a file with its language replaced by `{language}`; it is equal for all
    files of a part.
    """
    bare = bare_name(file.name)
    packed = file.name[len(bare) :]
    text = bare[-4:] if bare.lower().endswith(f".{file.language.lower()}.txt") else ""
    return (f"{bare[: len(bare) - len(text) - len(file.language)]}{{language}}{text}{packed}",)


def beginnings(stem: str) -> Iterator[str]:
    """Yield what stands before each dot of a stem: "a" and "a.b" for "a.b.c"."""
    return (stem[: dot.start()] for dot in re.finditer(r"\.", stem))


def natural(name: str) -> list[tuple[int, str | int]]:
    """Return a sort key that orders numbers by value, so that part2 comes before part10."""
    return [
        (0, int(piece)) if piece.isdigit() else (1, piece)
        for piece in re.split(r"([0-9]+)", name)
        if piece
    ]


def by_split(path: Path, files: Sequence[File]) -> dict[str, list[File]]:
    """Return split -> its files in order.

    Numbered files form one split if the numbers are clearly part numbers, or run from 0 or 1
    without a gap.

    Raises:
        ValueError: a split appears under two names, a part is missing, or parts lie beside the
            whole file.
    """
    splits: dict[str, list[File]] = {}
    for split, group in _grouped(files).items():
        splits.setdefault(SPLIT_NAMES.get(split, split), []).extend(group)
    for split, group in splits.items():
        names = sorted({file.split for file in group}, key=natural)
        if len(names) > 1:
            shown = some_of(
                [next(file.name for file in group if file.split == name) for name in names]
            )
            raise ValueError(
                f"{path}: {shown} are both the split {split}; keep one of them, or describe them "
                "in configs/corpora.yaml"
            )
        _refuse_missing(path, split, group)
        group.sort(key=lambda file: natural(file.name))
    return splits


def _grouped(files: Sequence[File]) -> dict[str, list[File]]:
    """Return split -> files, by their names; a file whose number is not a part number is a split of
    its own.
    """
    groups: dict[str, list[File]] = {}
    for file in sorted(files, key=lambda file: natural(file.name)):
        groups.setdefault(file.split, []).append(file)
    splits: dict[str, list[File]] = {}
    for split, group in groups.items():
        loose = [file for file in group if file.number is not None and not file.marked]
        numbers = sorted({file.number for file in loose if file.number is not None})
        are_parts = (
            len(numbers) > 1
            and numbers[0] in (0, 1)
            and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        )
        are_loose = {*loose}
        for file in group:
            name = split if are_parts or file not in are_loose else file.label
            splits.setdefault(name, []).append(file)
    return splits


def _refuse_missing(path: Path, split: str, files: Sequence[File]) -> None:
    """Raise ValueError if a split lacks a part, or has parts beside the whole file."""
    for stem, same_stem in groupby(
        sorted(files, key=lambda file: file.stem), key=lambda file: file.stem
    ):
        group = list(same_stem)
        whole = [file for file in group if file.number is None]
        parts = [file for file in group if file.number is not None]
        if whole and parts and _stem_has_split(stem):
            raise ValueError(
                f"{path}: {whole[0].name} and {parts[0].name} are both the split {split}; the "
                "one may hold the other: keep one of them"
            )
        totals = {file.total for file in parts if file.total is not None}
        if len(totals) > 1:
            raise ValueError(
                f"{path}: names of {split} state different numbers of parts: "
                f"{some_of([file.name for file in parts])}"
            )
        for total in totals:
            numbers = {file.number for file in parts}
            first = 0 if 0 in numbers else 1
            if missing := sorted(set(range(first, first + total)) - numbers):
                raise ValueError(
                    f"{path}: {split} has no part {missing[0]} of {total} ({len(missing)} are "
                    f"missing); put it beside {parts[0].name}"
                )


def _stem_has_split(stem: str) -> bool:
    return SPLIT.match(stem.rpartition("/")[2]) is not None


def refuse_twins(path: Path, files: Sequence[File]) -> None:
    """Raise ValueError, naming both, if two files have the same content: compressed and not, or
    names that differ in case.
    """
    seen: dict[str, File] = {}
    for file in files:
        if (other := seen.setdefault(file.twin, file)) is not file:
            raise ValueError(
                f"{path}: {other.name} and {file.name} are the same file twice; keep one of them"
            )


def format_of(path: Path) -> str | None:
    """Return the format of a file from its name; None if it is not supported.

    A .json file with one object per line is JSON Lines.
    """
    form = FORMATS.get(bare_name(path.name.lower()).rpartition(".")[2])
    return "jsonl" if form == "json" and _has_an_object_a_line(path) else form


def _has_an_object_a_line(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with (
            path.open("rb") as file,
            refused_where_damaged(path.name),
            unpacked(path.name, file) as stream,
        ):
            first = stream.readline(LONGEST_OBJECT)
            return isinstance(json.loads(first), dict) and bool(
                stream.readline(LONGEST_OBJECT).strip()
            )
    except (OSError, EOFError, ValueError, RecursionError):
        return False


def some_of(names: Sequence[str]) -> str:
    """Return the first few names as text, and how many more there are, for a message."""
    more = f" and {len(names) - NAMES_IN_MESSAGE} more" if len(names) > NAMES_IN_MESSAGE else ""
    return ", ".join(names[:NAMES_IN_MESSAGE]) + more

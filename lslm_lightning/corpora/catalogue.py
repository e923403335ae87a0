"""Catalogue of corpora: the packaged `corpora.yaml`, updated by the user's
`configs/corpora.yaml`.
"""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path

from lslm_lightning.corpora.checksums import MEMBERS
from lslm_lightning.corpora.readers import READERS
from lslm_lightning.corpora.rows import answer_fields, required_fields
from lslm_lightning.text.yaml_files import CatalogueLoader, parse_yaml, read_yaml
from lslm_lightning.types import Json, JsonObject, Settings

PACKAGED = Path(__file__).with_name("corpora.yaml")
USERS = Path("configs/corpora.yaml")
FORMATS = ("parallel", "sphinx", *READERS)


@dataclass(frozen=True)
class DataFile:
    """File or folder of a corpus; the name of a folder ends in "/".

    Args:
        checksums: algorithm -> expected checksum. The file is valid if any one matches, and is not
            verified if there are none.
        url: address for downloads; None if the file is not published.
    """

    name: str
    checksums: Mapping[str, str]
    url: str | None

    @property
    def members(self) -> str:
        """Pattern of the archive members that make up a published folder; "" for a file."""
        patterns = [
            algorithm.removeprefix(MEMBERS)
            for algorithm in self.checksums
            if algorithm.startswith(MEMBERS)
        ]
        return next(iter(patterns), f"*{self.name}*") if self.name.endswith("/") else ""


@dataclass(frozen=True)
class Split:
    """Split of a corpus.

    Args:
        files: name or glob pattern of its files, or a list of these.
        share: (from, to), fractions between 0 and 1 of the rows or characters of the files; None
            for all.
        rows: number of rows, if known.
        columns: field -> column; overrides the columns of the entry.
        members: glob pattern of the archive members to read.
        where: field -> accepted values; only rows that match in every field are used.
    """

    files: str | Sequence[str]
    share: tuple[float, float] | None = None
    rows: int | None = None
    columns: Settings = field(default_factory=dict)
    members: str | None = None
    where: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class CatalogueEntry:
    """Description of a corpus from `corpora.yaml`; that file explains the keys."""

    name: str
    task: str
    languages: tuple[str, ...]
    format: str
    splits: Mapping[str, Split]
    files: Settings = field(default_factory=dict)
    folder: str | None = None
    subfolder: str | None = None
    url: str | None = None
    home: str = ""
    licence: str = "not stated"
    citation: str = ""
    note: str = ""
    columns: Settings = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    join: str = " "
    header: bool = True
    share_of: str | tuple[str, ...] = ()
    seed: int = 1
    empty: str = "refuse"

    @property
    def required(self) -> tuple[str, ...]:
        """Fields that every row has."""
        return self.fields or required_fields(self.task, self.languages)

    @property
    def data_folder(self) -> str:
        """Name of this corpus's folder within the folders that hold corpora."""
        return self.subfolder or self.name

    @cached_property
    def data_files(self) -> tuple[DataFile, ...]:
        """All files of the corpus, including the files that only splits name."""
        named = dict.fromkeys(name for split in self.splits for name in self.split_files(split))
        return tuple(
            self._data_file(name, self.files.get(name)) for name in {**self.files, **named}
        )

    @property
    def answers(self) -> frozenset[str]:
        """Fields in which several texts of a record are kept separate instead of joined."""
        return answer_fields(self.task, self.required)

    def parallel_files(self, split: str) -> list[dict[str, str]]:
        """Return one dict per part of a split of parallel text, language -> file name.

        Raises:
            ValueError: file names without `{language}` are given, but their number differs from the
                number of languages.
        """
        patterns = self.splits[split].files
        patterns = [patterns] if isinstance(patterns, str) else patterns
        if any("{language}" in pattern for pattern in patterns):
            return [
                {language: pattern.replace("{language}", language) for language in self.languages}
                for pattern in patterns
            ]
        if len(patterns) != len(self.languages):
            raise ValueError(
                f"corpus {self.name}: splits.{split}.files={list(patterns)} must be one file for "
                "each of"
                f" {', '.join(self.languages)}, in this order, or names with {{language}}, one "
                "for each part"
            )
        return [dict(zip(self.languages, patterns, strict=True))]

    def split_files(self, split: str) -> list[str]:
        """Return the names of a split's files, with `{language}` and `*` expanded."""
        if self.format == "parallel":
            return [name for part in self.parallel_files(split) for name in part.values()]
        patterns = self.splits[split].files
        names: list[str] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if "*" in pattern:
                names += fnmatch.filter(self.files, pattern)
            elif "{language}" in pattern:
                names += [pattern.replace("{language}", language) for language in self.languages]
            else:
                names.append(pattern)
        return names

    def _data_file(self, name: str, about: str | Mapping[str, str] | None) -> DataFile:
        checksums = {"sha256": about} if isinstance(about, str) else dict(about or {})
        url = checksums.pop("url", self.url and self.url + name)
        return DataFile(name, checksums, url)


def read_catalogue(users: Path = USERS) -> dict[str, CatalogueEntry]:
    """Return name -> entry of the packaged catalogue, updated by the user's catalogue.

    Args:
        users: path of the user's catalogue, which may be missing.

    Raises:
        ValueError: a file is not YAML, or an entry has an unknown, missing or invalid key.
    """
    merged: dict[str, JsonObject] = {}
    for path, entries in ((PACKAGED, _packaged()), (users, _read_yaml(users))):
        for name, about in entries.items():
            if not isinstance(about, Mapping):
                raise ValueError(
                    f"{path}: {name} must be a mapping with task, languages, format and splits, "
                    f"not {about!r}"
                )
            merged[name] = merged.get(name, {}) | dict(about)
    return {name: _entry(name, about) for name, about in merged.items()}


@cache
def _packaged() -> Settings:
    return _read_yaml(PACKAGED)


def _read_yaml(path: Path) -> Settings:
    if not path.is_file():
        return {}
    entries = read_yaml(path, loader=CatalogueLoader) or {}
    if not isinstance(entries, Mapping):
        raise ValueError(
            f"{path}: must map names of corpora to their descriptions, not be a "
            f"{type(entries).__name__}"
        )
    return entries


def _entry(name: str, about: Settings) -> CatalogueEntry:
    """Return an entry from its YAML mapping `about`; raise ValueError that names an invalid key and
    the rule.
    """
    where = f"corpora.yaml: {name}"
    _require_keys(where, about, CatalogueEntry)
    for key, kind, rule in (
        ("splits", Mapping, "map names to files"),
        ("files", Mapping, "map names to checksums"),
        ("languages", list, "be a list"),
        ("fields", list, "be a list"),
    ):
        if key in about and not isinstance(about[key], kind):
            raise ValueError(f"{where}: {key} must {rule}, not be {about[key]!r}")
    if isinstance(about.get("header"), str):  # `no`, as YAML 1.1 has it
        about = {**about, "header": parse_yaml(about["header"])}
    if not about.get("fields") and not required_fields(about["task"], about["languages"]):
        raise ValueError(
            f"{where}: task={about['task']!r} needs fields, a list of those that its rows have; "
            "it may be misspelt"
        )
    _require_choice(where, "format", about["format"], FORMATS)
    _require_choice(where, "empty", about.get("empty", "refuse"), ("refuse", "keep", "drop"))
    splits = {}
    for split, described in about["splits"].items():
        described = described if isinstance(described, Mapping) else {"files": described}
        _require_keys(f"{where}: splits.{split}", described, Split)
        if "share" in described:
            share = described["share"]
            if not _is_share(share):
                raise ValueError(
                    f"{where}: splits.{split}.share={share!r} must be [from, to] with 0 <= from "
                    "< to <= 1"
                )
            if not about.get("share_of"):
                raise ValueError(
                    f"{where}: splits.{split}.share needs share_of: characters, or the fields "
                    "that keep rows together"
                )
            described = {**described, "share": tuple(share)}
        if not _is_choice(described.get("where", {"": []})):
            raise ValueError(
                f"{where}: splits.{split}.where={described['where']!r} must map fields to lists "
                "of texts, one of which is meant"
            )
        splits[split] = Split(**described)
    lists = {
        key: tuple(about[key])
        for key in ("languages", "share_of", "fields")
        if isinstance(about.get(key), list)
    }
    return CatalogueEntry(name=name, **(dict(about) | lists | {"splits": splits}))


def _is_choice(value: Json) -> bool:
    """Return whether a value is a mapping from fields to lists of texts."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(
            isinstance(texts, list) and all(isinstance(text, str) for text in texts)
            for texts in value.values()
        )
    )


def _is_share(value: Json) -> bool:
    """Return whether a value is a pair [from, to] with 0 <= from < to <= 1."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(x, int | float) for x in value)
        and 0 <= value[0] < value[1] <= 1
    )


def _require_keys(where: str, about: Settings, kind: type) -> None:
    known = {f.name: f for f in fields(kind)}
    needed = {"task", "languages", "format", "splits"} if kind is CatalogueEntry else {"files"}
    for key in about:
        if key not in known or key == "name":
            near = difflib.get_close_matches(key, known, 1)
            raise ValueError(
                f"{where}: unknown key {key!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"known are {sorted(known)}")
            )
    if missing := sorted(needed - set(about)):
        raise ValueError(
            f"{where}: {', '.join(missing)} missing; see an entry of the packaged corpora.yaml"
        )


def _require_choice(where: str, key: str, value: Json, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{where}: {key}={value!r} must be one of {', '.join(choices)}")

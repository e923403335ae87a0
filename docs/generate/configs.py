"""Configs and corpora of the project, from their files."""

import re
from collections.abc import Sequence
from itertools import takewhile

from docs.generate.language import localized
from docs.generate.markdown import block, code, plain, table
from docs.generate.sources import ROOT
from lslm_lightning.corpora.catalogue import PACKAGED
from lslm_lightning.text.yaml_files import read_yaml
from lslm_lightning.types import JsonObject

FOLDER = ROOT / "configs"


def configs(folder: str) -> str:
    """Return a table of the configs in a folder of configs/: name, and the command that runs each.

    Raises:
        ValueError: the folder has no configs.
    """
    paths = sorted((FOLDER / folder).glob("*.yaml"))
    if not paths:
        raise ValueError(f"configs/{folder} has no configs: a page names it")
    rows = []
    for path in paths:
        comments = list(takewhile(is_comment, path.read_text("utf-8").splitlines()))
        about = " ".join(line.lstrip("# ") for line in comments[1:])
        command = re.match(r"# (lslm \w+) ", next(iter(comments), ""))
        rows.append((code(path.name), code(command[1] if command else ""), plain(localized(about))))
    return table(("config", "command", "about"), rows)


def is_comment(line: str) -> bool:
    """Return whether a line of YAML is a comment."""
    return line.startswith("#")


def contents(path: str) -> str:
    """Return a file of the project as a code block."""
    file = ROOT / path
    return block(file.read_text("utf-8"), file.suffix.removeprefix("."))


def corpora() -> str:
    """Return a table of the packaged corpora."""
    found = read_yaml(PACKAGED)
    rows = [corpus_row(name, entry) for name, entry in sorted(found.items())]
    return table(("name", "task", "languages", "rows", "licence", "source"), rows)


def corpus_row(name: str, entry: JsonObject) -> Sequence[str]:
    """Return the cells of one corpus."""
    splits = {
        split: given["rows"]
        for split, given in entry.get("splits", {}).items()
        if isinstance(given, dict) and "rows" in given
    }
    sizes = ", ".join(f"{split} {n:,}" for split, n in splits.items())
    return (
        code(name),
        plain(localized(str(entry.get("task", "")).replace("_", " "))),
        ", ".join(map(str, entry.get("languages", ()))),
        sizes,
        plain(localized(str(entry.get("licence", "")))),
        plain(str(entry.get("citation", ""))),
    )


def corpus_keys() -> str:
    """Return a table of the keys of a corpus, from the comment at the top of the catalogue."""
    lines = PACKAGED.read_text("utf-8").splitlines()
    rows: list[list[str]] = []
    for line in lines[: lines.index("")]:
        found = re.match(r"# (\w+) {2,}(\S.*)", line)
        if found:
            rows.append([found[1], found[2]])
        elif rows and line.startswith("#  "):
            rows[-1][1] += f" {line.lstrip('# ')}"
    return table(("key", "meaning"), [(code(key), plain(localized(text))) for key, text in rows])

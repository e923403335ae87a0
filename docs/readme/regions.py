"""Regions of a README that are generated, and fingerprints of the code that makes them."""

import hashlib
import re
from pathlib import Path

from docs.generate.sources import ROOT

READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
IMAGES = ROOT / "docs" / "images"
FINGERPRINTS = IMAGES / "fingerprints.json"
SOURCES = (  # what decides how the pages, the screenshots and the transcript look
    "docs/browser.py",
    "docs/readme/__main__.py",
    "lslm_lightning/localization/zh/reports/*",
    "lslm_lightning/reports/**/*",
    "tasks/translation/report.py",
)
OTHERS = ("serving.po",)  # texts of the page of `lslm serve`, which is not in the README
CODE = r"^```{kind}\n(.*?)^```$"


def with_region(text: str, name: str, content: str) -> str:
    """Return a README with the content of one region replaced.

    Raises:
        ValueError: the README has no such region, or more than one.
    """
    pattern = rf"(<!-- made by make readme: {name} -->\n).*?(<!-- end -->)"
    changed, n = re.subn(
        pattern, lambda match: f"{match[1]}\n{content.strip()}\n\n{match[2]}", text, flags=re.DOTALL
    )
    if n != 1:
        raise ValueError(f"the README must have one region {name}, but has {n}")
    return changed


def region(text: str, name: str) -> str:
    """Return the content of a region of a README."""
    found = re.search(rf"<!-- made by make readme: {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None
    return found[1].strip()


def experiment(text: str) -> tuple[str, list[str]]:
    """Return the config that a README tells to save, and the `lslm` commands below it."""
    config = re.search(CODE.format(kind="yaml"), text, re.MULTILINE | re.DOTALL)
    assert config is not None
    rest = text[config.end() :]
    commands = re.search(CODE.format(kind="sh"), rest, re.MULTILINE | re.DOTALL)
    assert commands is not None
    return config[1], commands[1].splitlines()


def fingerprints() -> dict[str, str]:
    """Return a digest of each file that decides how the pages look, and of the experiment."""
    files = sorted(path for pattern in SOURCES for path in ROOT.glob(pattern) if is_source(path))
    config, commands = experiment(READMES["en"].read_text("utf-8"))
    found = {str(path.relative_to(ROOT)): digest(path.read_text("utf-8")) for path in files}
    return found | {"experiment in README.md": digest("\n".join([config, *commands]))}


def is_source(path: Path) -> bool:
    """Return whether a path is a file that is neither a cache of Python's nor one of `OTHERS`."""
    return path.is_file() and path.suffix != ".pyc" and path.name not in OTHERS


def digest(text: str) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""Building of the wheel from a copy of the tree, into which no earlier build can leak."""

import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PLACES = {  # folder of the tree -> folder of the wheel
    "lslm_lightning": "lslm_lightning",
    "tasks": "lslm_tasks",
    "configs": "lslm_lightning/configs",
}
OTHERS = ("tests", "docs", "notebooks")  # that a wheel leaves out


def copy_tree(folder: Path) -> Path:
    """Copy what a wheel is built from, and the folders that it must leave out."""
    ignored = shutil.ignore_patterns("__pycache__", "_build", "results", "released")
    for name in (*PLACES, *OTHERS):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def files_of_wheel() -> Iterator[str]:
    """Yield the name in the wheel of each file that the wheel must have, apart from metadata."""
    for folder, place in PLACES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{place}/{path.relative_to(ROOT / folder).as_posix()}"

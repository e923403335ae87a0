"""Laws of the developer's tools: hooks check what `make lint` checks, with what make installs."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_hooks_run_what_make_lint_runs() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}  # nothing is downloaded
    lint = re.search(r"^lint:.*\n\t@(.*)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    commands = lint[1].replace("$(BIN)", ".venv/bin").split(" && ")
    without_flags = {
        " ".join(word for word in text.split() if word not in ("--check", "--force-exclude", "."))
        for text in (*commands, *(hook["entry"] for hook in hooks))
    }
    assert len(without_flags) == len(hooks) == len(commands)


def test_tools_are_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text("utf-8").lower()
    for tool in ("mypy", "pytest", "ruff", "types-pyyaml"):
        assert re.search(rf"^{tool}==", pins, re.MULTILINE), tool


def test_the_guide_names_what_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"make (?:[A-Z]+=\S+ )*([a-z-]+)", guide)) <= set(targets)
    paths = {path.partition("#")[0] for path in re.findall(r"\]\(([^)]+)\)", guide)}
    paths |= set(re.findall(r"`((?:lslm_lightning|tasks|configs|tests)/[\w./]*)`", guide))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []

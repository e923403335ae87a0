"""What is recorded of the code and the user; git runs nothing that the repository has in it."""

import subprocess
from importlib.metadata import PathDistribution, distributions
from pathlib import Path
from typing import NoReturn

import pytest

from lslm_lightning.tracking.environment import environment, git_state, name_and_version
from lslm_lightning.tracking.run_opening import user_name

WHO = ("-c", "user.name=a", "-c", "user.email=a@b.c")


def git(*words: str) -> None:
    subprocess.run(["git", *WHO, *words], check=True, capture_output=True)


@pytest.fixture
def repository(project: Path) -> Path:
    """A repository with a commit."""
    (project / "a").write_text("a")
    for words in (["init", "-q"], ["add", "a"], ["commit", "-qm", "a"]):
        git(*words)
    return project


def test_a_change_is_told(repository: Path) -> None:
    assert git_state()["git.dirty"] == "false"
    (repository / "a").write_text("b")
    assert git_state()["git.dirty"] == "true"


def test_commands_of_a_strangers_repository_are_not_run(repository: Path) -> None:
    script = f"touch {repository}/run; cat"
    for name, value in (
        ("core.fsmonitor", script),
        ("filter.x.clean", script),
        ("filter.x.required", "true"),
        ("filter.y.process", script),
    ):
        git("config", name, value)
    (repository / ".gitattributes").write_text("a filter=x\nb filter=y\n")
    hook = repository / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    (repository / "a").write_text("a")  # a new time, so that git must look at its content
    assert git_state()["git.commit"]
    assert not (repository / "run").exists()


def test_the_user_has_a_name_where_no_variable_states_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password database has it then, in containers and under cron; for some ids it has none."""
    pwd = pytest.importorskip("pwd")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: ("ada", "x", uid))
    assert user_name() == "ada"

    def getpwuid(uid: int) -> NoReturn:
        raise KeyError(f"uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    assert user_name() == "unknown"


def test_packages_are_listed_as_python_reads_them() -> None:
    read = {each.metadata["Name"].lower(): each.version for each in distributions()}
    text = environment.__wrapped__()  # other tests may have added packages since it was first read
    listed = [line for line in text.splitlines() if not line.startswith("#")]
    assert listed == [f"{name}=={version}" for name, version in sorted(read.items())]


@pytest.mark.parametrize(
    ("file", "text", "stated"),
    [
        ("METADATA", "Name: a\nVersion: 1\n\nName: b\n", ("a", "1")),
        ("METADATA", "Summary: two\n lines\nversion: 2\nname: c", ("c", "2")),
        ("PKG-INFO", "Name: d\nVersion: 3\n", ("d", "3")),
        ("RECORD", "", ("", "")),  # left by an installation that was interrupted
    ],
)
def test_a_package_states_name_and_version_above_its_description(
    file: str, text: str, stated: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    assert name_and_version(PathDistribution(tmp_path)) == stated

"""What a run's numbers may depend on besides its configuration: code and installed packages."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions

# Commands that a repository's own configuration has git run: the working directory may be a
# stranger's a submodule has a configuration of its own
TRACKED = ("--untracked-files=no", "--ignore-submodules=dirty")
QUIET = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")


def git_state() -> dict[str, str]:
    """Tags `git.commit` and `git.dirty` ("true" when tracked files differ from it) of the working
    directory; none outside of git.
    """
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = git(*without_filters(), "status", "--porcelain", *TRACKED)
    if changes is None:
        return {}
    return {
        "git.commit": commit,
        "git.dirty": "true" if changes else "false",
        "mlflow.source.git.commit": commit,
    }


def without_filters() -> list[str]:
    """Options that turn off the filters which the repository itself defines, not those of the
    user.
    """
    listed = (
        git(
            "config",
            "--show-scope",
            "--name-only",
            "--get-regexp",
            r"^filter\..*\.(clean|process)$",
        )
        or ""
    )
    own = [
        name
        for scope, _, name in (line.partition("\t") for line in listed.splitlines())
        if scope in ("local", "worktree")
    ]
    required = {name.rpartition(".")[0] + ".required=false" for name in own}
    return [
        word
        for setting in [*(f"{name}=" for name in own), *sorted(required)]
        for word in ("-c", setting)
    ]


def git(*arguments: str) -> str | None:
    """What git says, None when it fails, is missing or takes over ten seconds."""
    try:
        command = ["git", *QUIET, *arguments]
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


@cache
def environment() -> str:
    """Python, platform and every installed distribution with its version: comments, then lines that
    pip reads.
    """
    installed = {(found.metadata["Name"] or "").lower(): found.version for found in distributions()}
    lines = [
        f"# Python {sys.version.split()[0]}",
        f"# {platform.platform()}",
        f"# {platform.processor() or platform.machine()}",
    ]
    return (
        "\n".join(
            [*lines, *(f"{name}=={version}" for name, version in sorted(installed.items()) if name)]
        )
        + "\n"
    )

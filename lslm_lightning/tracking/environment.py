"""Git state and installed packages of a run, which may affect scores besides the configuration."""

import os
import platform
import subprocess
import sys
from email import message_from_string
from functools import cache
from importlib.metadata import Distribution, distributions

# Options against commands that a repository's configuration makes git run, since the working
# directory may be somebody else's; a submodule has a configuration of its own
TRACKED = ("--untracked-files=no", "--ignore-submodules=dirty")
SAFE_OPTIONS = (
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
)


def git_state() -> dict[str, str]:
    """Return tags with the git state of the working directory; empty outside of a repository.

    The tags are `git.commit`, `git.dirty` ("true" if tracked files are modified) and MLflow's own
    tag for the commit.
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
    """Return git options that turn off the filters defined in the repository's configuration.

    Filters in the user's configuration stay on.
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
    """Return the output of a git command; None if git is missing, fails or takes more than ten
    seconds.
    """
    try:
        command = ["git", *SAFE_OPTIONS, *arguments]
        answer = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


@cache
def environment() -> str:
    """Return the Python version, the platform and all installed packages as a pip requirements
    file.
    """
    stated = map(name_and_version, distributions())
    installed = {name.lower(): version for name, version in stated}
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


def name_and_version(package: Distribution) -> tuple[str, str]:
    """Return the name and the version that an installed package states; "" for what it does not
    state.

    Only the head of its metadata is parsed, since the description below it is much longer.
    """
    texts = map(package.read_text, ("METADATA", "PKG-INFO", ""))
    head, _, _ = (next(filter(None, texts), None) or "").partition("\n\n")
    stated = message_from_string(head)
    return stated["Name"] or "", stated["Version"] or ""

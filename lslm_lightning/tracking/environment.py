"""What a run's numbers may depend on besides its configuration: code and installed packages."""

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions


def git_state() -> dict[str, str]:
    """Tags `git.commit` and `git.dirty` ("true" when tracked files differ from it) of the working directory; none outside of git."""
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return {}
    return {"git.commit": commit, "git.dirty": "true" if changes else "false", "mlflow.source.git.commit": commit}


def git(*arguments: str) -> str | None:
    """What git says, None when it fails, is missing or takes over ten seconds."""
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


@cache
def environment() -> str:
    """Python, platform and every installed distribution with its version: comments, then lines that pip reads."""
    installed = {(found.metadata["Name"] or "").lower(): found.version for found in distributions()}
    lines = [f"# Python {sys.version.split()[0]}", f"# {platform.platform()}", f"# {platform.processor() or platform.machine()}"]
    return "\n".join([*lines, *(f"{name}=={version}" for name, version in sorted(installed.items()) if name)]) + "\n"

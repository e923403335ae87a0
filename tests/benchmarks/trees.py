"""Two trees of this project side by side: checkouts or commits, each run in processes of its own.

Nothing of either tree is imported here. Both use the Python environment of this process.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[2]
INHERITED = ("LSLM_", "MLFLOW_", "PL_GLOBAL", "PYTHONPATH")  # variables that a run is not given
FIXED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
}


class TreeError(RuntimeError):
    """A tree cannot be used, or a command of it failed."""


@dataclass(frozen=True)
class Tree:
    """A checkout whose code is run.

    Args:
        name: "before" or "after".
        root: the folder with `lslm_lightning/` and `configs/`.
        identity: digest of what its files contain, as git sees them.
    """

    name: str
    root: Path
    identity: str

    @property
    def short_identity(self) -> str:
        """A part of `identity` that can be the name of a folder."""
        commit, _, changes = self.identity.partition("+")
        return f"{commit[:12]}-{changes[:8]}" if changes else commit[:12]

    def environment(self, folder: Path) -> dict[str, str]:
        """Return the variables of a process of this tree; caches and records lie in `folder`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "LSLM_DATA" or not name.startswith(INHERITED)
        }
        own = {
            "PYTHONPATH": str(self.root),
            "LSLM_CACHE": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        return kept | FIXED | own

    def python(self, folder: Path, *words: str, given: str | None = None) -> str:
        """Run Python in `folder` with this tree's code and return what it printed.

        Args:
            given: its standard input.

        Raises:
            TreeError: it failed; its last words are the message.
        """
        folder.mkdir(parents=True, exist_ok=True)
        ended = subprocess.run(
            [sys.executable, *words],
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            env=self.environment(folder),
        )
        if ended.returncode:
            last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
            command = " ".join(words[:6])
            raise TreeError(
                f"{self.name}: {command} ended with {ended.returncode}: {''.join(last)}"
            )
        return ended.stdout

    def lslm(self, folder: Path, *words: str) -> str:
        """Run `lslm WORDS` in `folder` and return what it printed.

        Raises:
            TreeError: it failed.
        """
        return self.python(folder, "-m", "lslm_lightning", *words)

    def seconds(self, folder: Path, *words: str) -> float:
        """Return how long `lslm WORDS` takes, from its start to its end.

        Raises:
            TreeError: it failed.
        """
        began = time.perf_counter()
        self.lslm(folder, *words)
        return time.perf_counter() - began


def end_on_termination() -> None:
    """Let SIGTERM end this process as Ctrl-C does, so that temporary worktrees are removed."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@contextmanager
def opened(before: str, after: str) -> Iterator[tuple[Tree, Tree]]:
    """Yield two trees, each given as the path of a checkout or as a commit of this one.

    A commit is checked out into a temporary worktree, which is removed in the end.

    Raises:
        TreeError: one is neither, its code is not what its processes import, or both are the same.
    """
    with _opened("before", before) as first, _opened("after", after) as second:
        if first.identity == second.identity:
            raise TreeError(f"{before} and {after} are the same tree: there is nothing to compare")
        yield first, second


@contextmanager
def _opened(name: str, given: str) -> Iterator[Tree]:
    path = Path(given).expanduser()
    if (path / "lslm_lightning").is_dir():
        yield checked(Tree(name, path.resolve(), identity_of(path)))
        return
    commit = git(HOME, "rev-parse", "--verify", "--quiet", f"{given}^{{commit}}", fails=True)
    if not commit:
        raise TreeError(
            f"{given} is neither a checkout (a folder with lslm_lightning/) nor a commit"
        )
    with tempfile.TemporaryDirectory(prefix=f"tree-{name}-") as folder:
        root = Path(folder).resolve() / commit[:10]
        git(HOME, "worktree", "add", "--detach", str(root), commit)
        try:
            yield checked(Tree(name, root, commit))
        finally:
            git(HOME, "worktree", "remove", "--force", str(root))


def checked(tree: Tree) -> Tree:
    """Return the tree where its processes import its own code.

    Raises:
        TreeError: they import another.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = "import lslm_lightning; print(lslm_lightning.__file__)"
        found = Path(tree.python(Path(folder), "-c", code).strip())
    if not found.resolve().is_relative_to(tree.root):
        raise TreeError(f"{tree.name}: {sys.executable} imports {found}, not {tree.root}")
    return tree


def identity_of(checkout: Path) -> str:
    """Return a digest of a checkout: its commit, and what was changed or added since.

    Raises:
        TreeError: git does not know it.
    """
    commit = git(checkout, "rev-parse", "HEAD")
    changes = git(checkout, "diff", "HEAD")
    others = git(checkout, "ls-files", "--others", "--exclude-standard").splitlines()
    if not changes and not others:
        return commit
    digest = hashlib.sha256(changes.encode())
    for name in sorted(others):
        if (checkout / name).is_file():
            digest.update(name.encode() + (checkout / name).read_bytes())
    return f"{commit}+{digest.hexdigest()}"


def git(checkout: Path, *words: str, fails: bool = False) -> str:
    """Return what `git WORDS` prints in a checkout.

    Args:
        fails: return "" where it fails.

    Raises:
        TreeError: it failed.
    """
    command = ["git", "-C", str(checkout), *words]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if ended.returncode and not fails:
        raise TreeError(f"git {' '.join(words[:3])}: {ended.stderr.strip()}")
    return "" if ended.returncode else ended.stdout.strip()


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table whose first column is flush left and whose others are flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        lines.append("  ".join([row[0].ljust(widths[0]), *others]).rstrip())
    return "\n".join(lines)


def shown(identities: Mapping[str, str]) -> str:
    """Return which trees were compared, in one line."""
    return ", ".join(
        f"{name} {identity[:10]}{' with changes' if '+' in identity else ''}"
        for name, identity in identities.items()
    )

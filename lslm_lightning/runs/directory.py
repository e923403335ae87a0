"""The directory that holds a run: all that is needed to use its model, and to see what it did."""

import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lslm_lightning.files import atomic_write
from lslm_lightning.runs.hidden_settings import hidden_values
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.safety.user_files import write_private
from lslm_lightning.safety.visible_text import one_visible_line
from lslm_lightning.text.yaml_files import dump_yaml

TEXT = str | None
NOTED = {  # types of what mlflow.json has
    **dict.fromkeys(
        ("run_id", "experiment", "store", "directory", "status", "ending", "description"), TEXT
    ),
    **{"tags": dict, "parameters": dict, "sent": dict, "datasets": list, "began": int | float},
}


@dataclass(frozen=True)
class RunDirectory:
    """Where things lie in `runs/<task>/<name>-<short id>`.

    MLflow holds these files under the same names, all but `last.ckpt` and the answers of
    validations.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of `best.ckpt` and `last.ckpt`."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest state of training; those before it are its `earlier`."""
        return self.checkpoints / "last.ckpt"

    @property
    def predictions(self) -> Path:
        """The folder of `<split>.jsonl` files."""
        return self.path / "predictions"

    @property
    def metrics(self) -> Path:
        """Final scores."""
        return self.path / "metrics.json"

    @property
    def curves(self) -> Path:
        """Every metric at every step: one `{"step", "time" (Unix seconds), "name", "value"}` a
        line.
        """
        return self.path / "metrics.jsonl"

    @property
    def report(self) -> Path:
        """The folder of `index.html`."""
        return self.path / "report"

    @property
    def run_id(self) -> str | None:
        """The MLflow run; None when none was started."""
        return self.beginning.get("run_id")

    @property
    def beginning(self) -> dict[str, Any]:
        """What was noted when the run began: MLflow's "run_id", the time "began" in Unix seconds,
        "git.commit"; empty where nothing was.

        Raises:
            ValueError: it is damaged.
        """
        record = self.path / "mlflow.json"
        if not record.exists():
            return {}
        try:
            found = json.loads(record.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{record} is damaged ({error}); restore a copy, or delete it to use the run "
                "without MLflow"
            ) from None
        if not isinstance(found, dict):
            raise ValueError(
                f"{record} is no JSON object; restore a copy, or delete it to use the run "
                "without MLflow"
            )
        for name, value in found.items():
            if name in NOTED and not isinstance(value, NOTED[name]):
                words = f"{name} is {json.dumps(value)[:60]}; restore a copy, or delete it"
                raise ValueError(f"{record} is damaged: {words} to use the run without MLflow")
        return found

    def checkpoint(self) -> Path:
        """The best checkpoint, or else the last.

        Raises:
            ValueError: there is none.
        """
        for name in ("best.ckpt", "last.ckpt"):
            if (self.checkpoints / name).exists():
                return self.checkpoints / name
        raise ValueError(
            f"{self.checkpoints} has neither best.ckpt nor last.ckpt: it is no training run (the "
            "parent of seeds, a test), "
            "or it stopped before its first checkpoint; name a run that was trained"
        )

    @property
    def secrets(self) -> Path:
        """What config.yaml hides: settings by their dotted names, for the owner alone. It is never
        uploaded.
        """
        return self.path / "secrets.json"

    def save_settings(self, comment: str, config: Mapping[str, Any]) -> None:
        """Write config.yaml without secrets, after a comment of one line, and what it hides to
        `secrets`.
        """
        shown = redacted_settings(config)
        if hidden := hidden_values(config, shown):
            write_private(self.secrets, json.dumps(hidden, ensure_ascii=False) + "\n")
        else:
            self.secrets.unlink(missing_ok=True)
        self.save_config(f"# {one_visible_line(redacted(comment))}\n{dump_yaml(shown)}")

    def save_config(self, text: str) -> None:
        """Write config.yaml; a reader never sees half of it."""
        atomic_write(self.config, text)


def earlier(path: Path, number: int) -> Path:
    """The state `number` saves before that in `path`: last-1.ckpt beside last.ckpt."""
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def new_run(task: str, name: str, root: str | Path = "runs") -> RunDirectory:
    """Make a directory that no other process has.

    Raises:
        ValueError: `name` is no file name.
        OSError: `root` cannot be written.
    """
    check_name(name)
    path = reserve(task, root) / f"{name}-{secrets.token_hex(4)}"
    path.mkdir()
    return RunDirectory(path)


def locked(directory: RunDirectory) -> FileLock:
    """Held as long as this process trains in the directory.

    Raises:
        ValueError: another process does.
    """
    lock = FileLock(directory.path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{directory.path} is in training by another process: wait for its end, or stop it "
            "first"
        ) from None
    return lock


def refuse_links(directory: RunDirectory, way_out: str) -> None:
    """Refuse a run directory with symbolic links that lead out of it: what is written would go
    there.

    Args:
        way_out: what the user may add to the command.

    Raises:
        ValueError: naming the first link.
    """
    root = os.path.realpath(directory.path)
    for folder, names, files in os.walk(root):
        for path in (os.path.join(folder, name) for name in (*names, *files)):
            target = os.path.realpath(path)
            if os.path.islink(path) and os.path.commonpath([root, target]) != root:
                words = f"{path} is a link to {target}, and the run would write there"
                raise ValueError(f"{words}: remove it, or add {way_out} if you know the run")


def check_name(name: str, setting: str = "name") -> None:
    """Raise ValueError where `name` cannot be part of the name of a directory."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"{setting}={name!r} must be letters, digits and any of _.+-, and begin with none of "
            f".+-: try {as_name(name)!r}"
        )


def as_name(text: str) -> str:
    """The text with `_` for what a run's name cannot have."""
    return re.sub(r"^[.+-]|^$|[^\w.+-]+", "_", text)


def reserve(task: str, root: str | Path = "runs") -> Path:
    """The folder of a task's runs, made if need be.

    Raises:
        OSError: it cannot be written.
    """
    folder = Path(root) / task
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            f"cannot make a run directory in {folder}: {error.strerror}; start from a folder you "
            "may write in"
        ) from None
    return folder

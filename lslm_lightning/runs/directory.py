"""Directory of one run: its model, configuration, scores and logs."""

import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import (
    ADAPTER,
    BEST,
    CHECKPOINTS,
    CONFIG,
    CURVES,
    ENERGY,
    LAST,
    METRICS,
    PREDICTIONS,
    RECORD,
    REPORT,
    SAMPLES,
    SECRETS,
    TOKENIZER,
)
from lslm_lightning.runs.hidden_settings import hidden_values
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.safety.user_files import write_private
from lslm_lightning.safety.visible_text import one_visible_line
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.types import JsonObject, Settings

TEXT = str | None
NOTED = {  # types of what mlflow.json has
    **dict.fromkeys(
        ("run_id", "experiment", "store", "directory", "status", "ending", "description"), TEXT
    ),
    **{
        "tags": dict,
        "parameters": dict,
        "model": dict,
        "tested_model": dict,
        "sent": dict,
        "datasets": list,
        "languages": list,
        "began": int | float,
    },
}


@dataclass(frozen=True)
class RunDirectory:
    """Paths of the files in a run directory, `runs/<task>/<name>-<short id>`.

    MLflow stores the same files under the same names, except for `last.ckpt` and the predictions of
    validations.
    """

    path: Path

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> "RunDirectory":
        """Return the directory of the run whose folder of checkpoints contains `checkpoint`."""
        return cls(checkpoint.absolute().parent.parent)

    @property
    def config(self) -> Path:
        """Path of the file with all settings, defaults included; its first line is the command."""
        return self.path / CONFIG

    @property
    def tokenizer(self) -> Path:
        """Path of the tokenizer, in the format of Hugging Face tokenizers."""
        return self.path / TOKENIZER

    @property
    def checkpoints(self) -> Path:
        """Folder that contains `best.ckpt` and `last.ckpt`."""
        return self.path / CHECKPOINTS

    @property
    def best(self) -> Path:
        """Path of the best checkpoint by the task's metric."""
        return self.checkpoints / BEST

    @property
    def last(self) -> Path:
        """Path of the newest training checkpoint."""
        return self.checkpoints / LAST

    @property
    def adapter(self) -> Path:
        """Folder of the adapter of the best checkpoint, in the layout of the package `peft`."""
        return self.path / ADAPTER

    @property
    def predictions(self) -> Path:
        """Folder of the prediction files, named `<split>.jsonl`."""
        return self.path / PREDICTIONS

    @property
    def metrics(self) -> Path:
        """Path of the JSON file with the final test scores."""
        return self.path / METRICS

    @property
    def curves(self) -> Path:
        """Path of the metric log, with one `{"step", "time" (Unix seconds), "name", "value"}` per
        line.
        """
        return self.path / CURVES

    @property
    def energy(self) -> Path:
        """Path of the JSON file with the energy of each training of the run, by its start or
        resumption.
        """
        return self.path / ENERGY

    @property
    def report(self) -> Path:
        """Folder of the report; its first page is `index.html`."""
        return self.path / REPORT

    @property
    def samples(self) -> Path:
        """Folder of the outputs logged at validations."""
        return self.path / SAMPLES

    @property
    def record(self) -> Path:
        """Path of the JSON file with facts about the MLflow run."""
        return self.path / RECORD

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run; None if no MLflow run was started."""
        return self.beginning.get("run_id")

    @property
    def beginning(self) -> JsonObject:
        """Contents of `mlflow.json`; empty if there is no such file.

        These include MLflow's "run_id", the start time "began" in Unix seconds, and "git.commit".

        Raises:
            ValueError: the file is damaged.
        """
        record = self.record
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
                f"{record} is not a JSON object; restore a copy, or delete it to use the run "
                "without MLflow"
            )
        for name, value in found.items():
            if name in NOTED and not isinstance(value, NOTED[name]):
                problem = f"{name} is {json.dumps(value)[:60]}; restore a copy, or delete it"
                raise ValueError(f"{record} is damaged: {problem} to use the run without MLflow")
        return found

    def checkpoint(self) -> Path:
        """Return the path of the best checkpoint, or of the last one if there is no best.

        Raises:
            ValueError: the run has no checkpoint.
        """
        for path in (self.best, self.last):
            if path.exists():
                return path
        raise ValueError(
            f"{self.checkpoints} has neither best.ckpt nor last.ckpt: it is not a training run "
            "(but a test, or the parent of several seeds), or it stopped before its first "
            "checkpoint; name a run that was trained"
        )

    @property
    def secrets(self) -> Path:
        """Path of the private file with the settings that config.yaml hides, by dotted name.

        The file is never uploaded.
        """
        return self.path / SECRETS

    @property
    def command(self) -> str:
        """Command line that started the run, from the comment at the top of config.yaml; "" if
        there is no comment.
        """
        with self.config.open(encoding="utf-8") as file:
            line = file.readline()
        return line.removeprefix("#").strip() if line.startswith("#") else ""

    def save_settings(self, command: str, config: Settings) -> None:
        """Write `config` to config.yaml without secrets, and the hidden values to the file
        `secrets`.

        Args:
            command: command line that started the run, written as a comment at the top of
                config.yaml.
        """
        shown = redacted_settings(config)
        if hidden := hidden_values(config, shown):
            write_private(self.secrets, json.dumps(hidden, ensure_ascii=False) + "\n")
        else:
            self.secrets.unlink(missing_ok=True)
        text = f"# {one_visible_line(redacted(command))}\n{dump_yaml(shown)}"
        atomic_write(self.config, text)


def earlier(path: Path, number: int) -> Path:
    """Return the path of the checkpoint that was saved `number` saves before the one at `path`.

    This is last-1.ckpt for last.ckpt and 1.
    """
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def new_run(task: str, name: str, root: str | Path = "runs") -> RunDirectory:
    """Create a run directory with a unique name and return it.

    Args:
        task: name of the folder in `root` for the runs of one task.
        name: beginning of the directory's name.

    Raises:
        ValueError: `name` cannot be part of a file name.
        OSError: `root` cannot be written.
    """
    check_name(name)
    path = reserve(task, root) / f"{name}-{secrets.token_hex(4)}"
    path.mkdir()
    return RunDirectory(path)


def locked(directory: RunDirectory) -> FileLock:
    """Acquire and return the lock of a run directory, which a process holds while it trains there.

    Raises:
        ValueError: another process holds the lock.
    """
    lock = FileLock(directory.path / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{directory.path} is being trained by another process: wait until it ends, or stop "
            "it first"
        ) from None
    return lock


def refuse_links(directory: RunDirectory, way_out: str) -> None:
    """Raise ValueError if the run directory contains a symbolic link that leads out of it.

    Files of the run would be written to the target of the link.

    Args:
        way_out: command-line option, named in the message, that permits such links.
    """
    root = os.path.realpath(directory.path)
    for folder, names, files in os.walk(root):
        for path in (os.path.join(folder, name) for name in (*names, *files)):
            target = os.path.realpath(path)
            if os.path.islink(path) and os.path.commonpath([root, target]) != root:
                problem = f"{path} is a link to {target}, and the run would write there"
                raise ValueError(f"{problem}: remove it, or add {way_out} if you know the run")


def check_name(name: str, setting: str = "name") -> None:
    """Raise ValueError if `name` cannot be part of a directory name.

    Args:
        setting: name of the setting, for the message.
    """
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(
            f"{setting}={name!r} must contain only letters, digits and _.+-, and not begin "
            f"with one of .+-: try {as_name(name)!r}"
        )


def as_name(text: str) -> str:
    """Return the text with `_` in place of characters that a run name cannot contain."""
    return re.sub(r"^[.+-]|^$|[^\w.+-]+", "_", text)


def reserve(task: str, root: str | Path = "runs") -> Path:
    """Return the folder for the runs of a task, which is created if necessary.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(root) / task
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            f"cannot make a run directory in {folder}: {error.strerror}; use a "
            "folder that you can write to"
        ) from None
    return folder

"""Search for run directories by path, checkpoint, pattern or MLflow run id."""

import glob
import json
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.runs.directory import RunDirectory, as_name
from lslm_lightning.runs.states import META
from lslm_lightning.safety.paths import did_you_mean
from lslm_lightning.tracking import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


RUN_ID = re.compile("[0-9a-f]{4,32}")  # an MLflow run id, or its first characters


def check_run(reference: str) -> None:
    """Raise ValueError if a reference is neither an existing run nor the form of an MLflow run id.

    MLflow is not asked.
    """
    if not RUN_ID.fullmatch(reference):
        find_run(reference)


def find_run(reference: str | Path, root: str | Path = "runs") -> RunDirectory:
    """Return the directory of a run.

    Args:
        reference: a run directory, a file or checkpoint folder inside one, or an MLflow run id or
            its beginning (at least 4 characters).
        root: folder of runs. If the directory of an MLflow run is not on this machine, its
            artifacts are downloaded there.

    Raises:
        ValueError: there is no such run, or more than one.
        TrackingError: MLflow does not answer.
    """
    path = Path(reference).expanduser()
    if path.exists():
        is_inside_run = path.is_file() or (path / META).exists()
        for folder in [path, *path.absolute().parents] if is_inside_run else [path]:
            if (folder / "config.yaml").is_file():
                return RunDirectory(folder)
        raise ValueError(f"{path} is not a run directory: it has no config.yaml")
    if RUN_ID.fullmatch(str(reference)):
        return find_in_mlflow(str(reference), Path(root))
    suggestion = did_you_mean(path, (file.parent for file in Path(root).glob("*/*/config.yaml")))
    raise ValueError(
        f"there is no run {str(reference)!r}: a run is a directory like {root}/<task>/<name>, or "
        f"an MLflow run id{suggestion}"
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """Run selected by a pattern: the newest of the `n_match` suitable runs that match it."""

    pattern: str
    path: Path
    n_match: int

    def __str__(self) -> str:
        rank = (
            f"the newest of {self.n_match:,}" if self.n_match > 1 else "the only one that matches"
        )
        return f"run {self.pattern}: chose {self.path}, {rank}"


def choose_run(reference: str, is_tested: bool = False) -> Chosen | None:
    """Return the run that a pattern such as `runs/translation/cldr_demo-*` selects, the newest
    match.

    The result is None if `reference` is not a pattern.

    Args:
        is_tested: select among runs with test scores, instead of those with a checkpoint.

    Raises:
        ValueError: no such run directory matches.
    """
    if "*" not in reference or Path(reference).exists():
        return None
    wanted = "metrics.json" if is_tested else "checkpoints/*.ckpt"
    matches = [Path(path) for path in glob.glob(str(Path(reference).expanduser()))]
    found = [
        path for path in matches if (path / "config.yaml").is_file() and any(path.glob(wanted))
    ]
    if not found:
        lacking, way = ("that was tested", "test") if is_tested else ("with a checkpoint", "train")
        raise ValueError(
            f"no run {lacking} matches {reference!r}; {way} one first, or name another"
        )
    newest = max(found, key=lambda path: (path / "config.yaml").stat().st_mtime)
    return Chosen(reference, newest, len(found))


def find_in_mlflow(prefix: str, root: Path) -> RunDirectory:
    """Return the directory of the only MLflow run whose id begins with `prefix`.

    If the directory is not on this machine, its artifacts are downloaded to a folder inside `root`.

    Raises:
        ValueError: there is no such run, or more than one.
    """
    store = Store()
    client = store.client()
    found = store.request(lambda: search(client, prefix))
    if len(found) != 1:
        what = "no run" if not found else "more than one run"
        raise ValueError(
            f"MLflow at {store} has {what} whose id begins with {prefix!r}; see `lslm ui`"
        )
    run = found[0]
    here = RunDirectory(Path(run.data.tags.get("lslm.directory", "/")))
    if here.config.is_file() and here.run_id == run.info.run_id:
        return here
    experiment = store.request(lambda: client.get_experiment(run.info.experiment_id)).name
    store.check_artifacts(run.info.artifact_uri)
    folder = root.absolute() / as_name(experiment)  # an MLflow name may be any text, even ../../x
    copy = RunDirectory(folder / f"{as_name(here.path.name or 'run')}-{run.info.run_id[:8]}")
    if not copy.path.exists():
        fetch(client, run, copy.path)
    return copy


def search(client: "MlflowClient", prefix: str) -> "list[Run]":
    """Return the MLflow runs whose ids begin with `prefix`, at most two."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(
        client.search_runs(experiments, f"attributes.run_id LIKE '{prefix}%'", max_results=2)
    )


def fetch(client: "MlflowClient", run: "Run", path: Path) -> None:
    """Download the artifacts of a run to `path`; the folder appears only when all have arrived.

    Raises:
        ValueError: the artifacts contain no config.yaml.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".fetch-{secrets.token_hex(4)}")
    draft.mkdir()  # mkdtemp would ignore the user's umask
    try:
        client.download_artifacts(run.info.run_id, "", str(draft))
        if not (draft / "config.yaml").is_file():
            raise ValueError(
                f"the MLflow run {run.info.run_id} has no config.yaml: it is not a training run, "
                "or stopped before it began"
            )
        (draft / "mlflow.json").write_text(json.dumps({"run_id": run.info.run_id}) + "\n")
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)

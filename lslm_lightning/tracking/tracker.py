"""Lightning logger that records one MLflow run, for any number of processes."""

import json
import logging
import os
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from lslm_lightning.files import atomic_write
from lslm_lightning.run_files import CURVES, ENVIRONMENT
from lslm_lightning.safety import named_servers
from lslm_lightning.tracking.curves import MetricLog, Point
from lslm_lightning.tracking.descriptions import DESCRIPTION, sign
from lslm_lightning.tracking.environment import environment, git_state
from lslm_lightning.tracking.logged_models import ModelUpload, WriteModel
from lslm_lightning.tracking.lost import end_lost_runs
from lslm_lightning.tracking.mlflow_run import LONGEST_DIGEST, MlflowRun
from lslm_lightning.tracking.names import LONGEST_TAG, clean_text, mlflow_parameters, mlflow_tags
from lslm_lightning.tracking.outbox import Outbox
from lslm_lightning.tracking.run_opening import RunOpening
from lslm_lightning.tracking.run_record import RunRecord, check_links
from lslm_lightning.tracking.store import Store, TrackingError
from lslm_lightning.tracking.system import SystemMetrics
from lslm_lightning.tracking.uploads import links_of
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RUN_ID = "LSLM_RUN_ID"  # environment variable: the run of the process that started this one
STOP_SECONDS = 20.0  # to send what is queued when the run was asked to stop
MOST_PARAMETERS = 100  # in one request; what MLflow takes


class Tracker(Logger):
    """Lightning logger that sends metrics, settings and files of a run to MLflow, and writes every
    metric to `metrics.jsonl`.

    Only `start` raises errors. Afterwards, the tracker neither slows a step nor ends a run (see
    `Outbox`). On ranks above 0 every method does nothing.

    Args:
        task: name of the MLflow experiment.
        name: name of the run.
        directory: the run directory, which must exist.
        tracking_uri: address of the store; see `Store`.
        tags: tags besides git state, machine and process.
        parent_run_id: MLflow run that this one is part of (seeds, evaluated systems).
        system_metrics: whether to log the load of processor, memory, disk, network and GPU.
        run_id: id of a run to continue, in the directory in which it began. If MLflow does not know
            it, or the directory is a copy of the one recorded for the run, a new run is created.
        again: whether the run works (trains, tests) in this process, rather than being only synced.

    Attributes:
        client: MLflow client, after `start`.
        run: the run in MLflow, after `start`.
        git: tags of the git state when the run began.
        problems: messages about MLflow that the user has received.
    """

    client: "MlflowClient"
    run: MlflowRun

    def __init__(
        self,
        task: str,
        name: str,
        directory: str | Path,
        tracking_uri: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent_run_id: str | None = None,
        system_metrics: bool = True,
        run_id: str | None = None,
        again: bool = True,
    ) -> None:
        super().__init__()
        self.task = task
        self.directory = Path(directory)
        self.store = Store(tracking_uri)
        self.git: dict[str, str] = {}
        self.problems: list[str] = []
        self._name = name
        self._tags = dict(tags or {})
        self._parent_run_id = parent_run_id
        self._given_run_id = run_id
        self._again = again
        self._system_metrics = system_metrics
        self._run_id: str | None = None
        self._record = RunRecord(self.directory, self._warn)
        self._outbox: Outbox | None = None
        self._monitor: SystemMetrics | None = None
        self._parameters: set[str] = set()

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str | None:
        """Id of the MLflow run, on every rank; None before `start`."""
        return self._run_id or os.environ.get(RUN_ID)

    @property
    def save_dir(self) -> str:
        return str(self.directory)

    @property
    def page(self) -> str:
        """Address of the run's page in MLflow's web UI, starting with `#`; empty before `start`."""
        if not self._run_id:
            return ""
        return f"#/experiments/{self.run.experiment_id}/runs/{self._run_id}"

    # The beginning

    def start(self) -> None:
        """Create the MLflow run, or continue it.

        Raises:
            TrackingError: the store or the run directory cannot be used, or the run was deleted in
                MLflow. The error is raised within seconds.
        """
        if (getattr(rank_zero_only, "rank", 0) or 0) > 0:
            return
        check_links(self.directory)
        try:
            self._curves = MetricLog(self.directory / CURVES)
            if self._again:
                atomic_write(self.directory / ENVIRONMENT, environment())
        except OSError as error:
            raise TrackingError(
                f"cannot write in the run directory: {error.strerror}: {error.filename}"
            ) from None
        if self._given_run_id:
            self._record.read()
        self.git = git_state()
        began = self._open_run()
        if not self.store.file and self.store.is_named:
            named_servers.add(self.store.uri)
        os.environ[RUN_ID] = self.run.run_id
        # the outbox retries, and can be stopped
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        self._outbox = Outbox(
            self.run.send_points, self.store.is_passing, self._warn, self.store.explain
        )
        if self._curves.earlier:
            self._outbox.call(self.run.send_missing_points)
        if self._given_run_id and self._again:
            self._outbox.call(self.run.upload_missing)
        self._write_record()
        self._outbox.call(end_lost_runs, self.client, [self._experiment_id])
        if self._again:
            self.log_artifact(self.directory / ENVIRONMENT)
        if self._system_metrics:
            self._monitor = SystemMetrics(self.log_metrics, began)

    def _open_run(self) -> float:
        """Create or reopen the MLflow run; return the Unix time, in seconds, at which it began."""
        self.client, self._experiment_id = self.store.open_experiment(self.task)
        opening = RunOpening(
            self.store,
            self.client,
            self.task,
            self._name,
            self.directory,
            self._tags,
            self.git,
            self._parent_run_id,
            self._again,
        )
        run = self.store.request(
            partial(opening.reopen, self._given_run_id)
            if self._given_run_id
            else partial(opening.create, self._experiment_id)
        )
        self.store.check_artifacts(run.info.artifact_uri)
        self._parameters = opening.known_parameters
        self._run_id = run.info.run_id
        self.run = MlflowRun(
            self.client,
            self.store,
            run.info.run_id,
            run.info.experiment_id,
            self.directory,
            self._curves.earlier,
            {} if opening.is_replaced else self._record.get("sent"),
        )
        return float(run.info.start_time / 1000)

    def _write_record(self) -> None:
        """Write the id, experiment, store, directory and tags of the run into `mlflow.json`."""
        facts: dict[str, object] = {
            "run_id": self.run.run_id,
            "experiment": self.task,
            "store": str(self.store),
            "directory": str(self.directory.absolute()),
        }
        if not self._given_run_id:
            facts |= {"began": round(time.time()), **self.git}
        if self._again:
            facts |= {"status": "RUNNING", "ending": None}
        tags = mlflow_tags(self._tags, self.store.redact)
        self._record.write(facts | {"tags": {**self._record.get("tags", {}), **tags}})

    # What is logged

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metric values at a step, under names such as `val/bleu`."""
        if self._outbox is None:
            return
        time_ms = round(time.time() * 1000)
        step = step or 0
        points = [
            Point(clean_text(name), float(value), step, time_ms) for name, value in metrics.items()
        ]
        try:
            points = self._curves.append(points)
        except OSError as error:
            self._warn(f"metrics.jsonl: {error.strerror}")
        self._outbox.put(points)

    def write_down(self) -> None:
        """Wait until all metrics logged so far are on the disk.

        This ensures that no checkpoint is newer than the metrics.

        Raises:
            OSError: the disk is full.
        """
        if self._outbox is not None:
            self._curves.synchronize()

    def log_hyperparams(
        self, params: Settings | Namespace, *args: object, **kwargs: object
    ) -> None:
        """Log a nested configuration as flat parameters such as `model.init_args.d_model`.

        MLflow keeps the first value of a parameter. The parameters are also stored in mlflow.json,
        for `lslm sync`.
        """
        if self._outbox is None:
            return
        from mlflow.entities import Param

        flat = mlflow_parameters(params, self.store.redact)
        self._record.update({"parameters": {**flat, **self._record.get("parameters", {})}})
        new = [Param(name, value) for name, value in flat.items() if name not in self._parameters]
        self._parameters.update(flat)
        for i in range(0, len(new), MOST_PARAMETERS):
            self._outbox.call(self.run.send_parameters, new[i : i + MOST_PARAMETERS])

    def set_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags of the run, and store them in mlflow.json."""
        if self._outbox is not None:
            clean = mlflow_tags(tags, self.store.redact)
            self._record.update({"tags": {**self._record.get("tags", {}), **clean}})
            for name, value in clean.items():
                self._outbox.call(self.client.set_tag, self._run_id, name, value)

    def set_languages(self, languages: Sequence[str]) -> None:
        """Tag the run with its languages, such as "en-de", and list them in mlflow.json, where
        "zh-Hans" is one language and "en", "de" are two.
        """
        self.set_tags({"languages": "-".join(dict.fromkeys(languages))})
        if self._outbox is not None:
            self._record.update({"languages": list(languages)})

    def set_description(self, text: str) -> None:
        """Set the Markdown description of the run, unless a user has edited it or given it as a
        tag.
        """
        if self._outbox is not None and DESCRIPTION not in self._tags:
            signed = sign(self.store.redact(clean_text(text)), LONGEST_TAG)
            self._record.update({"description": signed})
            self._outbox.call(self.run.send_description, signed)

    def restore_description(self) -> None:
        """Send the last description, recorded in `mlflow.json`, to the store."""
        if self._outbox is not None and (signed := self._record.get("description")):
            self._outbox.call(self.run.send_description, signed)

    def log_dataset(self, name: str, digest: str, split: str, source: str) -> None:
        """Log a data set as an input of the run.

        MLflow treats two data sets with the same name and digest as one and would lose the second
        split, so the split is appended to the name of the second.

        Args:
            digest: digest of the data; one that is too long for MLflow is stored whole in a tag.
            source: public address or path.
        """
        if self._outbox is None:
            return
        from mlflow.entities import Dataset, DatasetInput, InputTag

        logged = self._record.get("datasets", [])
        if any(each[:2] == [name, digest] and each[2] != split for each in logged):
            name = f"{name} ({split})"
        source = self.store.redact(source)
        kind, key = ("http", "url") if "://" in source else ("local", "uri")
        others = [each for each in logged if each[:3] != [name, digest, split]]
        self._record.update({"datasets": [*others, [name, digest, split, source]]})
        dataset = Dataset(name, digest[:LONGEST_DIGEST], kind, json.dumps({key: source}))
        tags = [InputTag("mlflow.data.context", split), InputTag("digest", digest)]
        self._outbox.call(self.run.send_dataset, DatasetInput(dataset, tags))

    def log_artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Upload a file or a folder, and check that it arrived; see `uploads`.

        Args:
            folder: folder in the run's artifacts; by default the same as in the run directory.
        """
        if self._outbox is None:
            return
        path = Path(path).absolute()
        here = self.directory.absolute()
        if folder is None and path.is_relative_to(here):
            folder = path.relative_to(here).parent.as_posix().removeprefix(".")
        self._outbox.call(self.run.upload, path, folder or "")

    def log_table(self, path: str | Path, limit: int = 1000) -> None:
        """Show the first `limit` rows of a JSONL file (predictions) as a table on MLflow's page."""
        if self._outbox is not None and not links_of(
            Path(path).absolute(), self.directory.absolute()
        ):
            self._outbox.call(self.run.send_table, Path(path), limit)

    def log_model(self, facts: JsonObject, write: WriteModel) -> None:
        """Log the best checkpoint as a model, linked to the metrics and data sets logged so far,
        and register it if its facts name a model; see `logged_models`.

        Args:
            facts: facts of the checkpoint, which mlflow.json keeps under "model".
            write: writes the files of a registered model.
        """
        if self._outbox is not None:
            self._record.begin_model(facts)
            upload = ModelUpload(self.run, self.task, self._record)
            self._outbox.call(upload.send, write)

    def log_tested_model(self, facts: JsonObject) -> None:
        """Link the model of another run, whose checkpoint this run has tested, to the scores that
        were logged so far.

        Args:
            facts: facts of the model, which mlflow.json keeps under "tested_model".
        """
        if self._outbox is not None:
            self._record.update({"tested_model": facts})
            upload = ModelUpload(self.run, self.task, self._record)
            self._outbox.call(upload.link_tested, facts)

    @property
    def model(self) -> JsonObject:
        """Facts of the logged model, with its registered version; empty before `log_model`."""
        return self._record.model

    # The end

    def flush(self) -> bool:
        """Wait until everything is stored or MLflow does not answer; return whether everything is
        stored.
        """
        return self._outbox is None or self._outbox.flush()

    def end(
        self, status: Literal["FINISHED", "FAILED", "KILLED"], ended: float | None = None
    ) -> None:
        """Send all remaining data, including the metric log, and set the run's status; later calls
        do nothing.

        Lightning calls `finalize` after each of fit, validate and test, so it is not used for this.

        Args:
            ended: Unix time in seconds at which the work ended; by default now.
        """
        if self._outbox is None:
            return
        if self._monitor is not None:
            self._monitor.close()
        self.log_artifact(self.directory / CURVES)
        self._outbox.call(self.run.publish_view)
        # it becomes the status when MLflow has it, or does not answer
        self._record.update({"ending": status})
        outbox = self._outbox
        self._outbox = None
        last = partial(self.run.set_status, status, ended or time.time())
        outbox.close(last, STOP_SECONDS if status == "KILLED" else None)
        self._curves.close()
        self._record.update({"status": status, "sent": self.run.sent})
        os.environ.pop(RUN_ID, None)

    def _warn(self, problem: str) -> None:
        """Warn the user about a problem, unless the same warning was given before."""
        if problem not in self.problems:
            self.problems.append(problem)
            log.warning(
                "MLflow at %s: %s. Everything is kept in the run directory; `lslm sync %s` uploads "
                "later what is missing.",
                *(self.store, problem, self.directory),
            )

"""Lightning logger that records one MLflow run, whatever the number of processes."""

import json
import logging
import os
import shlex
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from lslm_lightning.files import atomic_write
from lslm_lightning.safety import named_servers
from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.tracking.curves import MetricLog, Point
from lslm_lightning.tracking.database import record_of
from lslm_lightning.tracking.descriptions import DESCRIPTION, is_own, sign
from lslm_lightning.tracking.environment import environment, git_state
from lslm_lightning.tracking.lost import end_lost_runs, process_tags
from lslm_lightning.tracking.names import (
    clean_text,
    flatten,
    hashed,
    mlflow_name,
    mlflow_names,
    short,
)
from lslm_lightning.tracking.outbox import BATCH, Outbox, send_in_parts
from lslm_lightning.tracking.store import Store, TrackingError
from lslm_lightning.tracking.system import SystemMetrics
from lslm_lightning.tracking.uploads import FOLDERS, KEPT, links_of, missing_files, upload
from lslm_lightning.tracking.views import publish

log = logging.getLogger(__name__)

RUN_ID = "LSLM_RUN_ID"  # environment variable: the run of the process that started this one
STOP_SECONDS = 20.0  # for what is on its way when someone has asked the run to stop
WRITTEN = (
    "metrics.jsonl",
    "mlflow.json",
    ".mlflow.json.part",
    "environment.txt",
    "metrics.json",
    "metrics.json.partial",
)
# characters; what MLflow takes
LONGEST_TAG = 8000
LONGEST_DIGEST = 36
MOST_PARAMETERS = 100  # in one request; what MLflow takes


class Tracker(Logger):
    """Lightning logger that sends what a run produces to MLflow, and writes every metric to
    `metrics.jsonl`.

    Only `start` raises: after it nothing here slows a step or ends a run (see `Outbox`). On ranks
    above 0 every method does nothing.

    Args:
        task: name of the MLflow experiment.
        directory: the run directory, which exists.
        tracking_uri: see `Store`.
        tags: tags besides git state, machine and process.
        parent_run_id: MLflow run that this one is part of (seeds, evaluated systems).
        run_id: continue this run, in the directory in which it began; if MLflow does not know it,
            or the directory is a copy of the one recorded for the run, a new run is created
            instead.
        again: whether the run works (trains, tests) again in this process.
    """

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
        self._name = name
        self._tags = dict(tags or {})
        self._parent_run_id = parent_run_id
        self._run_id: str | None = None
        self._experiment_id = ""
        self._given_run_id = run_id
        self._again = again
        self.n_missing = 0  # points that MLflow lacked when the run went on
        self._system_metrics = system_metrics
        self._outbox: Outbox | None = None
        self._monitor: SystemMetrics | None = None
        self._parameters: set[str] = set()
        self._tables: list[dict[str, str]] = []
        self._noted: dict[str, Any] = {}  # what mlflow.json has
        self._links: set[Path] = set()  # symbolic links that were left out
        # checksums of the files that MLflow has, by their names there
        self._sent: dict[str, int] = {}
        self.git: dict[str, str] = {}  # when the run began
        self.problems: list[str] = []

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

    def start(self) -> None:
        """Create the MLflow run, or continue it.

        Raises:
            TrackingError: the store or the run directory cannot be used, or the run was deleted in
                MLflow; raised within seconds.
        """
        if rank_zero_only.rank > 0:
            return
        self._check_links()
        try:
            self._curves = MetricLog(self.directory / "metrics.jsonl")
            if self._again:
                atomic_write(self.directory / "environment.txt", environment())
        except OSError as error:
            raise TrackingError(
                f"cannot write in the run directory: {error.strerror}: {error.filename}"
            ) from None
        noted = self.directory / "mlflow.json"
        self._noted = json.loads(noted.read_text()) if self._given_run_id and noted.exists() else {}
        self._sent = self._noted.get("sent", {})
        self.git = git_state()
        self._client, experiment_id = self.store.open_experiment(self.task)
        run = self.store.ask(
            partial(self._reopen, self._given_run_id)
            if self._given_run_id
            else partial(self._create, experiment_id)
        )
        self.store.check_artifacts(run.info.artifact_uri)
        if not self.store.file and self.store.is_named:
            named_servers.remember(self.store.uri)
        self._run_id = os.environ[RUN_ID] = run.info.run_id
        self._experiment_id = run.info.experiment_id
        # the outbox tries again, and can be asked to stop
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
        self._outbox = Outbox(self._send, self.store.is_passing, self._tell, self.store.explain)
        if self._curves.earlier:
            self._outbox.call(self._send_missing)
        if self._given_run_id and self._again:
            self._outbox.call(self._upload_missing)
        self._note(
            {
                "run_id": self._run_id,
                "experiment": self.task,
                "store": str(self.store),
                "directory": str(self.directory.absolute()),
            }
            | ({} if self._given_run_id else {"began": round(time.time()), **self.git})
            | ({"status": "RUNNING", "ending": None} if self._again else {})
            | {"tags": {**self._noted.get("tags", {}), **self._clean_tags(self._tags)}}
        )
        self._outbox.call(end_lost_runs, self._client, [experiment_id])
        if self._again:
            self.log_artifact(self.directory / "environment.txt")
        if self._system_metrics:
            self._monitor = SystemMetrics(self.log_metrics, began=run.info.start_time / 1000)

    def _check_links(self) -> None:
        """Raise TrackingError if a file of the run directory that is to be written is a symbolic
        link.
        """
        for name in WRITTEN:
            if (path := self.directory / name).is_symlink():
                raise TrackingError(
                    f"{path} is a symbolic link, and the run would write to its target: remove it"
                )

    def _create(self, experiment_id: str) -> Any:
        tags = {"mlflow.source.name": "lslm", **self._process_tags(), **self._tags}
        if self._parent_run_id:
            tags["mlflow.parentRunId"] = self._parent_run_id
        return self._client.create_run(
            experiment_id, tags=self._clean_tags(tags), run_name=self._name
        )

    def _note(self, facts: Mapping[str, object]) -> None:
        """Update `mlflow.json` with these facts."""
        self._noted |= facts
        text = json.dumps(redacted_settings(self._noted))
        atomic_write(self.directory / "mlflow.json", text + "\n")

    def _remember(self, facts: Mapping[str, object]) -> None:
        """Update `mlflow.json` like `_note`, but only warn if that fails."""
        try:
            self._note(facts)
        except OSError as error:
            self._tell(f"mlflow.json: {error.strerror}")

    def _reopen(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return self._replace(run_id, f"MLflow at {self.store} does not know run {run_id}")
        if run.info.lifecycle_stage != "active":
            raise TrackingError(
                f"run {run_id} of {self.directory} was deleted in MLflow at {self.store}; "
                "restore it with "
                f"`MLFLOW_TRACKING_URI={shlex.quote(str(self.store))} mlflow runs restore "
                f"--run-id {run_id}`, and repeat the command"
            )
        here = str(self.directory.absolute())
        known = run.data.tags.get("lslm.directory", "")
        if known != here and self._is_original(Path(known), run_id):
            return self._replace(
                run_id,
                f"{self.directory} is a copy of {known}, whose run {run_id} is left unchanged",
            )
        self._parameters = set(run.data.params)
        self.store.adopt_run(run_id)
        run = self._client.get_run(run_id)  # whose artifacts may be elsewhere now
        if self._again:
            self._client.update_run(run_id, status="RUNNING")
            for name, value in self._clean_tags(self._process_tags()).items():
                self._client.set_tag(run_id, name, value)
        elif known != here:
            self._client.set_tag(run_id, "lslm.directory", here[:LONGEST_TAG])
        return run

    def _replace(self, run_id: str, reason: str) -> Any:
        """Create a new run instead of `run_id`."""
        log.warning("%s: a new run is created instead", reason)
        self._sent = {}
        return self._create(self._client.get_experiment_by_name(self.task).experiment_id)

    def _is_original(self, directory: Path, run_id: str) -> bool:
        """Return whether the run is recorded, in this store, in another directory than this one."""
        noted = record_of(directory)
        if noted.get("run_id") != run_id or not Store(noted.get("store", "none")).is_same(
            self.store
        ):
            return False
        return not directory.samefile(self.directory)

    def _send_missing(self) -> None:
        """Send the points that were logged before the run stopped but did not reach MLflow, with
        their original times.
        """
        missing = self.missing_points()
        self.n_missing = len(missing)
        for i in range(0, len(missing), BATCH):
            self._send(missing[i : i + BATCH])

    def missing_points(self) -> list[Point]:
        """Return the points that were logged before the run stopped and that MLflow lacks."""
        names: dict[str, list[Point]] = {}
        for point in self._curves.earlier:
            names.setdefault(mlflow_name(point.name), []).append(point)
        missing: list[Point] = []
        for name, own in names.items():
            there = {
                (m.step, m.timestamp) for m in self._client.get_metric_history(self._run_id, name)
            }
            missing += [point for point in own if (point.step, point.time_ms) not in there]
        return missing

    def _upload_missing(self) -> None:
        """Upload the files that were written before the run stopped but did not reach MLflow,
        except for checkpoints, which are uploaded at the end.
        """
        for name in self.missing_files():
            if not name.startswith("checkpoints/"):
                self._upload(self.directory / name, name.rpartition("/")[0])

    def missing_files(self) -> list[str]:
        """Return the files that MLflow should have but lacks, or has in another state."""
        here = self.directory.absolute()
        self._tell_links(
            [link for name in (*KEPT, *FOLDERS) for link in links_of(here / name, here)]
        )
        return missing_files(self._client, self._run_id, self.directory, self._sent)

    def _tell_links(self, links: Sequence[Path]) -> None:
        """Warn once of each symbolic link that is not uploaded."""
        if new := [link for link in links if link not in self._links]:
            self._links |= set(new)
            words = "symbolic links are not followed, and not uploaded to MLflow: %s"
            log.warning(words, ", ".join(map(str, new)))

    def _upload(self, path: Path, folder: str) -> None:
        path = path.absolute()
        here = self.directory.absolute()
        self._tell_links(
            links := links_of(path, here if path.is_relative_to(here) else path.parent)
        )
        if any(link == path or link in path.parents for link in links):
            return
        self._sent |= upload(self._client, self._run_id, path, folder)

    def _process_tags(self) -> dict[str, str]:
        return {
            **self.git,
            "lslm.directory": str(self.directory.absolute()),
            **process_tags(),
            "mlflow.user": os.environ.get("USER") or os.environ.get("USERNAME") or "unknown",
        }

    def _clean_tags(self, tags: Mapping[str, object]) -> dict[str, str]:
        shown = redacted_settings(tags)
        names = mlflow_names(shown)
        return {
            names[name]: self.store.redact(clean_text(value))[:LONGEST_TAG]
            for name, value in shown.items()
        }

    @property
    def client(self) -> Any:
        """MLflow client, after `start`."""
        return self._client

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metric values, under names like `val/bleu`, at a step."""
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
            self._tell(f"metrics.jsonl: {error.strerror}")
        self._outbox.put(points)

    def write_down(self) -> None:
        """Wait until all metrics logged so far are on the disk, so that no checkpoint is newer than
        the metrics.

        Raises:
            OSError: the disk is full.
        """
        if self._outbox is not None:
            self._curves.synchronize()

    def _send(self, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(mlflow_name(point.name), point.value, point.time_ms, point.step)
            for point in points
        ]
        send_in_parts(
            lambda part: self._client.log_batch(self._run_id, part), metrics, self.store.is_passing
        )

    def log_hyperparams(
        self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Log a nested configuration as flat parameters such as `model.init_args.d_model`. MLflow
        keeps the first value of a parameter.

        They are stored in mlflow.json too, for `lslm sync`.
        """
        if self._outbox is None:
            return
        from mlflow.entities import Param

        flat = self.parameters_of(params)
        self._remember({"parameters": {**flat, **self._noted.get("parameters", {})}})
        new = [Param(name, value) for name, value in flat.items() if name not in self._parameters]
        self._parameters.update(flat)
        for i in range(0, len(new), MOST_PARAMETERS):
            self._outbox.call(self._send_parameters, new[i : i + MOST_PARAMETERS])

    def parameters_of(self, params: Mapping[str, Any] | Namespace) -> dict[str, str]:
        """Return names and values of a nested configuration as MLflow stores them."""
        flat = dict(
            flatten(redacted_settings(vars(params) if isinstance(params, Namespace) else params))
        )
        names = mlflow_names(flat)
        return {
            names[name]: short(self.store.redact(clean_text(value))) for name, value in flat.items()
        }

    def _send_parameters(self, parameters: Sequence[Any]) -> None:
        """Send parameters; a value that an older server refuses as too long is replaced by its
        hash.
        """
        from mlflow.entities import Param

        def send(part: Sequence[Any]) -> None:
            try:
                self._client.log_batch(self._run_id, params=part)
            except Exception as error:
                [*others, last] = part
                if (
                    others
                    or len(last.value) <= len(hashed(last.value))
                    or self.store.is_passing(error)
                ):
                    raise
                self._client.log_batch(self._run_id, params=[Param(last.key, hashed(last.value))])

        send_in_parts(send, parameters, self.store.is_passing)

    def missing_records(
        self, params: Mapping[str, Any], tags: Mapping[str, object]
    ) -> tuple[list[str], list[str]]:
        """Return the names of the parameters, and of the tags, that MLflow lacks or has with
        another value.
        """
        data = self._client.get_run(self._run_id).data
        parameters = [name for name in self.parameters_of(params) if name not in data.params]
        return parameters, [
            name for name, value in self._clean_tags(tags).items() if data.tags.get(name) != value
        ]

    def set_tags(self, tags: Mapping[str, object]) -> None:
        if self._outbox is not None:
            clean = self._clean_tags(tags)
            self._remember({"tags": {**self._noted.get("tags", {}), **clean}})
            for name, value in clean.items():
                self._outbox.call(self._client.set_tag, self._run_id, name, value)

    @property
    def page(self) -> str:
        """Address of the run's page in MLflow's web UI, from its `#` on; empty before `start`."""
        return f"#/experiments/{self._experiment_id}/runs/{self._run_id}" if self._run_id else ""

    def set_description(self, text: str) -> None:
        """Set the Markdown description of the run's page, unless a user edited it there or set the
        tag.
        """
        if self._outbox is not None and DESCRIPTION not in self._tags:
            signed = sign(self.store.redact(clean_text(text)), LONGEST_TAG)
            self._remember({"description": signed})
            self._outbox.call(self._send_description, signed)

    def restore_description(self) -> None:
        """Send the last description, from `mlflow.json`, to a store that lacks it."""
        if self._outbox is not None and (noted := self._noted.get("description")):
            self._outbox.call(self._send_description, noted)

    def _send_description(self, signed: str) -> None:
        there = self._client.get_run(self._run_id).data.tags.get(DESCRIPTION, "")
        if is_own(there):
            self._client.set_tag(self._run_id, DESCRIPTION, signed)

    def log_dataset(self, name: str, digest: str, split: str, source: str) -> None:
        """Log a data set, from a public address or a path, as an input of the run. A digest too
        long for MLflow is stored whole in a tag of the input.

        MLflow takes two data sets with the same name and digest for one and would lose the second
        split; the name of the second therefore includes its split.
        """
        if self._outbox is None:
            return
        if any(
            each[:2] == [name, digest] and each[2] != split
            for each in self._noted.get("datasets", [])
        ):
            name = f"{name} ({split})"
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = self.store.redact(source)
        kind, key = ("http", "url") if "://" in source else ("local", "uri")
        others = [
            each for each in self._noted.get("datasets", []) if each[:3] != [name, digest, split]
        ]
        self._remember({"datasets": [*others, [name, digest, split, source]]})
        dataset = Dataset(name, digest[:LONGEST_DIGEST], kind, json.dumps({key: source}))
        tags = [InputTag("mlflow.data.context", split), InputTag("digest", digest)]
        self._outbox.call(self._client.log_inputs, self._run_id, [DatasetInput(dataset, tags)])

    def log_artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Upload a file or a folder, and check that it arrived; see `uploads`.

        Args:
            folder: folder in the run's artifacts; default: the same as in the run directory.
        """
        if self._outbox is None:
            return
        path = Path(path).absolute()
        here = self.directory.absolute()
        if folder is None and path.is_relative_to(here):
            folder = path.relative_to(here).parent.as_posix().removeprefix(".")
        self._outbox.call(self._upload, path, folder or "")

    def log_table(self, path: str | Path, limit: int = 1000) -> None:
        """Show the first rows of a JSONL file (predictions) as a table on MLflow's page; a tag says
        how many of how many.
        """
        if self._outbox is not None and not links_of(
            Path(path).absolute(), self.directory.absolute()
        ):
            self._outbox.call(self._send_table, Path(path), limit)

    def _send_table(self, path: Path, limit: int) -> None:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in islice(lines, limit)]
            n_row = len(rows) + sum(1 for _ in lines)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
        file = f"tables/{path.stem}.json"
        self._client.log_text(self._run_id, json.dumps(table, ensure_ascii=False), file)
        if {"path": file, "type": "table"} not in self._tables:
            self._tables.append({"path": file, "type": "table"})
        # makes MLflow draw a table
        self._client.set_tag(self._run_id, "mlflow.loggedArtifacts", json.dumps(self._tables))
        self._client.set_tag(self._run_id, f"rows.{path.stem}", f"{len(rows)} of {n_row}")

    def flush(self) -> bool:
        """Wait until everything is stored or MLflow does not answer; return whether everything is
        stored.
        """
        return self._outbox is None or self._outbox.flush()

    def save(self) -> None:
        """Do nothing: Lightning calls this after every logged step, which must not wait."""

    def finalize(self, status: str) -> None:
        """Do nothing: Lightning calls this after each of fit, validate and test, but only `end`
        ends the run.
        """

    def end(
        self, status: Literal["FINISHED", "FAILED", "KILLED"], ended: float | None = None
    ) -> None:
        """Send what is left, including the metric log, and set the run's status; later calls do
        nothing.

        Args:
            ended: Unix time in seconds at which the work ended; now by default.
        """
        if self._outbox is None:
            return
        if self._monitor is not None:
            self._monitor.close()
        self.log_artifact(self.directory / "metrics.jsonl")
        self._outbox.call(self._publish_view)
        # which becomes its status when MLflow has it, or does not answer
        self._remember({"ending": status})
        outbox = self._outbox
        self._outbox = None
        last = partial(
            self._client.set_terminated, self._run_id, status, round((ended or time.time()) * 1000)
        )
        outbox.close(last, STOP_SECONDS if status == "KILLED" else None)
        self._curves.close()
        self._remember({"status": status, "sent": self._sent})
        os.environ.pop(RUN_ID, None)

    def _publish_view(self) -> None:
        """Write the saved views of the experiment; a refusal, as for users who may only add runs,
        is ignored.
        """
        try:
            publish(self._client, self._experiment_id)
        except Exception as error:
            if self.store.is_passing(error):
                raise
            log.debug(
                "the saved views of experiment %s could not be written", self.task, exc_info=True
            )

    def _tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            log.warning(
                (
                    "MLflow at %s: %s. Everything is kept in the run directory; `lslm sync %s` "
                    "uploads later what is missing."
                ),
                *(self.store, problem, self.directory),
            )

"""One run in an MLflow store: methods that write to it and find what it lacks."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.tracking.curves import Point
from lslm_lightning.tracking.descriptions import DESCRIPTION, is_own
from lslm_lightning.tracking.names import (
    hashed,
    mlflow_name,
    mlflow_parameters,
    mlflow_tags,
)
from lslm_lightning.tracking.outbox import BATCH, send_in_parts
from lslm_lightning.tracking.store import Store
from lslm_lightning.tracking.uploads import FOLDERS, KEPT, links_of, missing_files, upload
from lslm_lightning.tracking.views import publish
from lslm_lightning.types import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Param

log = logging.getLogger(__name__)

LONGEST_DIGEST = 36  # characters; what MLflow takes


class MlflowRun:
    """Run in an MLflow store, with methods that send data to the store and query it.

    The methods raise MLflow's errors and may be repeated. `Outbox` calls the methods that send
    data.

    Args:
        directory: the run directory.
        earlier: points that were logged before a run was resumed.

    Attributes:
        sent: checksum (CRC-32) of each file that MLflow has, by artifact path.
        n_missing: number of points that MLflow lacked when the run was resumed.
    """

    def __init__(
        self,
        client: "MlflowClient",
        store: Store,
        run_id: str,
        experiment_id: str,
        directory: Path,
        earlier: Sequence[Point],
        sent: Mapping[str, int] | None,
    ) -> None:
        self.client = client
        self.store = store
        self.run_id = run_id
        self.experiment_id = experiment_id
        self.directory = directory
        self.earlier = earlier
        self.sent: dict[str, int] = dict(sent or {})
        self.n_missing = 0
        self._tables: list[dict[str, str]] = []
        self._links: set[Path] = set()  # symbolic links that were reported

    # Metrics, parameters, tags

    def send_points(self, points: Sequence[Point]) -> None:
        """Store metric points; if the store refuses one of them, the others are stored
        nevertheless.
        """
        from mlflow.entities import Metric

        metrics = [
            Metric(mlflow_name(point.name), point.value, point.time_ms, point.step)
            for point in points
        ]
        send_in_parts(
            lambda part: self.client.log_batch(self.run_id, part), metrics, self.store.is_passing
        )

    def send_missing_points(self) -> None:
        """Store the points that were logged before the run was resumed but are missing in MLflow.

        They keep their original times.
        """
        missing = self.missing_points()
        self.n_missing = len(missing)
        for i in range(0, len(missing), BATCH):
            self.send_points(missing[i : i + BATCH])

    def missing_points(self) -> list[Point]:
        """Return the points that were logged before the run was resumed but are missing in
        MLflow.
        """
        by_name: dict[str, list[Point]] = {}
        for point in self.earlier:
            by_name.setdefault(mlflow_name(point.name), []).append(point)
        missing: list[Point] = []
        for name, points in by_name.items():
            history = self.client.get_metric_history(self.run_id, name)
            stored = {(metric.step, metric.timestamp) for metric in history}
            missing += [point for point in points if (point.step, point.time_ms) not in stored]
        return missing

    def send_parameters(self, parameters: Sequence["Param"]) -> None:
        """Store parameters; a value that an older server refuses as too long is replaced by its
        hash.
        """
        from mlflow.entities import Param

        def send(part: Sequence[Param]) -> None:
            try:
                self.client.log_batch(self.run_id, params=part)
            except Exception as error:
                [*others, last] = part
                if (
                    others
                    or len(last.value) <= len(hashed(last.value))
                    or self.store.is_passing(error)
                ):
                    raise
                self.client.log_batch(self.run_id, params=[Param(last.key, hashed(last.value))])

        send_in_parts(send, parameters, self.store.is_passing)

    def missing_records(
        self, params: Settings, tags: Mapping[str, object]
    ) -> tuple[list[str], list[str]]:
        """Return the names of the parameters that MLflow lacks, and of the tags that it lacks or
        has with another value.
        """
        data = self.client.get_run(self.run_id).data
        parameters = mlflow_parameters(params, self.store.redact)
        wanted_tags = mlflow_tags(tags, self.store.redact)
        return [name for name in parameters if name not in data.params], [
            name for name, value in wanted_tags.items() if data.tags.get(name) != value
        ]

    def send_description(self, signed: str) -> None:
        """Set the run's description, unless a user has edited it.

        Args:
            signed: description with the signature of `descriptions.sign`.
        """
        stored = self.client.get_run(self.run_id).data.tags.get(DESCRIPTION, "")
        if is_own(stored):
            self.client.set_tag(self.run_id, DESCRIPTION, signed)

    def send_dataset(self, dataset: "DatasetInput") -> None:
        """Store a data set as an input of the run."""
        self.client.log_inputs(self.run_id, [dataset])

    # Files

    def send_table(self, path: Path, limit: int) -> None:
        """Store the first `limit` rows of a JSONL file as a table.

        A tag states the number of stored rows and of all rows.
        """
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in islice(lines, limit)]
            n_row = len(rows) + sum(1 for _ in lines)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = {"columns": columns, "data": [[row.get(name) for name in columns] for row in rows]}
        file = f"tables/{path.stem}.json"
        self.client.log_text(self.run_id, json.dumps(table, ensure_ascii=False), file)
        if {"path": file, "type": "table"} not in self._tables:
            self._tables.append({"path": file, "type": "table"})
        # makes MLflow draw a table
        self.client.set_tag(self.run_id, "mlflow.loggedArtifacts", json.dumps(self._tables))
        self.client.set_tag(self.run_id, f"rows.{path.stem}", f"{len(rows)} of {n_row}")

    def upload(self, path: Path, folder: str) -> None:
        """Upload a file or folder to `folder` in the run's artifacts, except for symbolic links,
        which are reported.
        """
        path = path.absolute()
        here = self.directory.absolute()
        links = links_of(path, here if path.is_relative_to(here) else path.parent)
        self.report_links(links)
        if any(link == path or link in path.parents for link in links):
            return
        self.sent |= upload(self.client, self.run_id, path, folder)

    def upload_missing(self) -> None:
        """Upload the files that were written before the run was resumed but are missing in MLflow.

        Checkpoints are left out, since they are uploaded at the end.
        """
        for name in self.missing_files():
            if not name.startswith("checkpoints/"):
                self.upload(self.directory / name, name.rpartition("/")[0])

    def missing_files(self) -> list[str]:
        """Return the names of files that MLflow should have but lacks, or has with other
        contents.
        """
        here = self.directory.absolute()
        self.report_links(
            link for name in (*KEPT, *FOLDERS) for link in links_of(here / name, here)
        )
        return missing_files(self.client, self.run_id, self.directory, self.sent)

    def report_links(self, links: Iterable[Path]) -> None:
        """Warn once about each symbolic link that is not uploaded."""
        if new := [link for link in links if link not in self._links]:
            self._links |= set(new)
            log.warning(
                "symbolic links are not followed, and not uploaded to MLflow: %s",
                ", ".join(map(str, new)),
            )

    # The end

    def publish_view(self) -> None:
        """Write the saved views of the experiment.

        A refusal by the store is ignored, since some users may only add runs.
        """
        try:
            publish(self.client, self.experiment_id)
        except Exception as error:
            if self.store.is_passing(error):
                raise
            log.debug(
                "the saved views of experiment %s could not be written",
                self.experiment_id,
                exc_info=True,
            )

    def set_status(self, status: str, ended: float) -> None:
        """Set the run's status and its end time `ended`, in Unix seconds."""
        self.client.set_terminated(self.run_id, status, round(ended * 1000))

"""Models of runs in MLflow: a LoggedModel of a run's best checkpoint, linked to its metrics and
data sets, and its registration.

A model whose run names no `job.registered_model` has no files of its own: the checkpoint is among
the artifacts of its run, and is not uploaded twice.
"""

import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from lslm_lightning.run_files import CURVES
from lslm_lightning.tracking.curves import Point, read_points
from lslm_lightning.tracking.mlflow_run import LONGEST_DIGEST, MlflowRun
from lslm_lightning.tracking.names import LONGEST_TAG, mlflow_name
from lslm_lightning.tracking.run_opening import user_name
from lslm_lightning.tracking.run_record import RunRecord
from lslm_lightning.types import Json, JsonObject

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

WriteModel: TypeAlias = Callable[[Path, JsonObject], str]
"""Function that writes the files of a model with some facts into a folder, and returns the SHA-256
of the checkpoint among them.
"""

BEST = "best"  # alias of the version with the best score on the validation split
CHECKPOINT = "lslm.checkpoint"  # tag: SHA-256 of the checkpoint; marks models of this package
WEIGHTS = "lslm.weights"  # tag: SHA-256 of the checkpoint among the model's own files
CONDITIONS = "lslm.conditions"  # tag: two scores with the same value are comparable
SCORE = "lslm.score"
METRIC = "lslm.metric"
HIGHER_IS_BETTER = "lslm.higher_is_better"
TASK = "lslm.task"
MODEL = "lslm.model"  # tag of a version: id of its LoggedModel
EXTERNAL = "mlflow.model.isExternal"  # MLflow's tag of a model whose files are elsewhere
VERSIONS = "mlflow.modelVersions"  # MLflow's tag of a model with its registered versions
SHOWN = ("corpus", "languages", "model", "tokenizer", "headline", "interval")  # tags of the run
DRAFT = ".mlflow-model"  # folder in the run directory, while the files are written
PAGE = 1000  # versions in one answer
MOST_ROUNDS = 5  # of choosing the best version, while other jobs register theirs
# facts that the store has decided, or has the files for
OUTCOME = ("model_id", "run_id", "uploaded", "weights", "version", "best")


@dataclass(frozen=True)
class ModelUpload:
    """Upload of the best checkpoint of a run as a LoggedModel, which may be repeated.

    Args:
        run: the run in MLflow.
        task: name of the task, the model's type in MLflow.
        record: facts about the run, and about its model, in mlflow.json.
    """

    run: MlflowRun
    task: str
    record: RunRecord

    def send(self, write_model: WriteModel) -> None:
        """Store the model of which `mlflow.json` has the facts, as far as MLflow lacks it.

        Without a name to register it under, a refusal by the store is ignored: some servers know no
        LoggedModel.

        Args:
            write_model: writes the model's files into a folder.

        Raises:
            Exception: an error of MLflow, or of writing the files.
        """
        facts = self.record.model
        if facts.get("run_id", self.run.run_id) != self.run.run_id:  # it was sent to another store
            facts = self.record.add_to_model(dict.fromkeys(OUTCOME))
        try:
            model = self.logged_model(facts)
            self.link(model, facts)
            if facts["registered"] and not facts.get("uploaded"):
                weights = self.upload(model, facts, write_model)
                facts = self.record.add_to_model({"uploaded": True, "weights": weights})
            self.run.client.finalize_logged_model(model.model_id, "READY")
            if facts["registered"] and not facts.get("version"):
                self.record.add_to_model(self.register(model, facts))
        except Exception as error:
            if facts["registered"] or self.run.store.is_passing(error):
                raise
            log.debug("run %s has no LoggedModel", self.run.run_id, exc_info=True)

    def logged_model(self, facts: JsonObject) -> "LoggedModel":
        """Return the LoggedModel of the checkpoint, which is created if it is not recorded."""
        if known := facts.get("model_id"):
            return self.run.client.get_logged_model(known)
        tags = {name: self.record.get("tags", {}).get(name) for name in SHOWN}
        tags |= {"mlflow.source.name": "lslm", "mlflow.user": user_name(), **self.tags(facts)}
        if not facts["registered"]:
            tags[EXTERNAL] = "true"
        name = self.run.directory.name
        model = self.run.client.create_logged_model(
            self.run.experiment_id,
            "".join("_" if each in "/:.%\"'" else each for each in name),
            self.run.run_id,
            {key: str(value)[:LONGEST_TAG] for key, value in tags.items() if value is not None},
            self.record.get("parameters", {}),
            self.task,
        )
        self.record.add_to_model({"model_id": model.model_id, "run_id": self.run.run_id})
        return model

    def tags(self, facts: JsonObject) -> dict[str, str]:
        """Return tags that state the checkpoint, and the score by which it was chosen."""
        found: dict[str, Json] = {CHECKPOINT: facts["checkpoint"], TASK: self.task}
        if facts.get("weights"):
            found[WEIGHTS] = facts["weights"]
        if facts["score"] is not None and facts["conditions"]:
            found |= {
                METRIC: facts["metric"],
                SCORE: repr(float(facts["score"])),
                CONDITIONS: facts["conditions"],
                HIGHER_IS_BETTER: json.dumps(bool(facts["higher_is_better"])),
            }
        return {name: str(value) for name, value in found.items()}

    def link(self, model: "LoggedModel", facts: JsonObject) -> None:
        """Link the model to its run, and to the metrics of its checkpoint and their data sets.

        The points are those that the run has, so that the curves of the run stay as they are.
        """
        from mlflow.entities import LoggedModelOutput

        outputs = self.run.client.get_run(self.run.run_id).outputs
        known = [] if outputs is None else [each.model_id for each in outputs.model_outputs]
        if model.model_id not in known:
            self.run.client.log_outputs(self.run.run_id, [LoggedModelOutput(model.model_id, 0)])
        self.send_metrics(model.model_id, facts)

    def link_tested(self, facts: JsonObject) -> None:
        """Link the model of another run, which this run tested, to this run and to the scores of
        the test, if the model is of the tested checkpoint: the run directory that names the model
        may come from somebody else. A refusal by the store is ignored, as in `send`.

        Args:
            facts: facts of the other run's model.

        Raises:
            Exception: an error of MLflow that passes.
        """
        from mlflow.entities import LoggedModelInput

        model_id = facts.get("model_id", "")
        try:
            checkpoint = self.run.client.get_logged_model(model_id).tags.get(CHECKPOINT)
            if checkpoint is None or checkpoint != facts.get("checkpoint"):
                log.warning(
                    "MLflow's model %s is of another checkpoint: it gets no scores", model_id
                )
                return
            inputs = self.run.client.get_run(self.run.run_id).inputs
            known = [] if inputs is None else [each.model_id for each in inputs.model_inputs]
            if model_id not in known:
                self.run.client.log_inputs(self.run.run_id, models=[LoggedModelInput(model_id)])
            self.send_metrics(model_id, facts)
        except Exception as error:
            if self.run.store.is_passing(error):
                raise
            log.debug("model %s has no scores of this run", model_id, exc_info=True)

    def send_metrics(self, model_id: str, facts: JsonObject) -> None:
        """Store the points of this run that measure a checkpoint as metrics of its model."""
        datasets = self.record.get("datasets", [])
        by_split = {split: (name, digest) for name, digest, split, _ in datasets}
        points = points_of_checkpoint(read_points(self.run.directory / CURVES), facts)
        self.run.client.log_batch(
            self.run.run_id, [self.metric(point, model_id, by_split) for point in points]
        )

    def metric(self, point: Point, model_id: str, by_split: dict[str, tuple[str, str]]) -> "Metric":
        """Return a point as a metric of the model on the data set of its split."""
        from mlflow.entities import Metric

        name, digest = by_split.get(point.name.partition("/")[0], (None, None))
        return Metric(
            mlflow_name(point.name),
            point.value,
            point.time_ms,
            point.step,
            model_id=model_id,
            dataset_name=name,
            dataset_digest=digest and digest[:LONGEST_DIGEST],
        )

    def upload(self, model: "LoggedModel", facts: JsonObject, write_model: WriteModel) -> str:
        """Write the files of the model and upload them; return the SHA-256 of its checkpoint, which
        is a tag of the model too.

        Raises:
            RuntimeError: the store accepts the files but lacks some of them.
        """
        self.run.store.check_artifacts(model.artifact_location)
        draft = self.run.directory / DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        try:
            weights = write_model(draft, facts)
            self.run.client.log_model_artifacts(model.model_id, str(draft))
            sizes = dict(self.sizes(model.model_id))
            for path in sorted(draft.rglob("*")):
                name = path.relative_to(draft).as_posix()
                if path.is_file() and sizes.get(name) != path.stat().st_size:
                    raise RuntimeError(
                        f"the store has {sizes.get(name) or 0:,} of {path.stat().st_size:,} bytes "
                        f"of {name} of the model"
                    )
            self.run.client.set_logged_model_tags(model.model_id, {WEIGHTS: weights})
            return weights
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def sizes(self, model_id: str, folder: str | None = None) -> Iterator[tuple[str, int | None]]:
        """Yield name and size in bytes of each file of a model in MLflow."""
        for entry in self.run.client.list_logged_model_artifacts(model_id, folder):
            if entry.is_dir:
                yield from self.sizes(model_id, entry.path)
            else:
                yield entry.path, entry.file_size

    # The registry

    def register(self, model: "LoggedModel", facts: JsonObject) -> JsonObject:
        """Register the model as a new version, unless it is one, and choose the best version.

        Returns:
            The version, and the version that is called `best`, which may be None.
        """
        from mlflow.exceptions import MlflowException

        name = facts["registered"]
        try:
            self.run.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = versions_of(self.run.client, name)
        own = next((each for each in versions if each.tags.get(MODEL) == model.model_id), None)
        if own is None:
            own = self.run.client.create_model_version(
                name,
                model.artifact_location,
                self.run.run_id,
                {**self.tags(facts), MODEL: model.model_id},
                description=self.description(facts),
                await_creation_for=0,
                model_id=model.model_id,
            )
            registered = [{"name": name, "version": str(own.version)}]
            self.run.client.set_logged_model_tags(
                model.model_id, {VERSIONS: json.dumps(registered)}
            )
        return {"version": str(own.version), "best": self.choose_best(name, own)}

    def description(self, facts: JsonObject) -> str:
        """Return a line on a version: its scores, and its run."""
        points = points_of_checkpoint(read_points(self.run.directory / CURVES), facts)
        shown = {facts["metric"], str(facts["metric"]).replace("val/", "test/", 1)}
        scores = [f"{each.name} {each.value:.4g}" for each in points if each.name in shown]
        return ", ".join([*scores, f"run {self.run.directory.name}"])

    def choose_best(self, name: str, own: "ModelVersion") -> str | None:
        """Give the alias `best` to the version with the best score among those whose scores are
        comparable with that of `own`, and return the version that has it then.

        A version whose score is not comparable keeps the alias. Other jobs may register versions
        meanwhile: the alias is read before the versions, so that these are not the older, and the
        choice is repeated until it finds the alias where it belongs.
        """
        client = self.run.client
        conditions = own.tags.get(CONDITIONS)
        chosen = None
        for _ in range(MOST_ROUNDS):
            number = client.get_registered_model(name).aliases.get(BEST)
            holder = None if number is None else client.get_model_version(name, str(number))
            held = None if holder is None else str(holder.version)
            if conditions is None or (holder and holder.tags.get(CONDITIONS) != conditions):
                return held
            known = [own, *([holder] if holder else []), *versions_of(client, name)]
            best = best_of([each for each in known if each.tags.get(CONDITIONS) == conditions])
            chosen = str(best.version)
            if chosen == held:
                break
            client.set_registered_model_alias(name, BEST, chosen)
        return chosen


def best_of(versions: Sequence["ModelVersion"]) -> "ModelVersion":
    """Return the version with the best score, the first of equals.

    Args:
        versions: versions with comparable scores, at least one.
    """
    sign = 1 if versions[0].tags.get(HIGHER_IS_BETTER) == "true" else -1

    def rank(version: "ModelVersion") -> tuple[float, int]:
        try:
            score = float(version.tags.get(SCORE, "nan"))
        except ValueError:  # somebody has edited it
            score = math.nan
        return (-math.inf if math.isnan(score) else sign * score, -int(version.version))

    return max(versions, key=rank)


def versions_of(client: "MlflowClient", name: str) -> Iterator["ModelVersion"]:
    """Yield all versions of a registered model.

    Args:
        name: name without quotes.
    """
    token = None
    while True:
        found = client.search_model_versions(f"name='{name}'", PAGE, page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def points_of_checkpoint(points: Sequence[Point], facts: JsonObject) -> list[Point]:
    """Return the points that measure the best checkpoint: those of its validation, where it was
    validated in training, and the last ones of tests.

    Args:
        facts: name of the metric that chose the checkpoint, its value, and val/loss.
    """
    steps = [
        point.step
        for point in points
        if point.name == facts["metric"] and point.value == facts["score"]
    ]
    losses = {point.step: point.value for point in points if point.name == "val/loss"}
    equal = [step for step in steps if losses.get(step) == facts["loss"]] or steps
    best = equal[-1] if equal else None
    found = {
        point.name: point
        for point in points
        if math.isfinite(point.value)
        and (
            point.name.startswith("test/") or (point.name.startswith("val/") and point.step == best)
        )
    }
    return list(found.values())

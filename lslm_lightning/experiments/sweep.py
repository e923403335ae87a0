"""Sweeps: several models trained on the same data and compared in one report."""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from lslm_lightning.configuration.arguments import SettingValues, setting_arguments
from lslm_lightning.configuration.job import task_name
from lslm_lightning.evaluation.evaluation_set import EvaluationSet, difference
from lslm_lightning.evaluation.results import Results
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.child_process import run_to_its_end
from lslm_lightning.experiments.endings import WorkError, final_status
from lslm_lightning.experiments.evaluating import EvaluationResults
from lslm_lightning.experiments.evaluation import Evaluation
from lslm_lightning.experiments.evaluation_sets import find_set
from lslm_lightning.experiments.evaluation_spec import check_systems, digest_of, read
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.library import library_call
from lslm_lightning.experiments.variant_runs import VariantRuns
from lslm_lightning.experiments.variants import (
    DataDigests,
    SweepConfig,
    data_digests,
    parsed,
    read_sweep,
    width_of,
)
from lslm_lightning.runs import RunDirectory, reserve
from lslm_lightning.runs.directory import as_name, check_name, locked
from lslm_lightning.runs.trust import resolve
from lslm_lightning.safety.arguments import hide_arguments
from lslm_lightning.safety.user_files import write_settings
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.precision import DECIDED
from lslm_lightning.training.status_line import clock_time
from lslm_lightning.training.work import Work
from lslm_lightning.types import JsonObject, Settings


class Sweep:
    """Sweep over the variants of a config. All configs are parsed before any training starts.

    Args:
        name: name of the sweep.
        root: folder of all runs.
        arguments: settings for all variants, as command-line arguments.

    Raises:
        ValueError: a variant is wrong, or the variants cannot be compared.
    """

    def __init__(
        self, config: SweepConfig, name: str, root: Path, arguments: Sequence[str]
    ) -> None:
        self.config = config
        self.name = name
        self.root = root
        self.arguments = list(arguments)
        self.configs = self.parsed()
        self.task_name = self.common_task()
        check_systems(config.systems)
        data = self.data_digests()
        shared = [config.base, config.parameters, self.arguments, next(iter(data.values())).splits]
        base = digest_of(shared)
        digests = {
            variant.name: digest_of([base, variant.digest, data[variant.name].splits])[:6]
            for variant in config.variants.values()
        }
        folder = reserve(self.task_name, root)
        self.runs = VariantRuns(folder, name, self.configs, digests)
        self.directory = RunDirectory(folder / f"{name}-{base}")
        (self.directory.path / "variants").mkdir(parents=True, exist_ok=True)

    def parsed(self) -> dict[str, JsonObject]:
        """Return the whole configuration of each variant, by name."""
        found = {}
        with TemporaryDirectory() as folder:
            for name in self.config.variants:
                try:
                    found[name] = parsed(self.run_arguments(name, Path(folder)))
                except ValueError as error:
                    raise ValueError(f"variant {name}: {error}") from None
                if (seeds := found[name]["job"]["seeds"]) > 1:
                    raise ValueError(
                        f"variant {name}: job.seeds={seeds} must be 1: a variant is one run; lslm "
                        "run --seeds trains several"
                    )
        return found

    def common_task(self) -> str:
        """Return the name of the task, which must be the same for all variants.

        Raises:
            ValueError: the variants have different tasks.
        """
        tasks = {
            name: task_name(resolve(config["model"]["class_path"]))
            for name, config in self.configs.items()
        }
        if len(set(tasks.values())) > 1:
            found = ", ".join(f"{name} is of {task}" for name, task in tasks.items())
            raise ValueError(f"the variants of a sweep must be of one task, but {found}")
        return next(iter(tasks.values()))

    def data_digests(self) -> dict[str, DataDigests]:
        """Return the data digests of each variant, by name.

        Raises:
            ValueError: the variants have different test sets.
        """
        known: dict[str, DataDigests] = {}  # by their settings, since most variants have the same
        found = {}
        for name, config in self.configs.items():
            settings = digest_of(config["data"])
            known[settings] = known.get(settings) or data_digests(config["data"])
            found[name] = known[settings]
        first = next(iter(found))
        ours = found[first].test_set
        for name, own in found.items():
            if own.test_set != ours:
                raise ValueError(
                    f"variants {first} and {name} have different test sets "
                    f"({described_difference(ours, own.test_set)}), and one report cannot compare "
                    "their answers: give them the same corpus and languages, or a sweep each"
                )
        return found

    def run_arguments(self, name: str, folder: Path) -> list[str]:
        """Write the config files of a variant into `folder` and return arguments of `lslm run` that
        use them.

        Args:
            name: name of the variant.
        """
        variant = self.config.variants[name]
        arguments: list[str] = []
        files = {"base": self.config.base, name: variant.settings}
        for path, settings in zip(
            (folder / "base.yaml", folder / f"{name}.yaml"), files.values(), strict=True
        ):
            write_settings(path, dump_yaml(dict(settings)))
            arguments += ["--config", str(path)] if settings else []
        return [*arguments, *variant.arguments, *self.arguments]

    def run(self, only: Sequence[str], command: str) -> Results:
        """Train some variants, then report all finished ones.

        Args:
            only: names of the variants to train.
            command: command line to show in the report.

        Raises:
            WorkError: the training of a variant failed; the finished variants are still reported.
        """
        began = time.time()
        folder = self.directory.path
        lock = locked(self.directory)
        try:
            tracker = Tracker(
                self.task_name,
                folder.name,
                folder,
                tags={"task": self.task_name, "command": "sweep"},
                system_metrics=False,
                run_id=self.directory.run_id,
            )
            tracker.start()
            with final_status(tracker):
                print(f"sweep {folder}", flush=True)
                failed = self.train_all(only, tracker.version)
                results = self.report(tracker, command, began)
                if failed:
                    error = WorkError(
                        f"{len(failed)} of {len(only)} runs failed: {', '.join(failed)}; the "
                        "same command tries them again"
                    )
                    error.results = results
                    raise error
                return results
        finally:
            lock.release()

    # Training

    def train_all(self, only: Sequence[str], parent: str | None) -> list[str]:
        """Train variants one after the other; return the names of those that failed.

        Args:
            only: names of the variants to train.
            parent: MLflow run id of the sweep; None for no parent run.
        """
        failed = []
        missing = [name for name in only if not self.runs.finished(name)]
        work = Work("variant", len(missing))
        for number, name in enumerate(only, 1):
            left = work.left() if name in missing else None
            time_left = "" if left is None else f" (all: about {clock_time(left)} left)"
            if not self.train(name, f"{number} of {len(only)}", parent, time_left):
                failed.append(name)
            if name in missing:
                work.update(work.done + 1)
        return failed

    def train(self, name: str, number: str, parent: str | None, time_left: str = "") -> bool:
        """Train a variant unless it is finished. If its training was stopped, resume it.

        Args:
            name: name of the variant.
            number: position of the variant in the sweep, such as "2 of 3".
            parent: MLflow run id of the sweep; None for no parent run.
            time_left: text with the estimated time for the remaining variants.

        Returns:
            Whether the variant is finished.
        """
        if run := self.runs.finished(name):
            print(f"variant {number}, {name}: {run} is finished", flush=True)
            return True
        print(f"variant {number}, {name}{time_left}", flush=True)
        for run in sorted(self.runs.started(name)):
            if changed := self.runs.changes(name, run):
                print(
                    f"{run} was resumed with other settings ({changed}) and does not count as "
                    "this variant",
                    flush=True,
                )
        try:
            arguments = self.runs.to_resume(name) or self.train_arguments(name, parent)
        except (ValueError, SettingsError) as error:  # of a network that cannot have the size
            print(f"lslm: {name}: {error}", file=sys.stderr, flush=True)
            return False
        seen, hidden = hide_arguments(arguments)
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))
        }
        environment.update(hidden)
        if decided := self.runs.decided_precision():
            environment[DECIDED] = decided
        command = [sys.executable, "-m", "lslm_lightning", *seen]
        status = run_to_its_end(command, environment)
        return status == 0 and self.runs.finished(name) is not None

    def train_arguments(self, name: str, parent: str | None) -> list[str]:
        """Return the command-line arguments that train a variant from step 0.

        Args:
            name: name of the variant.
            parent: MLflow run id of the sweep; None for no parent run.
        """
        arguments = self.run_arguments(name, self.directory.path / "variants")
        own = [
            f"--job.name={self.runs.job_name(name)}",
            f"--job.root={self.root}",
            f"--job.parent={parent or 'null'}",
        ]
        return ["run", *arguments, *self.width_argument(arguments), *own]

    def width_argument(self, arguments: Sequence[str]) -> list[str]:
        """Return the argument that sets `d_model` so that the model has the number of parameters
        that the sweep's config asks for.

        Args:
            arguments: arguments of `lslm run` for the variant.

        Returns:
            An empty list if the config sets no number of parameters or the model has no `d_model`.
        """
        size = self.config.parameters
        width = None if size is None else width_of(arguments, size)
        return [] if width is None else [f"--model.backbone.d_model={width}"]

    # Reporting

    def systems(self) -> dict[str, Settings]:
        """Return the specs (class path and arguments) of all systems that can be evaluated, in the
        order of the config.
        """
        found: dict[str, Settings] = {}
        for name in self.config.names:
            if name in self.config.systems:
                found[name] = self.config.systems[name]
            elif run := self.runs.finished(name):
                found[name] = {
                    "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
                    # its classes are those that the config of the sweep names
                    "init_args": {"run": str(run), "trust": True},
                }
        return found

    def report(self, tracker: Tracker, command: str, began: float) -> Results:
        """Evaluate all finished variants and write the report.

        Args:
            tracker: tracker of the sweep's MLflow run.
            command: command line to show in the report.
            began: start time in seconds since the epoch.

        Raises:
            WorkError: no variant is finished.
        """
        trained = {
            name: path for name in self.config.variants if (path := self.runs.finished(name))
        }
        if not trained:
            raise WorkError("no run was finished, and there is nothing to report")
        shared = (self.config.base.get("data") or {}).get("class_path")
        configs = [self.configs[name] for name in trained]
        # some read it otherwise
        data = next(
            (own["data"] for own in configs if own["data"]["class_path"] == shared),
            configs[0]["data"],
        )
        config = {
            "task": configs[0]["model"]["class_path"],
            "data": data,
            "systems": self.systems(),
        }
        path = self.directory.path / "evaluation.yaml"
        write_settings(path, dump_yaml(json.loads(json.dumps(config))))
        evaluation = Evaluation(read(["--config", str(path)]), self.directory.path)
        evaluation.tell()
        files = evaluation.predictions.files
        with evaluation.predictions.exclusive():
            wanted = evaluation.spec.data.evaluation_set("test")
            known: dict[str, TaskData] = {}
            for name, run in trained.items():
                own = find_set(RunDirectory(run), known, trust=True).found
                # its test has answered the same examples
                if own == wanted and not files.path(name).exists():
                    shutil.copy(run / "predictions/test.jsonl", files.path(name))
            evaluation.predictions.prepare()
            return evaluation.evaluate(tracker, command, began)


def described_difference(one: EvaluationSet | None, two: EvaluationSet | None) -> str:
    """Return a text that says how two test sets differ; either may be None."""
    if one is None or two is None:
        return "one has none"
    return difference(one, two)


def sweep(
    config: str | PathLike[str],
    settings: SettingValues | None = None,
    *,
    name: str | None = None,
    root: str | PathLike[str] = "runs",
    only: Sequence[str] = (),
) -> EvaluationResults:
    """Train several models on the same data and compare them, as `lslm sweep` does.

    Finished variants are not trained again, and stopped ones are resumed.

    Args:
        config: a YAML file with `base` and `variants`.
        settings: settings for all variants, with dotted keys: `{"trainer.max_steps": 500}`.
        name: name of the sweep. Default: the name of the config file.
        root: folder of all runs.
        only: names of the variants to train now; the report still includes all finished ones.
            Default: all.

    Raises:
        ValueError: the config is wrong, or a variant cannot be built.
        WorkError: the training of a variant failed; calling `sweep` again retries it.
    """
    arguments = setting_arguments(settings or {})
    with library_call(["sweep", "--config", str(config), *arguments]):
        content = read_sweep(Path(config))
        chosen = name or as_name(Path(config).stem)
        check_name(chosen, "name")
        if unknown := [each for each in only if each not in content.variants]:
            known = ", ".join(content.variants)
            raise ValueError(
                f"only={unknown[0]!r} must be among the variants of the sweep: {known}"
            )
        found = Sweep(content, chosen, Path(root), arguments)
        results = found.run(only or list(content.variants), command_line())
    return EvaluationResults(results, found.directory.path)

"""Sweeps: several models trained on the same data and compared in one report."""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lslm_lightning.configuration.job import task_name
from lslm_lightning.configuration.words import Settings, setting_words
from lslm_lightning.evaluation.evaluation_set import difference
from lslm_lightning.evaluation.results import Results
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.child_process import run_to_its_end
from lslm_lightning.experiments.evaluating import EvaluationResults
from lslm_lightning.experiments.evaluation import Examination
from lslm_lightning.experiments.evaluation_sets import find_set
from lslm_lightning.experiments.evaluation_spec import check_systems, digest_of, read
from lslm_lightning.experiments.library import library_call
from lslm_lightning.experiments.outcome import WorkError, command_line, true_ending
from lslm_lightning.experiments.variants import (
    DataDigests,
    Ladder,
    Rung,
    data_digests,
    parsed,
    read_ladder,
    width_of,
)
from lslm_lightning.runs import RunDirectory, reserve
from lslm_lightning.runs.directory import as_name, check_name, locked
from lslm_lightning.runs.loading import read_config
from lslm_lightning.runs.trust import resolve
from lslm_lightning.safety.arguments import hide_arguments
from lslm_lightning.safety.user_files import write_settings
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.tracking import Tracker
from lslm_lightning.training.precision import AUTO, DECIDED, HALF, SINGLE
from lslm_lightning.training.status_line import clock_time
from lslm_lightning.training.work import Work


class Climb:
    """A sweep: its folder, the runs of its variants, and its MLflow run. All configs are parsed
    before any training.

    Args:
        root: of all runs. words: settings for all runs, as on the command line.

    Raises:
        ValueError: a rung cannot be.
    """

    def __init__(self, ladder: Ladder, name: str, root: Path, words: Sequence[str]) -> None:
        self.ladder = ladder
        self.name = name
        self.root = root
        self.words = list(words)
        self.configs = self.parsed()
        tasks = {
            rung: task_name(resolve(config["model"]["class_path"]))
            for rung, config in self.configs.items()
        }
        if len(set(tasks.values())) > 1:
            raise ValueError(
                "the rungs of a ladder are of one task, but here "
                f"{', '.join(f'{r} is of {t}' for r, t in tasks.items())}"
            )
        check_systems(ladder.systems)
        self.task_name = next(iter(tasks.values()))
        data = self.data_digests()
        base = digest_of(
            [ladder.base, ladder.parameters, self.words, next(iter(data.values())).splits]
        )
        self.digests = {
            rung.name: digest_of([base, rung.digest, data[rung.name].splits])[:6]
            for rung in ladder.runs.values()
        }
        self.runs = reserve(self.task_name, root)
        self.directory = RunDirectory(self.runs / f"{name}-{base}")
        (self.directory.path / "rungs").mkdir(parents=True, exist_ok=True)

    def parsed(self) -> dict[str, dict[str, Any]]:
        """Return the whole configuration of each variant, by name."""
        found = {}
        with TemporaryDirectory() as folder:
            for name, rung in self.ladder.runs.items():
                try:
                    found[name] = parsed(self.settings(rung, Path(folder)))
                except ValueError as error:
                    raise ValueError(f"the rung {name}: {error}") from None
                if (seeds := found[name]["job"]["seeds"]) > 1:
                    raise ValueError(
                        f"the rung {name}: job.seeds={seeds} must be 1: a rung is one run; lslm "
                        "run --seeds trains several"
                    )
        return found

    def data_digests(self) -> dict[str, DataDigests]:
        """Return the data digests of each variant, by name; all must have the same test set."""
        known: dict[str, DataDigests] = {}  # by their settings, since most runs have the same
        found = {}
        for name, config in self.configs.items():
            settings = digest_of(config["data"])
            known[settings] = known.get(settings) or data_digests(config["data"])
            found[name] = known[settings]
        first = next(iter(found))
        other = next(
            (name for name, own in found.items() if own.test_set != found[first].test_set), None
        )
        if other is not None:
            ours = found[first].test_set
            theirs = found[other].test_set
            raise ValueError(
                f"the rungs {first} and {other} have different test sets "
                f"({difference(ours, theirs)}), and one page"
                " cannot compare their answers: give them the same corpus and languages, or a "
                "ladder each"
            )
        return found

    def settings(self, rung: Rung, folder: Path) -> list[str]:
        """Write the config files of a variant into `folder` and return the arguments of `lslm run`
        that name them.
        """
        words = []
        for path, settings in (
            (folder / "base.yaml", self.ladder.base),
            (folder / f"{rung.name}.yaml", rung.settings),
        ):
            write_settings(path, dump_yaml(dict(settings)))
            words += ["--config", str(path)] if settings else []
        return [*words, *rung.words, *self.words]

    def conclude(self, only: Sequence[str], command: str) -> Results:
        """Train these variants, and report them together with those that are finished.

        Raises:
            WorkError: some failed; the others are reported.
        """
        began = time.time()
        folder = self.directory.path
        tags = {"task": self.task_name, "command": "ladder"}
        lock = locked(self.directory)
        try:
            tracker = Tracker(
                self.task_name,
                folder.name,
                folder,
                tags=tags,
                system_metrics=False,
                run_id=self.directory.run_id,
            )
            tracker.start()
            with true_ending(tracker):
                print(f"ladder {folder}", flush=True)
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
        """Train these variants one after the other; return the names of those that failed."""
        failed = []
        missing = [name for name in only if not self.finished(self.ladder.runs[name])]
        work = Work("rung", len(missing))
        for number, name in enumerate(only, 1):
            left = work.left()
            time_left = (
                ""
                if left is None or name not in missing
                else f" (all: about {clock_time(left)} left)"
            )
            if not self.train(name, f"{number} of {len(only)}", parent, time_left):
                failed.append(name)
            if name in missing:
                work.update(work.done + 1)
        return failed

    def train(self, name: str, place: str, parent: str | None, time_left: str = "") -> bool:
        """Train a variant unless it is finished, resuming it if it was stopped; return whether it
        is finished now.
        """
        rung = self.ladder.runs[name]
        if run := self.finished(rung):
            print(f"rung {place}, {name}: {run} is finished", flush=True)
            return True
        print(f"rung {place}, {name}{time_left}", flush=True)
        for path in sorted(self.runs.glob(f"{self.job_name(rung)}-{'[0-9a-f]' * 8}/config.yaml")):
            if changed := self.changes(rung, path.parent):
                print(
                    f"{path.parent} went on with other settings ({changed}) and is not this rung's",
                    flush=True,
                )
        try:
            words = self.to_resume(rung) or self.to_begin(rung, parent)
        except (ValueError, SettingsError) as error:  # of a network that cannot have the size
            print(f"lslm: {name}: {error}", file=sys.stderr, flush=True)
            return False
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("LSLM_RUN", "PL_GLOBAL"))
        }
        if decided := self.decided_precision():
            environment[DECIDED] = decided
        seen, hidden = hide_arguments(words)
        status = run_to_its_end(
            [sys.executable, "-m", "lslm_lightning", *seen], environment | hidden
        )
        return status == 0 and self.finished(rung) is not None

    def decided_precision(self) -> str | None:
        """Return the precision that `auto` was resolved to in the first variant that was trained;
        None if there is none.
        """
        for name, rung in self.ladder.runs.items():
            config = self.configs[name]
            if (
                config["trainer"]["precision"] != AUTO
                or resolve(config["model"]["class_path"]).one_pass
            ):
                continue
            for run in self.directories(rung):
                if (kept := read_config(RunDirectory(run).config)["trainer"].get("precision")) in (
                    SINGLE,
                    HALF,
                ):
                    return kept
        return None

    def job_name(self, rung: Rung) -> str:
        """Return the `job.name` of a variant's run, with a digest of its settings and data."""
        return f"{self.name}-{rung.name}-{self.digests[rung.name]}"

    def directories(self, rung: Rung) -> list[Path]:
        """Return the run directories of a variant, the newest last, without runs resumed with other
        settings.
        """
        found = self.runs.glob(f"{self.job_name(rung)}-{'[0-9a-f]' * 8}/config.yaml")
        runs = [path.parent for path in sorted(found, key=os.path.getmtime)]
        return [run for run in runs if not self.changes(rung, run)]

    def changes(self, rung: Rung, run: Path) -> str:
        """Return which training settings of a run differ from the variant's, as text; "" if none
        do.
        """
        own = read_config(RunDirectory(run).config)
        wanted = self.configs[rung.name]
        changed = []
        for name in ("max_steps", "max_epochs"):
            before, now = (config["trainer"].get(name) or -1 for config in (wanted, own))
            if now > before > 0:
                changed.append(f"trainer.{name} from {before} to {now}")
        for name in ("optimizer", "schedule", "label_smoothing"):
            before, now = (
                config["model"].get("init_args", {}).get(name) for config in (wanted, own)
            )
            if before is not None and now is not None and differ(before, now):
                changed.append(f"model.{name}")
        return ", ".join(changed)

    def finished(self, rung: Rung) -> Path | None:
        """Return the newest run directory of a variant that is trained and tested; None if there is
        none.
        """
        found = [RunDirectory(path) for path in self.directories(rung)]
        return next(
            (
                d.path
                for d in reversed(found)
                if d.beginning.get("status") == "FINISHED" and d.metrics.exists()
            ),
            None,
        )

    def to_resume(self, rung: Rung) -> list[str]:
        """Return the arguments that resume a variant's stopped run; empty if no run has a
        checkpoint.
        """
        paths = [
            path
            for path in self.directories(rung)
            if any((path / "checkpoints").glob("last*.ckpt"))
        ]
        return ["resume", str(paths[-1])] if paths else []

    def to_begin(self, rung: Rung, parent: str | None) -> list[str]:
        """Return the arguments that train a variant from the start."""
        words = self.settings(rung, self.directory.path / "rungs")
        own = [
            f"--job.name={self.job_name(rung)}",
            f"--job.root={self.root}",
            f"--job.parent={parent or 'null'}",
        ]
        return ["run", *words, *self.width(words), *own]

    def width(self, words: Sequence[str]) -> list[str]:
        """Return the argument that sets `d_model` so that the model has the sweep's number of
        parameters; empty if it does not apply.
        """
        width = None if self.ladder.parameters is None else width_of(words, self.ladder.parameters)
        return [] if width is None else [f"--model.backbone.d_model={width}"]

    # Reporting

    def systems(self) -> dict[str, Mapping[str, Any]]:
        """Return the specs of all systems that can be evaluated, in the order of the config."""
        found: dict[str, Mapping[str, Any]] = {}
        for name in self.ladder.names:
            if name in self.ladder.systems:
                found[name] = self.ladder.systems[name]
            elif run := self.finished(self.ladder.runs[name]):
                found[name] = {
                    "class_path": "lslm_lightning.systems.checkpoint.Checkpoint",
                    "init_args": {"run": str(run)},
                }
        return found

    def report(self, tracker: Tracker, command: str, began: float) -> Results:
        """Evaluate all finished variants and write the report.

        Raises:
            WorkError: there is none.
        """
        folder = self.directory.path
        trained = {
            name: path for name, rung in self.ladder.runs.items() if (path := self.finished(rung))
        }
        if not trained:
            raise WorkError("no run was finished, and there is nothing to report")
        shared = (self.ladder.base.get("data") or {}).get("class_path")
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
        path = folder / "evaluation.yaml"
        write_settings(path, dump_yaml(json.loads(json.dumps(config))))
        examination = Examination(read(["--config", str(path)]), folder)
        examination.tell()
        with examination.answers.alone():
            wanted = examination.evaluation.data.evaluation_set("test")
            known = {}
            for name, run in trained.items():
                own = find_set(RunDirectory(run), known, trust=True).found
                # what it answered in its own test
                if own == wanted and not examination.answers.path(name).exists():
                    shutil.copy(run / "predictions/test.jsonl", examination.answers.path(name))
            examination.answers.prepare()
            return examination.examine(tracker, command, began)


def sweep(
    config: str | PathLike[str],
    settings: Settings | None = None,
    *,
    name: str | None = None,
    root: str | PathLike[str] = "runs",
    only: Sequence[str] = (),
) -> EvaluationResults:
    """Train several models on the same data and compare them, as `lslm sweep` does.

    What is finished is not trained again, and what was stopped goes on.

    Args:
        config: a YAML file with `base` and `rungs`.
        settings: of all runs, by keys with dots: `{"trainer.max_steps": 500}`.
        name: of the sweep. Default: that of the config.
        root: folder of all runs.
        only: train these now; the page has them and what is finished. Default: all.

    Raises:
        ValueError: the config is wrong, or a variant cannot be built.
        WorkError: a training failed; the same call tries it again.
    """
    words = setting_words(settings or {})
    with library_call(["ladder", "--config", str(config), *words]):
        ladder = read_ladder(Path(config))
        chosen = name or as_name(Path(config).stem)
        check_name(chosen, "name")
        if unknown := [each for each in only if each not in ladder.runs]:
            known = ", ".join(ladder.runs)
            raise ValueError(f"only={unknown[0]!r} must be among the runs of this sweep: {known}")
        found = Climb(ladder, chosen, Path(root), words)
        results = found.conclude(only or list(ladder.runs), command_line())
    return EvaluationResults(results, found.directory.path)


def differ(one: Any, two: Any) -> bool:
    """Return whether two nested settings differ in a key that both have."""
    if isinstance(one, dict) and isinstance(two, dict):
        return any(differ(one[name], two[name]) for name in one.keys() & two.keys())
    return one != two

"""One training, validation, test or prediction job, run with LightningCLI."""

import os
import time
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger

from lslm_lightning.configuration.cli import ExperimentCLI
from lslm_lightning.configuration.given_settings import TOKENIZER_FILE
from lslm_lightning.configuration.job import ONE_PASS, JobTrainer
from lslm_lightning.configuration.lightning_cli_internals import callback_of, process_rank
from lslm_lightning.configuration.monitors import check_monitors
from lslm_lightning.configuration.subcommands import TRAINING
from lslm_lightning.configuration.trainer_batches import check_batches, check_shares
from lslm_lightning.configuration.trainer_settings import profiler_of
from lslm_lightning.configuration.tried_trainer import (
    check_given_callbacks,
    translated,
    tried_trainer,
)
from lslm_lightning.experiments.job_state import JobState
from lslm_lightning.experiments.precision_choice import decided_precision, tell_slow_precision
from lslm_lightning.experiments.preflight import (
    check_compile,
    check_job,
    check_one_process,
    check_whole_layers,
    is_sharded,
    n_share,
    read_splits,
)
from lslm_lightning.experiments.resume_checks import (
    check_optimizer,
    check_resumable,
    check_resumed_job,
    check_same_function,
    check_weights,
    validates_alike,
)
from lslm_lightning.experiments.run_naming import chosen_name
from lslm_lightning.experiments.run_report import finish
from lslm_lightning.experiments.run_writer import RunWriter
from lslm_lightning.experiments.seeds import run_seeds
from lslm_lightning.experiments.suitability import check_trained_for
from lslm_lightning.garbage import collect_as_usual
from lslm_lightning.runs import RunDirectory, new_run, reserve
from lslm_lightning.runs.config import config_to_build
from lslm_lightning.runs.directory import locked
from lslm_lightning.runs.resume_state import ResumeState
from lslm_lightning.runs.trust import resolve
from lslm_lightning.systems.purpose import purpose_of
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.tracking import Store
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.training.adapted import check_start, freeze_base, pinned_start
from lslm_lightning.training.budget import Budget
from lslm_lightning.training.callbacks.checkpoints import Checkpoints
from lslm_lightning.training.callbacks.compilation import Compilation
from lslm_lightning.training.callbacks.energy import EnergyRecorder
from lslm_lightning.training.callbacks.evaluation import RunEvaluationCallback
from lslm_lightning.training.callbacks.interruption import Interruption
from lslm_lightning.training.callbacks.progress import Reporter
from lslm_lightning.training.callbacks.run_metadata import FirstStep, RunMetadata
from lslm_lightning.training.checks import check_distinguishes
from lslm_lightning.training.cores import limit_threads
from lslm_lightning.training.data import TaskData, rank_zero_print
from lslm_lightning.training.distributed.checkpoint_io import AtomicCheckpointIO
from lslm_lightning.training.distributed.fsdp import ShardedStrategy
from lslm_lightning.training.distributed.launch import (
    DIRECTORY,
    apply_launcher_env,
    connect_again,
    launcher_plugins,
    rendezvous,
)
from lslm_lightning.training.lightning_internals import TaskTrainer
from lslm_lightning.training.optimizer_settings import ChangedSettings
from lslm_lightning.training.task import Task
from lslm_lightning.types import JsonObject

SCORING = ("validate", "test")
T = TypeVar("T")


class JobCLI(ExperimentCLI):
    """LightningCLI with a run directory and an MLflow run.

    As with LightningCLI, the constructor runs the whole job.

    Args:
        state: records what the job has started, so that the caller can end it if the constructor
            fails.
    """

    trainer: TaskTrainer

    def __init__(self, state: JobState) -> None:
        self.state = state
        self.began = 0.0  # seconds since 1970
        self.device_type = "cpu"
        super().__init__(state.arguments)

    @property
    def checkpoint(self) -> str | None:
        """Path of the checkpoint to start from, the setting `ckpt_path`; None to start anew."""
        path = self.settings.get("ckpt_path")
        return str(path) if path else None

    @cached_property
    def earlier_config(self) -> JsonObject:
        """Configuration of the run that is resumed, or that the checkpoint belongs to; empty if
        there is none.
        """
        run = self.state.resumed
        if run is None and self.checkpoint is not None:
            run = RunDirectory.of_checkpoint(Path(self.checkpoint))
        return config_to_build(run.config) if run is not None and run.config.is_file() else {}

    @property
    def trained_config(self) -> JsonObject:
        """Configuration of the run that the checkpoint belongs to; empty if there is none."""
        return {} if self.checkpoint is None else self.earlier_config

    @property
    def is_training(self) -> bool:
        """True if the job trains."""
        return self.subcommand in TRAINING

    def _tokenizer_of(self, data: TaskData) -> Tokenizer:
        """Return the tokenizer of the data.

        All splits are read first: training a tokenizer takes minutes, and unreadable data should
        fail before.
        """
        read_splits(self.subcommand, data)
        return data.tokenizer

    def before_instantiate_classes(self) -> None:
        """Check settings, devices, output folder and MLflow before anything that takes long."""
        self.began = time.time()
        resumed = self.state.resumed
        name = chosen_name(self, self.state.arguments, resumed is not None)
        self.writer = RunWriter(self, self.state, name)
        self.check_settings()
        if self.is_training and not resumed and (start := self.settings["job"]["start"]):
            self.settings["job"]["start"] = pinned_start(start, self.checkpoint)
        trainer = self.settings["trainer"]
        task: type[Task] = resolve(self.settings["model"].class_path)
        if task.one_pass:
            for setting, value in ONE_PASS.items():
                trainer[setting] = value
            self.settings["job"]["minutes"] = None
            check_one_process(task.__name__, trainer)
        self.state.job = job = self.job
        if (message := apply_launcher_env(trainer)) and not process_rank():
            print(message, flush=True)
        if resumed:
            check_resumed_job(job, self.earlier_config.get("job") or {}, trainer.max_steps)
        self.device_type = check_job(self.subcommand, job, trainer, self.checkpoint, task.one_pass)
        self.tried = tried_trainer(trainer)
        n_process = n_share(trainer) // trainer.num_nodes
        connect_again(self.device_type)
        if self.device_type == "cpu" and (message := limit_threads(n_process)):
            rank_zero_print(message)
        self.take_tokenizer()
        if process_rank() == 0:
            if not resumed:  # whose directory is there, and whose job.root may be another's
                reserve(self.task_name, job.root)
            Store().open_experiment(self.task_name)

    def take_tokenizer(self) -> None:
        """Use the tokenizer of the run that `ckpt_path` belongs to as the tokenizer of the data."""
        if self.checkpoint is None:
            return
        beside = RunDirectory.of_checkpoint(Path(self.checkpoint)).tokenizer
        if beside.exists():
            self.settings["data"]["init_args"]["tokenizer"] = {
                "class_path": TOKENIZER_FILE,
                "init_args": {"path": str(beside)},
            }

    def instantiate_trainer(self, **kwargs: object) -> Trainer:
        """Check the settings against the model and the data, start the run, and build its
        Trainer.
        """
        collect_as_usual()  # all is imported
        settings = self.settings["trainer"]
        given = listed(self.built_settings["trainer"]["callbacks"])
        self.check_built(given)
        settings["precision"] = self.precision(settings["precision"])
        own = {"precision": settings["precision"], **kwargs}
        config = translated({**self.built_settings["trainer"], **own})
        if self.is_training:
            check_monitors(given, self.model, self.datamodule, config, n_share(settings))
        written = self.writer.config()  # what cannot be written is refused before there is a run
        before = self.trained_config if self.is_training else {}
        same_validation = bool(before) and validates_alike(before, written)
        minutes = self.job.minutes if self.is_training and config["max_steps"] < 1 else None
        self.start_run()
        if config["strategy"] == "fsdp":
            config["strategy"] = ShardedStrategy()
        is_sharded_now = isinstance(config["strategy"], ShardedStrategy)
        has_bar = any(isinstance(callback, ProgressBar) for callback in given)
        shows = config["enable_progress_bar"] is not False and not has_bar
        config["callbacks"] = self.callbacks(given, shows, minutes, same_validation)
        loggers = [each for each in listed(config["logger"]) if isinstance(each, Logger)]
        config["logger"] = [self.writer.tracker, *loggers]
        whole = [] if is_sharded_now else [AtomicCheckpointIO(self.model)]
        config["plugins"] = [*listed(config["plugins"]), *launcher_plugins(), *whole]
        directory = self.writer.directory.path
        config["profiler"] = profiler_of(config["profiler"], directory)
        config |= {
            "enable_progress_bar": has_bar,
            "enable_checkpointing": True,
            "default_root_dir": str(directory),
        }
        trainer = JobTrainer(**config)
        if self.state.monitor is not None:
            self.state.monitor.attach(trainer)
        return trainer

    def check_built(self, callbacks: list[Callback]) -> None:
        """Check that the model and the data fit the settings of the Trainer.

        Args:
            callbacks: callbacks that the config lists.

        Raises:
            ValueError: a setting does not fit.
        """
        settings = self.settings["trainer"]
        if self.model.adapter is not None:
            check_whole_layers(settings)
        freeze_base(self.model)
        if self.is_training and not self.checkpoint:
            self.model.start = self.job.start
            check_start(self.model)
        self.model.requirements.bind(self.datamodule)
        if self.is_training:
            self.model.requirements.choose_max_length(self.datamodule)
        else:
            trained = self.trained_config.get("model") or {}
            self.model.requirements.restore_max_length(trained.get("init_args") or {})
        self.model.requirements.check(self.datamodule)
        if self.subcommand in SCORING and self.checkpoint and self.trained_config:
            run = RunDirectory.of_checkpoint(Path(self.checkpoint))
            purpose = purpose_of(run, self.trained_config)
            check_trained_for(self.checkpoint, purpose, self.task_name, self.datamodule)
        check_given_callbacks(self.tried, callbacks)
        n = n_share(settings)
        if self.is_training:
            check_compile(self.model.compile_mode, settings)
            self.datamodule.check_length(settings["max_steps"])
            self.datamodule.overfit_batches = settings["overfit_batches"]
            check_batches(settings, self.datamodule, n)
            check_optimizer(self.model)
            check_distinguishes(self.model, self.datamodule)
        check_shares(self.subcommand, settings, self.datamodule, self.model, n, self.tried)
        if self.checkpoint:
            check_same_function(self.model, self.trained_config, self.writer.config())
            start = ResumeState.at(Path(self.checkpoint))
            if self.is_training:
                check_resumable(start, self.datamodule, self.model, self.tried, n)
            check_weights(start, self.model)

    def precision(self, given: str | int | None) -> str | int | None:
        """Return the value of `trainer.precision` to use on this machine, with `auto` resolved.

        Args:
            given: the setting `trainer.precision`.
        """
        starts = self.is_training and not (self.checkpoint or self.state.resumed)
        if starts and not is_sharded(self.settings["trainer"]):
            tell_slow_precision(given, self.model, self.datamodule, self.device_type)
        return decided_precision(
            given,
            self.subcommand,
            (self.trained_config.get("trainer") or {}).get("precision"),
            self.model,
            self.datamodule,
            self.device_type,
        )

    def start_run(self) -> None:
        """Create the run directory and start the MLflow run.

        Only rank 0 creates them; the other processes of the job join.
        """
        rank = process_rank()
        job = self.job
        resumed = self.state.resumed
        directory = resumed or rendezvous(
            rank, lambda: new_run(self.task_name, self.writer.name, job.root)
        )
        self.state.directory = directory
        if rank == 0:
            os.environ[DIRECTORY] = str(directory.path)  # for those it starts
            self.state.lock = locked(directory)
        tags = {
            "task": self.task_name,
            "command": self.subcommand,
            "seed": self.settings["seed_everything"],
            **job.tags,
        }
        self.state.tracker = Tracker(
            self.task_name,
            directory.path.name,
            directory.path,
            tags=tags,
            parent_run_id=job.parent,
            run_id=resumed.run_id if resumed else None,
        )
        self.state.tracker.start()

    def callbacks(
        self,
        given: list[Callback],
        shows_progress: bool,
        minutes: float | None,
        same_validation: bool,
    ) -> list[Callback]:
        """Return all callbacks of the Trainer, in the order in which they are called.

        Args:
            given: callbacks that the config lists.
            shows_progress: whether to show this project's progress display.
            minutes: wall time that determines the length of training; None for none.
            same_validation: whether the run of the resumed checkpoint was validated with the same
                settings, so that its scores are comparable.
        """
        writer = self.writer
        folder = writer.directory.checkpoints
        checkpoints = Checkpoints(folder, **self.job.kept(), same_validation=same_validation)
        reporter = Reporter(shows_progress)
        return [
            ChangedSettings(),
            *([FirstStep(writer.record)] if self.state.resumed else []),
            *given,
            RunMetadata(writer.tracker),
            RunEvaluationCallback(writer.directory, writer.tracker, reporter.answering),
            Compilation(minutes, writer.write_config),
            EnergyRecorder(writer.directory.energy),
            *([Budget(minutes, writer.write_config)] if minutes else []),
            reporter,
            # these save, and so come after those that have sums to be saved
            checkpoints,
            Interruption(checkpoints, self.state.handles_signals),
        ]

    def after_instantiate_classes(self) -> None:
        """Record a new run (config, tokenizer, parameters) and print the run directory."""
        if process_rank() == 0:
            if not self.state.resumed:
                self.writer.record()
            if changed := self.state.changed:
                print(
                    f"metrics already logged are kept; changing {changed} affects new steps only",
                    flush=True,
                )
            path = self.writer.directory.path
            print(f"{'resuming' if self.state.resumed else 'run'} {path}", flush=True)
            if self.datamodule.assumed_language:
                print(self.datamodule.assumed_language, flush=True)

    def method_arguments(self, subcommand: str) -> JsonObject:
        """Return keyword arguments for the Trainer's method that the config does not contain.

        Args:
            subcommand: name of the Trainer's method: "run", "fit", "validate", "test" or "predict".
        """
        # the evaluation callback has the predictions and prints the scores
        own: JsonObject = {name: {"verbose": False} for name in SCORING}
        own["predict"] = {"return_predictions": False}
        return dict(own.get(subcommand, {}))

    def after_fit(self) -> None:
        """Finish the checkpoints after training; LightningCLI calls this hook."""
        callback_of(self.trainer, Checkpoints).finalize(self.trainer, self.model)

    def run_job(self, subcommand: str) -> None:
        """Run the subcommand once, or once per seed, then print, store and report its results."""
        if subcommand == "run" and self.job.seeds > 1:
            first = self.settings["seed_everything"]
            run_seeds(self.job.seeds, first, self.writer.directory, self.writer.tracker)
            return
        self.model.is_resuming = self.checkpoint is not None
        super().run_job(subcommand)
        if self.trainer.is_global_zero:
            finish(self, subcommand)


def listed(given: T | list[T] | None) -> list[T]:
    """Return a Trainer setting as a list; the setting may be one object, a list, or None."""
    return given if isinstance(given, list) else [] if given is None else [given]

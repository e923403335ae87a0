"""`lslm run | fit | validate | test | predict`: LightningCLI with a run directory, an MLflow run
and a true ending around it.
"""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from lslm_lightning.configuration.allowance import TRUST, allowance
from lslm_lightning.configuration.cli import SETTINGS, ExperimentCLI, quiet, without_enums
from lslm_lightning.configuration.errors import cause_of, check_files
from lslm_lightning.configuration.hidden_settings import check_secrets
from lslm_lightning.configuration.job import ONE_PASS, Job, JobTrainer
from lslm_lightning.configuration.monitors import check_monitors
from lslm_lightning.configuration.trainer_settings import (
    check_batches,
    check_construction,
    check_shares,
    plain_settings,
    profiler_of,
    translated,
)
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.child_process import follow_parent
from lslm_lightning.experiments.outcome import WorkError, command_line
from lslm_lightning.experiments.preflight import (
    TRAINING,
    check_goes_on,
    check_job,
    check_job_goes_on,
    check_one_process,
    check_optimizer,
    is_sharded,
    n_share,
    read_splits,
    same_validation,
)
from lslm_lightning.experiments.run_report import finish, run_links
from lslm_lightning.experiments.seeds import run_seeds
from lslm_lightning.experiments.suitability import check_checkpoint
from lslm_lightning.reports.description import describe
from lslm_lightning.runs import RunDirectory, new_run, reserve
from lslm_lightning.runs.directory import locked
from lslm_lightning.runs.loading import config_to_build, load_weights, read_config
from lslm_lightning.runs.names import run_name, stem_of, typed_settings
from lslm_lightning.runs.own_runs import remember_run
from lslm_lightning.runs.trust import is_restricted, resolve
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.yaml_files import dump_yaml, parse_yaml
from lslm_lightning.tracking import Store, Tracker
from lslm_lightning.tracking.parameters import short_parameters
from lslm_lightning.training.budget import Budget
from lslm_lightning.training.checkpoints import Checkpoints
from lslm_lightning.training.checks import check_distinguishes
from lslm_lightning.training.cores import THREADS, limit_threads
from lslm_lightning.training.data import TaskData, rank_zero_print
from lslm_lightning.training.distributed.processes import (
    DIRECTORY,
    LAUNCHED,
    Watch,
    agree_on_precision,
    connect_again,
    is_loss,
    meet,
    of_launcher,
    take_launched,
)
from lslm_lightning.training.exam import Exam
from lslm_lightning.training.interruption import Interruption
from lslm_lightning.training.optimizer_settings import ChangedSettings
from lslm_lightning.training.precision import (
    AUTO,
    DECIDED,
    HALF,
    SINGLE,
    StepTimes,
    may_be_slow,
    measure_steps,
)
from lslm_lightning.training.progress import Reporter
from lslm_lightning.training.provenance import FirstStep, Provenance
from lslm_lightning.training.sharding import ShardedStrategy, WholeStates
from lslm_lightning.training.signals import Interrupted, stop_at_once, stopping_signals
from lslm_lightning.training.task import Task
from lslm_lightning.training.token_gradients import NotFiniteError

log = logging.getLogger(__name__)


class Command(ExperimentCLI):
    """One job of one of the five subcommands."""

    directory: RunDirectory | None = None
    tracker: Tracker | None = None
    watch: Watch | None = None
    resumed: RunDirectory | None = None  # that of the run that goes on
    handles_signals = True
    lock: FileLock | None = None
    began = 0.0
    arguments: Sequence[str] = ()  # the command line, from the subcommand on
    name = ""  # of the run, without its id
    device_type = "cpu"
    dumped: tuple[Namespace, str] | None = None  # settings, and what they are as YAML

    def __init__(self, *arguments: Any, args: list[str], **settings: Any) -> None:
        self.chosen = args[0]
        super().__init__(*arguments, args=args, **settings)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_class_arguments(Job, "job")
        parser.link_arguments(
            "data",
            "model.init_args.tokenizer",
            compute_fn=self._tokenizer_of,
            apply_on="instantiate",
        )

    def _tokenizer_of(self, data: TaskData) -> Tokenizer:
        """Made only when all splits could be read: that of a large corpus takes minutes."""
        read_splits(self.subcommand, data)
        return data.tokenizer

    def _chosen_name(self) -> str:
        """Return the run's name as it was given, or made of the config's and what was set
        otherwise.
        """
        given = self.job.name
        configs = self._get(self.config, "config") or []
        if self.resumed or (
            given and any(word.startswith("--job.name") for word in self.arguments)
        ):
            return given or self.subcommand
        first, *others = [str(config.relative) for config in configs] or [""]
        stem = given or (stem_of(first) if first else self.subcommand)
        settings = typed_settings(self.arguments[1:])
        config = self.config[self.subcommand].as_dict()
        base = self._parsed_alone(first) if first and settings else {}
        return run_name(stem, settings, config, base, [stem_of(path) for path in others])

    def _parsed_alone(self, config: str) -> dict[str, Any]:
        """Return what a config file comes to without other settings; nothing where that is not
        whole.
        """
        try:
            with redirect_stderr(StringIO()):
                found = self.parser.parse_args([self.subcommand, f"--config={config}"])
        except (SystemExit, Exception):
            return {}
        return found[self.subcommand].as_dict()

    def before_instantiate_classes(self) -> None:
        """All that can fail is tried before any long work: how long to train, the devices, the
        folder, MLflow.
        """
        self.began = time.time()
        self.name = self._chosen_name()
        if is_restricted():
            self._check_trust()
        check_magnitudes(self.config[self.subcommand])
        trainer = self._get(self.config, "trainer")
        task = resolve(self._get(self.config, "model").class_path)
        if task.one_pass:
            for name, value in ONE_PASS.items():
                trainer[name] = value
            self._get(self.config, "job")["minutes"] = None
            check_one_process(task.__name__, trainer)
        if (words := take_launched(trainer)) and not (rank_zero_only.rank or 0):
            print(words, flush=True)
        if self.resumed:
            check_job_goes_on(
                self.job, read_config(self.resumed.config).get("job") or {}, trainer.max_steps
            )
        device_type = check_job(
            self.subcommand, self.job, trainer, self._get(self.config, "ckpt_path"), task.one_pass
        )
        connect_again(device_type)
        if device_type == "cpu" and (words := limit_threads(n_share(trainer) // trainer.num_nodes)):
            rank_zero_print(words)
        self.device_type = device_type
        self._take_tokenizer()
        if (rank_zero_only.rank or 0) == 0:
            if not self.resumed:  # whose directory is there, and whose job.root may be another's
                reserve(self.task_name, self.job.root)
            Store().open_experiment(self.task_name)

    def _decided_precision(self, given: Any, state: str | None) -> Any:
        """Return `trainer.precision` for this machine, which config.yaml keeps.

        Where `auto` is given, it is that of the run that trained `state`, or the faster one for a
        model that is to be trained. Of any other nothing changes; where bfloat16 is slower, one
        line says so.
        """
        if given == AUTO:
            if self.model.backbone is None:
                return SINGLE
            # there may be no training split to measure a step with
            if self.subcommand not in TRAINING:
                return precision_of(state) or SINGLE
            return precision_of(state) or agree_on_precision(
                rank_zero_only.rank or 0, self._faster_precision
            )
        begins = self.subcommand in TRAINING and not (
            state or self.resumed or is_sharded(self._get(self.config, "trainer"))
        )
        is_doubtful = (
            given in (HALF, "bf16")
            and self.model.backbone is not None
            and may_be_slow(self.device_type)
        )
        if is_doubtful and begins and not (rank_zero_only.rank or 0) and DECIDED not in os.environ:
            times = self._step_times()
            if times and times.bfloat16 > times.float32:
                rank_zero_print(
                    f"precision: {HALF}, as trainer.precision says; it is slower here "
                    f"({times.describe(HALF)}), and"
                    f" trainer.precision={AUTO} would take the faster"
                )
            # so that the processes that this one starts do not measure again
            os.environ[DECIDED] = HALF
        return given

    def _step_times(self) -> StepTimes | None:
        return measure_steps(
            self.model, self.datamodule.sizes().usual, torch.device(self.device_type)
        )

    def _faster_precision(self) -> str:
        """Measure, and say what came out."""
        times = self._step_times()
        if times is None:
            rank_zero_print(
                f"precision: {SINGLE} (bfloat16 is not supported on {self.device_type})"
            )
            return SINGLE
        rank_zero_print(f"precision: {times.faster} ({times.describe(times.faster)})")
        return times.faster

    def _take_tokenizer(self) -> None:
        """A checkpoint of a run brings that run's tokenizer."""
        checkpoint = self._get(self.config, "ckpt_path")
        beside = (
            Path(checkpoint).absolute().parent.parent / "tokenizer.json" if checkpoint else None
        )
        if beside and beside.exists():
            data = self._get(self.config, "data")
            data["init_args"]["tokenizer"] = {
                "class_path": "lslm_lightning.text.recipes.Existing",
                "init_args": {"path": str(beside)},
            }

    def start_run(self) -> None:
        """The run directory and the MLflow run; other processes of the same job take the first
        one's.
        """
        rank = rank_zero_only.rank or 0
        self.directory = self.resumed or meet(
            rank, lambda: new_run(self.task_name, self.name, self.job.root)
        )
        if rank == 0:
            os.environ[DIRECTORY] = str(self.directory.path)  # for those it starts
            self.lock = locked(self.directory)
        tags = {
            "task": self.task_name,
            "command": self.subcommand,
            "seed": self._get(self.config, "seed_everything"),
            **self.job.tags,
        }
        goes_on = self.resumed.run_id if self.resumed else None
        self.tracker = Tracker(
            self.task_name,
            self.directory.path.name,
            self.directory.path,
            tags=tags,
            parent_run_id=self.job.parent,
            run_id=goes_on,
        )
        self.tracker.start()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self._get(self.config, "trainer")
        state = self._get(self.config, "ckpt_path")
        is_training = self.subcommand in TRAINING
        self.model.requirements.bind(self.datamodule)
        if is_training:
            self.model.requirements.choose_max_length(self.datamodule)
        else:
            self.model.requirements.restore_max_length(
                (config_of(state).get("model") or {}).get("init_args") or {}
            )
        self.model.requirements.check(self.datamodule)
        if self.subcommand in SCORING and state:
            check_checkpoint(state, self.task_name, self.datamodule)
        if is_training:
            self.datamodule.check_length(settings["max_steps"])
            self.datamodule.overfit_batches = settings["overfit_batches"]
            check_batches(settings, self.datamodule, n_share(settings))
            check_optimizer(self.model)
            check_distinguishes(self.model, self.datamodule)
        check_shares(self.subcommand, settings, self.datamodule, self.model, n_share(settings))
        if is_training and state:
            check_goes_on(Path(state), self.datamodule, self.model, settings)
        settings["precision"] = self._decided_precision(settings["precision"], state)
        own = {"precision": settings["precision"]}
        config = translated({**self._get(self.config_init, "trainer"), **own, **kwargs})
        given = listed(config["callbacks"])
        check_construction(plain_settings(settings), given)
        if is_training:
            check_monitors(given, self.model, self.datamodule, config, n_share(settings))
        self.config_text()  # what cannot be written down is refused before there is a run
        if config["strategy"] == "fsdp":
            config["strategy"] = ShardedStrategy()
        budget = self.job.minutes and is_training and config["max_steps"] < 1
        budgets = [Budget(self.job.minutes, self.write_config)] if budget else []
        same_validation = is_training and self._validates_as(state)
        self.start_run()
        checkpoints = Checkpoints(
            self.directory.checkpoints, **self.job.kept(), same_validation=same_validation
        )
        has_bar = any(isinstance(callback, ProgressBar) for callback in given)
        reporter = Reporter(config["enable_progress_bar"] is not False and not has_bar)
        records = [FirstStep(self.record)] if self.resumed else []
        callbacks = [
            Provenance(self.tracker),
            Exam(self.directory, self.tracker, reporter.answering),
            *budgets,
            reporter,
        ]
        # they save, and so come after what has sums to be saved
        callbacks += [checkpoints, Interruption(checkpoints, self.handles_signals)]
        config["logger"] = [
            self.tracker,
            *(logger for logger in listed(config["logger"]) if isinstance(logger, Logger)),
        ]
        config["callbacks"] = [ChangedSettings(), *records, *given, *callbacks]
        whole = [] if isinstance(config["strategy"], ShardedStrategy) else [WholeStates(self.model)]
        config["plugins"] = [*listed(config["plugins"]), *of_launcher(), *whole]
        config["profiler"] = profiler_of(config["profiler"], self.directory.path)
        config |= {
            "enable_progress_bar": has_bar,
            "enable_checkpointing": True,
            "default_root_dir": str(self.directory.path),
        }
        return JobTrainer(**config)

    def _validates_as(self, state: str | None) -> bool:
        """Whether the run of a checkpoint, by its config.yaml, validated as this one does."""
        before = config_of(state)
        return bool(before) and same_validation(before, self.config_text(as_mapping=True))

    def after_instantiate_classes(self) -> None:
        if rank_zero_only.rank == 0:
            if not self.resumed:
                self.record()
            print(f"{'goes on with' if self.resumed else 'run'} {self.directory.path}", flush=True)
            if self.datamodule.assumed_language:
                print(self.datamodule.assumed_language, flush=True)

    def record(self) -> None:
        """Write down what the run is made with, here and in MLflow."""
        self.write_config()
        self.datamodule.tokenizer.save(self.directory.tokenizer)
        self.tracker.log_artifact(self.directory.tokenizer)
        self.tracker.log_hyperparams(self.parameters())
        if not self.resumed:
            links = run_links(self.tracker, {"config.yaml": "config.yaml"})
            self.tracker.set_description(
                describe(lead="Not tested yet.", command=self.beginning, links=links)
            )

    @property
    def beginning(self) -> str:
        """The command line that began the run, which another one may have resumed."""
        if self.resumed:
            return (
                self.directory.config.read_text("utf-8")
                .partition("\n")[0]
                .removeprefix("#")
                .strip()
            )
        return command_line(config=self.directory.config)

    def parameters(self) -> dict[str, Any]:
        """Return the settings that differ from their defaults, under short names."""
        config = self.config_text(as_mapping=True)
        settings = without_enums(self.config[self.subcommand])
        try:
            dumped = self._parser(self.subcommand).dump(
                settings,
                skip_none=False,
                skip_default=True,
                skip_link_targets=True,
                format="yaml",
            )
            changed = parse_yaml(dumped)
        except Exception:  # a class whose defaults cannot be told: then all settings are shown
            log.debug("the defaults are not known", exc_info=True)
            changed = config
        changed.pop("config", None)
        backbone = (changed.get("model", {}).get("init_args") or {}).get("backbone")
        # which a resumed run's config.yaml has
        for name in getattr(self.model.backbone, "settled", None) or {}:
            if isinstance(backbone, dict):
                (backbone.get("init_args") or {}).pop(name, None)
        if self.model.requirements.decided:
            model = changed.setdefault("model", {})
            model["init_args"] = {
                **(model.get("init_args") or {}),
                **self.model.requirements.decided,
            }
        return short_parameters(config, changed)

    def config_text(self, n_step: int | None = None, as_mapping: bool = False) -> Any:
        """The whole configuration, as YAML or as a mapping; with a budget in minutes replaced by
        its number of steps.
        """
        settings = without_enums(self.config[self.subcommand])
        if self.dumped is None or self.dumped[0] != settings:
            text = self._parser(self.subcommand).dump(
                settings, skip_none=False, skip_link_targets=True, format="yaml"
            )
            self.dumped = settings, text
        config = parse_yaml(self.dumped[1])
        config.pop("config", None)
        config["job"] |= {"name": self.name, "parent": None}
        if settled := getattr(self.model.backbone, "settled", None):
            config["model"]["init_args"]["backbone"]["init_args"] |= settled
        if self.model.requirements.decided:
            config["model"]["init_args"] |= self.model.requirements.decided
        if n_step is not None:
            config["trainer"]["max_steps"] = n_step
            config["job"] |= {
                "minutes": None,
                "tags": {**config["job"]["tags"], "budget_minutes": f"{self.job.minutes:g}"},
            }
        return config if as_mapping else dump_yaml(config)

    def write_config(self, n_step: int | None = None, settled: bool = True) -> None:
        """config.yaml, in the run directory and in MLflow; the steps of a budget are a parameter
        there once they are settled.
        """
        self.directory.save_settings(self.beginning, self.config_text(n_step, as_mapping=True))
        remember_run(self.directory.config)
        self.tracker.log_artifact(self.directory.config)
        if n_step is not None and settled:
            self.tracker.log_hyperparams({"max_steps_of_budget": n_step})

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        # the Exam has them
        own = {
            "predict": {"return_predictions": False},
            "test": {"verbose": False},
            "validate": {"verbose": False},
        }
        return super()._prepare_subcommand_kwargs(subcommand) | own.get(subcommand, {})

    def after_fit(self) -> None:
        """LightningCLI's hook."""
        next(c for c in self.trainer.callbacks if isinstance(c, Checkpoints)).settle(
            self.trainer, self.model
        )

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand == "run" and self.job.seeds > 1:
            run_seeds(
                self.job.seeds, self.config["run"]["seed_everything"], self.directory, self.tracker
            )
            return
        checkpoint = self._get(self.config, "ckpt_path")
        self.model.is_resuming = bool(checkpoint)
        in_parts = (
            checkpoint
            and Path(checkpoint).is_dir()
            and isinstance(self.trainer.strategy, ShardedStrategy)
        )
        if checkpoint and not in_parts:  # of which no process may have room for all
            # says in one line what does not fit
            load_weights(self.model, Path(checkpoint), self.datamodule.tokenizer)
        super()._run_subcommand(subcommand)
        if self.trainer.is_global_zero:
            finish(self, subcommand)


SCORING = ("validate", "test")


def config_of(state: str | None) -> dict[str, Any]:
    """Return the config.yaml of the run that a checkpoint belongs to; nothing where there is
    none.
    """
    config = Path(state).absolute().parent.parent / "config.yaml" if state else None
    return config_to_build(config) if config is not None and config.is_file() else {}


def precision_of(state: str | None) -> str | None:
    """Return the `trainer.precision` of the run that a checkpoint belongs to; None where it says
    none, or none was decided.
    """
    kept = (config_of(state).get("trainer") or {}).get("precision")
    return None if kept == AUTO else kept


def listed(given: Any) -> list[Any]:
    """What a setting of the Trainer has: one, several, or none."""
    return given if isinstance(given, list) else [] if given is None else [given]


def perform(
    argv: Sequence[str],
    resumed: RunDirectory | None = None,
    handles_signals: bool = True,
) -> RunDirectory:
    """Do the job of a command and return its run directory; not for a run of a restarted launcher,
    which goes on.

    Args:
        argv: words of the command, from the subcommand on.
        resumed: go on with the run in this directory.
        handles_signals: whether what asks the process to stop is handled here.
    """
    with allowance(argv, resumed):
        return _perform([word for word in argv if word != TRUST], resumed, handles_signals)


def _perform(
    argv: list[str],
    resumed: RunDirectory | None,
    handles_signals: bool,
) -> RunDirectory:
    """Do the work of `perform`, where what configs may name is settled."""
    quiet()
    is_child = follow_parent()
    try:
        check_files(argv)
        check_secrets(argv)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    numbers = stopping_signals() if handles_signals else []
    before = {number: signal.signal(number, stop_at_once) for number in numbers}
    given = {name: os.environ.get(name) for name in (DIRECTORY, DECIDED, THREADS, *LAUNCHED)}
    arguments = [re.sub(r"^--seeds(?==|$)", "--job.seeds", word) for word in argv]
    status = "FAILED"
    command = Command.__new__(Command)
    command.resumed = resumed
    command.handles_signals = handles_signals
    command.arguments = arguments
    command.watch = Watch(lambda: lose(command))
    command.watch.start()
    try:
        command.__init__(  # the object is needed even where this raises
            Task, TaskData, args=arguments, **SETTINGS
        )
        status = "FINISHED"
    except (Interrupted, KeyboardInterrupt) as error:
        status = "KILLED"
        if is_child or rank_zero_only.rank:
            error.way_on = ""
        elif getattr(error, "way_on", None) is None:
            error.way_on = way_on_of(command)
        if not (rank_zero_only.rank or 0) or not getattr(error, "together", False):
            raise
    except NotFiniteError:
        # the ranks agreed; a failed child would make Lightning kill rank 0 before it has told
        # MLflow
        if not (rank_zero_only.rank or 0):
            raise
    except RuntimeError as error:
        if not is_loss(error):
            raise
        raise WorkError(loss_of(command)) from error
    except ValueError as error:
        raise cause_of(error)  # noqa: B904 (as it came, with its own traceback)
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)  # nothing interrupts the truth about how it ended
        command.watch.stop()
        if command.tracker is not None:
            command.tracker.end(status)
        if command.lock is not None:
            command.lock.release()
        if status == "FINISHED" and torch.distributed.is_initialized():
            # else its port is taken, and the next command in this process would join it
            torch.distributed.destroy_process_group()
        for name, value in given.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        for number, handler in before.items():
            signal.signal(number, handler)
    return command.directory


def way_on_of(command: Command) -> str | None:
    """Return the line that says how to go on with a training that was stopped; None where the same
    command is to be given again.
    """
    if command.resumed or command.directory is None or not command.directory.config.exists():
        return None
    if command.subcommand not in TRAINING or command.job.seeds > 1:  # no run of these is resumed
        return None
    return f"To go on: {command_line(['resume', str(command.directory.path)])}"


def loss_of(command: Command) -> str:
    """What is said when another process of this training is gone."""
    kept = (
        f"lslm resume {command.directory.path} goes on from its last state"
        if command.directory
        else "nothing was trained yet"
    )
    rank = rank_zero_only.rank or 0
    lost = f"rank {rank} lost its connection to another process"
    return f"{lost if rank else command.watch.words()}; {kept}"


def lose(command: Command) -> None:
    """The end of a process that waits for one that is gone: the truth to MLflow, and one line."""
    print(f"lslm: {loss_of(command)}", file=sys.stderr, flush=True)
    if command.tracker is not None:
        command.tracker.end("FAILED")

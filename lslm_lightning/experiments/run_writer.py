"""Records written while a run is made: config.yaml, tokenizer, and parameters in MLflow."""

import logging
from collections.abc import Mapping
from copy import deepcopy

from jsonargparse import Namespace

from lslm_lightning.configuration.cli import ExperimentCLI, without_enums
from lslm_lightning.experiments.evaluation_records import run_links
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.experiments.job_state import JobState
from lslm_lightning.reports.description import describe
from lslm_lightning.run_files import CONFIG
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.own_runs import register_run
from lslm_lightning.tracking.parameters import short_parameters
from lslm_lightning.tracking.tracker import Tracker
from lslm_lightning.types import JsonObject

log = logging.getLogger(__name__)


class RunWriter:
    """Writer of a run's records to its directory and to MLflow.

    Args:
        cli: parsed settings of the run.
        state: state of the job; the run may be started after this object is created.
        name: name of the run, without its id.
    """

    def __init__(self, cli: ExperimentCLI, state: JobState, name: str) -> None:
        self.cli = cli
        self.state = state
        self.name = name
        self.dumped: tuple[Namespace, JsonObject] | None = None  # settings, and what is written

    @property
    def directory(self) -> RunDirectory:
        """Directory of the run, which must have been started."""
        assert self.state.directory is not None
        return self.state.directory

    @property
    def tracker(self) -> Tracker:
        """Tracker of the run, which must have been started."""
        assert self.state.tracker is not None
        return self.state.tracker

    def record(self) -> None:
        """Write config, tokenizer and parameters of the run to its directory and to MLflow."""
        self.write_config()
        self.cli.datamodule.tokenizer.save(self.directory.tokenizer)
        self.tracker.log_artifact(self.directory.tokenizer)
        self.tracker.log_hyperparams(self.parameters())
        if not self.state.resumed:
            links = run_links(self.tracker, {CONFIG: CONFIG})
            self.tracker.set_description(
                describe(lead="Not tested yet.", command=self.first_command, links=links)
            )

    @property
    def first_command(self) -> str:
        """Command line that started the run, even if a later command resumed it."""
        if self.state.resumed:
            return self.directory.command
        return command_line(config=self.directory.config)

    def parameters(self) -> Mapping[str, object]:
        """Return the settings that differ from their defaults, under shortened names, for
        MLflow.
        """
        config = self.config()
        try:
            changed = self.with_decided(self.cli.dumped(skip_default=True))
        except Exception:  # a class whose defaults cannot be told: then all settings are shown
            log.debug("the defaults are not known", exc_info=True)
            changed = config
        backbone = (changed.get("model", {}).get("init_args") or {}).get("backbone")
        # which a resumed run's config.yaml has
        for name in getattr(self.cli.model.backbone, "resolved_config", None) or {}:
            if isinstance(backbone, dict):
                (backbone.get("init_args") or {}).pop(name, None)
        return short_parameters(config, changed)

    def with_decided(self, config: JsonObject) -> JsonObject:
        """Return settings with those of the task that the data decided."""
        if self.cli.model.requirements.decided:
            model = config.setdefault("model", {})
            model["init_args"] = {
                **(model.get("init_args") or {}),
                **self.cli.model.requirements.decided,
            }
        return config

    def config(self, n_step: int | None = None) -> JsonObject:
        """Return the whole configuration of the run, as written to config.yaml.

        Args:
            n_step: number of steps that replaces `job.minutes`; None to keep the settings.
        """
        settings = without_enums(self.cli.settings)
        if self.dumped is None or self.dumped[0] != settings:
            self.dumped = settings, self.cli.dumped()
        config = self.with_decided(deepcopy(self.dumped[1]))
        config["job"] |= {"name": self.name, "parent": None}
        if resolved := getattr(self.cli.model.backbone, "resolved_config", None):
            config["model"]["init_args"]["backbone"]["init_args"] |= resolved
        if n_step is not None:
            config["trainer"]["max_steps"] = n_step
            config["job"] |= {
                "minutes": None,
                "tags": {**config["job"]["tags"], "budget_minutes": f"{self.cli.job.minutes:g}"},
            }
        return config

    def write_config(self, n_step: int | None = None, is_final: bool = True) -> None:
        """Write config.yaml to the run directory and to MLflow.

        Args:
            n_step: number of steps that replaces `job.minutes`; None to keep the settings.
            is_final: whether `n_step` is final, so that it is logged as an MLflow parameter.
        """
        self.directory.save_settings(self.first_command, self.config(n_step))
        register_run(self.directory.config)
        self.tracker.log_artifact(self.directory.config)
        if n_step is not None and is_final:
            self.tracker.log_hyperparams({"max_steps_of_budget": n_step})

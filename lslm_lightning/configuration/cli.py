"""LightningCLI with this project's settings: the one parser of experiment configs."""

import logging
import warnings
from enum import Enum
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lslm_lightning.configuration.allowance import allowance
from lslm_lightning.configuration.errors import check_files, explain
from lslm_lightning.configuration.hidden_settings import check_secrets, revealed
from lslm_lightning.configuration.job import TRAINER_DEFAULTS, Job, JobTrainer, task_name
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.runs.trust import check_trust, is_restricted, resolve
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.text.yaml_files import parse_yaml
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.task import Task


class ConfigParser(LightningArgumentParser):
    """LightningCLI's parser with error messages of one line and without abbreviated options.

    No option can be shortened: what looks for `--config` in the words would not find it.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **settings})

    def parse_string(self, content: str, path: Any = "", **settings: Any) -> Namespace:
        """Parse a config's content, with the secrets that it hides filled in."""
        return super().parse_string(
            revealed(content, Path(path)) if path else content, path=path, **settings
        )

    def error(self, message: str, ex: Exception | None = None) -> None:
        # the parser of a nested class: those around it add where it stands
        """Raise an error of the parser as `SettingsError`, explained in one line."""
        if not self.exit_on_error:
            raise ArgumentError(None, message) from ex
        raise SettingsError(explain(message, self))


class ExperimentCLI(LightningCLI):
    """LightningCLI with one subcommand, the block `job`, and the model's tokenizer linked to the
    data.

    Whatever is built from a config (a run, a plan, the data of an evaluation) is built by a
    subclass.
    """

    def __init__(self, *arguments: Any, args: list[str], **settings: Any) -> None:
        self.chosen = args[0]
        super().__init__(*arguments, args=args, **settings)

    def subcommands(self) -> dict[str, set[str]]:
        """Return the chosen subcommand alone with the arguments it skips; each parser takes long to
        build.
        """
        # left out, so that all know the same settings
        ours = {"verbose", "return_predictions", "weights_only"}
        inherited = {name: skip | ours for name, skip in LightningCLI.subcommands().items()}
        known = inherited | {"run": {"model", "datamodule"}}
        return {self.chosen: known[self.chosen]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the block `job` and the link from the data's tokenizer to the model."""
        parser.add_class_arguments(Job, "job")
        parser.link_arguments(
            "data",
            "model.init_args.tokenizer",
            compute_fn=self._tokenizer_of,
            apply_on="instantiate",
        )

    def _tokenizer_of(self, data: TaskData) -> Tokenizer:
        """Return the tokenizer that the model is given."""
        return data.tokenizer

    @property
    def job(self) -> Job:
        """Settings of the block `job`."""
        return Job(**self._get(self.config, "job").as_dict())

    @property
    def task_name(self) -> str:
        """Name of the task: the folder of its runs and its MLflow experiment."""
        return task_name(resolve(self._get(self.config, "model").class_path))

    def _parse_ckpt_path(self) -> None:
        """Skip LightningCLI's reading of hyperparameters from a checkpoint, since ours hold
        none.
        """

    def _set_seed(self) -> None:
        """Check the range of `seed_everything` and seed all random generators."""
        seed = self._get(self.config, "seed_everything")
        if seed is not None and not 0 <= seed < 2**32:
            raise ValueError(f"seed_everything={seed} must be between 0 and {2**32 - 1:,}")
        super()._set_seed()

    def _check_trust(self) -> None:
        """Refuse classes in model, data and trainer that are not trusted.

        Raises:
            ValueError: it is not trusted.
        """
        for name in ("model", "data", "trainer"):
            check_trust(self._get(self.config, name))

    def check_settings(self) -> None:
        """Refuse untrusted classes and numbers beyond any sensible magnitude.

        Raises:
            ValueError: there is such a setting.
        """
        if is_restricted():
            self._check_trust()
        check_magnitudes(self.config[self.subcommand])


class SettingsReader(ExperimentCLI):
    """LightningCLI that only parses settings and builds nothing."""

    def before_instantiate_classes(self) -> None:
        """Skip all further checks."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""
        pass


def read_settings(words: list[str]) -> dict[str, Any]:
    """Return the whole configuration that the arguments of a command give, as in config.yaml.

    Args:
        words: the subcommand first, as in `["run", "--config", "mine.yaml"]`.

    Raises:
        SettingsError: they are wrong.
        ValueError: files or secrets are missing, or a stranger's config names what it must not.
    """
    silence_library_logs()
    check_files(words)
    check_secrets(words)
    with allowance(words):
        reader = SettingsReader(Task, TaskData, args=words, **SETTINGS)
    settings = without_enums(reader.config[reader.subcommand])
    parser = reader._parser(reader.subcommand)
    text = parser.dump(settings, skip_none=False, skip_link_targets=True, format="yaml")
    config = parse_yaml(text)
    config.pop("config", None)
    return config


SETTINGS = {  # of LightningCLI
    "subclass_mode_model": True,
    "subclass_mode_data": True,
    "trainer_class": JobTrainer,
    "trainer_defaults": TRAINER_DEFAULTS,
    "save_config_callback": None,
    "seed_everything_default": 0,
    "auto_configure_optimizers": False,
    "load_from_checkpoint_support": False,
    "parser_class": ConfigParser,
    "parser_kwargs": {"prog": "lslm"},
}


def without_enums(settings: Any) -> Any:
    """Return nested settings with each enumeration member replaced by its value, which YAML can
    hold.
    """
    if isinstance(settings, Namespace):
        return Namespace({name: without_enums(value) for name, value in vars(settings).items()})
    if isinstance(settings, dict):
        return {name: without_enums(value) for name, value in settings.items()}
    if isinstance(settings, list):
        return [without_enums(value) for value in settings]
    return settings.value if isinstance(settings, Enum) else settings


def silence_library_logs() -> None:
    """Silence log messages and warnings of Lightning and torch that do not concern users of the
    commands.
    """
    # on how to sum a norm faster
    logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
    for name in (
        "lightning.pytorch",
        "lightning.fabric",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.accelerators.cuda",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    warnings.filterwarnings("ignore", message=".*sync_dist.*")
    # keys and values, which training does not write into
    warnings.filterwarnings("ignore", message=".*returned a view tensor.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")

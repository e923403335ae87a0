"""Configs of evaluations: parsing, and construction of data, systems and metrics."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lslm_lightning.exit_status import SettingsError
from lslm_lightning.types import JsonObject, Settings

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from lslm_lightning.contracts import Metric, System
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

KEYS = ("task", "data", "systems", "split", "n_shot", "n_resample", "metrics")  # of a config


@dataclass
class EvaluationSpec:
    """Parsed config of an evaluation, with its objects built.

    Args:
        metrics: metrics of the config; None for the metrics of the task.
        specs: class path and arguments of each system, as in the config.
        identity: digest of everything that determines the inputs (data settings, corpus files,
            split, number of shots, prompt).
        keys: for each system, by name, its name followed by a digest of its settings.
        broken: for each system that could not be built, by name, the reason.
    """

    task: "type[Task]"
    data: "TaskData"
    systems: "Mapping[str, System]"
    split: str
    n_shot: int
    metrics: "Sequence[Metric] | None"
    specs: Mapping[str, Settings]
    identity: str
    n_resample: int
    keys: Mapping[str, str]
    broken: Mapping[str, str]

    @property
    def task_name(self) -> str:
        """Name of the task, such as "translation"."""
        from lslm_lightning.configuration.job import task_name

        return task_name(self.task)


def read(arguments: Sequence[str]) -> EvaluationSpec:
    """Parse the arguments of `lslm evaluate`, which include `--config FILE`, and build the objects
    that they describe.

    Raises:
        SettingsError: an argument or a setting is wrong.
    """
    from lslm_lightning.configuration.config_files import check_files
    from lslm_lightning.metrics.names import as_metrics
    from lslm_lightning.safety.magnitudes import check_magnitudes
    from lslm_lightning.text.yaml_files import parse_yaml

    try:
        check_files(arguments, known=())
    except ValueError as error:
        raise SettingsError(str(error)) from None
    parser = spec_parser()
    try:
        found = parser.parse_args(list(arguments))
    except (ImportError, AttributeError) as error:  # of `task`, where the parser lets them through
        parser.error(str(error))
    check_magnitudes(found)
    described: JsonObject = parse_yaml(parser.dump(found, skip_none=False, format="yaml"))
    systems, broken = built_systems(found.pop("systems"))
    built = instantiated(parser, found)
    questions = [
        described["data"],
        found.split,
        found.n_shot,
        built.data.prompt_version,
        built.data.corpus.digest(found.split),
    ]
    specs = described["systems"]
    return EvaluationSpec(
        task=built.task,
        data=built.data,
        systems=systems,
        split=found.split,
        n_shot=found.n_shot,
        metrics=None if built.metrics is None else as_metrics(built.metrics),
        specs=specs,
        identity=digest_of(questions),
        n_resample=found.n_resample,
        keys={name: f"{name}-{digest_of(answering(spec))}" for name, spec in specs.items()},
        broken=broken,
    )


def spec_parser() -> "ArgumentParser":
    """Build the parser for evaluation configs."""
    import torchmetrics
    from jsonargparse.typing import PositiveInt

    from lslm_lightning.configuration.cli import ConfigParser
    from lslm_lightning.contracts import Metric, System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer
    from lslm_lightning.metrics.resampling import TEST_RESAMPLES
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

    parser = ConfigParser(prog="lslm evaluate")
    parser.add_argument("--config", action="config")
    parser.add_argument("--task", type=type[Task], required=True)
    parser.add_subclass_arguments(TaskData, "data", required=True)
    parser.add_argument(
        "--systems", type=dict[str, System | DuckGenerator | DuckScorer], required=True
    )
    parser.add_argument("--split", type=str, default="test")
    parser.add_argument("--n_shot", type=int, default=0)
    parser.add_argument("--n_resample", type=PositiveInt, default=TEST_RESAMPLES)
    parser.add_argument("--metrics", type=list[Metric | torchmetrics.Metric] | None, default=None)
    return parser


def built_systems(specs: "Mapping[str, Namespace]") -> "tuple[dict[str, System], dict[str, str]]":
    """Build systems from their specs (class path and arguments).

    Returns:
        The systems by name, with a placeholder for each one that could not be built, and the
        reasons by name.

    Raises:
        ValueError: a system rejects its settings.
    """
    from jsonargparse import Namespace

    from lslm_lightning.configuration.cli import ConfigParser
    from lslm_lightning.configuration.errors import BROKE_DOWN
    from lslm_lightning.contracts import System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer, as_system
    from lslm_lightning.evaluation.harness import Unbuilt
    from lslm_lightning.experiments.failures import failure
    from lslm_lightning.runs.trust import resolve

    systems: dict[str, System] = {}
    broken = {}
    for name, spec in specs.items():
        named = resolve(spec.class_path)
        kinds: tuple[type, ...] = (System, DuckGenerator, DuckScorer)
        kind: object = System | DuckGenerator | DuckScorer  # of a function, by what it returns
        if isinstance(named, type):
            kind = next((each for each in kinds if issubclass(named, each)), System)
        parser = ConfigParser(prog="lslm evaluate")
        parser.add_argument("--system", type=kind)
        try:
            settings = Namespace({"system": spec})  # type: ignore[no-untyped-call]
            systems[name] = as_system(instantiated(parser, settings).system)
        except ValueError as error:
            if not str(error).startswith(BROKE_DOWN):
                raise
            systems[name] = Unbuilt()
            broken[name] = failure(error.__cause__ or error)
        except BaseException as error:
            systems[name] = Unbuilt()
            broken[name] = failure(error)
    return systems, broken


def answering(spec: Settings) -> Settings:
    """Return the spec of a system without the settings that do not affect its answers."""
    arguments = {
        name: value
        for name, value in (spec.get("init_args") or {}).items()
        if name != "allow_mismatch"
    }
    return {**spec, "init_args": arguments} if "init_args" in spec else spec


def check_systems(specs: Mapping[str, Settings]) -> None:
    """Refuse specs of systems that cannot be built.

    Args:
        specs: class path and arguments of each system, by name.

    Raises:
        SettingsError, ValueError: a system cannot be built.
    """
    from lslm_lightning.configuration.cli import ConfigParser
    from lslm_lightning.contracts import System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer

    parser = ConfigParser(prog="lslm sweep")
    parser.add_argument("--systems", type=dict[str, System | DuckGenerator | DuckScorer])
    instantiated(parser, parser.parse_object({"systems": dict(specs)}))


def instantiated(parser: "ArgumentParser", found: "Namespace") -> "Namespace":
    """Instantiate the objects of parsed settings.

    Args:
        found: settings as parsed by `parser`.

    Raises:
        ValueError: a class rejects its settings; this is the error that the class raised.
    """
    from lslm_lightning.configuration.errors import cause_of

    try:
        built: Namespace = parser.instantiate(found)
        return built
    except ValueError as error:
        raise cause_of(error)  # noqa: B904 (as it came)


def digest_of(settings: object) -> str:
    """Return the first eight hexadecimal digits of the SHA-256 of settings written as JSON."""
    return hashlib.sha256(
        json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str).encode()
    ).hexdigest()[:8]

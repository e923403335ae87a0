"""Evaluation configs: parsing, and building their data, systems and metrics."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lslm_lightning.exit_status import SettingsError

if TYPE_CHECKING:
    from lslm_lightning.contracts import Metric, System
    from lslm_lightning.training.data import TaskData

KEYS = ("task", "data", "systems", "split", "n_shot", "n_resample", "metrics")  # of a config


@dataclass
class EvaluationSpec:
    """An evaluation config with its objects built."""

    task: type
    data: "TaskData"
    systems: "Mapping[str, System]"
    split: str
    n_shot: int
    metrics: "Sequence[Metric] | None"  # None for the task's
    specs: Mapping[str, Any]  # of the systems, as in the config
    identity: str  # of the exam: all that decides the questions
    n_resample: int
    keys: Mapping[str, str]  # by system: its name, and a digest of how it is set up
    broken: Mapping[str, str]  # by system: why it could not be built

    @property
    def task_name(self) -> str:
        """Name of the task, "translation" for instance."""
        from lslm_lightning.configuration.job import task_name

        return task_name(self.task)


def read(words: Sequence[str]) -> EvaluationSpec:
    """Parse the arguments of `lslm evaluate`, `--config FILE` among them, and build the objects
    they describe.

    Raises:
        SettingsError: it is not right.
    """
    import torchmetrics
    from jsonargparse.typing import PositiveInt

    from lslm_lightning.configuration.cli import ConfigParser as ConfigParser
    from lslm_lightning.configuration.errors import check_files
    from lslm_lightning.contracts import Metric, System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer
    from lslm_lightning.metrics.names import as_metrics
    from lslm_lightning.metrics.significance import N_RESAMPLE
    from lslm_lightning.safety.magnitudes import check_magnitudes
    from lslm_lightning.text.yaml_files import parse_yaml
    from lslm_lightning.training.data import TaskData
    from lslm_lightning.training.task import Task

    try:
        check_files(words, known=())
    except ValueError as error:
        raise SettingsError(str(error)) from None
    parser = ConfigParser(prog="lslm evaluate")
    parser.add_argument("--config", action="config")
    parser.add_argument("--task", type=type[Task], required=True)
    parser.add_subclass_arguments(TaskData, "data", required=True)
    parser.add_argument(
        "--systems", type=dict[str, System | DuckGenerator | DuckScorer], required=True
    )
    parser.add_argument("--split", type=str, default="test")
    parser.add_argument("--n_shot", type=int, default=0)
    parser.add_argument("--n_resample", type=PositiveInt, default=N_RESAMPLE)
    parser.add_argument("--metrics", type=list[Metric | torchmetrics.Metric] | None, default=None)
    try:
        found = parser.parse_args(list(words))
    except (ImportError, AttributeError) as error:  # of `task`, where the parser lets them through
        parser.error(str(error))
    check_magnitudes(found)
    described = parse_yaml(parser.dump(found, skip_none=False, format="yaml"))
    systems, broken = built_systems(found.pop("systems"))
    built = instantiated(parser, found)
    metrics = None if built.metrics is None else as_metrics(built.metrics)
    exam = [
        described["data"],
        found.split,
        found.n_shot,
        built.data.prompt_version,
        built.data.corpus.digest(found.split),
    ]
    specs = described["systems"]
    keys = {name: f"{name}-{digest_of(answering(spec))}" for name, spec in specs.items()}
    return EvaluationSpec(
        *(built.task, built.data, systems, found.split, found.n_shot, metrics, specs),
        *(digest_of(exam), found.n_resample, keys, broken),
    )


def built_systems(specs: Mapping[str, Any]) -> "tuple[dict[str, System], dict[str, str]]":
    """Build systems from their specs; return them by name, and the reason for each that could not
    be built.

    Raises:
        ValueError: a system refuses its settings, which are to be corrected before any is asked.
    """
    from jsonargparse import Namespace

    from lslm_lightning.configuration.cli import ConfigParser as ConfigParser
    from lslm_lightning.configuration.errors import BROKE_DOWN
    from lslm_lightning.contracts import System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer, as_system
    from lslm_lightning.evaluation.harness import Unbuilt
    from lslm_lightning.experiments.failures import failure
    from lslm_lightning.runs.trust import resolve

    systems = {}
    broken = {}
    for name, spec in specs.items():
        named = resolve(spec.class_path)
        kinds = (System, DuckGenerator, DuckScorer)
        kind = System | DuckGenerator | DuckScorer  # of a function, by what it returns
        if isinstance(named, type):
            kind = next((each for each in kinds if issubclass(named, each)), System)
        parser = ConfigParser(prog="lslm evaluate")
        parser.add_argument("--system", type=kind)
        try:
            systems[name] = as_system(instantiated(parser, Namespace(system=spec)).system)
        except ValueError as error:
            if not str(error).startswith(BROKE_DOWN):
                raise
            systems[name] = Unbuilt()
            broken[name] = failure(error.__cause__ or error)
        except BaseException as error:
            systems[name] = Unbuilt()
            broken[name] = failure(error)
    return systems, broken


def answering(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a system's spec without the settings that change none of its answers."""
    arguments = {
        name: value
        for name, value in (spec.get("init_args") or {}).items()
        if name != "allow_mismatch"
    }
    return {**spec, "init_args": arguments} if "init_args" in spec else spec


def check_systems(specs: Mapping[str, Any]) -> None:
    """Refuse specs of systems that cannot be built.

    Raises:
        SettingsError: one cannot.
    """
    from lslm_lightning.configuration.cli import ConfigParser as ConfigParser
    from lslm_lightning.contracts import System
    from lslm_lightning.evaluation.duck_typing import DuckGenerator, DuckScorer

    parser = ConfigParser(prog="lslm sweep")
    parser.add_argument("--systems", type=dict[str, System | DuckGenerator | DuckScorer])
    instantiated(parser, parser.parse_object({"systems": dict(specs)}))


def instantiated(parser: Any, found: Any) -> Any:
    """Instantiate the objects of parsed settings.

    Raises:
        ValueError: a class refuses its settings, in its own words.
    """
    from lslm_lightning.configuration.errors import cause_of

    try:
        return parser.instantiate(found)
    except ValueError as error:
        raise cause_of(error)  # noqa: B904 (as it came)


def digest_of(settings: Any) -> str:
    """Return the first eight hexadecimal digits of the SHA-256 of settings written as JSON."""
    return hashlib.sha256(
        json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str).encode()
    ).hexdigest()[:8]

"""Allow-list of the classes that a run's configuration may name, so that it cannot run foreign
code.

A configuration is checked as YAML before anything is imported. While it is parsed and its objects
are built, `only_trusted` also makes jsonargparse refuse every import path that is not allowed. An
import path that the check overlooks can therefore not be imported either.
"""

import importlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, NoReturn

import yaml

from lslm_lightning.task_package import NAMES, is_task_package
from lslm_lightning.text.yaml_files import TEXTS, ParserLoader, parse_yaml
from lslm_lightning.types import Json, JsonObject, Settings

TRUSTED = (  # packages of models and data, which write no files and run no commands
    "lslm_lightning.adapters",
    "lslm_lightning.audio",
    "lslm_lightning.data.canaries",
    "lslm_lightning.data.stream",
    "lslm_lightning.decoding",
    "lslm_lightning.metrics",
    "lslm_lightning.models",
    "lslm_lightning.optim",
    "lslm_lightning.pretrained",
    "lslm_lightning.text.hugging_face",
    "lslm_lightning.text.recipes",
    *NAMES,
    "torch.nn",
    "torch.optim",
)
# packages in which they are defined
HOMES = (*TRUSTED, "torch._C._nn", "torch._jit_internal", "torch.functional")

CALLBACKS = "lightning.pytorch.callbacks"
TEXT_METRICS = "torchmetrics.text"
STATES = {"compute_on_cpu", "compute_with_cache", "dist_sync_on_step", "sync_on_compute"}
NGRAM_METRIC = {"n_gram", "smooth", "weights"} | STATES
# classes for a Trainer, with arguments that run no commands and write no files
TRAINER_CLASSES: dict[str, set[str]] = {
    f"{CALLBACKS}.DeviceStatsMonitor": {"cpu_stats"},
    f"{CALLBACKS}.EarlyStopping": {
        "check_finite",
        "check_on_train_epoch_end",
        "divergence_threshold",
        "log_rank_zero_only",
        "min_delta",
        "mode",
        "monitor",
        "patience",
        "stopping_threshold",
        "strict",
        "verbose",
    },
    f"{CALLBACKS}.LearningRateMonitor": {"log_momentum", "log_weight_decay", "logging_interval"},
    f"{CALLBACKS}.ModelSummary": {"max_depth"},
    f"{CALLBACKS}.RichModelSummary": {"max_depth"},
    f"{CALLBACKS}.RichProgressBar": {"leave", "refresh_rate"},
    f"{CALLBACKS}.Timer": {"duration", "interval", "verbose"},
    f"{CALLBACKS}.TQDMProgressBar": {"leave", "process_position", "refresh_rate"},
    "lightning.pytorch.plugins.MixedPrecision": {"device", "precision"},
    "lightning.pytorch.plugins.environments.LightningEnvironment": set(),
    "lightning.pytorch.plugins.environments.SLURMEnvironment": {"auto_requeue"},
    "lightning.pytorch.plugins.environments.TorchElasticEnvironment": set(),
    "lightning.pytorch.profilers.PassThroughProfiler": set(),
    "lightning.pytorch.profilers.SimpleProfiler": {"extended"},
    "lightning.pytorch.strategies.DDPStrategy": {
        "find_unused_parameters",
        "gradient_as_bucket_view",
        "process_group_backend",
        "static_graph",
    },
    "lightning.pytorch.strategies.SingleDeviceStrategy": {"device"},
    "lslm_lightning.training.distributed.fsdp.ShardedStrategy": {
        "process_group_backend",
        "save_distributed_checkpoint",
        "tensor_parallel_size",
        "timeout_minutes",
    },
    f"{TEXT_METRICS}.BLEUScore": NGRAM_METRIC,
    f"{TEXT_METRICS}.CHRFScore": {
        "beta",
        "lowercase",
        "n_char_order",
        "n_word_order",
        "return_sentence_level_score",
        "whitespace",
        *STATES,
    },
    f"{TEXT_METRICS}.CharErrorRate": STATES,
    f"{TEXT_METRICS}.EditDistance": {"reduction", "substitution_cost"} | STATES,
    f"{TEXT_METRICS}.MatchErrorRate": STATES,
    f"{TEXT_METRICS}.Perplexity": {"ignore_index"} | STATES,
    f"{TEXT_METRICS}.SacreBLEUScore": NGRAM_METRIC | {"lowercase", "tokenize"},
    f"{TEXT_METRICS}.WordErrorRate": STATES,
    f"{TEXT_METRICS}.WordInfoLost": STATES,
    f"{TEXT_METRICS}.WordInfoPreserved": STATES,
}

ADVICE = "if you know its code and trust it, add --trust"
DENIED = r"Importing '([^']+)' is not allowed"  # in jsonargparse's message
# settings of jsonargparse
ALLOWED = "import_path_verdicts"
IS_ENFORCED = "import_paths_enforced"
LOCK = threading.RLock()  # the settings are global


@dataclass(frozen=True)
class Gate:
    """Set of allowed import paths: those of `TRUSTED`, and those in `also`.

    Args:
        also: import paths that the user allowed, for any class and any arguments.
        training: also allow the classes of `TRAINER_CLASSES`.
    """

    also: frozenset[str] = frozenset()
    training: bool = False

    def allows(self, path: str) -> bool:
        """Return whether the class or function with this import path may be imported."""
        if path in self.also or (self.training and path in allowed_arguments()):
            return True
        is_trusted = any(path.startswith(f"{package}.") for package in TRUSTED)
        package = path.partition(".")[0]
        return is_trusted and (package not in NAMES or is_task_package(package))


class UntrustedClassError(ValueError):
    """Error: an untrusted run names a class that it may not use.

    Args:
        shown: import path of the class, for messages.
    """

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"the run wants to use {shown}, which an untrusted run may not use; {ADVICE}"
        )
        self.shown = shown


GATE: ContextVar[Gate | None] = ContextVar("GATE", default=None)


@contextmanager
def only_trusted(also: Iterable[str] = (), training: bool = False) -> Iterator[None]:
    """Refuse, inside the context, to import untrusted classes that a configuration names.

    Args:
        also: import paths that the user allowed, for any class and any arguments.
        training: also allow the classes of `TRAINER_CLASSES`.
    """
    from jsonargparse._common import parsing_settings  # there is no public way back from "*"

    gate = Gate(frozenset(also), training)
    allowed = {*HOMES, *gate.also, *(allowed_arguments() if training else ())}
    with LOCK:
        token = GATE.set(gate)
        before = {ALLOWED: parsing_settings[ALLOWED]}
        parsing_settings[ALLOWED] = {"*": False, **dict.fromkeys(allowed, True)}
        if IS_ENFORCED in parsing_settings:  # from release 5 on they always are
            before[IS_ENFORCED] = parsing_settings[IS_ENFORCED]
            parsing_settings[IS_ENFORCED] = True
        try:
            yield
        finally:
            parsing_settings.update(before)
            GATE.reset(token)


def is_restricted() -> bool:
    """Return whether the code runs inside an `only_trusted` context."""
    return GATE.get() is not None


@cache
def allowed_arguments() -> Mapping[str, set[str]]:
    """Return the allowed arguments of each class of `TRAINER_CLASSES`, by import path.

    Each class is listed under its public import path and under the path of its defining module.
    """
    found: dict[str, set[str]] = {}
    for path, arguments in TRAINER_CLASSES.items():
        kind = import_named(path)
        found |= dict.fromkeys((path, f"{kind.__module__}.{kind.__qualname__}"), arguments)
    return found


def check_trust(config: object) -> None:
    """Raise ValueError if a configuration, parsed or not, names a class that is not trusted.

    Such a class is not imported.
    """
    gate = GATE.get() or Gate()
    try:
        named = list(named_in(config))
    except RecursionError:
        raise ValueError(
            f"the run's config.yaml is nested too deeply to be checked; {ADVICE}"
        ) from None
    for path, _ in named:
        if not gate.allows(path):
            refuse(path)
    for path, arguments in named:
        if path in gate.also:
            continue
        found = resolve(path)
        if gate.training and path in allowed_arguments():
            check_arguments(path, arguments)
        elif not is_at_home(found, path):
            refuse(path)


def is_at_home(found: object, path: str) -> bool:
    """Return whether a class or function, found at the import path `path`, is defined in a trusted
    package.
    """
    home = f"{getattr(found, '__module__', None) or path}."
    return home == "torch." or any(home.startswith(f"{package}.") for package in HOMES)


def check_arguments(path: str, arguments: Settings) -> None:
    """Raise ValueError if arguments of a class of `TRAINER_CLASSES` are not allowed or not plain
    values.

    Args:
        path: import path of the class.
    """
    for name, value in arguments.items():
        if value is not None and (name not in allowed_arguments()[path] or not is_plain(value)):
            raise ValueError(
                f"the run wants to use {path} with {name}, which may run code or write files; "
                f"{ADVICE}"
            )


def is_plain(value: object) -> bool:
    """Return whether a value is None, a number, a text or a boolean, or a collection of such
    values.
    """
    if isinstance(value, Mapping):
        return "class_path" not in value and all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float)


def refuse(path: str) -> NoReturn:
    """Raise `UntrustedClassError` for an import path that is not trusted; the message names the
    option that permits it.
    """
    shown = path if all(map(str.isidentifier, path.split("."))) else repr(path[:80])
    raise UntrustedClassError(shown)


def refuse_denied(message: str) -> None:
    """Raise the error of `refuse` if a message of jsonargparse says that an import was denied."""
    if denied := re.search(DENIED, message):
        refuse(denied[1])


def resolve(path: str) -> Any:
    """Import and return the class or function with the import path `package.module.name`.

    Raises:
        ValueError: there is no such class or function, or it may not be imported.
    """
    if (gate := GATE.get()) is not None and not gate.allows(path):
        refuse(path)
    return import_named(path)


def import_named(path: str) -> Any:
    """Import and return a class or function without checking whether it is trusted."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported: {error}") from None
    if not callable(found):
        raise ValueError(f"{path} is neither a class nor a function")
    return found


Named = tuple[str, Settings]  # an import path, and the arguments that it is given


def named_in(
    value: object, key: str = "", seen: dict[tuple[int, bool], object] | None = None
) -> Iterator[Named]:
    """Yield every import path in a configuration, parsed or not, with the arguments of the class.

    A text counts if it looks like an import path, or if jsonargparse would find one in it.

    Args:
        key: name of the setting that `value` belongs to.
        seen: collections already visited, since YAML aliases may repeat them without end.

    Raises:
        ValueError: a text contains `class_path` but cannot be parsed.
    """
    value = as_mapping(value)
    seen = {} if seen is None else seen
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        visited = (id(value), key in TEXTS)
        if visited in seen:
            return
        seen[visited] = value  # keeps it alive, so that its id is not reused
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # of `backbone.class_path`, `callbacks+`
            last = str(name).rpartition(".")[2].rstrip("+")
            if last == "class_path":
                arguments: JsonObject = {}
                for block in ("init_args", "dict_kwargs"):
                    given = as_mapping(value.get(block))
                    arguments |= given if isinstance(given, Mapping) else {}
                yield path_of(inner), arguments
            else:
                yield from named_in(inner, key if key in TEXTS else last, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from named_in(inner, key, seen)
    elif isinstance(value, str):
        yield from named_in_text(value, key, seen)
    elif callable(value):
        yield path_of(value), {}


def named_in_text(text: str, key: str, seen: dict[tuple[int, bool], object]) -> Iterator[Named]:
    """Yield the import path that a text is, or the import paths that it contains as YAML.

    Texts of the settings in `TEXTS` are never import paths.

    Args:
        key: name of the setting that the text belongs to.
        seen: collections already visited; see `named_in`.
    """
    if is_import_path(text):
        if key not in TEXTS:
            yield text, {}
        return
    try:
        inner = parse_yaml(text, ParserLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        if "class_path" in text:
            problem = f"the run's {key or 'text'} {text[:60]!r} names a class and cannot be parsed"
            raise ValueError(f"{problem} as YAML; {ADVICE}") from None
        return
    if isinstance(inner, Mapping | list):
        yield from named_in(inner, key, seen)


def as_mapping(value: object) -> Json:
    """Return a Namespace of jsonargparse as a mapping; any other value unchanged."""
    return vars(value) if type(value).__name__ == "Namespace" else value


def path_of(value: object) -> str:
    """Return the import path of a class or function; a text is returned unchanged."""
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else str(value)


def is_import_path(text: str) -> bool:
    """Return whether a text is a dotted name that begins with an importable package, unlike
    `tokenizer.json`.
    """
    names = text.split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        return False
    try:
        return find_spec(names[0]) is not None
    except ValueError:  # `__main__` has none
        return True

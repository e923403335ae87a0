"""Which classes a run's configuration may name: it must not run code from elsewhere.

A configuration is checked as YAML before anything is imported. While it is parsed and built,
`only_trusted` makes jsonargparse refuse every import path that is not allowed, so that a spelling
that the check does not know leads nowhere either.
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

TRUSTED = (  # what describes a model and its data, and writes and runs nothing
    "lslm_lightning.audio",
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
# where these are defined
HOMES = (*TRUSTED, "torch._C._nn", "torch._jit_internal", "torch.functional")

CALLBACKS = "lightning.pytorch.callbacks"
TEXT_METRICS = "torchmetrics.text"
STATES = {"compute_on_cpu", "compute_with_cache", "dist_sync_on_step", "sync_on_compute"}
NGRAM_METRIC = {"n_gram", "smooth", "weights"} | STATES
HARMLESS: dict[str, set[str]] = {  # classes of a Trainer, with arguments that run and write nothing
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
    "lslm_lightning.training.sharding.ShardedStrategy": {
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
DENIED = r"Importing '([^']+)' is not allowed"  # in jsonargparse's words
# settings of jsonargparse
VERDICTS = "import_path_verdicts"
ENFORCED = "import_paths_enforced"
LOCK = threading.RLock()  # these settings are the process's


@dataclass(frozen=True)
class Gate:
    """Import paths that may be followed: `TRUSTED`, and `also`.

    Args:
        also: paths that the user named, in whatever class and with whatever arguments.
        training: classes of `HARMLESS` too.
    """

    also: frozenset[str] = frozenset()
    training: bool = False

    def allows(self, path: str) -> bool:
        """Return whether the name may be imported."""
        if path in self.also or (self.training and path in harmless_names()):
            return True
        is_trusted = any(path.startswith(f"{package}.") for package in TRUSTED)
        package = path.partition(".")[0]
        return is_trusted and (package not in NAMES or is_task_package(package))


GATE: ContextVar[Gate | None] = ContextVar("GATE", default=None)


@contextmanager
def only_trusted(also: Iterable[str] = (), training: bool = False) -> Iterator[None]:
    """Refuse to import what a run's configuration names, unless it is trusted, here and in
    jsonargparse.

    Args:
        also, training: see `Gate`.
    """
    from jsonargparse._common import parsing_settings  # there is no public way back from "*"

    gate = Gate(frozenset(also), training)
    allowed = {*HOMES, *gate.also, *(harmless_names() if training else ())}
    with LOCK:
        token = GATE.set(gate)
        before = {VERDICTS: parsing_settings[VERDICTS]}
        parsing_settings[VERDICTS] = {"*": False, **dict.fromkeys(allowed, True)}
        if ENFORCED in parsing_settings:  # from release 5 on they always are
            before[ENFORCED] = parsing_settings[ENFORCED]
            parsing_settings[ENFORCED] = True
        try:
            yield
        finally:
            parsing_settings.update(before)
            GATE.reset(token)


def is_restricted() -> bool:
    """Return whether `only_trusted` holds."""
    return GATE.get() is not None


@cache
def harmless_names() -> Mapping[str, set[str]]:
    """Arguments of `HARMLESS` by every path of a class: the public one, and that of its module."""
    found = {}
    for path, arguments in HARMLESS.items():
        kind = import_named(path)
        found |= dict.fromkeys((path, f"{kind.__module__}.{kind.__qualname__}"), arguments)
    return found


def check_trust(config: Any) -> None:
    """Let pass a configuration whose every class is trusted, before it is parsed or after.

    Raises:
        ValueError: it names something else, which has not been imported.
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
        if gate.training and path in harmless_names():
            check_arguments(path, arguments)
        elif not is_at_home(found, path):
            refuse(path)


def is_at_home(found: Any, path: str) -> bool:
    """Return whether a class or function is defined where trusted ones are."""
    home = f"{getattr(found, '__module__', None) or path}."
    return home == "torch." or any(home.startswith(f"{package}.") for package in HOMES)


def check_arguments(path: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of a class of `HARMLESS` that are not listed there, or are no plain
    values.
    """
    for name, value in arguments.items():
        if value is not None and (name not in harmless_names()[path] or not is_plain(value)):
            raise ValueError(
                f"the run wants to use {path} with {name}, which may run code or write files; "
                f"{ADVICE}"
            )


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, a text or a switch, or a collection of these."""
    if isinstance(value, Mapping):
        return "class_path" not in value and all(map(is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, str | int | float)


def refuse(path: str) -> NoReturn:
    """Raise ValueError for an import path that is not trusted, with the way out."""
    shown = path if all(map(str.isidentifier, path.split("."))) else repr(path[:80])
    raise ValueError(
        f"the run wants to use {shown}, which a run from elsewhere may not name; {ADVICE}"
    )


def refuse_denied(message: str) -> None:
    """Refuse the import path that jsonargparse says in its message to be denied, where it says so
    of one.
    """
    if denied := re.search(DENIED, message):
        refuse(denied[1])


def resolve(path: str) -> Any:
    """The class or function of an import path `package.module.name`; nothing is reached through
    another module's imports.

    Raises:
        ValueError: there is none, or it may not be imported.
    """
    if (gate := GATE.get()) is not None and not gate.allows(path):
        refuse(path)
    return import_named(path)


def import_named(path: str) -> Any:
    """Import as `resolve` does, whatever it is."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be imported: {error}") from None
    if not callable(found):
        raise ValueError(f"{path} is neither a class nor a function")
    return found


Named = tuple[str, Mapping[str, Any]]  # an import path, and the arguments that it is given


def named_in(value: Any, key: str = "", seen: dict[Any, Any] | None = None) -> Iterator[Named]:
    """Yield every import path of a configuration, parsed or not, with the arguments that it is
    given.

    A text counts where it could be taken for an import path, or where jsonargparse reads one in it.

    Args:
        key: under which the value stands.
        seen: collections that were looked at, which aliases may repeat without end.

    Raises:
        ValueError: a text speaks of a class and cannot be read.
    """
    value = as_mapping(value)
    seen = {} if seen is None else seen
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        place = (id(value), key in TEXTS)
        if place in seen:
            return
        seen[place] = value  # kept, so that nothing else gets its id
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # of `backbone.class_path`, `callbacks+`
            last = str(name).rpartition(".")[2].rstrip("+")
            if last == "class_path":
                given = (as_mapping(value.get(place)) for place in ("init_args", "dict_kwargs"))
                given = [each for each in given if isinstance(each, Mapping)]
                yield path_of(inner), {n: v for each in given for n, v in each.items()}
            else:
                yield from named_in(inner, key if key in TEXTS else last, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from named_in(inner, key, seen)
    elif isinstance(value, str):
        yield from named_in_text(value, key, seen)
    elif callable(value):
        yield path_of(value), {}


def named_in_text(text: str, key: str, seen: dict[Any, Any]) -> Iterator[Named]:
    """Yield import paths that a text is, or has as YAML. One of `TEXTS` is no import path."""
    if is_import_path(text):
        if key not in TEXTS:
            yield text, {}
        return
    try:
        inner = parse_yaml(text, ParserLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        if "class_path" in text:
            words = f"the run's {key or 'text'} {text[:60]!r} names a class and cannot be read"
            raise ValueError(f"{words} as YAML; {ADVICE}") from None
        return
    if isinstance(inner, Mapping | list):
        yield from named_in(inner, key, seen)


def as_mapping(value: Any) -> Any:
    """Return jsonargparse's Namespace as a mapping, and anything else as it is."""
    return vars(value) if type(value).__name__ == "Namespace" else value


def path_of(value: Any) -> str:
    """Return the import path that a `class_path` is, or that a class or a function has."""
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else str(value)


def is_import_path(text: str) -> bool:
    """Dotted names of which the first is a package of this Python: not `tokenizer.json`."""
    names = text.split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        return False
    try:
        return find_spec(names[0]) is not None
    except ValueError:  # `__main__` has none
        return True

"""Configs of sweeps: variants that share a base config, and systems that need no training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from lslm_lightning.configuration.config_files import check_files, yaml_of
from lslm_lightning.configuration.given_settings import Given, refuse
from lslm_lightning.evaluation.evaluation_set import EvaluationSet
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.evaluation_spec import digest_of
from lslm_lightning.runs.directory import check_name
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.yaml_files import ConfigLoader
from lslm_lightning.types import Json, JsonObject, Settings

KEYS = ("base", "variants", "parameters")
# widths tried for models of equal size are multiples of the first, up to the second
WIDTH = 16
WIDEST = 2**16


@dataclass(frozen=True)
class Variant:
    """Variant of a sweep that is trained.

    Args:
        name: name of the variant.
        settings: nested settings, as in a config file.
        arguments: command-line arguments, which override `settings`.
    """

    name: str
    settings: Settings
    arguments: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """First eight hexadecimal digits of the SHA-256 of the settings and arguments."""
        return digest_of([self.settings, list(self.arguments)])


@dataclass(frozen=True)
class SweepConfig:
    """Config of a sweep.

    Args:
        base: settings of `lslm run` that all variants share.
        names: names of all variants and systems, in order.
        variants: variants to train, by name.
        systems: specs (class_path, init_args) of systems that need no training, by name.
        parameters: number of parameters that every model should have, reached by choosing its
            `d_model`; None to keep the sizes of the configs.
    """

    base: Settings
    names: Sequence[str]
    variants: Mapping[str, Variant]
    systems: Mapping[str, Settings]
    parameters: float | None = None


def read_sweep(path: Path) -> SweepConfig:
    """Read the config of a sweep.

    The config has two keys. `base` contains settings of `lslm run`. `variants` contains, by name,
    either the `class_path` of a system or the settings that differ from `base`. These are nested as
    in a config (model: {...}) or have dotted keys as on the command line (model.backbone.position:
    ...).

    Raises:
        ValueError: the config is wrong; the message says where.
    """
    content = yaml_of(path, ConfigLoader)
    if not isinstance(content, dict) or not isinstance(content.get("variants"), dict):
        content = {}
    if not content.get("variants"):
        raise ValueError(
            f"{path} is no config of a sweep: it must have `variants`, a name for each with its "
            "settings; lslm sweep --help"
        )
    for key in content:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            raise ValueError(
                f"{path}: {key!r} is not known{f'; did you mean {near[0]!r}?' if near else ''}; "
                f"a sweep has {', '.join(KEYS)}"
            )
    base = content.get("base") or {}
    if not isinstance(base, dict):
        raise ValueError(f"{path}: base must be settings of lslm run, but is {base!r}")
    size = content.get("parameters")
    if size is not None and (
        isinstance(size, bool) or not isinstance(size, int | float) or size <= 0
    ):
        raise ValueError(
            f"{path}: parameters={size!r} must be a number above 0, written as in 3000000 or 3.0e+6"
        )
    variants, systems = sorted_variants(path, content["variants"])
    if not variants:
        raise ValueError(
            f"{path}: none of the `variants` is trained; use lslm evaluate to compare systems "
            "without training"
        )
    return SweepConfig(base, [str(name) for name in content["variants"]], variants, systems, size)


def sorted_variants(
    path: Path, content: Mapping[object, Json]
) -> tuple[dict[str, Variant], dict[str, Settings]]:
    """Split the `variants` of a sweep config into variants to train and specs of systems that need
    no training.

    Args:
        path: path of the config, for messages.
        content: the mapping `variants` of the config.

    Raises:
        ValueError: a name cannot be used as a folder name, or a variant has no settings.
    """
    variants: dict[str, Variant] = {}
    systems: dict[str, Settings] = {}
    for key, given in content.items():
        name = str(key)
        check_name(name, "variant")
        settings = {} if given is None else given
        if not isinstance(settings, dict) or not all(isinstance(each, str) for each in settings):
            raise ValueError(
                f"{path}: variant {name} must be settings, or a system's class_path and "
                f"init_args, but is {given!r}"
            )
        if "class_path" in settings:
            systems[name] = settings
        else:
            nested = {key: value for key, value in settings.items() if "." not in key}
            variants[name] = Variant(name, nested, dotted_arguments(settings))
    return variants, systems


def dotted_arguments(settings: Settings) -> list[str]:
    """Return the settings that have dotted keys as command-line arguments; nested settings are left
    out.
    """
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value, default=str)}"
        for key, value in settings.items()
        if "." in key
    ]


def check_settings(config: str, settings: Sequence[str]) -> None:
    """Refuse settings, classes and corpora that do not exist, before any training starts.

    Args:
        config: path of the sweep's config.
        settings: settings for all variants, as command-line arguments.

    Raises:
        SettingsError: a setting, a class or a corpus does not exist.
    """
    try:
        content = yaml_of(Path(config), ConfigLoader)
        content = content if isinstance(content, dict) else {}
        variants = content.get("variants")
        variants = variants if isinstance(variants, dict) else {}
        for name, own in {"": None, **variants}.items():
            given = Given()
            for part, where in ((content.get("base"), "base"), (own, f"variant {name}")):
                if not isinstance(part, dict) or "class_path" in part:
                    continue
                if all(isinstance(key, str) for key in part):
                    given.take("", part, f"{config}: {where}: ")
            given.take_arguments(settings, check_files(settings))
            given.check_paths("run")
    except ValueError as error:
        refuse(str(error))


def parsed(arguments: Sequence[str]) -> JsonObject:
    """Return the whole configuration that arguments of `lslm run` give, without building objects.

    Raises:
        ValueError: the arguments are wrong; the message is that of the command.
    """
    from lslm_lightning.configuration.cli import read_settings

    try:
        config = read_settings(["run", *arguments])
    except SettingsError as error:
        raise ValueError(error.message) from None
    check_magnitudes(config)
    return config


class DataDigests(NamedTuple):
    """Digests of the splits of a config's data, and its test set."""

    splits: list[str]  # of each split that exists: its files and how they are read
    test_set: EvaluationSet | None  # None where there is no test split


def data_digests(spec: Settings) -> DataDigests:
    """Return the digests of the data that the `data` block of a config describes.

    Args:
        spec: the `data` block: class path and arguments.

    Raises:
        ValueError, OSError: the data cannot be read.
    """
    # imports torch, which reading a sweep's config does not
    from lslm_lightning.experiments.evaluation_sets import data_of

    data = data_of(spec)
    splits = [
        data.digest(split)
        for split in ("train", "val", "test")
        if split == "train" or split in data.corpus.splits
    ]
    return DataDigests(
        splits, data.evaluation_set("test") if "test" in data.corpus.splits else None
    )


def width_of(arguments: Sequence[str], n_parameter: float) -> int | None:
    """Return the `d_model` for which a model's number of parameters is closest to `n_parameter`.

    Args:
        arguments: arguments of `lslm run`.

    Returns:
        None for a model without `d_model`.

    Raises:
        ValueError: the widest supported model has fewer parameters.
    """
    from lslm_lightning.planning.estimate import planned

    model = parsed(arguments)["model"]["init_args"]
    backbone = (model.get("backbone") or {}).get("init_args") or {}
    if "d_model" not in backbone:
        return None
    # rotary positions want an even width of a head
    step = math.lcm(WIDTH, 2 * (backbone.get("n_head") or 1))

    def size(n: int) -> int:
        plan = planned([*arguments, f"--model.backbone.d_model={n * step}"], None)
        assert plan.task.model_info.n_parameter is not None
        return plan.task.model_info.n_parameter

    low = 1
    high = 1
    while size(high) < n_parameter:
        low = high
        high = 2 * high
        if high * step > WIDEST:
            raise ValueError(
                f"parameters={n_parameter:,.0f} is more than this network has with "
                f"d_model={low * step}"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < n_parameter else (low, middle)
    return step * min((low, high), key=lambda n: abs(size(n) - n_parameter))

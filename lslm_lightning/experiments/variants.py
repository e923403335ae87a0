"""Configs of sweeps: variants that share a base config, and systems that need no training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from lslm_lightning.configuration.errors import yaml_of
from lslm_lightning.evaluation.evaluation_set import EvaluationSet
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.experiments.evaluation_spec import digest_of
from lslm_lightning.runs.directory import check_name
from lslm_lightning.safety.magnitudes import check_magnitudes
from lslm_lightning.text.yaml_files import ConfigLoader

KEYS = ("base", "rungs", "parameters")
# models of equal size are sought among widths that are multiples of the first, up to the second
WIDTH = 16
WIDEST = 2**16


@dataclass(frozen=True)
class Rung:
    """A variant that is trained: settings as in a config file, and `words`, command-line arguments
    that change them.
    """

    name: str
    settings: Mapping[str, Any]
    words: Sequence[str] = ()

    @property
    def digest(self) -> str:
        """First eight hexadecimal digits of a digest of the settings and arguments."""
        return digest_of([self.settings, list(self.words)])


@dataclass(frozen=True)
class Ladder:
    """Config of a sweep; `systems` are specs (class_path, init_args) of systems that need no
    training, `names` keeps the order of all.

    `parameters` is the size that all networks are to have, by their `d_model`; None for sizes as
    they are written.
    """

    base: Mapping[str, Any]
    names: Sequence[str]
    runs: Mapping[str, Rung]
    systems: Mapping[str, Mapping[str, Any]]
    parameters: float | None = None


def read_ladder(path: Path) -> Ladder:
    """Read the config of a sweep: `base`, settings of `lslm run`; `variants`, a name each with a
    system's `class_path` or changed settings.

    Of a run that is written as in a config (model: {...}), or by keys with dots, as in the shell
    (model.backbone.position: ...).

    Raises:
        ValueError: it is no ladder; the message says where.
    """
    content = yaml_of(path, ConfigLoader)
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("rungs"), dict)
        or not content["rungs"]
    ):
        raise ValueError(
            f"{path} is no ladder: it must have `rungs`, a name each with what it trains; lslm "
            "ladder --help"
        )
    for key in content:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            raise ValueError(
                f"{path}: {key!r} is not known{f'; did you mean {near[0]!r}?' if near else ''}; "
                f"a ladder has {', '.join(KEYS)}"
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
    runs = {}
    systems = {}
    for name, given in content["rungs"].items():
        check_name(str(name), "rung")
        if given is not None and not (
            isinstance(given, dict) and all(isinstance(key, str) for key in given)
        ):
            raise ValueError(
                f"{path}: the rung {name} must be settings, or a system's class_path and "
                f"init_args, but is {given!r}"
            )
        given = given or {}
        if "class_path" in given:
            systems[str(name)] = given
        else:
            runs[str(name)] = Rung(
                str(name), {k: v for k, v in given.items() if "." not in k}, words_of(given)
            )
    if not runs:
        raise ValueError(
            f"{path} has no rung that is trained: lslm evaluate puts systems through an exam"
        )
    return Ladder(base, [str(name) for name in content["rungs"]], runs, systems, size)


def words_of(given: Mapping[str, Any]) -> list[str]:
    """Return the settings whose keys have dots as command-line arguments."""
    return [
        f"--{k}={v if isinstance(v, str) else json.dumps(v, default=str)}"
        for k, v in given.items()
        if "." in k
    ]


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Return the whole configuration that arguments of `lslm run` give, without building objects.

    Raises:
        ValueError: they are wrong, as the command would say.
    """
    from lslm_lightning.configuration.cli import read_settings

    try:
        found = read_settings(["run", *words])
    except SettingsError as error:
        raise ValueError(error.message) from None
    check_magnitudes(found)
    return found


class DataDigests(NamedTuple):
    """Digests that identify the data of a config."""

    splits: list[str]  # of each split that there is: its files and how they are read
    test_set: EvaluationSet | None  # None where there is no test split


def data_digests(spec: Mapping[str, Any]) -> DataDigests:
    """Return the digests of the data that a config's `data` describes.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    # it imports torch, and a ladder is read before
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


def width_of(words: Sequence[str], n_parameter: float) -> int | None:
    """Return the `d_model` that brings a model closest to a number of parameters; None for a model
    without one.

    Args:
        words: as of `lslm run`.

    Raises:
        ValueError: none does.
    """
    from lslm_lightning.planning.estimate import planned

    backbone = (parsed(words)["model"]["init_args"].get("backbone") or {}).get("init_args") or {}
    if "d_model" not in backbone:
        return None
    # rotary positions want an even width of a head
    step = math.lcm(WIDTH, 2 * (backbone.get("n_head") or 1))

    def size(n: int) -> int:
        return planned([*words, f"--model.backbone.d_model={n * step}"], None).task.n_parameter

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

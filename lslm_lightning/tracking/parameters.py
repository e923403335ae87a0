"""Settings as MLflow's parameters: the ones that differ from the defaults, under short names."""

from collections.abc import Iterable, Mapping
from typing import Any

from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.task_package import NAMES
from lslm_lightning.tracking.names import flatten, with_hash

SECTIONS = ("model", "data", "trainer", "job", "system")
CLASSES = {"model": "task_class", "data": "data_class"}  # names of the classes of whole sections
# they tell where a run is, not how it was trained
LEFT_OUT = ("job.name.", "job.root.", "job.parent.", "job.tags.")
TAKEN = ("seed",)  # a tag, that of `seed_everything`
# whose classes are told apart by their last names
KNOWN_PACKAGES = ("lslm_lightning", *NAMES, "torch")


def short_parameters(config: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of settings by short names, as `d_model`, `backbone.d_model` or `optimizer.lr`.

    Args:
        config: the whole configuration: a name depends on it alone, and not on what was changed.
        changed: the part of it that is wanted.
    """
    wanted = dict(flatten(redacted_settings(changed)))
    names = short_names([*dict(flatten(config)), *wanted])
    found = {}
    for name, value in wanted.items():
        is_left_out = f"{name}.".startswith(LEFT_OUT) or (name in SECTIONS and not value)
        if not is_left_out and (name != "ckpt_path" or value):
            found[names[name]] = short_class(value) if name.endswith("class_path") else value
    return found


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return a short name for each dotted name of a configuration, each another one.

    `init_args` and `class_path` are left out, and so is the section (`model`, `data`, ...) unless a
    section before it has the same setting.
    """
    found: dict[str, str] = {}
    taken = set(TAKEN)
    for name in sorted(dict.fromkeys(names), key=section_rank):
        parts = [part for part in name.split(".") if part not in ("init_args", "class_path")]
        whole = ".".join(parts) or name
        short = ".".join(parts[1:]) if whole.split(".")[0] in SECTIONS else whole
        choices = (short or CLASSES.get(whole, whole), whole, name, with_hash(name, name))
        found[name] = next(each for each in choices if each not in taken)
        taken.add(found[name])
    return found


def section_rank(name: str) -> int:
    """Return the place of a setting's section; those of none come first."""
    section, _, inside = name.partition(".")
    return SECTIONS.index(section) + 1 if section in SECTIONS and inside else 0


def short_class(path: Any) -> Any:
    """Return the last name of a class of a known package; another one keeps its path."""
    if isinstance(path, str) and path.split(".")[0] in KNOWN_PACKAGES:
        return path.rpartition(".")[2]
    return path

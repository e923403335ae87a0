"""MLflow parameters of a run: settings that differ from the defaults, under short names."""

from collections.abc import Iterable

from lslm_lightning.safety.redaction import redacted_settings
from lslm_lightning.task_package import NAMES
from lslm_lightning.tracking.names import flatten, with_hash
from lslm_lightning.types import Json, JsonObject, Settings

SECTIONS = ("model", "data", "trainer", "job", "system")
CLASSES = {"model": "task_class", "data": "data_class"}  # names of the classes of whole sections
# settings of where a run is stored, not of how it was trained
LEFT_OUT = ("job.name.", "job.root.", "job.parent.", "job.tags.", "job.registered_model.")
TAKEN = ("seed",)  # the tag of `seed_everything`
# packages whose class names are unique without the module
KNOWN_PACKAGES = ("lslm_lightning", *NAMES, "torch")


def short_parameters(config: Settings, changed: Settings) -> JsonObject:
    """Return the values of settings by short name, such as `d_model`, `backbone.d_model` or
    `optimizer.lr`.

    Args:
        config: whole configuration, which determines the short names.
        changed: part of the configuration whose values are returned.
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
    """Return a unique short name for each dotted name of a configuration.

    A short name omits `init_args` and `class_path`. It also omits the section (`model`, `data`,
    ...), unless an earlier section has a setting of the same name.
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
    """Return the rank, from 1, of a setting's section in `SECTIONS`; 0 if the setting is in no
    section.
    """
    section, _, inside = name.partition(".")
    return SECTIONS.index(section) + 1 if section in SECTIONS and inside else 0


def short_class(path: Json) -> Json:
    """Return the class name without its module if the class belongs to a known package.

    Any other value is returned unchanged.
    """
    if isinstance(path, str) and path.split(".")[0] in KNOWN_PACKAGES:
        return path.rpartition(".")[2]
    return path

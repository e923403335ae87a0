"""Summary of the architecture and hyperparameters of a run, taken from its configuration."""

from collections.abc import Mapping

from lslm_lightning.reports.formatting import number
from lslm_lightning.types import Json, Settings

TRAINING = {  # setting of the trainer: its name here, and the value at which it is left out
    "max_steps": ("steps", -1),
    "max_epochs": ("epochs", -1),
    "accumulate_grad_batches": ("gradient accumulation", 1),
    "gradient_clip_val": ("gradient clipping", None),
    "precision": ("precision", None),
    "strategy": ("strategy", "auto"),
    "num_nodes": ("nodes", 1),
}
BATCHES = (
    "batch_size",
    "max_tokens",
    "max_frames",
    "context",
    "max_source_length",
    "max_target_length",
)
UNUSED = (
    "bias",
    "eps",
    "fused",
    "foreach",
    "capturable",
    "differentiable",
    "maximize",
    "device",
    "dtype",
)
PARTS = {
    "backbone": "Architecture",
    "optimizer": "Optimizer",
    "schedule": "Learning rate schedule",
    "search": "Search",
}
LONGEST = 12  # number of settings shown of one object


def hyperparameters(config: Settings) -> dict[str, str]:
    """Return the most important settings of a configuration, as one line of text per title.

    Settings without effect (null, false, 0, or a value that means "none") and settings of nested
    objects are left out.

    Args:
        config: parsed content of config.yaml.
    """
    model = (config.get("model") or {}).get("init_args") or {}
    data = (config.get("data") or {}).get("init_args") or {}
    trainer = config.get("trainer") or {}
    found = {title: described(model.get(name)) for name, title in PARTS.items()}
    others = {
        name: value
        for name, value in model.items()
        if name not in PARTS and name != "validation_search" and is_set(value)
    }
    objects = {name: value for name, value in others.items() if is_object(value)}
    numbers = {name: value for name, value in others.items() if is_scalar(value)}
    found["Other parts"] = ", ".join(f"{name} {described(v)}" for name, v in objects.items())
    found["Task settings"] = listed_settings(numbers)
    training = {
        label: trainer[name]
        for name, (label, none) in TRAINING.items()
        if is_set(trainer.get(name)) and trainer[name] != none
    }
    batches = {name: data[name] for name in BATCHES if is_set(data.get(name))}
    found["Training"] = listed_settings(training | batches)
    return {title: line for title, line in found.items() if line}


def described(value: Json) -> str:
    """Return a `class_path` entry of a configuration as text, such as "Transformer: d_model 128,
    norm LayerNorm"; for a plain text, its `last_name`.
    """
    if not is_object(value):
        return last_name(value) if isinstance(value, str) else ""
    settings = value.get("init_args") or {}
    shown = {
        name: inner for name, inner in settings.items() if name not in UNUSED and is_set(inner)
    }
    words = listed_settings(shown)
    return f"{class_of(value)}{': ' if words else ''}{words}"


def listed_settings(settings: Settings) -> str:
    """Return settings as text, such as "d_model 128, dropout 0.1"; at most `LONGEST` settings."""
    words = [f"{name} {text}" for name, value in settings.items() if (text := shown(value))]
    more = len(words) - LONGEST
    return ", ".join(words[:LONGEST]) + (f", and {more} more" if more > 0 else "")


def shown(value: Json) -> str:
    """Return the value of a setting as text; for a `class_path` entry, the name of the class."""
    if is_object(value):
        return class_of(value)
    if isinstance(value, bool):
        return "yes"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else number(value)
    if isinstance(value, list):
        return "(" + ", ".join(map(shown, value)) + ")" if all(map(is_scalar, value)) else ""
    return last_name(str(value)) if is_scalar(value) else ""


def is_object(value: Json) -> bool:
    """Return whether a setting is a mapping with `class_path`."""
    return isinstance(value, Mapping) and isinstance(value.get("class_path"), str)


def class_of(value: Settings) -> str:
    """Return the class name of a `class_path` entry, without modules."""
    path: str = value["class_path"]
    return path.rpartition(".")[2]


def is_scalar(value: Json) -> bool:
    """Return whether the value of a setting is a single text or number."""
    return isinstance(value, str | int | float)


def is_set(value: Json) -> bool:
    """Return whether the value of a setting is neither null, false, 0 nor empty."""
    return value not in (None, False, 0, "", [], {})


def last_name(path: str) -> str:
    """Return the class name of a class path, without modules. Other text with dots, such as a
    version or a file name, is returned unchanged.
    """
    parts = path.split(".")
    is_class = all(map(str.isidentifier, parts)) and parts[-1][0].isupper()
    return parts[-1] if is_class else path

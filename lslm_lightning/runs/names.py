"""Run names, made of the name of the config and the settings changed on the command line."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from lslm_lightning.long_options import long_options
from lslm_lightning.runs.directory import as_name
from lslm_lightning.safety.redaction import redacted_arguments, redacted_settings
from lslm_lightning.types import Json, Settings

# number of settings in a name, and characters of each
MOST = 4
LONGEST_PART = 24
LONGEST_CHANGES = 40  # characters after the stem
LONGEST_STEM = 100  # bytes of the stem of a config
LONGEST_BYTES = 160  # of the whole name, so that a folder's 255 have room for ids and seeds
INCIDENTAL = re.compile(  # settings that do not define the experiment
    r"config|print_config|ckpt_path|trust"
    r"|job\.(name|root|parent|tags|seeds|registered_model|keep_\w+|save_every_\w+)(\..*)?"
    r"|trainer\.(enable_\w+|logger|profiler|log_every_n_steps|num_sanity_val_steps"
    r"|default_root_dir|detect_anomaly|barebones|model_registry|val_check_interval"
    r"|check_val_every_n_epoch|limit_val_batches)(\..*)?"
    r"|data\.(init_args\.)?(num_workers|eval_batch_tokens)"
)
ORDER = ("data", "model")  # sections whose settings come first
SHORT = {"max_steps": "steps", "max_epochs": "epochs", "seed_everything": "seed"}
# settings of which only the value is shown
TELLING = ("language", "corpus", "precision", "strategy", "prepared")
NOTHING = object()  # marks a missing setting


def run_name(
    stem: str,
    settings: Mapping[str, str],
    config: Settings,
    base: Settings,
    more: Sequence[str] = (),
) -> str:
    """Return a run name that lists the changed settings, such as "cldr_demo-de-d_model_64".

    The name is a valid folder name on any system. It lists only a few settings; a final "+2" means
    that two more were changed.

    Args:
        stem: name of the config file.
        settings: command-line settings, from `typed_settings`.
        config: the resulting configuration.
        base: configuration without the command-line settings; a setting with an equal value there
            is not listed.
        more: names of further config files that change the first.
    """
    parts = [part for each in more if (part := as_part(each))]
    for key in sorted(
        settings, key=lambda key: (*ORDER, key.partition(".")[0]).index(key.partition(".")[0])
    ):
        text = settings[key]
        value = found_in(config, key)
        before = found_in(base, key)
        if value is not NOTHING and comparable(value) == comparable(before):
            continue
        if key != "job.minutes" or value is not None:  # null only means that steps are given
            parts.append(part_of(key, text if value is NOTHING else value))
    parts = list(dict.fromkeys(parts))
    shown = parts[:MOST]
    n_more = len(parts) - MOST
    while shown and (
        len("-".join([stem, *shown]).encode()) > LONGEST_BYTES
        or len("-".join(shown)) > LONGEST_CHANGES
    ):
        shown.pop()
        n_more = len(parts) - len(shown)
    return "-".join([stem, *shown]) + (f"+{n_more}" if n_more > 0 else "")


def stem_of(path: str | Path) -> str:
    """Return the name of a config file without its extension, shortened for use in a run name."""
    stem = as_name(unicodedata.normalize("NFC", Path(path).stem))
    while len(stem.encode()) > LONGEST_STEM:
        stem = stem[:-1]
    return stem


def typed_settings(arguments: Sequence[str]) -> dict[str, str]:
    """Return the command-line settings that define the experiment, as text by dotted name.

    Settings such as `job.name` or `trainer.logger`, which do not define it, are left out.
    """
    found: dict[str, str] = {}
    for option in long_options(arguments):
        found[option.name.removesuffix("+").removesuffix(".class_path")] = option.value or ""
    return {name: value for name, value in found.items() if not INCIDENTAL.fullmatch(name)}


def found_in(config: Json, key: str) -> Json:
    """Return the setting with a dotted name; `NOTHING` if there is none.

    Args:
        key: dotted name, in which `init_args` may be omitted.
    """
    for name in key.split("."):
        if isinstance(config, Mapping) and name not in config and "init_args" in config:
            config = config["init_args"]
        if not isinstance(config, Mapping) or name not in config:
            return NOTHING
        config = config[name]
    return config


def comparable(value: Json) -> Json:
    """Return the class path of an object specification; any other value unchanged."""
    return value["class_path"] if isinstance(value, Mapping) and "class_path" in value else value


def part_of(key: str, value: Json) -> str:
    """Return a setting as one part of a run name: "de", "d_model_64", "LSTM", "no_fused".

    Args:
        key: dotted name of the setting.
    """
    name = key.rpartition(".")[2]
    value = comparable(value)
    name = SHORT.get(name, name)
    shown = [f"--{key}", str(value)]
    if redacted_arguments(shown) != shown or redacted_settings({name: shown[1]}) != {
        name: shown[1]
    }:
        return as_part(name)
    if value is None or value is False:
        return as_part(f"no_{name}")
    if value is True or isinstance(value, Mapping):
        return as_part(name)
    if isinstance(value, list | tuple):
        items = [comparable(each) for each in value]
        simple = all(isinstance(each, str | int | float) for each in items)
        texts = [
            plain(each).rpartition(".")[2] if isinstance(each, str) else plain(each)
            for each in items
        ]
        return as_part("_".join([name, *texts]) if simple else name)
    text = plain(value)
    if isinstance(value, str):
        if re.fullmatch(r"\w+(\.\w+)+", text) and not re.search(r"\.\d", text):
            return as_part(text.rpartition(".")[2]) or as_part(name)  # a class
        text = Path(text).name if "/" in text else text
        if name.endswith(TELLING):
            return as_part(text) or as_part(name)
    return as_part(f"{name}_{text}")


def plain(value: Json) -> str:
    """Return a value as text; floats have no trailing zeros."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_part(text: str) -> str:
    """Return the text reduced to the characters and the length of one part of a run name; it may be
    empty.
    """
    clean = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text))
    return re.sub(r"_{2,}", "_", clean).strip("_.-")[:LONGEST_PART].rstrip("_.-")

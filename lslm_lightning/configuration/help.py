"""Help texts of the training commands, generated from source code without importing torch."""

from collections.abc import Collection
from typing import NamedTuple

from lslm_lightning.configuration.class_help import (
    PLACES,
    block_help,
    block_settings,
    class_help,
    place_help,
    say,
    whole_help,
)
from lslm_lightning.configuration.given_settings import FIXED
from lslm_lightning.configuration.signatures import Setting, settings_of, shown
from lslm_lightning.configuration.source_tree import constant
from lslm_lightning.configuration.subcommands import LOADERS, TRAINED, TRAINING
from lslm_lightning.localization.width import padded, text_width, wrapped
from lslm_lightning.long_options import help_topic, long_options

# of a line, and of the first columns
WIDTH = 80
OPTION = 22
NAME = 25
DEFAULT = 10
MORE_OPTIONS = 38
ALL = "all"


class HelpSection(NamedTuple):
    """Section of a help text: settings of one class.

    Attributes:
        title: title of the section.
        path: import path of the class, whose source gives the defaults.
        rows: short description of each setting, by name.
    """

    title: str
    path: str
    rows: dict[str, str]


JOB = HelpSection(
    "Job: --job.NAME",
    FIXED["job"],
    {
        "name": "name of the run; by default the config's",
        "root": "folder of runs: ROOT/<task>/<name>-<id>",
        "minutes": "train for this long instead of max_steps",
        "average": "average the weights of N checkpoints",
        "average_of": "which: the last or the best checkpoints",
        "keep_last": "how many of the last checkpoints to keep",
        "keep_best": "how many of the best checkpoints to keep",
        "save_every_steps": "save a checkpoint every N steps",
        "save_every_minutes": "save a checkpoint every N minutes",
        "seeds": "train with N seeds; same as --seeds N",
        "start": "start from the weights of this run",
        "registered_model": "register the model in MLflow by this name",
        "intended_use": "research, commercial or publication",
        "tags": "MLflow tags to add, e.g. '{group: a}'",
    },
)
DEVICES = {
    "accelerator": "kind of device: cpu, gpu, mps or auto",
    "devices": "number of processes, one for each GPU",
    "strategy": "auto, ddp, or one of configs/trainer/",
    "precision": "32-true, bf16-mixed, auto (the faster one)",
}
TRAINER = HelpSection(
    "Trainer: --trainer.NAME",
    FIXED["trainer"],
    {
        "max_steps": "number of optimizer steps; -1: no limit",
        "max_epochs": "number of epochs; -1: no limit",
        "val_check_interval": "validate every N batches",
        "accumulate_grad_batches": "batches for one optimizer step",
        "gradient_clip_val": "scale gradients down to this norm",
        **DEVICES,
    },
)
TESTING = HelpSection(
    "Trainer: --trainer.NAME",
    FIXED["trainer"],
    {
        **DEVICES,
        "limit_val_batches": "read only N batches",
        "limit_test_batches": "read only N batches",
        "limit_predict_batches": "read only N batches",
    },
)
MODEL = HelpSection(
    "Model: --model.NAME, for every task",
    "lslm_lightning.training.task.Task",
    {
        "optimizer": "class; --model.optimizer.lr sets its rate",
        "schedule": "class of the learning-rate schedule",
        "label_smoothing": "probability spread over the vocabulary",
    },
)
NETWORK = HelpSection(
    "Backbone: --model.backbone.NAME, for the Transformer",
    "lslm_lightning.models.transformer.Transformer",
    dict.fromkeys(("d_model", "n_head", "n_encoder_layer", "n_decoder_layer", "dropout"), ""),
)
DATA = HelpSection(
    "Data: --data.NAME, for most tasks",
    "lslm_lightning.training.pair_data.PairData",
    {
        "corpus": "name in `lslm data list`, path or hub id",
        "tokenizer": "class; trained on the training split",
        "max_tokens": "tokens of a batch, padding included",
    },
)
TEST_DATA = DATA._replace(
    rows={
        "corpus": DATA.rows["corpus"],
        "eval_batch_tokens": "tokens of a batch, padding included",
    }
)
OPTIONS = {
    "-c, --config FILE": "YAML file; of several, later ones override",
    "--ckpt_path FILE": "",
    "--seed_everything N": "",
    "--print_config": "print all settings and exit; =comments explains them",
    "--trust": "let a run not started here name any class",
}
MORE = {
    "--help all": "all settings; --help CLASS: of a class",
    "--trainer.help": "all settings of the Trainer; --job.help",
    "--model.help": "classes for a key; --data.help, ...",
}
EXAMPLES = {
    "run": (
        "lslm run --config configs/language_modeling/docstrings_demo.yaml",
        "lslm run --config mine.yaml --trainer.max_steps 500 --model.optimizer.lr 1e-3",
        "lslm run --config mine.yaml --config configs/trainer/ddp.yaml --seeds 3",
    ),
    "fit": (
        "lslm fit --config configs/translation/cldr_demo.yaml --job.minutes 1",
        "lslm fit --config mine.yaml --ckpt_path RUN/checkpoints/last.ckpt",
    ),
    **{
        name: (
            f"lslm {name} --config RUN/config.yaml --ckpt_path RUN/checkpoints/best.ckpt",
            (
                f"lslm {name} --config RUN/config.yaml "
                "--ckpt_path RUN/checkpoints/last.ckpt \\\n      --data.corpus multi30k"
            ),
        )
        for name in TRAINED
    },
}
SUMMARIES = {
    "run": "Train a model, test the best checkpoint on the test split, write a report.",
    "fit": "Train a model; keep the last and the best checkpoint.",
    "validate": "Compute loss and scores of a checkpoint on the validation split.",
    "test": "Predict the test split with a checkpoint, score the predictions, write a report.",
    "predict": "Predict the test split with a checkpoint, without scores.",
}


def requested_help(arguments: list[str]) -> str:
    """Return the text of `--help CLASS`, `--help all`, `--KEY.help` and `--KEY.help CLASS`; "" for
    other arguments.

    Args:
        arguments: arguments of a command that reads configs, the subcommand first.

    Raises:
        SettingsError: there is no such class.
    """
    if topic := help_topic(arguments):
        return whole_help() if topic == ALL else class_help(topic)
    for option in long_options(arguments):
        key, _, last = option.name.rpartition(".")
        if not key or last != "help":
            continue
        if key in FIXED:
            return block_help(key)
        if option.value:
            return class_help(option.value, key)
        if key in PLACES:
            return place_help(key)
    return ""


def help_of(command: str) -> str:
    """Return the help text of `lslm run`, `fit`, `validate`, `test` or `predict`."""
    is_training = command in TRAINING
    seed = shown(constant("lslm_lightning.configuration.cli", "DEFAULT_SEED"))
    options = OPTIONS | {
        "--ckpt_path FILE": (
            "resume from this checkpoint" if is_training else "checkpoint to load (required)"
        ),
        "--seed_everything N": f"seed of weights, dropout and sampling (default {seed})",
    }
    given = "" if is_training else " --ckpt_path FILE"
    lines = wrapped(say(SUMMARIES[command]), WIDTH)
    lines += ["", *(f"  {example}" for example in EXAMPLES[command])]
    usage = f"lslm {command} --config FILE{given} [--KEY VALUE ...]"
    lines += ["", say(f"Usage: {usage}"), ""]
    lines += [row(name, say(text), OPTION) for name, text in options.items()]
    if is_training:
        without = () if command == "run" else ("seeds",)
        sections = [DATA, MODEL, NETWORK, TRAINER, less(JOB, without)]
    else:
        others = JOB.rows.keys() - {"name", "root", "tags"}
        used = [f"limit_{loader}_batches" for loader in LOADERS[command]]
        limits = [name for name in TESTING.rows if name.startswith("limit_") and name not in used]
        sections = [TEST_DATA, less(TESTING, limits), less(JOB, others)]
    for section in sections:
        lines += ["", *lines_of(section)]
    more = say("These are the most used; every key of a config can be given, without init_args:")
    lines += ["", *wrapped(more, WIDTH)]
    lines += [row(f"lslm {command} {name}", say(text), MORE_OPTIONS) for name, text in MORE.items()]
    return "\n".join(lines)


def less(section: HelpSection, names: Collection[str]) -> HelpSection:
    """Return a section without the rows for `names`."""
    return section._replace(
        rows={name: text for name, text in section.rows.items() if name not in names}
    )


def lines_of(section: HelpSection) -> list[str]:
    """Return the lines of a section, with default values.

    A section without descriptions becomes a paragraph of names and defaults.
    """
    block = next((name for name, path in FIXED.items() if path == section.path), "")
    known = block_settings(block) if block else settings_of(section.path) or ()
    settings = {setting.name: setting for setting in known}
    if not any(section.rows.values()):
        defaults = ", ".join(f"{name} {settings[name].shown_default}" for name in section.rows)
        return [say(section.title), *(f"  {line}" for line in wrapped(defaults, WIDTH - 2))]
    return [
        say(section.title),
        *(in_columns(settings[name], say(text)) for name, text in section.rows.items()),
    ]


def in_columns(setting: Setting, meaning: str) -> str:
    """Return the name, default and description of a setting as a line of three columns.

    Args:
        meaning: description of the setting.
    """
    default = say("required") if setting.default is None else setting.shown_default
    if text_width(default) < DEFAULT:
        return f"  {padded(setting.name, NAME)}{padded(default, DEFAULT)}{meaning}"
    return f"  {padded(setting.name, NAME)}{meaning}\n{' ' * (NAME + 2)}{default}"


def row(name: str, text: str, width: int) -> str:
    """Return a name and its description as two columns; the description is wrapped.

    Args:
        width: width of the first column.
    """
    first, *rest = wrapped(text, WIDTH - width - 2)
    return f"\n{' ' * (width + 2)}".join([f"  {padded(name, width)}{first}", *rest]).rstrip()

"""Help texts on settings, generated from source code without importing torch."""

import re
import textwrap
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import lslm_lightning
from lslm_lightning.configuration.errors import no_such_name
from lslm_lightning.configuration.given_settings import FIXED, OURS, refuse
from lslm_lightning.configuration.signatures import Setting, settings_of, shown, summary_of
from lslm_lightning.configuration.source_tree import (
    constant,
    definition_of,
    first_missing,
    mapping_of,
)
from lslm_lightning.configuration.subcommands import LOADERS, TRAINED, TRAINING
from lslm_lightning.runs.own_code import add_working_directory, is_import_path
from lslm_lightning.task_package import INSTALLED

# of a line, and of the first two columns
WIDTH = 80
NAME = 25
DEFAULT = 10
PACKAGES = (
    "torch.optim",
    "torch.nn",
    "lightning.pytorch.callbacks",
)  # whose classes are found by name
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


RUN = HelpSection(
    "The run, --job.NAME",
    FIXED["job"],
    {
        "name": "of the run (default: its config file's)",
        "root": "folder of all runs: ROOT/<task>/<name>-<id>",
        "minutes": "train this long, instead of max_steps",
        "average": "average the weights of N checkpoints",
        "average_of": "the last validated checkpoints, or the best",
        "keep_last": "keep N of the last checkpoints",
        "keep_best": "keep N of the best checkpoints",
        "save_every_steps": "save a checkpoint every N steps",
        "save_every_minutes": "save a checkpoint every N minutes",
        "seeds": "train with N seeds; also --seeds N",
        "tags": "more tags for MLflow, as in '{group: a}'",
    },
)
DEVICES = {
    "accelerator": "cpu, gpu or auto",
    "devices": "number of processes, one for each GPU",
    "strategy": "ddp, or see configs/trainer/",
    "precision": "32-true, bf16-mixed, auto (the faster one)",
}
TRAINER = HelpSection(
    "Training, --trainer.NAME",
    FIXED["trainer"],
    {
        "max_steps": "optimizer steps; -1 for no limit",
        "max_epochs": "epochs; -1 for no limit",
        "val_check_interval": "validate every N batches",
        "accumulate_grad_batches": "batches of one optimizer step",
        "gradient_clip_val": "largest norm of the gradient",
        **DEVICES,
    },
)
TESTING = HelpSection(
    "Evaluation, --trainer.NAME",
    FIXED["trainer"],
    {
        **DEVICES,
        "limit_val_batches": "only N batches",
        "limit_test_batches": "only N batches",
        "limit_predict_batches": "only N batches",
    },
)
MODEL = HelpSection(
    "Model, --model.NAME, of every task",
    "lslm_lightning.training.task.Task",
    {
        "label_smoothing": "probability spread over the vocabulary",
        "schedule": "of the learning rate, by step",
        "optimizer": "--model.optimizer.lr changes its rate",
    },
)
NETWORK = HelpSection(
    "Network, --model.backbone.NAME, of the Transformer",
    "lslm_lightning.models.transformer.Transformer",
    dict.fromkeys(("d_model", "n_head", "n_encoder_layer", "n_decoder_layer", "dropout"), ""),
)
DATA = HelpSection(
    "Data, --data.NAME, of most tasks",
    "lslm_lightning.training.pair_data.PairData",
    {
        "corpus": "of `lslm data list`, a path, or a hub id",
        "tokenizer": "made from the training split",
        "max_tokens": "of a batch, padding included",
        "n_validation_example": "examples answered in a validation",
    },
)
TEST_DATA = DATA._replace(
    rows={"corpus": DATA.rows["corpus"], "eval_batch_tokens": "of a batch, padding included"}
)
OPTIONS = {
    "-c, --config FILE": "YAML; several are merged, the last counts",
    "--ckpt_path FILE": "",
    "--seed_everything N": "",
    "--print_config": "show all settings and stop; =comments explains them",
    "--trust": "let the config.yaml of another's run name any class",
}
MORE = {
    "--help CLASS": "settings of a class: --help Transformer",
    "--help all": "every setting of a run, in brief",
    "--trainer.help": "settings of the Trainer; also --job.help",
    "--model.help CLASS": "settings of a task; also --data.help",
}
EXAMPLES = {
    "run": (
        "lslm run --config configs/language_modeling/docstrings_demo.yaml",
        "lslm run --config mine.yaml --trainer.max_steps 500 --model.optimizer.lr 1e-3",
        "lslm run --config mine.yaml --model.backbone.d_model 128 --job.name narrow",
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
                "--ckpt_path RUN/checkpoints/last.ckpt \\\n    --data.corpus multi30k"
            ),
        )
        for name in TRAINED
    },
}
SUMMARIES = {
    "run": "Train, answer the test split with the best checkpoint, score and report.",
    "fit": "Train, and keep the last and the best checkpoint.",
    "validate": "Loss and scores of a checkpoint on the validation split.",
    "test": "Answer the test split with a checkpoint, score the answers and report.",
    "predict": "Answer the test split with a checkpoint, without scores.",
}


def help_of(command: str) -> str:
    """Return the help text of `lslm run`, `fit`, `validate`, `test` or `predict`."""
    is_training = command in TRAINING
    seed = shown(constant("lslm_lightning.configuration.cli", "DEFAULT_SEED"))
    options = OPTIONS | {
        "--ckpt_path FILE": (
            "resume from this checkpoint" if is_training else "the checkpoint (required)"
        ),
        "--seed_everything N": f"of weights, dropout and sampling (default {seed})",
    }
    given = "" if is_training else " --ckpt_path FILE"
    lines = [
        f"usage: lslm {command} --config FILE{given} [--NAME VALUE ...]",
        "",
        SUMMARIES[command],
        "",
    ]
    lines += [f"  {example}" for example in EXAMPLES[command]]
    lines += ["", *(row(name, text, 22) for name, text in options.items())]
    if is_training:
        without = () if command == "run" else ("seeds",)
        sections = [less(RUN, without), TRAINER, MODEL, NETWORK, DATA]
    else:
        others = RUN.rows.keys() - {"name", "root", "tags"}
        used = [f"limit_{loader}_batches" for loader in LOADERS[command]]
        limits = [name for name in TESTING.rows if name.startswith("limit_") and name not in used]
        sections = [less(RUN, others), less(TESTING, limits), TEST_DATA]
    for section in sections:
        lines += ["", *lines_of(section)]
    lines += ["", "Any setting of a config can be given in this way, without its init_args."]
    lines += [row(f"lslm {command} {options}", text, 32) for options, text in MORE.items()]
    return "\n".join(lines)


def less(section: HelpSection, names: Collection[str]) -> HelpSection:
    """Return a section without the rows for `names`."""
    return section._replace(
        rows={name: text for name, text in section.rows.items() if name not in names}
    )


def block_help(block: str) -> str:
    """Return the help text on all settings of the block `trainer` or `job`."""
    settings = block_settings(block)
    title = f"--{block}.NAME, or NAME under {block} in a config"
    return "\n".join([title, "", *explained(settings)])


def block_settings(block: str) -> list[Setting]:
    """Return the settings of the block `trainer` or `job`, with the defaults of this project's
    commands.
    """
    settings = {setting.name: setting for setting in settings_of(FIXED[block]) or ()}
    if block == "trainer":
        ours = mapping_of(constant("lslm_lightning.configuration.job", "TRAINER_DEFAULTS"))
        for name, default in ours.items():
            settings[name] = settings[name]._replace(default=default)
    return list(settings.values())


def lines_of(section: HelpSection) -> list[str]:
    """Return the lines of a section, with default values.

    A section without descriptions becomes a paragraph of names and defaults.
    """
    block = next((name for name, path in FIXED.items() if path == section.path), "")
    known = block_settings(block) if block else settings_of(section.path) or ()
    settings = {setting.name: setting for setting in known}
    if not any(section.rows.values()):
        defaults = ", ".join(f"{name} {settings[name].shown_default}" for name in section.rows)
        return [
            section.title,
            *textwrap.wrap(defaults, WIDTH, initial_indent="  ", subsequent_indent="  "),
        ]
    return [
        section.title,
        *(in_columns(settings[name], text) for name, text in section.rows.items()),
    ]


def in_columns(setting: Setting, meaning: str) -> str:
    """Return the name, default and description of a setting as a line of three columns.

    Args:
        meaning: description of the setting.
    """
    default = default_of(setting)
    if len(default) < DEFAULT:
        return f"  {setting.name:<{NAME}}{default:<{DEFAULT}}{meaning}"
    return f"  {setting.name:<{NAME}}{meaning}:\n{' ' * (NAME + 2)}{default}"


def default_of(setting: Setting) -> str:
    """Return the default of a setting as shown in help texts; "required" if there is none."""
    return "required" if setting.default is None else setting.shown_default


def described(setting: Setting) -> str:
    """Return the type, description and default of a setting as one sentence."""
    meaning = setting.meaning.partition(" .. ")[0].replace("``", "")
    meaning = re.sub(r"\s*Default: \S+$", "", meaning).rstrip(".")  # which is not always ours
    sentence = ". ".join(filter(None, [setting.type, meaning]))
    default = default_of(setting)
    return f"{sentence} ({'required' if default == 'required' else f'default {default}'})"


def row(name: str, text: str, width: int) -> str:
    """Return a name and its description as two columns; the description is wrapped.

    Args:
        width: width of the first column in characters.
    """
    first = f"  {name:<{width}}"
    wrapped = textwrap.wrap(text, max(30, WIDTH - len(first)), break_on_hyphens=False) or [""]
    return f"\n{' ' * (width + 2)}".join([f"{first}{wrapped[0]}", *wrapped[1:]]).rstrip()


def class_help(name: str) -> str:
    """Return the help text on the settings of a class.

    Args:
        name: name or import path of the class.

    Raises:
        SettingsError: the class does not exist.
    """
    path = path_of(name)
    settings = settings_of(path)
    if settings is None:
        return imported_help(path)
    definition = definition_of(path)
    summary = "" if definition is None else summary_of(definition)
    own = [
        each for each in settings if each.name != "params" or not path.startswith("torch.optim.")
    ]
    lines = [path, *textwrap.wrap(summary, WIDTH), ""]
    lines += explained(own) or ["  It has no settings."]
    lines += [
        "",
        "In a config it stands as class_path, with init_args; in the shell after its key:",
    ]
    example = next((f" --KEY.{each.name} VALUE" for each in own), "")
    return "\n".join([*lines, f"  --KEY {path}{example}"])


def explained(settings: Sequence[Setting]) -> list[str]:
    """Return a two-column text per setting: name and description."""
    width = max((len(setting.name) + 2 for setting in settings), default=0)
    return [row(setting.name, described(setting), width) for setting in settings]


def path_of(name: str) -> str:
    """Return the import path of a class, given its name or its import path."""
    if "." in name:
        add_working_directory(name)
        if definition_of(name) is not None:
            return name
        if missing := first_missing(name):
            refuse(no_such_name("--help", name, *missing))
    known = known_classes()
    last = name.rpartition(".")[2]
    found = known.get(name, [])
    if not found and "." not in name:
        found = [f"{package}.{name}" for package in PACKAGES if definition_of(f"{package}.{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        refuse(f"--help {name}: there are {', '.join(found)}; give one of these")
    if is_import_path(name) and not name.startswith(OURS):
        return name  # importing it will tell
    near = [path for each in get_close_matches(last, known, 2) for path in known[each]]
    suggestion = (
        f"; did you mean {' or '.join(near)}?"
        if near
        else "; give its import path, package.module.Class"
    )
    refuse(f"--help {name}: there is no such class{suggestion}")


def known_classes() -> dict[str, list[str]]:
    """Return the import paths of this project's public classes, by class name."""
    home = Path(lslm_lightning.__file__).parents[1]
    found: dict[str, list[str]] = {}
    for package in ("lslm_lightning", INSTALLED):
        for file in sorted((home / package).rglob("*.py")):
            module = ".".join(file.relative_to(home).with_suffix("").parts).removesuffix(
                ".__init__"
            )
            for name in re.findall(r"^class ([A-Z]\w*)", file.read_text("utf-8"), re.MULTILINE):
                found.setdefault(name, []).append(f"{module}.{name}")
    return found


def imported_help(path: str) -> str:
    """Return jsonargparse's help text on a class, which is imported for it."""
    from lslm_lightning.runs.parser import ArgumentParser
    from lslm_lightning.runs.trust import resolve

    try:
        found = resolve(path)
    except ValueError as error:
        refuse(str(error))
    parser = ArgumentParser(prog=path, usage=path)
    add = parser.add_class_arguments if isinstance(found, type) else parser.add_function_arguments
    add(found, fail_untyped=False)
    return parser.format_help().rstrip()

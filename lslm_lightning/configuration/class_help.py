"""Help texts on the settings of one class or block, generated from source code without importing
torch.
"""

import re
import shutil
from collections.abc import Sequence
from difflib import get_close_matches

from lslm_lightning.configuration.class_index import known_classes, subclasses
from lslm_lightning.configuration.errors import no_such_name
from lslm_lightning.configuration.given_settings import FIXED, OURS, refuse
from lslm_lightning.configuration.signatures import Setting, settings_of, summary_of
from lslm_lightning.configuration.source_tree import (
    Definition,
    constant,
    definition_of,
    first_missing,
    mapping_of,
)
from lslm_lightning.localization import SETTINGS, translated
from lslm_lightning.localization.width import padded, wrapped
from lslm_lightning.runs.own_code import add_working_directory, is_import_path
from lslm_lightning.task_package import INSTALLED

WIDEST = 100  # lines of a help text
PACKAGES = (
    "torch.optim",
    "torch.nn",
    "lightning.pytorch.callbacks",
)  # whose classes are found by name
ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")  # of Sphinx, in the docstrings of libraries
OPTIMIZERS = {  # arguments of `torch.optim`, whose docstrings are made when it is imported
    "amsgrad": "use the AMSGrad variant.",
    "betas": "decay rates of the running averages of the gradient and of its square.",
    "capturable": "allow steps within a CUDA graph; for GPUs.",
    "dampening": "damping of the momentum.",
    "differentiable": "record gradients through the step.",
    "eps": "number added to the denominator, for numerical stability.",
    "foreach": "update all parameters in one call; null to let torch decide.",
    "fused": "use the fused kernel, which is faster; null to let torch decide.",
    "lr": "learning rate at its peak; model.schedule multiplies it.",
    "maximize": "maximize the loss instead of minimizing it.",
    "momentum": "factor of the momentum; 0 for none.",
    "nesterov": "use Nesterov's momentum.",
    "weight_decay": "weight decay of matrices; vectors have none.",
}
PLACES = {  # setting -> base class of what can be given, and the package to look in
    "data": ("TaskData", INSTALLED),
    "data.tokenizer": ("Recipe", ""),
    "model": ("Task", INSTALLED),
    "model.adapter": ("Adapter", ""),
    "model.backbone": ("Backbone", ""),
    "model.backbone.position": ("Position", ""),
    "model.head": ("Head", "lslm_lightning.models"),
    "model.search": ("Search", ""),
    "model.schedule": ("Schedule", ""),
}


def block_help(block: str) -> str:
    """Return the help text on all settings of the block `trainer` or `job`."""
    title = say(f"--{block}.NAME VALUE, or NAME: VALUE under {block} in a config")
    return "\n".join([*wrapped(title, width()), "", *explained(block_settings(block))])


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


def class_help(name: str, key: str = "KEY") -> str:
    """Return the help text on the settings of a class.

    Args:
        name: name or import path of the class.
        key: key of a config that the class is given for.

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
    lines = [path, *(wrapped(say(summary), width()) if summary else []), ""]
    lines += explained(own) or [f"  {say('It has no keys.')}"]
    usage = say("In a config: class_path and init_args. On the command line, after its key:")
    example = next((f" --{key}.{each.name} VALUE" for each in own), "")
    return "\n".join([*lines, "", *wrapped(usage, width()), f"  --{key} {path}{example}"])


def place_help(place: str) -> str:
    """Return the help text on the classes that can stand in a place of a config.

    Args:
        place: a key of `PLACES`.
    """
    found = subclasses(*PLACES[place])
    title = say(f"Classes for --{place}, or class_path under {place} in a config:")
    lines = [*wrapped(title, width()), ""]
    for each in found:
        lines += [f"  {each.path}", *indented(say(first_sentence(each)))]
    usage = say("The settings of one of them:")
    return "\n".join([*lines, "", usage, f"  lslm run --help {found[0].node.name}"])


def whole_help() -> str:
    """Return the help text on all settings of a run, with the classes that can be given."""
    lines = []
    for block in FIXED:
        settings = [each._replace(name=f"--{block}.{each.name}") for each in block_settings(block)]
        lines += [f"{block}:", *explained(settings), ""]
    for place, (base, package) in PLACES.items():
        lines.append(say(f"--{place} CLASS; its settings: --{place}.help CLASS"))
        lines += [f"  {each.node.name}" for each in subclasses(base, package)]
        lines.append("")
    options = "--config FILE, --ckpt_path FILE, --seed_everything N, --print_config, --trust"
    return "\n".join([*lines, say(f"Other options: {options}")])


def first_sentence(definition: Definition) -> str:
    """Return the first sentence of a class's docstring."""
    return re.split(r"(?<=\.)\s(?=[A-Z])", summary_of(definition), maxsplit=1)[0]


def explained(settings: Sequence[Setting]) -> list[str]:
    """Return lines on each setting: name, type and default; below them what it means."""
    lines = []
    column = max((len(setting.name) + 2 for setting in settings), default=0)
    for setting in settings:
        kind = ", ".join(filter(None, [setting.type, default_of(setting)]))
        lines.append(f"  {padded(setting.name, column)}{kind}".rstrip())
        lines += indented(say(meaning_of(setting)))
    return lines


def default_of(setting: Setting) -> str:
    """Return the default of a setting, or that it must be given, as class help says it."""
    if setting.default is None:
        return say("required")
    return say(f"default {setting.shown_default}")


def meaning_of(setting: Setting) -> str:
    """Return the description of a setting without Sphinx's markup."""
    if not setting.meaning and setting.module.startswith("torch.optim"):
        return OPTIMIZERS.get(setting.name, "")
    text = ROLE.sub(r"`\1`", setting.meaning.partition(" .. ")[0]).replace("``", "`")
    return re.sub(r"\s*Default: \S+$", "", text)  # which is not always ours


def indented(text: str) -> list[str]:
    """Return a text as lines under a name."""
    return [f"      {line}" for line in wrapped(text, width() - 6)] if text else []


def width() -> int:
    """Return the number of columns of a help text."""
    return min(WIDEST, shutil.get_terminal_size().columns)


def say(text: str) -> str:
    """Return a text of the help in the language of the interface."""
    return translated(text, SETTINGS)


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

"""One-line error messages about configs: the innermost cause, the setting, and a suggestion."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from lslm_lightning.configuration.config_files import FILES
from lslm_lightning.configuration.subcommands import LOADERS
from lslm_lightning.runs.own_code import IMPORT_PATH
from lslm_lightning.runs.trust import ADVICE, DENIED, is_restricted, resolve
from lslm_lightning.task_package import HOME, INSTALLED
from lslm_lightning.text.yaml_files import (
    plain_scalars,
    quoted_way_out,
)

if TYPE_CHECKING:
    from lslm_lightning.runs.parser import ArgumentParser

PACKAGES = ("lslm_lightning", INSTALLED)
# how jsonargparse begins to tell that a constructor broke down
BROKE_DOWN = "Problem with given class_path"


class Cause(NamedTuple):
    """Innermost cause in an error message of the parser, and the setting that it concerns."""

    reason: str
    key: str  # dotted, as far as the message names it
    value: str  # what was given, "" where unknown
    classes: list[str]  # import paths whose arguments these are, outermost first


def explain(message: str, parser: "ArgumentParser") -> str:
    """Return a one-line explanation of an error message of the parser.

    Args:
        message: error message of jsonargparse, possibly of many lines.
        parser: parser that raised the error.
    """
    cause = _cause(message)
    for pattern, explanation in EXPLANATIONS.items():
        if found := re.search(pattern, cause.reason):
            return explanation(cause, found, parser)
    key = cause.key
    value = cause.value
    # of the shell; a module that raises is not told where
    if nested := re.match(r"NestedArg\(key='([\w.]+)', val='(.*)'\)", value):
        key = f"{key}.{nested[1]}"
        value = nested[2]
    path = f"{value} cannot be imported: " if IMPORT_PATH.fullmatch(value) else ""
    return f"{key}: {path}{cause.reason}" if key else cause.reason


def _cause(message: str) -> Cause:
    """Find the innermost cause in an error message of jsonargparse, which shows nesting by
    indentation.
    """
    lines = [
        (len(line) - len(line.lstrip()), line.strip(" -"))
        for line in message.splitlines()
        if line.strip(" -")
    ]
    lines = lines or [(0, "the configuration cannot be read")]
    inner = [i for i, (_, line) in enumerate(lines) if not re.search(FRAME, line)] or [0]
    told = [
        i
        for i in inner
        if not (
            lines[i][1].startswith("Expected a") or "does not implement protocol" in lines[i][1]
        )
    ] or inner
    best = max(told, key=lambda i: lines[i][0])
    depth, line = lines[best]

    around: list[str] = []
    key_at = -1
    outside = depth
    for i in reversed(range(best)):
        if lines[i][0] < outside:
            outside = lines[i][0]
            around = [lines[i][1], *around]
            key_at = i if key_at < 0 and "Parser key" in lines[i][1] else key_at
    of_key = list(
        takewhile(lambda line: key_at < 0 or line[0] > lines[key_at][0], lines[key_at + 1 :])
    )

    reason, *values = re.sub(r"^Type .* expects a function or a callable class: ", "", line).split(
        ". Got value: "
    )
    values += [
        line.removeprefix("Given value: ").split(". Got value: ")[0]
        for _, line in reversed(of_key)
        if line.startswith("Given value: ")
    ]
    if reason.startswith("Expected a"):
        tried = [
            line.split(". Got value: ")[0]
            for indent, line in of_key
            if indent == depth and line.startswith("Expected a")
        ]
        reason = "\n".join(line for line in dict.fromkeys(tried) if "Expected a path" not in line)
    keys = [key for line in around for key in re.findall(r'Parser key "([\w.]+)"', line)]
    classes = re.findall(r"class_path[ =]'([\w.]+)'", " ".join([*around, *values[:1]]))
    return Cause(reason, ".".join(keys), values[0] if values else "", classes)


def _unknown(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for an unknown setting.

    Args:
        found: match of the pattern that recognizes this cause.
        parser: parser that raised the error.
    """
    name = found[1].split()[0].removeprefix("--").split("=")[0]
    if "nrecognized" in cause.reason and not found[1].startswith("-"):
        return f"{name!r} belongs to no option; options begin with --"
    from lslm_lightning.configuration.lightning_cli_internals import all_argument_names  # slow

    if cause.classes:
        return unknown_name(cause.key, name, _names_of(cause.classes[-1]), cause.classes[-1])
    return unknown_name(cause.key, name, sorted(set(all_argument_names(parser))))


def unknown_name(setting: str, name: str, known: Sequence[str], path: str = "") -> str:
    """Return the error message for an unknown setting, with the most similar known name.

    Args:
        setting: dotted name of the enclosing setting; "" for the top level of a config.
        name: unknown name.
        known: names that exist in the enclosing setting.
        path: import path of the class of the enclosing setting. If no known name is similar, the
            message lists what this class accepts.
    """
    near = _nearest_key(name, known)
    prefix = f"{setting}." if setting else ""
    dotted = f"{prefix}{name}"
    if near or not path:
        suggestion = f"; did you mean {prefix}{near}?" if near else ""
        return f"{dotted} is not known{suggestion}"
    return f"{dotted} is not known: {path} takes {', '.join(known) or 'nothing'}"


def _denied(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a class that is not trusted."""
    return f"{cause.key}: the run may not name {found[1]}; {ADVICE}".removeprefix(": ")


def _missing(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a cause that says that settings are missing."""
    prefix = f"{cause.key}." if cause.key else ""
    names = [re.sub(rf"^({'|'.join(LOADERS)})\.", "", name) for name in found[1].split(", ")]
    return missing_settings([f"{prefix}{name}" for name in names])


def missing_settings(names: Sequence[str]) -> str:
    """Return the error message for missing settings with these names."""
    return f"{', '.join(names)} must be given, in a config (--config FILE) or on the command line"


def _no_such_name(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for an import path whose module or attribute does not exist."""
    path = (
        cause.value
        if IMPORT_PATH.fullmatch(cause.value) or not cause.classes
        else cause.classes[-1]
    )
    module, _, name = (f"{found[1]}.{found[2]}" if found.re.groups == 2 else found[1]).rpartition(
        "."
    )
    if f"{module}.{name}".strip(".") not in path:
        return f"{f'{cause.key}: ' if cause.key else ''}{path} cannot be imported: {cause.reason}"
    return no_such_name(cause.key, path, module, name, _names_in(module))


def no_such_name(setting: str, path: str, module: str, name: str, known: Sequence[str]) -> str:
    """Return the error message for an import path that does not exist.

    Args:
        setting: dotted name of the setting whose value is the import path; "" for none.
        path: the import path.
        module: longest part of the path that exists; "" if none does.
        name: next part of the path, which does not exist.
        known: names that `module` contains.
    """
    near = get_close_matches(name, known, 1, 0.7)
    where = f"{module} has no {name}" if module else f"there is no module {name}"
    suggestion = f"; did you mean {module}.{near[0]}?".replace(" .", " ") if near else ""
    if setting:
        return f"{setting}: {path} cannot be imported: {where}{suggestion}"
    return f"{path} cannot be imported: {where}{suggestion}"


def _wrong_kind(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a value that should name a class."""
    return (
        f"{cause.key or 'a value'} must be {SPECIFICATION} of a {found[1]}, but is "
        f"{_shown(cause.value)}{_full_path(cause.value)}"
    )


def _wrong_class(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a class that is not a subclass of the expected one."""
    return f"{cause.key}: {(found[1] or cause.value).strip()} is no subclass of {found[2]}"


def _abstract(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a class that cannot be instantiated."""
    return (
        f"{cause.key}: {cause.value or 'the class'} is abstract; name a class that inherits from it"
    )


def _no_mapping(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for `init_args` that are not a mapping."""
    return f"{cause.key}.init_args must be a mapping of names to values, but is a {found[1]}"


def _wrong_type(cause: Cause, found: re.Match[str], parser: "ArgumentParser") -> str:
    """Return the error message for a value of the wrong type.

    The text of the cause has one line per type that was tried.
    """
    kinds = re.findall(r"^Expected an? (.+)", cause.reason, re.MULTILINE)
    paths = [kind.partition(": ")[2] for kind in kinds if kind.startswith("dot import path")]
    choices = [
        kind[len("typing.Literal[") : -1] for kind in kinds if kind.startswith("typing.Literal[")
    ]
    classes = [name for kind in kinds for name in re.findall("^<class '(.+)'>", kind)]
    wanted = (
        [f"one of {', '.join(choices)}"]
        if choices
        else [TYPES.get(name, f"a {name}") for name in classes if name != "NoneType"]
    )
    wanted += [
        kind for kind in kinds if not re.match("dot import path|typing.Literal|<class", kind)
    ]
    if not wanted:
        wanted = [SPECIFICATION]
    elif "NoneType" in classes:
        wanted.append("null")
    given = paths[0] if paths else cause.value
    path = _full_path(given) if SPECIFICATION in wanted else ""
    message = (
        f"{cause.key or 'a value'} must be {' or '.join(wanted)}, but is {_shown(given)}{path}"
    )
    return message + (_unquoted(cause.key) if "str" in classes else "")


def _unquoted(key: str) -> str:
    """Return a note with file and line if a config gives `key` as an unquoted scalar that YAML
    reads as another type; otherwise "".
    """
    for path in reversed(FILES.get()):
        for name, scalar in plain_scalars(path):
            if name.replace(".init_args", "") == key:
                return f" (config {path}, line {scalar.line}){quoted_way_out(scalar.text)}"
    return ""


FRAME = (
    r"^(Expected a path but|Subtypes: |Errors:$|Given value|Does not validate|Subclass types "
    r"expect|a class path \(str\)|a dict with)"
    r"|Parser key \"[\w.]+\".*:$|^Problem with given class_path .*:$"
)
SPECIFICATION = "an import path package.module.Class (or class_path and init_args)"
NO_YAML = ", which is no YAML"
TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "dict": "a mapping",
    "list": "a list",
    "NoneType": "null",
}
EXPLANATIONS: dict[str, "Callable[[Cause, re.Match[str], ArgumentParser], str]"] = {
    r"^unrecognized arguments: (.*)": _unknown,
    r"^Option '(.+)' is not accepted": _unknown,
    r"does not accept option '(.+)'": _unknown,
    DENIED: _denied,
    r"following arguments are required: (.*)": _missing,
    r"module '([\w.]+)' has no attribute '(\w+)'": _no_such_name,
    r"No module named '([\w.]+)'": _no_such_name,
    r"^Not a valid subclass of (\w+)": _wrong_kind,
    r"^Import path (\S+ )?does not correspond to a subclass of (\w+)": _wrong_class,
    r"^Expected '([\w.]+)' to be a subclass of <class '(?:\w+\.)*(\w+)'>": _wrong_class,
    r"^Expected an instantiatable class, but.* is abstract": _abstract,
    r"^'(\w+)' object has no attribute 'keys'": _no_mapping,
    r"^Expected an? ": _wrong_type,
}


def _shown(value: str) -> str:
    """Return a value as shown in messages: shortened, quoted if it is text, and marked if it is not
    valid YAML.
    """
    short = value if len(value) <= 60 else f"{value[:57]}..."
    try:
        plain = isinstance(yaml.safe_load(value), str)
    except yaml.YAMLError:
        return repr(short) + NO_YAML
    return repr(short) if plain or not value else short


def _full_path(name: str) -> str:
    """Return a suggestion with the import path of the class of this project that has a name; "" if
    there is none.
    """
    if not name.isidentifier():
        return ""
    defined = re.compile(rf"^class {name}\b", re.MULTILINE)
    for file in sorted(file for each in PACKAGES for file in Path(HOME, each).rglob("*.py")):
        if defined.search(file.read_text("utf-8")):
            path = ".".join([*file.relative_to(HOME).with_suffix("").parts, name])
            return f"; did you mean {path}?"
    return ""


def _nearest_key(key: str, known: Sequence[str]) -> str:
    """Return the known dotted key that is most similar to `key`; "" if none is similar."""
    outer, _, name = key.rpartition(".")
    beside = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == outer]
    if beside:
        near = get_close_matches(name, beside, 1)
        return f"{outer}.{near[0]}".lstrip(".") if near else ""
    first, _, rest = key.partition(".")
    near = get_close_matches(first, {k.partition(".")[0] for k in known}, 1)
    return f"{near[0]}.{rest}" if near else ""


def _names_of(path: str) -> list[str]:
    """Return the argument names of the class or function at an import path."""
    from lslm_lightning.configuration.lightning_cli_internals import argument_names  # slow
    from lslm_lightning.runs.parser import ArgumentParser  # slow

    parser = ArgumentParser(exit_on_error=False)
    found = resolve(path)
    (parser.add_class_arguments if inspect.isclass(found) else parser.add_function_arguments)(
        found, fail_untyped=False
    )
    return [name for name in argument_names(parser) if not name.endswith("help")]


def _names_in(module: str) -> list[str]:
    """Return the names that can be imported from a module; for "", all top-level modules."""
    if not module:
        return [each.name for each in pkgutil.iter_modules()]
    if is_restricted():  # the name comes from a run that is not trusted
        return []
    found = importlib.import_module(module)
    inner = [each.name for each in pkgutil.iter_modules(getattr(found, "__path__", []))]
    return [
        name for name, value in vars(found).items() if callable(value) and not name.startswith("_")
    ] + inner


def cause_of(error: ValueError) -> Exception:
    """Return the original error that jsonargparse wrapped while it built a class or followed a link
    between settings.
    """
    message = str(error)
    if message.startswith("Call to compute_fn of link") and isinstance(error.__cause__, Exception):
        return error.__cause__
    return ValueError(_cause(message).reason) if message.startswith("Does not validate") else error

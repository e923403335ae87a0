"""Options among the arguments of a command and their values, read in one way by all that look for
them.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

SHORT = re.compile("-c=?")  # of --config; its value may follow in the same argument


class Option(NamedTuple):
    """Option among the arguments of a command.

    Attributes:
        name: long name without dashes; "config" for `-c`, "help" for `-h`.
        value: text of the value, in the same argument or the next; None if there is none.
        position: index of the argument that begins with the option.
        value_position: index of the argument that ends with the value.
    """

    name: str
    value: str | None
    position: int
    value_position: int


def long_options(arguments: Sequence[str]) -> Iterator[Option]:
    """Yield the options `--name value`, `--name=value`, `--name`, `-c FILE`, `-cFILE` and `-h`.

    An argument that begins like an option is never the value of the one before it.
    """
    for i, argument in enumerate(arguments):
        if argument == "--" or not is_option(argument):
            continue
        if argument == "-h":
            name, mark, value = "help", "", ""
        elif short := SHORT.match(argument):
            name, mark, value = "config", argument[2:], argument[short.end() :]
        else:
            name, mark, value = argument[2:].partition("=")
        following = arguments[i + 1 : i + 2]
        if mark:
            yield Option(name, value, i, i)
        elif following and not is_option(following[0]):
            yield Option(name, following[0], i, i + 1)
        else:
            yield Option(name, None, i, i)


def option_values(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and the value of each option that has a value."""
    return [(each.name, each.value) for each in long_options(arguments) if each.value is not None]


def help_topic(arguments: Sequence[str]) -> str | None:
    """Return the value of `--help`; "" if it has none, and None if no help is requested."""
    topics = (option.value or "" for option in long_options(arguments) if option.name == "help")
    return next(topics, None)


def is_option(argument: str) -> bool:
    """Return whether an argument is an option, with or without a value."""
    return argument.startswith(("--", "-c")) or argument == "-h"


def number_message(option: str, kind: str, given: str) -> str:
    """Return the message for an option whose value is no number.

    Args:
        option: option, such as "--margin".
        kind: type that its value must have, "int" or "float".
        given: value that came.
    """
    if kind == "int":
        near = re.sub(r"(?<=\d)[,_ ](?=\d{3})|[.,]0{1,2}$", "", given)
        suggestion = f"; did you mean {near}?" if near.isdecimal() else ""
        return f"{option}={given!r} must be a whole number in digits, such as 10{suggestion}"
    near = re.sub(r",(?!\d{3}$)", ".", given)  # a thousand or a decimal comma before three digits
    suggestion = f"; did you mean {near}?" if re.fullmatch(r"[-+]?\d*\.?\d+", near) else ""
    return f"{option}={given!r} must be a number with a decimal point, such as 0.5{suggestion}"


def listed_names(text: str) -> list[str]:
    """Return the names in the value of an option, which commas separate, with or without spaces."""
    return [name.strip() for name in text.split(",") if name.strip()]

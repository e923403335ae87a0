"""What is wrong with a configuration, in one line: the innermost cause, its place, the nearest right word."""

import re
from difflib import get_close_matches

from jsonargparse import ArgumentParser


def explain(message: str, parser: ArgumentParser) -> str:
    """The one line of a parser's message, whose cause may stand deep inside a list of tried types."""
    lines = [line.strip(" -\t") for line in message.splitlines() if line.strip()]
    cause = _innermost(lines)
    unknown = re.search(r"(?:Unrecognized arguments: |Key[s]? |Option |key )['\"]?(?:--)?([\w.]+)", cause)
    near = get_close_matches(unknown[1].split(".")[-1], _names(message, parser), 1, 0.6) if unknown else []
    place = _place(message)
    hint = f"; did you mean {near[0]!r}?" if near and near[0] not in cause else ""
    prefix = f"{place}: " if place and place not in cause else ""
    return f"{prefix}{cause}{hint}"


def _innermost(lines: list[str]) -> str:
    """The line that names a cause, rather than the path to it."""
    telling = [line for line in lines if re.search(r"does not accept|not accepted|must be|Unable to|No such|Problem with|Unrecognized|Expected", line)]
    words = (telling or lines or ["the configuration cannot be read"])[-1]
    return re.sub(r"^(error: |Parser key |Validation failed: )+", "", words)


def _place(message: str) -> str:
    """The dotted key the message begins with."""
    found = re.search(r"[Pp]arser key \"([\w.]+)\"", message) or re.search(r"Key \"([\w.]+)\"", message)
    return found[1] if found else ""


def _names(message: str, parser: ArgumentParser) -> list[str]:
    """All words a user may have meant."""
    known = {part for action in parser._actions for part in action.dest.split(".")}
    return sorted(known | set(re.findall(r"--?([\w.]+)", message)))

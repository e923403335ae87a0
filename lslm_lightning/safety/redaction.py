"""Redaction of secrets in texts and settings.

A secret is known by its value, wherever that occurs (the value of an environment variable or of a
setting whose name says so, the password of an address), and by its context: after such a name, in
an address, after `Bearer`. A value that is too short or too common to be told from other text is
hidden in its context only, so that a password `a` does not blank every `a`.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from lslm_lightning.safety.secret_names import (
    CERTAIN,
    POSSIBLE,
    TEXT_TOKENS,
    last_word,
    names_secret,
    names_secret_variable,
    words_of_name,
)
from lslm_lightning.safety.secret_values import (
    MASK,
    PLAIN,
    basic,
    bounded,
    is_distinct,
    spellings,
)
from lslm_lightning.types import Json

LONGEST = 20_000  # characters of a value recognized by its context

NAME = re.compile(  # of name=value, name: value, "name": "value", --name value
    r"(?:(?P<option>(?<![\w-])--)|(?<![\w$.-]))(?P<name>[A-Za-z_][\w.-]*+)"
    r"(?P<mark>\\?[\"']?\s?(?:=|:(?!//))\s*|(?<=\w)\s+)"
)
VALUE = re.compile(
    r"""\\"(?:[^"\\]|\\(?!"))*\\"|[bru]{0,2}(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*')"""
    r"""|(?:(?:Bearer|Basic|Token)\s+)?[^\s"'&]+"""
)
QUERY = re.compile(
    r"(?i)(?:[?&;]|&amp;)(?P<name>[\w.-]{0,99}(?:key|token|secret|password|signature|sig|credential|auth))"
    r"=(?P<value>[^&\s'\"<>]+)"
)
YAML_LINE = re.compile(
    r"(?m)^[ \t]*(?:- +)*[\"']?(?P<name>[\w.-]+)[\"']?[ \t]*:[ \t]+(?P<value>\S.*)$"
)
ADDRESS = re.compile(r"://(?P<rest>(?:(?!://)[^\s'\"<>])*)")
NO_PORT = re.compile(r"[^/?#@]*:(?!\d+(?:[/?#]|$))")
HEADER = re.compile(
    r"\b(?:[Bb]earer\s+(?P<bearer>(?=\S{0,200}\d|\S{20})[\w+/.~=-]{8,})"
    r"|[Bb]asic\s+(?P<basic>(?=\S{0,200}[A-Z])(?=\S{0,200}\d)[A-Za-z0-9+/]{10,}={0,2}(?!\S)))"
)
SHAPES = re.compile(  # formats of well-known providers
    r"(?<![A-Za-z0-9])(?P<value>sk-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|A(?:KIA|SIA)[A-Z0-9]{16}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{1,20000}-----END"
    r"|AIza[\w-]{35}|eyJ[\w-]{10,4000}\.eyJ[\w-]{10,4000}\.[\w-]+)"
)


class Hidden(NamedTuple):
    """Secret in a text, with its character span."""

    start: int
    end: int
    value: str


class KnownSecrets:
    """Values of secrets in use; they stay known when an environment variable is unset."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._seen: set[tuple[str, str]] = set()  # environment variables read before
        self._environment: dict[object, object] = {}  # as read last
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, values: Iterable[str]) -> None:
        """Add values, except those that cannot be told from other text."""
        new = {value for value in values if is_distinct(value)} - self._values
        if new:
            with self._lock:
                self._values |= new
                self._pattern = None

    def forget(self) -> None:
        """Forget all values, for tests."""
        with self._lock:
            self._values.clear()
            self._seen.clear()
            self._environment = {}
            self._pattern = None

    def pattern(self) -> re.Pattern[str] | None:
        """Return a pattern that finds all of them in all their spellings; None where there are
        none.
        """
        self._read_environment()
        with self._lock:
            if self._pattern is None and self._values:
                forms = {form for value in self._values for form in spellings(value)}
                ordered = sorted(forms, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(bounded, ordered)))
            return self._pattern

    def _read_environment(self) -> None:
        """Add the secrets of environment variables, if these changed."""
        environment = dict(getattr(os.environ, "_data", os.environ))  # nothing is decoded
        if environment == self._environment:
            return
        self._environment = environment
        new = set(os.environ.items()) - self._seen
        if not new:
            return
        self._seen |= new
        for name, value in new:
            if names_secret_variable(name) and not os.path.exists(value):
                self.add([value])
            elif "://" in value:
                self.add(parts_of_addresses(value))
        user, password = map(
            os.environ.get, ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        )
        if user and password:
            self.add([basic(f"{user}:{password}")])


KNOWN = KnownSecrets()


def redacted(text: str) -> str:
    """Return `text` without secrets: those known by their value, and those recognized by their
    context.
    """
    text = without_known(text)
    return _replaced(text, _in_context(text))


def without_known(text: str) -> str:
    """Return `text` without known values of secrets and without passwords of addresses; for texts
    that are data.
    """
    if pattern := KNOWN.pattern():
        text = pattern.sub(MASK, text)
    return _replaced(text, _credentials(text)) if "://" in text else text


def redacted_settings(value: Json, name: str = "") -> Json:
    """Return settings (mappings, lists, texts) without secrets; a value that holds none is returned
    unchanged, with the same type.
    """
    if isinstance(value, Mapping):
        inherits = names_secret(name) and "class_path" not in value
        return {
            key: redacted_settings(inner, name if inherits else str(key))
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str) and names_secret(value[0]):  # a header
            return [value[0], redacted_settings(value[1], value[0])]
        return [redacted_settings(inner, name) for inner in value]
    if isinstance(value, str):
        if name == "class_path":  # public, and needed to read the rest
            return value
        return MASK if is_secret(name, value) else redacted(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return MASK if is_number and last_word(name) in CERTAIN else value


def redacted_arguments(words: Sequence[str]) -> list[str]:
    """Return command-line arguments without secrets."""
    shown = [redacted(word) for word in words]
    for i, start, name in _options(words):
        if is_secret(name, words[i][start:]):
            shown[i] = words[i][:start] + MASK
    return shown


def learn_settings(value: Json, name: str = "") -> None:
    """Add the secrets of settings to the known values. A value that occurs in many places (YAML
    aliases) is read once.
    """
    waiting = [(name, value)]
    seen = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str):
            if is_secret(name, value):
                learn_secret(value)
            else:
                learn_text(value)
        elif isinstance(value, Mapping | list | tuple) and (id(value), name) not in seen:
            seen.add((id(value), name))
            inherits = not isinstance(value, Mapping) or (
                names_secret(name) and "class_path" not in value
            )
            pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [(name if inherits else str(key), inner) for key, inner in pairs]


def learn_arguments(words: Sequence[str]) -> None:
    """Add the secrets of a command line to the known values; from a positional argument, which may
    be a text to be answered, only passwords of addresses.
    """
    for before, word in pairwise(["", *words]):
        if word.startswith("-") or before.startswith("--"):
            learn_text(word)
        elif "://" in word:
            KNOWN.add(parts_of_addresses(word))
    given = [(name, words[i][start:]) for i, start, name in _options(words)]
    KNOWN.add(value for name, value in given if is_secret(name, value))


def learn_text(text: str) -> None:
    """Add the secrets that a text shows by their context to the known values."""
    if "://" in text:
        KNOWN.add(parts_of_addresses(text))
    KNOWN.add(_unquoted(hidden.value) for hidden in _in_context(text))


def learn_secret(value: str | None) -> None:
    """Add a value to the known secrets."""
    KNOWN.add([value] if value else [])


def is_secret(name: str, value: str, in_text: bool = False) -> bool:
    """Return whether `value` is a secret for a setting of this name, and not a token of a text.

    Args:
        in_text: name and value occur in prose, where "token: expected" is no secret.
    """
    bare = _unquoted(value).strip()
    words = words_of_name(name)
    if bare.lower() in PLAIN or re.fullmatch(r"\$\{?[A-Z_][A-Z0-9_]*\}?", bare):  # $KEY
        return False
    # <pad>, [CLS]
    if last_word(name) in ("token", "tokens") and re.fullmatch(r"<.*>|\[.*\]", bare):
        return False
    if names_secret(name) or (words == ["token"] and not in_text):
        return True
    if words == ["token"]:
        return _has_shape(bare, 6) or (bare != value.strip() and not re.search(r"\s", bare))
    before = words[-2] if len(words) > 1 else ""
    is_text = before in TEXT_TOKENS or before == "public"
    return bool(words) and words[-1] in POSSIBLE and not is_text and _has_shape(bare, 12)


def parts_of_addresses(text: str) -> Iterator[str]:
    """Yield the passwords of the addresses in a text, alone and with their user names."""
    for hidden in _credentials(text):
        _, mark, password = hidden.value.partition(":")
        yield password if mark else hidden.value
        if mark:
            yield hidden.value
            yield basic(unquote(hidden.value))


def learn_address(address: str) -> None:
    """Add the password of an address to the known values, also where `http://` is missing."""
    learn_text(address if "://" in address else f"x://{address}")


def _in_context(text: str) -> list[Hidden]:
    """Return the secrets that are recognized by their context, in order, without overlap."""
    found = [*_matches(SHAPES, text), *_matches(HEADER, text)]
    if "://" in text:
        found += _credentials(text)
    if "=" in text:
        found += _matches(QUERY, text)
    if "\n" in text:
        found += [
            h
            for h, name in _named(YAML_LINE, text)
            if names_secret(name) and is_secret(name, h.value)
        ]
    position = 0
    while match := NAME.search(text, position):
        name = match["name"]
        position = match.end()
        is_given = match["mark"].strip() or match["option"]
        if not is_given:
            position = match.end("name")
        elif names_secret(name) or last_word(name) in POSSIBLE:
            most = LONGEST if names_secret(name) else 1000
            value = VALUE.match(text, position, position + most)
            if value and is_secret(name, value[0], in_text=not match["option"]):
                found.append(_value_span(value))
                position = value.end()
    return found


def _value_span(match: re.Match[str]) -> Hidden:
    """Return a matched value and its span without its quotation marks or the brackets and commas
    after it.
    """
    value = match[0]
    start = match.start()
    inner = _unquoted(value)
    if inner == value:
        inner = value.rstrip(",;)}]") or value
    start += value.index(inner) if inner else 0
    return Hidden(start, start + len(inner), inner)


def _matches(pattern: re.Pattern[str], text: str) -> list[Hidden]:
    """Return the last group of every match of a pattern."""
    found = []
    for match in pattern.finditer(text):
        group = match.lastgroup
        if group and match[group]:
            found.append(Hidden(match.start(group), match.end(group), match[group]))
    return found


def _credentials(text: str) -> list[Hidden]:
    """Return the user names and passwords of addresses; a slash is part of them unless it begins a
    path after a port.
    """
    found = []
    for match in ADDRESS.finditer(text):
        rest = match["rest"]
        end = rest.rfind("@")
        if end >= 0 and not NO_PORT.match(rest[:end]):
            end = re.split("[/?#]", rest, maxsplit=1)[0].rfind("@")
        if end > 0:
            found.append(Hidden(match.start("rest"), match.start("rest") + end, rest[:end]))
    return found


def _named(pattern: re.Pattern[str], text: str) -> Iterator[tuple[Hidden, str]]:
    """Yield the value and the name in every match of a pattern."""
    for match in pattern.finditer(text):
        yield Hidden(match.start("value"), match.end("value"), match["value"]), match["name"]


def _replaced(text: str, found: Iterable[Hidden]) -> str:
    """Return the text with a mask for each secret; overlapping ones are replaced together."""
    pieces = []
    end = 0
    for hidden in sorted(found):
        if hidden.start >= end:
            pieces += [text[end : hidden.start], MASK]
        end = max(end, hidden.end)
    return "".join([*pieces, text[end:]])


def _options(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield the position of the value of each option: index of the argument, character offset in
    it, name of the option.
    """
    for i, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, mark, _ = word.partition("=")
        if mark:
            yield i, len(name) + 1, name.lstrip("-")
        elif i + 1 < len(words) and not words[i + 1].startswith("--"):
            yield i + 1, 0, word.lstrip("-")


def _has_shape(value: str, shortest: int) -> bool:
    """Return whether a value looks as random as a secret: letters and digits, no path, no
    sentence.
    """
    if len(value) < shortest or not re.fullmatch(r"[\w+/.~=:%-]+", value):
        return False
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and not os.path.exists(
        value
    )


def _unquoted(value: str) -> str:
    """Return a value without its quotation marks."""
    if (inner := re.fullmatch(r"[bru]{1,2}((['\"]).*\2)", value, re.DOTALL)) is not None:
        value = inner[1]
    for mark in ('\\"', '"', "'"):
        if len(value) >= 2 * len(mark) and value.startswith(mark) and value.endswith(mark):
            return value[len(mark) : -len(mark)]
    return value

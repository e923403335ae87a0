"""Redaction of secrets in texts and settings.

A secret is found in two ways. A known value (of an environment variable or setting with the name of
a secret, or a password in an address) is hidden wherever it occurs. Any value is hidden in the
context of a secret: after such a name, in an address, after `Bearer`. Values too short or too
common to be distinct are hidden in context only: a password `a` does not hide every `a`.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import unquote

from lslm_lightning.long_options import long_options
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
    r"(?i)(?:[?&;]|&amp;)"
    r"(?P<name>[\w.-]{0,99}(?:key|token|secret|password|signature|sig|credential|auth))"
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
    """Secret found in a text: its character span and its value."""

    start: int
    end: int
    value: str


class KnownSecrets:
    """Values of secrets in use. A value stays known after its environment variable is unset."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._seen: set[tuple[str, str]] = set()  # environment variables read before
        self._environment: dict[object, object] = {}  # as read last
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, values: Iterable[str]) -> None:
        """Add values, except those that are not distinct from other text (see `is_distinct`)."""
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
        """Return a pattern that matches every known secret in every spelling; None if no secret is
        known.
        """
        self._read_environment()
        with self._lock:
            if self._pattern is None and self._values:
                forms = {form for value in self._values for form in spellings(value)}
                ordered = sorted(forms, key=len, reverse=True)
                self._pattern = re.compile("|".join(map(bounded, ordered)))
            return self._pattern

    def _read_environment(self) -> None:
        """Add the secrets in environment variables that are new or have changed."""
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
    """Return `text` with known secrets masked, and with secrets recognized by their context
    masked.
    """
    text = without_known(text)
    return _replaced(text, _in_context(text))


def without_known(text: str) -> str:
    """Return `text` with known secrets and passwords in addresses masked. For texts that are data,
    in which other context may be misleading.
    """
    if pattern := KNOWN.pattern():
        text = pattern.sub(MASK, text)
    return _replaced(text, _credentials(text)) if "://" in text else text


def redacted_settings(value: Json, name: str = "") -> Json:
    """Return settings (mappings, lists, texts) with secrets masked. Values without secrets keep
    their types.

    Args:
        name: name of the setting that `value` belongs to.
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
    """Return command-line arguments with secrets masked."""
    shown = [redacted(word) for word in words]
    for i, value in secrets_of_options(words):
        shown[i] = words[i].removesuffix(value) + MASK
    return shown


def secrets_of_options(words: Sequence[str]) -> list[tuple[int, str]]:
    """Return the place and the value of each secret that is the value of a command-line option.

    A value may look like a short option: keys may begin with "-".
    """
    values = [(name, value, i) for name, value, _, i in long_options(words)]
    values += [
        (before.removeprefix("--"), word, i)
        for i, (before, word) in enumerate(pairwise(words), 1)
        if before.startswith("--") and "=" not in before and re.match("-[^-]", word)
    ]
    return [(i, value) for name, value, i in values if value and is_secret(name, value)]


def learn_settings(value: Json, name: str = "") -> None:
    """Add the secrets of settings to the known secrets. A value with several YAML aliases is read
    once.

    Args:
        name: name of the setting that `value` belongs to.
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
    """Add the secrets of command-line arguments to the known secrets. In a positional argument,
    which may be a text to answer, only passwords in addresses are secrets.
    """
    for before, word in pairwise(["", *words]):
        if word.startswith("-") or before.startswith("--"):
            learn_text(word)
        elif "://" in word:
            KNOWN.add(parts_of_addresses(word))
    KNOWN.add(value for _, value in secrets_of_options(words))


def learn_text(text: str) -> None:
    """Add the secrets recognized by their context in a text to the known secrets."""
    if "://" in text:
        KNOWN.add(parts_of_addresses(text))
    KNOWN.add(_unquoted(hidden.value) for hidden in _in_context(text))


def learn_secret(value: str | None) -> None:
    """Add a value to the known secrets."""
    KNOWN.add([value] if value else [])


def is_secret(name: str, value: str, in_text: bool = False) -> bool:
    """Return whether `value` is a secret if a setting `name` has it, and not a token of a text.

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
    """Yield the credentials of the addresses in a text: each password, alone and with its user
    name.
    """
    for hidden in _credentials(text):
        _, mark, password = hidden.value.partition(":")
        yield password if mark else hidden.value
        if mark:
            yield hidden.value
            yield basic(unquote(hidden.value))


def learn_address(address: str) -> None:
    """Add the password of an address, with or without `http://`, to the known secrets."""
    learn_text(address if "://" in address else f"x://{address}")


def _in_context(text: str) -> list[Hidden]:
    """Return the secrets that their context in the text reveals."""
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
    """Return a matched value without its quotation marks, or without the brackets and commas that
    follow it, and the span of what is left.
    """
    value = match[0]
    start = match.start()
    inner = _unquoted(value)
    if inner == value:
        inner = value.rstrip(",;)}]") or value
    start += value.index(inner) if inner else 0
    return Hidden(start, start + len(inner), inner)


def _matches(pattern: re.Pattern[str], text: str) -> list[Hidden]:
    """Return the text of the last named group in every match of a pattern."""
    found = []
    for match in pattern.finditer(text):
        group = match.lastgroup
        if group and match[group]:
            found.append(Hidden(match.start(group), match.end(group), match[group]))
    return found


def _credentials(text: str) -> list[Hidden]:
    """Return the "user:password" parts of the addresses in a text. A slash belongs to them, unless
    it begins a path after a port.
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
    """Yield (value, name) for every match of a pattern with these two groups."""
    for match in pattern.finditer(text):
        yield Hidden(match.start("value"), match.end("value"), match["value"]), match["name"]


def _replaced(text: str, found: Iterable[Hidden]) -> str:
    """Return the text with each secret masked; overlapping secrets share one mask."""
    pieces = []
    end = 0
    for hidden in sorted(found):
        if hidden.start >= end:
            pieces += [text[end : hidden.start], MASK]
        end = max(end, hidden.end)
    return "".join([*pieces, text[end:]])


def _has_shape(value: str, shortest: int) -> bool:
    """Return whether a value looks random, as a secret does: at least `shortest` characters,
    letters and digits, neither a path nor a sentence.
    """
    if len(value) < shortest or not re.fullmatch(r"[\w+/.~=:%-]+", value):
        return False
    return bool(re.search(r"\d", value) and re.search(r"[A-Za-z]", value)) and not os.path.exists(
        value
    )


def _unquoted(value: str) -> str:
    """Return a value without the quotation marks around it."""
    if (inner := re.fullmatch(r"[bru]{1,2}((['\"]).*\2)", value, re.DOTALL)) is not None:
        value = inner[1]
    for mark in ('\\"', '"', "'"):
        if len(value) >= 2 * len(mark) and value.startswith(mark) and value.endswith(mark):
            return value[len(mark) : -len(mark)]
    return value

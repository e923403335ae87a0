"""Assertions on the outputs of a system, such as "contains no such word" or "is valid JSON", and
the share of examples on which they hold.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import regex

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.text.json_texts import parse_json
from lslm_lightning.text.languages import base_language
from lslm_lightning.text.scripts import letters_by_script
from lslm_lightning.types import Json

PATTERN_SECONDS = 1.0  # of one regular expression on one output
SHOWN = 60  # characters of an output in a reason
ENOUGH_SCRIPT = 0.8  # share of letters from which a text is in a script
BASELINE = "baseline"  # in place of a share: that of the baseline


@dataclass(frozen=True)
class OutputAssertion:
    """Assertion that must hold on a share of the outputs.

    Attributes:
        kind: one of `KINDS`.
        value: value of this kind, such as the text that must be contained.
        share: smallest share of outputs (0 to 1) on which the assertion holds; None for the share
            of the baseline, less the margin.
        margin: accepted loss against the baseline, in points of 100; read if `share` is None.
    """

    kind: str
    value: Json
    share: float | None = 1.0
    margin: float = 0.0
    check: Callable[[Example, str], str] = field(compare=False, repr=False, default=lambda *_: "")

    @property
    def name(self) -> str:
        """Name of the assertion: its kind and value, as in the file."""
        return f"{self.kind}: {self.value}"

    def reasons(self, examples: Sequence[Example], outputs: Sequence[Prediction]) -> list[str]:
        """Return for each output the reason why the assertion does not hold; "" if it holds."""
        return [
            "no output" if each.output is None else self.check(example, each.output)
            for example, each in zip(examples, outputs, strict=True)
        ]


class HoldingShare(Metric):
    """Share of outputs on which an assertion holds, in percent."""

    name = "share"
    unit = "%"
    higher_is_better = True
    signature = "assertion"

    def __init__(self, assertion: OutputAssertion) -> None:
        self.assertion = assertion

    def statistics(self, example: Example, prediction: Prediction) -> np.ndarray:
        [reason] = self.assertion.reasons([example], [prediction])
        return np.array([float(not reason), 1.0])

    def score(self, total: np.ndarray) -> float:
        return float(100 * total[0] / total[1]) if total[1] else float("nan")


def make_assertion(settings: Mapping[str, Json]) -> OutputAssertion:
    """Build an assertion from its settings: one of `KINDS` with its value, and `at_least` (a share
    such as "99 %", or "baseline") with a `margin` for "baseline".

    Raises:
        ValueError: a setting is unknown, missing or wrong.
    """
    kinds = [name for name in settings if name in KINDS]
    others = [name for name in settings if name not in (*KINDS, "at_least", "margin")]
    if others:
        raise ValueError(
            f"{others[0]!r} is no assertion on outputs; there are {', '.join(KINDS)}, and with "
            "each at_least and margin"
        )
    if len(kinds) != 1:
        raise ValueError(f"an assertion has one of {', '.join(KINDS)}, but is {dict(settings)}")
    [kind] = kinds
    at_least = settings.get("at_least", "100 %")
    share = None if at_least == BASELINE else _share(at_least)
    margin = settings.get("margin", 0)
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin <= 100:
        raise ValueError(f"margin={margin!r} must be points from 0 to 100, such as 1.5")
    if "margin" in settings and share is not None:
        raise ValueError("margin is for at_least: baseline; leave it out beside a share")
    value = settings[kind]
    try:
        check = KINDS[kind](value)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None
    return OutputAssertion(kind, value, share, float(margin), check)


def _share(value: Json) -> float:
    """Return a share from 0 to 1, of a text such as "99 %" or a number from 0 to 1."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if match and float(match[1]) <= 100:
        return float(match[1]) / 100
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise ValueError(
        f"at_least={value!r} must be a share such as 99 %, a number from 0 to 1, or baseline"
    )


def _text(value: Json) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a text, but is {value!r}; put it in quotes")
    return value


def _number(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"must be a whole number of at least 0, but is {value!r}")
    return value


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _contains(value: Json) -> Callable[[Example, str], str]:
    wanted = _text(value)
    return lambda _, output: "" if wanted in output else f"does not contain {_cut(wanted)!r}"


def _not_contains(value: Json) -> Callable[[Example, str], str]:
    banned = _text(value)

    def check(_: Example, output: str) -> str:
        at = output.find(banned)
        return "" if at < 0 else f"contains {_cut(banned)!r} at character {at + 1}"

    return check


def _matches(value: Json) -> Callable[[Example, str], str]:
    pattern = _pattern(_text(value))
    return lambda _, output: (
        "" if _search(pattern, output) else f"nothing in it matches {_cut(pattern.pattern)!r}"
    )


def _not_matches(value: Json) -> Callable[[Example, str], str]:
    pattern = _pattern(_text(value))

    def check(_: Example, output: str) -> str:
        found = _search(pattern, output)
        return (
            "" if found is None else f"{_cut(found[0])!r} matches, at character {found.start() + 1}"
        )

    return check


def _pattern(text: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(text)
    except regex.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None


def _search(pattern: "regex.Pattern[str]", output: str) -> "regex.Match[str] | None":
    """Search an output, for at most `PATTERN_SECONDS`.

    Raises:
        ValueError: the search took longer.
    """
    try:
        return pattern.search(output, timeout=PATTERN_SECONDS)
    except TimeoutError:
        raise ValueError(
            f"the regular expression {pattern.pattern!r} takes more than {PATTERN_SECONDS:g} s on "
            "one output; write it without nested repetition"
        ) from None


def _min_characters(value: Json) -> Callable[[Example, str], str]:
    least = _number(value)
    return lambda _, output: (
        "" if len(output.strip()) >= least else f"has {len(output.strip()):,} characters"
    )


def _max_characters(value: Json) -> Callable[[Example, str], str]:
    most = _number(value)
    return lambda _, output: (
        "" if len(output.strip()) <= most else f"has {len(output.strip()):,} characters"
    )


def _max_ratio(value: Json) -> Callable[[Example, str], str]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"must be a number above 0, but is {value!r}")
    most = float(value)

    def check(example: Example, output: str) -> str:
        longest = max(map(len, example.references), default=0)
        if len(output) <= most * longest:
            return ""
        return f"has {len(output):,} characters, and its reference {longest:,}"

    return check


def _script(value: Json) -> Callable[[Example, str], str]:
    wanted = _text(value)
    if not regex.fullmatch("[A-Z][a-z]{3}", wanted):
        raise ValueError(f"{wanted!r} must be a code of ISO 15924, such as Latn, Cyrl or Hani")

    def check(_: Example, output: str) -> str:
        counts = letters_by_script(output)
        n_letter = counts.total()
        if not n_letter or counts[wanted] >= ENOUGH_SCRIPT * n_letter:
            return ""
        most = counts.most_common(1)[0][0]
        return f"{counts[wanted]:,} of {n_letter:,} letters are {wanted}, most are {most}"

    return check


def _language(value: Json) -> Callable[[Example, str], str]:
    wanted = base_language(_text(value))

    def check(_: Example, output: str) -> str:
        likely = _likely(output)
        if not likely or wanted in likely:
            return ""
        return f"reads like {likely[0]}"

    return check


@cache
def _likely(output: str) -> tuple[str, ...]:
    """Return the languages that an output may be in: those of a probability of at least a tenth."""
    from lslm_lightning.text.identification import likely_languages

    return tuple(base_language(code) for code, sure in likely_languages(output) if sure >= 0.1)


def _json(value: Json) -> Callable[[Example, str], str]:
    if value is not True and not (
        isinstance(value, list) and all(isinstance(key, str) for key in value)
    ):
        raise ValueError(f"must be true or a list of keys, but is {value!r}")
    keys = value if isinstance(value, list) else []

    def check(_: Example, output: str) -> str:
        try:
            found = parse_json(output)
        except (ValueError, RecursionError) as error:
            return f"is no JSON: {error}"
        if keys and not isinstance(found, dict):
            return "is JSON, but no object"
        missing = [key for key in keys if key not in found]
        return f"lacks the key {missing[0]!r}" if missing else ""

    return check


KINDS: dict[str, Callable[[Json], Callable[[Example, str], str]]] = {
    "contains": _contains,
    "not_contains": _not_contains,
    "matches": _matches,
    "not_matches": _not_matches,
    "min_characters": _min_characters,
    "max_characters": _max_characters,
    "max_ratio": _max_ratio,
    "script": _script,
    "language": _language,
    "json": _json,
}

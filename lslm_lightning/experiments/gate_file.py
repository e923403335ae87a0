"""Specification of a gate: metrics with their margins and assertions on outputs, from a YAML file
or from arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lslm_lightning.evaluation.assertions import OutputAssertion, make_assertion
from lslm_lightning.evaluation.margin import LEVEL, Rule
from lslm_lightning.exit_status import SettingsError
from lslm_lightning.types import Json

RULES: tuple[Rule, ...] = get_args(Rule)
KEYS = ("level", "rule", "metrics", "outputs")  # of the file


@dataclass(frozen=True)
class MetricGate:
    """Metric by which a run is compared with its baseline, and the loss that is accepted."""

    metric: str
    margin: float
    rule: Rule


@dataclass(frozen=True)
class GateSpec:
    """Demands of a gate.

    Attributes:
        outputs: assertions on the outputs of the run.
        rule: rule of the shares that are compared with those of the baseline.
        level: one-sided level of the tests.
    """

    metrics: Sequence[MetricGate]
    outputs: Sequence[OutputAssertion]
    rule: Rule
    level: float

    @property
    def needs_baseline(self) -> bool:
        """True if anything is compared with a baseline."""
        return bool(self.metrics) or any(each.share is None for each in self.outputs)

    def level_of(self, rule: Rule) -> float:
        """Return the level of each test by a rule. Those by "regression" share it (Bonferroni),
        since one that fails is enough; all by "non-inferiority" must pass, and need no correction.
        """
        if rule != "regression":
            return self.level
        n = sum(each.rule == rule for each in self.metrics)
        if self.rule == rule:
            n += sum(each.share is None for each in self.outputs)
        return self.level / max(1, n)


def gate_spec(
    metrics: Sequence[tuple[str, float]],
    rule: str | None = None,
    level: float | None = None,
    file: Path | None = None,
) -> GateSpec:
    """Return the specification of a gate; `rule` and `level` replace those of the file, and metrics
    are added to its metrics.

    Raises:
        SettingsError: a setting is unknown, missing or wrong; the message names it.
    """
    given: Json = {}
    if file is not None:
        given = _read(file)
    try:
        shared = _rule(given.get("rule", RULES[0]) if rule is None else rule)
        found = GateSpec(
            [
                *_metrics(given.get("metrics") or {}, shared, None if rule is None else shared),
                *(
                    MetricGate(name, _margin(name, margin, shared), shared)
                    for name, margin in metrics
                ),
            ],
            _outputs(given.get("outputs") or [], shared),
            shared,
            _level(given.get("level", LEVEL) if level is None else level),
        )
        names = [each.metric for each in found.metrics]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"metric {twice[0]} is named twice; give each one margin")
        if not names and not found.outputs:
            raise ValueError(
                "nothing to check: give --metric NAME --margin X, or --file with metrics or outputs"
            )
    except ValueError as error:
        raise SettingsError(f"{file}: {error}" if file else str(error)) from None
    return found


def _read(file: Path) -> dict[str, Json]:
    """Return the content of the file.

    Raises:
        SettingsError: it cannot be read, is no mapping, or has unknown keys.
    """
    from lslm_lightning.text.yaml_files import read_yaml

    try:
        given = read_yaml(file)
    except FileNotFoundError:
        raise SettingsError(f"--file {file}: there is no such file") from None
    except (ValueError, OSError) as error:
        raise SettingsError(f"--file {file}: {error}") from None
    if not isinstance(given, dict) or (unknown := [key for key in given if key not in KEYS]):
        what = repr(unknown[0]) if isinstance(given, dict) else "no mapping"
        raise SettingsError(f"--file {file}: has {what}; its keys are {', '.join(KEYS)}")
    return given


def _metrics(given: Json, shared: Rule, forced: Rule | None) -> list[MetricGate]:
    if not isinstance(given, Mapping):
        raise ValueError(f"metrics must be names with margins, as in bleu: 0.5, but is {given!r}")
    found = []
    for name, settings in given.items():
        one = settings if isinstance(settings, Mapping) else {"margin": settings}
        if unknown := [key for key in one if key not in ("margin", "rule")]:
            raise ValueError(f"metrics: {name} has {unknown[0]!r}; its keys are margin and rule")
        rule = forced or _rule(one.get("rule", shared))
        found.append(MetricGate(str(name), _margin(str(name), one.get("margin"), rule), rule))
    return found


def _outputs(given: Json, rule: Rule) -> list[OutputAssertion]:
    if not isinstance(given, list) or not all(isinstance(each, Mapping) for each in given):
        raise ValueError(
            "outputs must be a list of assertions, as in - not_contains: TODO, but is "
            f"{str(given)[:80]!r}"
        )
    found = []
    for number, settings in enumerate(given, 1):
        try:
            assertion = make_assertion(settings)
            if assertion.share is None:
                _margin("at_least: baseline", assertion.margin, rule)
        except ValueError as error:
            raise ValueError(f"outputs, number {number}: {error}") from None
        found.append(assertion)
    return found


def _rule(rule: Json) -> Rule:
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} must be {' or '.join(RULES)}")
    found: Rule = rule
    return found


def _margin(name: str, margin: Json, rule: Rule) -> float:
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < 1e12:
        raise ValueError(
            f"the margin of {name} must be a number of at least 0, in the unit of the metric, but "
            f"is {margin!r}"
        )
    if margin == 0 and rule == "non-inferiority":
        raise ValueError(
            f"the margin of {name} is 0, which equal systems would pass by chance alone; give the "
            "largest loss that you accept, or the rule regression"
        )
    return float(margin)


def _level(level: Json) -> float:
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 0.5:
        raise ValueError(f"level={level!r} must be above 0 and below 0.5; 0.05 is usual")
    return float(level)

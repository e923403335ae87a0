"""Gates for continuous integration: whether a run may take the place of a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.metrics.resampling import TEST_RESAMPLES

if TYPE_CHECKING:
    from lslm_lightning.experiments.gate_checks import GateCheck
    from lslm_lightning.experiments.gate_file import GateSpec
    from lslm_lightning.experiments.recorded_systems import RecordedSystems
    from lslm_lightning.experiments.run import Run


@dataclass(frozen=True)
class GateResults:
    """Result of a gate.

    Attributes:
        run: reference of the run, as it was given.
        baseline: reference of the baseline; "" if there is none.
        task: name of the task.
        n_example: number of test examples.
        level: one-sided level of the tests.
        notes: a line for each reference that is a pattern, with the run it was resolved to.
    """

    run: str
    baseline: str
    task: str
    n_example: int
    level: float
    checks: "Sequence[GateCheck]"
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """True if all checks passed."""
        return all(check.passed for check in self.checks)

    @property
    def summary(self) -> str:
        """Result in one sentence."""
        n_failed = sum(not check.passed for check in self.checks)
        n = len(self.checks)
        if self.passed:
            return f"gate passed: {n} of {n} checks on {self.n_example:,} examples"
        return f"gate failed: {n_failed} of {n} checks on {self.n_example:,} examples"


def gate(
    run: "str | PathLike[str] | Run",
    baseline: "str | PathLike[str] | Run | None" = None,
    metrics: Mapping[str, float] | None = None,
    *,
    rule: str | None = None,
    level: float | None = None,
    file: str | PathLike[str] | None = None,
    evaluation: str | PathLike[str] | None = None,
    n_resample: int = TEST_RESAMPLES,
    trust: bool = False,
) -> GateResults:
    """Check whether a run may take the place of a baseline, as `lslm gate` does.

    Several metrics by the rule "non-inferiority" need no correction, since all must pass; those by
    "regression" share the level.

    Args:
        run: a run directory, MLflow run id, registered model, pattern, or result of `train`, as for
            `compare`; with `evaluation` the name of a system.
        baseline: the same of the baseline.
        metrics: largest accepted loss, in the unit of the metric, by name of the metric.
        rule: "non-inferiority" (default), which lets a run pass if it is shown to lose less than
            the margin, or "regression", which lets it pass unless it is shown to lose more.
        level: one-sided level of the tests. Default: 0.05.
        file: YAML file with `metrics`, `outputs`, `rule` and `level`.
        evaluation: config of `lslm evaluate`, whose systems are compared by the predictions on
            disk.
        n_resample: number of bootstrap samples.
        trust: allow the configs of the runs to name any class.

    Raises:
        SettingsError: a setting is wrong.
        ValueError: a run is missing, or the runs do not compare: other task, test set or signature.
    """
    from lslm_lightning.exit_status import SettingsError
    from lslm_lightning.experiments.gate_file import gate_spec
    from lslm_lightning.experiments.recorded_systems import (
        systems_of_evaluation,
        systems_of_runs,
    )

    spec = gate_spec(list((metrics or {}).items()), rule, level, Path(file) if file else None)
    if spec.needs_baseline and baseline is None:
        raise SettingsError("a metric needs a run to compare with; give --baseline RUN")
    if n_resample < 100:
        raise SettingsError(
            f"--n-resample {n_resample} must be at least 100; {TEST_RESAMPLES} suits most test sets"
        )
    names = [fspath(each) for each in (run, baseline) if each is not None]
    if len(set(names)) < len(names):
        raise SettingsError(f"the run and the baseline are both {names[0]}; name two")
    systems = (
        systems_of_evaluation(names, fspath(evaluation))
        if evaluation
        else systems_of_runs(names, trust)
    )
    return check_gate(spec, systems, names[0], names[1] if len(names) > 1 else "", n_resample)


def check_gate(
    spec: "GateSpec", systems: "RecordedSystems", run: str, baseline: str, n_resample: int
) -> GateResults:
    """Check recorded predictions of a run against those of a baseline.

    Args:
        run: reference of the run in `systems.groups`.
        baseline: reference of the baseline; "" for none.
        n_resample: number of bootstrap samples.

    Raises:
        ValueError: a metric is unknown, or its scores do not compare.
    """
    from lslm_lightning.experiments.gate_checks import metric_checks, output_check

    checks = metric_checks(spec, systems, (run, baseline), n_resample)
    checks += [
        output_check(assertion, spec, systems, (run, baseline), n_resample)
        for assertion in spec.outputs
    ]
    return GateResults(
        run, baseline, systems.task, len(systems.examples), spec.level, checks, systems.notes
    )

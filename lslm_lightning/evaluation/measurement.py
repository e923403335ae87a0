"""Statistics and findings of each system of an evaluation, computed by several processes where
there are many predictions.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from lslm_lightning.contracts import Example, Metric, Prediction
from lslm_lightning.evaluation.diagnostics import Finding, SetFindings, check_system
from lslm_lightning.evaluation.scoring import statistics_of
from lslm_lightning.workers import run_parallel

FEW = 2000  # predictions of all systems below which several processes are not faster
LARGEST = 1 << 20  # bytes of the pickled metrics; a network is not copied to every process


@dataclass(frozen=True, slots=True)
class Measured:
    """Values that follow from the predictions of one system alone.

    Attributes:
        rows: statistics (N, D) by metric, in the order of the examples; None if a metric failed.
        findings: findings of the sanity checks on the outputs.
    """

    rows: Mapping[str, np.ndarray] | None = None
    findings: Sequence[Finding] = ()


def measure(
    system: str,
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    of_set: SetFindings,
    limit: str = "",
) -> Measured:
    """Return the statistics and the findings of one system.

    A system whose predictions cannot be scored has neither, and the error is not raised: `score`
    raises it again.

    Args:
        system: name of the system, for the findings.
        predictions: those of the system, in any order.
        of_set: findings on the evaluation set, which are not reported again.
        limit: setting that limits the length of answers, such as "max_length=128"; "" for none.
    """
    try:
        rows = statistics_of(examples, predictions, metrics)
    except Exception:
        return Measured()
    return Measured(rows, check_system(system, predictions, examples, metrics, of_set, limit))


def measure_all(
    answers: Mapping[str, Sequence[Prediction]],
    examples: Sequence[Example],
    metrics: Sequence[Metric],
    of_set: SetFindings,
    limits: Mapping[str, str],
    n_worker: int = 1,
) -> dict[str, Measured]:
    """Return the statistics and the findings of each system; see `measure`.

    Processes are used if there are several systems with many predictions of texts, and the metrics
    can be sent to a process.

    Args:
        answers: predictions by system.
        limits: setting that limits the length of answers, by system.
        n_worker: number of processes at most. With more than 1, the main module of the program must
            be safe to import, which a script without `if __name__ == "__main__"` is not.
    """
    parts = [
        (system, predictions, examples, metrics, of_set, limits.get(system, ""))
        for system, predictions in answers.items()
    ]
    n_worker = min(n_worker, len(parts))
    found: list[Measured] = []
    if n_worker > 1 and len(parts) * len(examples) >= FEW and can_be_sent(examples, metrics):
        found = list(until_broken(run_parallel(measure, parts, n_worker)))
    missing = [Measured()] * (len(parts) - len(found))
    return {  # what failed elsewhere may succeed here
        part[0]: measure(*part) if each.rows is None else each
        for part, each in zip(parts, [*found, *missing], strict=True)
    }


def until_broken(results: Iterator[Measured]) -> Iterator[Measured]:
    """Yield results up to the end of a worker process by a signal or for lack of memory, if it
    ends.
    """
    try:
        yield from results
    except BrokenProcessPool:
        return


def can_be_sent(examples: Sequence[Example], metrics: Sequence[Metric]) -> bool:
    """Return whether examples and metrics can be sent to another process, and are small enough."""
    if any(example.modality != "text" for example in examples):
        return False
    try:
        return len(pickle.dumps(list(metrics))) <= LARGEST
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
        return False

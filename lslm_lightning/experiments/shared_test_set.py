"""Test examples that several finished runs share, and the predictions that the runs recorded for
them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.evaluation.evaluation_set import (
    EvaluationSet,
    difference,
    evaluation_set,
    shown,
)
from lslm_lightning.experiments.evaluation_sets import (
    FoundSet,
    data_of,
    examples_of,
    opened,
    paired,
)
from lslm_lightning.experiments.finished_runs import Finished
from lslm_lightning.training.data import TaskData


class SharedExamples(NamedTuple):
    """Test examples that several runs share, and the data module that loaded them."""

    data: TaskData
    examples: list[Example]
    ids: str  # see `EvaluationSet.ids`


def split_by_test_set(
    runs: Sequence[Finished], tested: Mapping[str, FoundSet]
) -> tuple[list[Finished], dict[str, str]]:
    """Split runs into those tested on the most frequent test set and the others.

    Args:
        tested: test set of each run, by name.

    Returns:
        Runs tested on the most frequent set; and for each other run, by name, the reason why paired
        tests leave it out.
    """
    digests = [found.digest for run in runs if (found := tested[run.name].found)]
    if not digests:
        return [runs[0]], {run.name: tested[run.name].reason for run in runs[1:]}
    most = max(digests, key=digests.count)  # the first of equals
    together = [run for run in runs if (found := tested[run.name].found) and found.digest == most]
    usual = tested[together[0].name].found
    assert usual is not None
    apart = {}
    for run in runs:
        found = tested[run.name].found
        if found is None:
            apart[run.name] = tested[run.name].reason
        elif found.digest != most:
            own, other = (
                f"{r.data.get('corpus')} {f.languages} (digest {shown(f.digest)})"
                for r, f in ((run, found), (together[0], usual))
            )
            apart[run.name] = f"tested on {own}, others on {other}: {difference(found, usual)}"
    return together, apart


def shared_examples(
    runs: Sequence[Finished], wanted: EvaluationSet, known: dict[str, TaskData]
) -> SharedExamples | None:
    """Load the examples of a test set from the corpus of the first run that still has this set on
    this machine; None if no run has.

    Args:
        wanted: test set to load.
        known: cache of data modules, see `evaluation_sets.opened`.
    """
    from lslm_lightning.text.recipes import TokenizerFile

    for run in runs:
        data = data_of_run(run, known)
        examples = None if data is None else examples_of(run.directory, data, wanted)
        if examples is not None:
            whole = data_of(run.config["data"])
            whole.recipe = TokenizerFile(str(run.directory.tokenizer))
            return SharedExamples(whole, examples, evaluation_set(examples).ids)
    return None


def data_of_run(run: Finished, known: dict[str, TaskData]) -> TaskData | None:
    """Return the data module of a run; None if its config cannot be read or its corpus is not on
    this machine.

    Args:
        known: cache of data modules, see `evaluation_sets.opened`.
    """
    try:
        return opened(run.config["data"], known)
    except (ValueError, OSError):
        return None


def recorded_predictions(
    runs: Sequence[Finished],
    tested: Mapping[str, FoundSet],
    shared: SharedExamples,
    known: dict[str, TaskData],
) -> dict[str, list[Prediction]]:
    """Return the predictions that runs recorded for the shared examples, by run name, in the order
    of the examples.

    Runs with missing predictions are left out.

    Args:
        tested: test set of each run, by name.
        known: cache of data modules, see `evaluation_sets.opened`.
    """
    found = {}
    for run in runs:
        own = tested[run.name].found
        if own is None:
            continue
        data = None if own.ids == shared.ids else data_of_run(run, known)
        predictions = paired(run.directory, own, data, shared.examples, shared.ids)
        if predictions is not None:
            found[run.name] = predictions
    return found

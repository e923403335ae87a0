"""Evaluation of systems, for calls from Python."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.configuration.arguments import Config, SettingValues, config_arguments
from lslm_lightning.contracts import Score

if TYPE_CHECKING:
    import pandas as pd

    from lslm_lightning.evaluation.comparison import Pair
    from lslm_lightning.evaluation.diagnostics import Finding
    from lslm_lightning.evaluation.results import Results
    from lslm_lightning.experiments.evaluation_spec import EvaluationSpec


class EvaluationResults:
    """Scores, paired tests and sanity checks of the systems of one evaluation.

    Args:
        results: what was computed.
        folder: of predictions, scores and the report.

    Attributes:
        path: the folder.
    """

    def __init__(self, results: "Results", folder: Path) -> None:
        self._results = results
        self.path = folder

    def __repr__(self) -> str:
        return f"EvaluationResults({str(self.path)!r}, systems={list(self.scores)})"

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, Score]]:
        """Scores by system, then by metric; empty for a system that failed."""
        found = self._results.scores
        return {
            name: {score.metric: score for score in own.scores} if own else {}
            for name, own in found.items()
        }

    @property
    def pairs(self) -> Sequence["Pair"]:
        """Paired tests of every two systems, in every metric that both have."""
        return self._results.pairs

    @property
    def findings(self) -> Sequence["Finding"]:
        """Sanity checks that found something."""
        return self._results.findings

    @property
    def failures(self) -> Mapping[str, str]:
        """Reasons for failure by name of the system, for systems without scores."""
        entries = self._results.entries
        return {name: entry.reason for name, entry in entries.items() if entry.reason}

    @property
    def report(self) -> Path:
        """Path of the report, an HTML page."""
        return self.path / "report" / "index.html"

    def table(self) -> "pd.DataFrame":
        """Return a DataFrame with a row for each system and metric: value, 95 % interval, unit,
        signature, number of examples.
        """
        import pandas as pd

        rows = [
            {
                "system": name,
                "metric": score.metric,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "unit": score.unit,
                "higher_is_better": score.higher_is_better,
                "signature": score.signature,
                "n_example": score.n_example,
            }
            for name, own in self.scores.items()
            for score in own.values()
        ]
        return pd.DataFrame(rows).set_index(["system", "metric"]) if rows else pd.DataFrame()


def evaluate(
    config: Config,
    settings: SettingValues | None = None,
    *,
    name: str | None = None,
    root: str | Path = "runs",
    fresh: bool = False,
) -> EvaluationResults:
    """Let systems answer one evaluation set, as `lslm evaluate` does: scores, tests, a report.

    Predictions on disk are not made again. If a system fails, the others are still scored; see
    `failures` of the result.

    Args:
        config: a YAML file, its content as a mapping, or several of either, which are merged.
        settings: replace those of the config, by keys with dots: `{"split": "val"}`.
        name: of the evaluation. Default: that of the config.
        root: folder of all runs.
        fresh: make all predictions again; earlier ones are kept as *.old.

    Raises:
        ValueError: settings are wrong, or systems were trained for something else.
        WorkError: no system could be asked.
    """
    from lslm_lightning.experiments.endings import WorkError
    from lslm_lightning.experiments.evaluation_spec import read
    from lslm_lightning.experiments.library import library_call
    from lslm_lightning.runs.directory import check_name

    with config_arguments(config, settings) as arguments, library_call(["evaluate", *arguments]):
        if name is not None:
            check_name(name, "name")
        spec = read(arguments)
        folder = folder_of(spec, arguments, Path(root), name)
        try:
            results = run_evaluation(spec, folder, fresh)
        except WorkError as error:
            if error.results is None:
                raise
            results = error.results
    return EvaluationResults(results, folder)


def folder_of(
    spec: "EvaluationSpec",
    arguments: Sequence[str],
    root: Path,
    name: str | None = None,
) -> Path:
    """Return the output folder of an evaluation: its name, then a digest of the data, split and
    prompts.
    """
    from lslm_lightning.runs.directory import as_name

    config = arguments[arguments.index("--config") + 1]
    parent = root / spec.task_name
    folder = parent / f"{name or as_name(Path(config).stem)}-{spec.identity}"
    if name or folder.exists():  # in an earlier release the name was that of the config alone
        return folder
    return parent / f"{name_of(config, arguments)}-{spec.identity}"


def name_of(config: str, arguments: Sequence[str]) -> str:
    """Return a name for an evaluation, made of the config's file name and of the settings given
    besides.
    """
    from lslm_lightning.runs.names import run_name, stem_of, typed_settings

    named = ("data.", "split", "n_shot")
    settings = {
        key: text for key, text in typed_settings(arguments).items() if key.startswith(named)
    }
    return run_name(stem_of(config), settings, {}, {})


def run_evaluation(
    spec: "EvaluationSpec",
    folder: Path,
    fresh: bool = False,
    n_process: int = 1,
    command: Sequence[str] = (),
) -> "Results":
    """Collect missing predictions, score all systems, write the report and store the evaluation in
    MLflow.

    Args:
        fresh: set earlier predictions aside.
        n_process: number of processes that share the examples.
        command: starts one of them, with `--share=I/N` added.
    """
    from lslm_lightning.experiments.evaluation import Evaluation
    from lslm_lightning.experiments.invocation import command_line
    from lslm_lightning.experiments.parallel_predictions import run_parallel
    from lslm_lightning.training.cores import limit_threads

    began = time.time()
    evaluation = Evaluation(spec, folder, fresh)
    evaluation.tell()
    with evaluation.predictions.exclusive():
        if n_process > 1:
            run_parallel(evaluation.predictions, command, n_process)
        elif message := limit_threads():
            print(message, file=sys.stderr, flush=True)
        return evaluation.run(command_line(), began)

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
        results: computed results of the evaluation.
        folder: folder with the predictions, scores and report.

    Attributes:
        path: the same folder.
    """

    def __init__(self, results: "Results", folder: Path) -> None:
        self._results = results
        self.path = folder

    def __repr__(self) -> str:
        return f"EvaluationResults({str(self.path)!r}, systems={list(self.scores)})"

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, Score]]:
        """Scores by system name, then by metric name; empty for a system that failed."""
        found = self._results.scores
        return {
            name: {score.metric: score for score in own.scores} if own else {}
            for name, own in found.items()
        }

    @property
    def pairs(self) -> Sequence["Pair"]:
        """Paired tests of every pair of systems, for every metric that both systems have."""
        return self._results.pairs

    @property
    def findings(self) -> Sequence["Finding"]:
        """Failed sanity checks."""
        return self._results.findings

    @property
    def failures(self) -> Mapping[str, str]:
        """Reason of the failure, by name, for each system without scores."""
        entries = self._results.entries
        return {name: entry.reason for name, entry in entries.items() if entry.reason}

    @property
    def report(self) -> Path:
        """Path of the report, an HTML page."""
        return self.path / "report" / "index.html"

    def table(self) -> "pd.DataFrame":
        """Return a DataFrame with one row per system and metric: value, 95 % confidence interval,
        unit, signature, number of examples.
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
    """Evaluate systems on one evaluation set, as `lslm evaluate` does: scores, paired tests, a
    report.

    Predictions that exist on disk are reused. If a system fails, the others are still scored, and
    `failures` of the result gives the reason.

    Args:
        config: a YAML file, its content as a mapping, or a sequence of files and mappings, which
            are merged.
        settings: settings that override the config, with dotted keys: `{"data.language": "de"}`.
        name: name of the evaluation. Default: made from the name of the config file.
        root: folder of all runs.
        fresh: make all predictions again; earlier ones are renamed to *.old.

    Raises:
        ValueError: a setting is wrong, or a system was trained for another task or other languages.
        WorkError: no system could make predictions.
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
    """Return the output folder of an evaluation, `ROOT/TASK/NAME-DIGEST`.

    The digest identifies the data, the split and the prompts.

    Args:
        spec: parsed config of the evaluation.
        arguments: arguments of `lslm evaluate`, with `--config FILE` among them.
        root: folder of all runs.
        name: name of the evaluation; None for a name made from the config file and the settings.
    """
    from lslm_lightning.runs.directory import as_name

    config = arguments[arguments.index("--config") + 1]
    parent = root / spec.task_name
    folder = parent / f"{name or as_name(Path(config).stem)}-{spec.identity}"
    if name or folder.exists():  # in an earlier release the name was that of the config alone
        return folder
    return parent / f"{name_of(config, arguments)}-{spec.identity}"


def name_of(config: str, arguments: Sequence[str]) -> str:
    """Return a name for an evaluation, made from the config's file name and the data settings given
    on the command line.

    Args:
        config: path of the config file.
        arguments: arguments of `lslm evaluate`.
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
    n_worker: int = 1,
) -> "Results":
    """Collect missing predictions, score all systems, write the report and store the evaluation in
    MLflow.

    Args:
        spec: parsed config of the evaluation.
        folder: output folder of the evaluation.
        fresh: make all predictions again; earlier ones are renamed to *.old.
        n_process: number of processes that share the examples.
        command: command line that starts one of these processes; `--share=I/N` is added to it.
        n_worker: number of processes at most that score; with more than 1, the main module of the
            program must be safe to import.
    """
    from lslm_lightning.experiments.evaluation import Evaluation
    from lslm_lightning.experiments.invocation import command_line
    from lslm_lightning.experiments.parallel_predictions import run_parallel
    from lslm_lightning.training.cores import limit_threads

    began = time.time()
    evaluation = Evaluation(spec, folder, fresh, n_worker)
    evaluation.tell()
    with evaluation.predictions.exclusive():
        if n_process > 1:
            run_parallel(evaluation.predictions, command, n_process)
        elif message := limit_threads():
            print(message, file=sys.stderr, flush=True)
        return evaluation.run(command_line(), began)

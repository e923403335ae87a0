"""Evaluation of systems, for calls from Python."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.configuration.words import Config, Settings, config_words
from lslm_lightning.contracts import Score

if TYPE_CHECKING:
    import pandas as pd

    from lslm_lightning.evaluation.comparison import Pair
    from lslm_lightning.evaluation.doctor import Finding
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
    settings: Settings | None = None,
    *,
    name: str | None = None,
    root: str | Path = "runs",
    fresh: bool = False,
) -> EvaluationResults:
    """Let systems answer one evaluation set, as `lslm evaluate` does: scores, tests, a report.

    What was answered before is not asked again. A system that fails leaves the others their
    scores: see `failures` of the result.

    Args:
        config: a YAML file, its content as a mapping, or several of either, which are merged.
        settings: replace those of the config, by keys with dots: `{"split": "val"}`.
        name: of the evaluation. Default: that of the config.
        root: folder of all runs.
        fresh: ask every system anew; earlier answers are kept beside.

    Raises:
        ValueError: settings are wrong, or systems were trained for something else.
        WorkError: no system could be asked.
    """
    from lslm_lightning.experiments.evaluation_spec import read
    from lslm_lightning.experiments.library import library_call
    from lslm_lightning.experiments.outcome import WorkError
    from lslm_lightning.runs.directory import check_name

    with config_words(config, settings) as words, library_call(["evaluate", *words]):
        if name is not None:
            check_name(name, "name")
        evaluation = read(words)
        folder = folder_of(evaluation, words, Path(root), name)
        try:
            results = conclude(evaluation, folder, fresh)
        except WorkError as error:
            if error.results is None:
                raise
            results = error.results
    return EvaluationResults(results, folder)


def folder_of(
    evaluation: "EvaluationSpec",
    words: Sequence[str],
    root: Path,
    name: str | None = None,
) -> Path:
    """Return the output folder of an evaluation: its name, then a digest of the data, split and
    prompts.
    """
    from lslm_lightning.runs.directory import as_name

    config = words[words.index("--config") + 1]
    parent = root / evaluation.task_name
    folder = parent / f"{name or as_name(Path(config).stem)}-{evaluation.identity}"
    if name or folder.exists():  # one of an earlier release may be called by its config alone
        return folder
    return parent / f"{name_of(config, words)}-{evaluation.identity}"


def name_of(config: str, words: Sequence[str]) -> str:
    """Return a name for an evaluation, made of the config's file name and of the settings given
    besides.
    """
    from lslm_lightning.runs.names import run_name, stem_of, typed_settings

    asked = ("data.", "split", "n_shot")
    settings = {key: text for key, text in typed_settings(words).items() if key.startswith(asked)}
    return run_name(stem_of(config), settings, {}, {})


def conclude(
    evaluation: "EvaluationSpec",
    folder: Path,
    fresh: bool = False,
    n_process: int = 1,
    command: Sequence[str] = (),
) -> "Results":
    """Collect missing predictions, score all systems, write the report and store the evaluation in
    MLflow.

    Args:
        n_process: processes that share the questions.
        command: that starts one of them, but for the number of its share.
    """
    from lslm_lightning.experiments.evaluation import Examination
    from lslm_lightning.experiments.outcome import command_line
    from lslm_lightning.training.cores import limit_threads

    began = time.time()
    examination = Examination(evaluation, folder, fresh)
    examination.tell()
    with examination.answers.alone():
        if n_process > 1:
            examination.answers.share_out(command, n_process)
        elif told := limit_threads():
            print(told, file=sys.stderr, flush=True)
        return examination.conclude(command_line(), began)

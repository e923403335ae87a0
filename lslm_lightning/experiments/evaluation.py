"""One evaluation of several systems: predictions, scores, report and MLflow runs."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from lslm_lightning.contracts import Example, Metric, Prediction, metric_label
from lslm_lightning.evaluation.comparison import Pair
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.results import Results, compute_results, write_results
from lslm_lightning.experiments.endings import WorkError, final_status
from lslm_lightning.experiments.evaluation_records import found_settings, store
from lslm_lightning.experiments.failures import failure
from lslm_lightning.experiments.predictions import PredictionCollector
from lslm_lightning.experiments.run_records import seen_in_training, trained, versions
from lslm_lightning.experiments.suitability import MismatchError, check_purposes
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.reports.blocks import Cell, Report, Section
from lslm_lightning.reports.composition import compose_report, details_section
from lslm_lightning.reports.conclusion import p_value_text
from lslm_lightning.reports.evaluation import lead, score_table
from lslm_lightning.reports.formatting import number
from lslm_lightning.reports.page import write_report
from lslm_lightning.reports.terminal import show_conclusion, show_findings, show_table
from lslm_lightning.reports.trained import Trained, training_sections
from lslm_lightning.reports.words import words
from lslm_lightning.runs.directory import RunDirectory, check_name
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.safety.terminal import console
from lslm_lightning.text.languages import UNDETERMINED, base_language
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from lslm_lightning.experiments.evaluation_spec import EvaluationSpec


class Evaluation:
    """Evaluation of several systems on one set of examples.

    Args:
        folder: output folder; receives predictions/, metrics.json and report/.
        fresh: make all predictions again; earlier ones are renamed to *.old.
        n_worker: number of processes at most that score; see `measurement.measure_all`.
    """

    def __init__(
        self, spec: "EvaluationSpec", folder: Path, fresh: bool = False, n_worker: int = 1
    ) -> None:
        self.spec = spec
        self.folder = folder
        self.n_worker = n_worker
        self.systems = {name: as_system(each) for name, each in spec.systems.items()}
        data = spec.data
        self.examples: list[Example] = data.prompted_examples(spec.split, spec.n_shot)
        if not self.examples:
            raise ValueError(f"corpus {data.corpus_name} has nothing in its split {spec.split}")
        for name in spec.systems:
            check_name(name, "system")
        self.mismatches: dict[str, str] = {}
        language = self.examples[0].language
        told = None if base_language(language) == UNDETERMINED else (language, language)
        broken = dict(spec.broken)
        for name, system in self.systems.items():
            try:
                self.mismatches |= check_purposes({name: system}, spec.task_name, data, told)
            except MismatchError:
                raise
            except BaseException as error:
                broken[name] = failure(error)
        self.metrics: Sequence[Metric] = spec.metrics or spec.task.metrics(language)
        names = [metric.name for metric in self.metrics]
        self.headline = spec.task.headline if spec.task.headline in names else names[0]
        self.predictions = PredictionCollector(
            self.systems,
            spec.keys,
            self.examples,
            data.mode,
            folder / "predictions",
            data.prompts(spec.split),
            fresh,
        )
        self.predictions.broken |= broken
        for name, system in self.systems.items():
            try:
                system.calibrate(lambda: data.examples("val"))
            except BaseException as error:
                self.predictions.broken[name] = failure(error)

    def tell(self) -> None:
        """Print which runs the patterns in the config were resolved to, and which systems were
        trained for another task or language.
        """
        for line in [
            *self.choices().values(),
            *(f"system {name}: {mismatch}" for name, mismatch in self.mismatches.items()),
        ]:
            print(line, flush=True)

    def choices(self) -> dict[str, str]:
        """Return, by system name, a line that names the run chosen for a pattern; systems without a
        pattern are left out.
        """
        found = {}
        for name, system in self.systems.items():
            try:
                chosen = system.chosen_runs()
            except BaseException as error:  # nothing matches, say: told when the system is asked
                failure(error)
                continue
            if chosen:
                found[name] = f"system {name}: " + "; ".join(map(str, chosen))
        return found

    def run(self, command: str, began: float) -> Results:
        """Run the evaluation in a new MLflow run: collect missing predictions, score, report,
        store.

        Args:
            command: command line to show in the report.
            began: start time in seconds since the epoch.

        Raises:
            WorkError: some systems failed; the others are scored and reported.
        """
        tracker = Tracker(
            self.spec.task_name,
            self.folder.name,
            self.folder,
            tags=self.tags(),
            system_metrics=False,
        )
        self.predictions.prepare()
        tracker.start()
        with final_status(tracker):
            return self.evaluate(tracker, command, began)

    def evaluate(self, tracker: Tracker, command: str, began: float) -> Results:
        """Run the evaluation inside an MLflow run that is already open; `predictions.prepare` must
        have been called.

        Args:
            tracker: tracker of the open MLflow run.
            command: command line to show in the report.
            began: start time in seconds since the epoch.

        Raises:
            WorkError: some systems failed; the others are scored and reported.
        """
        results = self.results()
        data = self.spec.data
        corpus = data.corpus
        recorded = data.recorded(self.spec.split)
        write_results(self.folder / "metrics.json", results, recorded)
        tracker.log_dataset(
            data.dataset_name, recorded["digest"], self.spec.split, corpus.home or corpus.name
        )
        report = self.report(results, command, began, tracker.git)
        page = write_report(report, self.folder / "report")
        self.show(results)
        store(self, tracker, results)
        print(f"report {page}", flush=True)
        if failed := [
            f"{name}: {entry.reason}" for name, entry in results.entries.items() if entry.failed
        ]:
            error = WorkError(
                f"{len(failed)} of {len(results.entries)} systems failed; {'; '.join(failed)}; "
                "the same command asks for their missing predictions"
            )
            error.results = results
            raise error
        return results

    def results(self) -> Results:
        """Collect missing predictions and compute scores, paired tests and sanity checks."""
        entries = self.predictions.entries()
        texts, contaminated = seen_in_training(self.spec.data, self.examples)
        return compute_results(
            self.examples,
            entries,
            self.metrics,
            self.headline,
            texts,
            contaminated,
            self.spec.n_resample,
            self.n_worker,
        )

    def report(
        self, results: Results, command: str, began: float, git: Mapping[str, str]
    ) -> Report:
        """Build the report of the evaluation.

        Args:
            command: command line to show in the report.
            began: start time in seconds since the epoch.
            git: state of the git repository.
        """
        specs = {
            name: {**spec, **found_settings(results, name)}
            for name, spec in self.spec.specs.items()
        }
        systems = {name: dump_yaml(redacted_settings(spec)) for name, spec in specs.items()}
        facts = self.facts(began, git)
        return compose_report(
            Verbatim(self.folder.name),
            self.spec.task_name,
            lead(results, self.metrics, self.baselines()),
            results,
            details_section(facts, redacted(command), versions(), systems),
            self.examples,
            self.metrics,
            training=self.training_sections(results),
            of_task=self.task_sections(results),
            date=time.strftime("%Y-%m-%d %H:%M", time.localtime(began)),
        )

    def facts(self, began: float, git: Mapping[str, str]) -> dict[str, Cell]:
        """Return the rows of the section "Run details" of the report.

        Args:
            began: start time in seconds since the epoch.
            git: state of the git repository.
        """
        data = self.spec.data
        found = data.evaluation_set(self.spec.split)
        commit = git.get("git.commit")
        comparability = data.corpus.comparability
        changed = " and uncommitted changes" if git.get("git.dirty") == "true" else ""
        facts: dict[str, Cell] = {
            "Corpus": data.corpus.name,
            "Licence": Term(data.corpus.licence),
            "Split": self.spec.split,
            "Languages": found.languages,
            "Digest of the data": found.digest,
            "Examples": len(self.examples),
            "Worked examples in questions": self.spec.n_shot,
            "Version of the questions": data.prompt_version or None,
            **({"Language": Term(data.assumed_language)} if data.assumed_language else {}),
            **({"Comparability": Term(comparability)} if comparability else {}),
            "Git commit": commit and Term(f"{commit}{changed}"),
            "Wall time": Term(f"{number(time.time() - began)} s"),
        }
        facts |= {
            f"Run of {name}": Term(line.removeprefix(f"system {name}: "))
            for name, line in self.choices().items()
        }
        return facts | {f"Mismatch of {name}": Term(text) for name, text in self.mismatches.items()}

    def task_sections(self, results: Results) -> list[Section]:
        """Return the report sections that the task adds."""
        outputs: dict[str, list[Prediction]] = {
            name: [*entry.predictions, *entry.continuations]
            for name, entry in results.entries.items()
            if not entry.reason
        }
        return self.spec.task.report_class.comparison(self.spec.data, self.spec.split, outputs)

    def training_sections(self, results: Results) -> list[Section]:
        """Return the report sections on how the systems were trained."""
        runs: dict[Path, Trained] = {}  # one of several systems stands for a run that they share
        for name, system in self.systems.items():
            try:
                has_answered = not results.entries[name].reason
                if has_answered and (path := system.run_directory):
                    runs.setdefault(path.resolve(), trained(RunDirectory(path), name))
            except BaseException as error:
                message = f"{name}: no training curves for the report: {failure(error)}"
                print(message, file=sys.stderr, flush=True)
        return training_sections(list(runs.values()), self.headline)

    def baselines(self) -> list[str]:
        """Return the names of the systems that are baselines, that is, have no trained model."""
        return [name for name, system in self.systems.items() if system.is_baseline]

    def tags(self) -> dict[str, str]:
        """Return the MLflow tags that the evaluation's run and its child runs share."""
        data = self.spec.data
        split = self.spec.split
        found = data.evaluation_set(split)
        return {
            "task": self.spec.task_name,
            "command": "evaluate",
            "corpus": data.corpus.name,
            f"corpus.{split}_digest": found.digest,
            f"corpus.{split}_languages": found.languages,
            "languages": found.languages,
            "n_shot": str(self.spec.n_shot),
            **({"prompt": data.prompt_version} if data.prompt_version else {}),
        }

    def show(self, results: Results) -> None:
        """Print the conclusion, the table of scores, failures and failed sanity checks to the
        terminal.
        """
        output = console()
        names = [metric.name for metric in self.metrics]
        conclusion = lead(results, self.metrics, self.baselines())
        show_conclusion(conclusion.sentences)
        show_table(score_table(results, names).table())
        for name, entry in results.entries.items():
            if entry.reason:
                output.print(Text(f"{name}: {entry.reason}", "yellow"))
        for refusal in results.refusals:
            output.print(Text(refusal, "yellow"))
        if assumed := self.spec.data.assumed_language:
            output.print(Text(assumed), soft_wrap=True)
        others = [
            pair
            for pair in results.pairs
            if pair.metric == results.headline
            and frozenset((pair.first, pair.second)) not in conclusion.pairs
        ]
        if others:
            label = metric_label(results.headline)
            output.print(
                f"Other differences in {label}, with 95 % intervals and Holm-corrected p:",
                soft_wrap=True,
            )
        for pair in others:
            output.print(
                words(pair_line(pair)), style="bold" if pair.p < 0.05 else "dim", soft_wrap=True
            )
        show_findings(results.findings)


def pair_line(pair: Pair) -> str:
    """Return the difference of two systems as a line of text, such as "a − b: +1.50 (0.20 to 2.81),
    p = 0.03".
    """
    sign = "+" if pair.difference > 0 else ""
    difference = f"{pair.first} − {pair.second}: {sign}{number(pair.difference, 2)}"
    if math.isnan(pair.p):
        return f"{difference}, no test is possible"
    bounds = f"{number(pair.low, 2)} to {number(pair.high, 2)}"
    return f"{difference} ({bounds}), {p_value_text(pair.p)}"

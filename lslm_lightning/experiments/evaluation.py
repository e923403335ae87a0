"""One evaluation, from the questions to the report: its folder, its scores, its MLflow runs."""

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lslm_lightning.contracts import Example, Metric
from lslm_lightning.evaluation.duck_typing import as_system, unwrapped
from lslm_lightning.evaluation.results import Results, conclude, write_results
from lslm_lightning.evaluation.scoring import described
from lslm_lightning.experiments.outcome import WorkError, command_line, true_ending
from lslm_lightning.experiments.predictions import Answers, failure
from lslm_lightning.experiments.run_records import seen_in_training, trained, versions
from lslm_lightning.experiments.run_report import run_links
from lslm_lightning.experiments.suitability import MismatchError, check_purposes
from lslm_lightning.reports.blocks import Report, Section
from lslm_lightning.reports.conclusion import NOTHING, Conclusion
from lslm_lightning.reports.description import describe, interval_in_words, ranking_table
from lslm_lightning.reports.evaluation import (
    conclusion_on,
    evaluation_report,
    lead,
    score_table,
    to_repeat,
)
from lslm_lightning.reports.numerals import counted, number
from lslm_lightning.reports.page import write_report
from lslm_lightning.reports.terminal import show_conclusion, show_findings, show_table
from lslm_lightning.reports.trained import training_sections
from lslm_lightning.runs.directory import RunDirectory, check_name
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.safety.terminal import console
from lslm_lightning.text.yaml_files import dump_yaml
from lslm_lightning.tracking import Tracker
from lslm_lightning.tracking.parameters import short_class, short_parameters

if TYPE_CHECKING:
    from lslm_lightning.experiments.evaluation_spec import EvaluationSpec

# Facts of what a system found out about its settings: from an endpoint's server, from a Hugging
# Face folder
FOUND = ("replaced", "left_out", "generation_config", "generation_config_set_aside")


class Examination:
    """What `lslm evaluate` does.

    Args:
        folder: predictions/, metrics.json and report/ go there.
        fresh: set earlier answers aside.
    """

    def __init__(self, evaluation: "EvaluationSpec", folder: Path, fresh: bool = False) -> None:
        self.evaluation = evaluation
        self.folder = folder
        self.systems = {name: as_system(each) for name, each in evaluation.systems.items()}
        data = evaluation.data
        self.examples: list[Example] = data.prompted_examples(evaluation.split, evaluation.n_shot)
        if not self.examples:
            raise ValueError(
                f"corpus {data.corpus_name} has nothing in its split {evaluation.split}"
            )
        for name in evaluation.systems:
            check_name(name, "system")
        self.mismatches: dict[str, str] = {}
        broken = dict(evaluation.broken)
        for name, system in self.systems.items():
            try:
                self.mismatches |= check_purposes({name: system}, evaluation.task_name, data)
            except MismatchError:
                raise
            except BaseException as error:
                broken[name] = failure(error)
        self.metrics: Sequence[Metric] = evaluation.metrics or evaluation.task.metrics(
            self.examples[0].language
        )
        names = [metric.name for metric in self.metrics]
        self.headline = evaluation.task.headline if evaluation.task.headline in names else names[0]
        prompts = data.prompts(evaluation.split)
        self.answers = Answers(
            self.systems,
            evaluation.keys,
            self.examples,
            data.mode,
            folder / "predictions",
            prompts,
            fresh,
        )
        self.answers.broken |= broken
        for name, system in self.systems.items():
            try:
                system.calibrate(lambda: data.examples("val"))
            except BaseException as error:
                self.answers.broken[name] = failure(error)

    def tell(self) -> None:
        """Print which runs patterns stand for, and what systems were trained for where that is
        something else.
        """
        for line in [
            *self.choices().values(),
            *(f"system {name}: {words}" for name, words in self.mismatches.items()),
        ]:
            print(line, flush=True)

    def choices(self) -> dict[str, str]:
        """The runs that patterns stand for, in words, by system."""
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

    def conclude(self, command: str, began: float) -> Results:
        """Answer what is open, score what is written, report, and store it all in an MLflow run of
        its own.

        Raises:
            WorkError: systems failed; the others are reported.
        """
        tracker = Tracker(
            self.evaluation.task_name,
            self.folder.name,
            self.folder,
            tags=self.tags(),
            system_metrics=False,
        )
        self.answers.prepare()
        tracker.start()
        with true_ending(tracker):
            return self.examine(tracker, command, began)

    def examine(self, tracker: Tracker, command: str, began: float) -> Results:
        """The same after `answers.prepare`, in the MLflow run of `tracker`."""
        results = self.results()
        data = self.evaluation.data
        corpus = self.evaluation.data.corpus
        recorded = data.recorded(self.evaluation.split)
        write_results(self.folder / "metrics.json", results, recorded)
        tracker.log_dataset(
            data.dataset_name, recorded["digest"], self.evaluation.split, corpus.home or corpus.name
        )
        page = write_report(
            self.report(results, command, began, tracker.git), self.folder / "report"
        )
        self.show(results)
        self.store(tracker, results)
        print(f"report {page}", flush=True)
        if failed := [
            f"{name} ({entry.reason})" for name, entry in results.entries.items() if entry.failed
        ]:
            words = f"{len(failed)} of {len(results.entries)} systems failed, {'; '.join(failed)}"
            error = WorkError(f"{words}; the same command asks for what they have not answered")
            error.results = results
            raise error
        return results

    def results(self) -> Results:
        """From answers on disk, asked for where they are missing, to scores."""
        entries = self.answers.entries()
        texts, found = seen_in_training(self.evaluation.data, self.examples)
        return conclude(
            self.examples,
            entries,
            self.metrics,
            self.headline,
            texts,
            found,
            self.evaluation.n_resample,
        )

    def report(
        self, results: Results, command: str, began: float, git: Mapping[str, str]
    ) -> Report:
        evaluation = self.evaluation
        data = self.evaluation.data
        commit = git.get("git.commit")
        dirty = git.get("git.dirty") == "true"
        facts = {
            "Corpus": data.corpus.name,
            "Licence": data.corpus.licence,
            "Split": evaluation.split,
            "Languages": data.evaluation_set(evaluation.split).languages,
            "Digest of the data": data.evaluation_set(evaluation.split).digest,
            "Examples": len(self.examples),
            "Worked examples in questions": evaluation.n_shot,
            "Version of the questions": data.prompt_version or None,
            **({"Language": data.assumed_language} if data.assumed_language else {}),
            "Git commit": commit and f"{commit}{' and uncommitted changes' if dirty else ''}",
            "Wall time": f"{number(time.time() - began)} s",
        }
        facts |= {
            f"Run of {name}": words.removeprefix(f"system {name}: ")
            for name, words in self.choices().items()
        }
        facts |= {f"Mismatch of {name}": words for name, words in self.mismatches.items()}
        outputs = {
            name: [*e.predictions, *e.continuations]
            for name, e in results.entries.items()
            if not e.reason
        }
        sections: list[Section] = evaluation.task.report_class.comparison(
            data, evaluation.split, outputs
        )
        runs = {}  # one of several systems stands for a run that they share
        for name, system in self.systems.items():
            try:
                has_answered = not results.entries[name].reason
                if has_answered and (path := system.run_directory):
                    runs.setdefault(path.resolve(), trained(RunDirectory(path), name))
            except BaseException as error:
                words = f"{name}: no training curves for the report: {failure(error)}"
                print(words, file=sys.stderr, flush=True)
        sections += training_sections(list(runs.values()), self.headline)
        specs = {
            name: spec | found_settings(results, name) for name, spec in evaluation.specs.items()
        }
        systems = {name: dump_yaml(redacted_settings(spec)) for name, spec in specs.items()}
        repeat = [to_repeat(redacted(command), facts, systems, versions())]
        date = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
        return evaluation_report(
            self.folder.name,
            evaluation.task_name,
            results,
            self.examples,
            self.metrics,
            repeat,
            sections,
            date,
            self.baselines(),
        )

    def baselines(self) -> list[str]:
        """Names of the systems that need no model, and that every other one has to beat."""
        systems = self.systems.items()
        return [name for name, system in systems if system.is_baseline]

    def tags(self) -> dict[str, str]:
        """Tags of the evaluation's MLflow run and of its children; the words of questions are the
        systems' own affair.
        """
        evaluation = self.evaluation
        split = self.evaluation.split
        found = evaluation.data.evaluation_set(split)
        return {
            "task": evaluation.task_name,
            "command": "evaluate",
            "corpus": evaluation.data.corpus.name,
            f"corpus.{split}_digest": found.digest,
            f"corpus.{split}_languages": found.languages,
            "languages": found.languages,
            "n_shot": str(evaluation.n_shot),
            **(
                {"prompt": evaluation.data.prompt_version} if evaluation.data.prompt_version else {}
            ),
        }

    def store(self, tracker: Tracker, results: Results) -> None:
        """The evaluation in MLflow: a run, with a child a system, metrics named alike so that
        MLflow compares them.
        """
        for path in (self.folder / "metrics.json", self.folder / "report"):
            tracker.log_artifact(path)
        tracker.log_hyperparams({"split": self.evaluation.split, "n_shot": self.evaluation.n_shot})
        tracker.set_tags({name: self.tags()[name] for name in ("corpus", "languages")})
        baselines = self.baselines()
        conclusion = lead(results, self.metrics, baselines)
        tracker.set_description(self.description(tracker, results, results.entries, conclusion))
        headline = f"{self.evaluation.split}/{results.headline}"
        for name, entry in results.entries.items():
            folder = self.folder / "systems" / name
            folder.mkdir(parents=True, exist_ok=True)
            tags = self.tags() | {"system": name}
            shown = f"{name} ({self.folder.name})"
            child = Tracker(
                self.evaluation.task_name,
                shown,
                folder,
                tags=tags,
                parent_run_id=tracker.version,
                system_metrics=False,
            )
            child.start()
            found = results.scores[name]
            values = (
                {f"{self.evaluation.split}/{s.metric}": s.value for s in found.scores}
                if found
                else {}
            )
            child.log_metrics(
                {key: value for key, value in values.items() if not math.isnan(value)}, 0
            )
            config = {"system": self.evaluation.specs[name] | found_settings(results, name)}
            own = unwrapped(self.systems[name])
            changed = {"system": set_otherwise(own, config["system"])}
            child.log_hyperparams(short_parameters(config, changed) | constants(entry.facts))
            child.set_tags(
                {
                    "headline": headline,
                    "model": short_class(config["system"].get("class_path", name)),
                }
            )
            conclusion = NOTHING if name in baselines else conclusion_on(name, results, baselines)
            child.set_description(self.description(tracker, results, [name], conclusion))
            if found:
                child.set_tags({"scores": described(found.scores)})
                if interval := interval_in_words(found[results.headline]):
                    child.set_tags({"interval": interval})
            if entry.reason:
                child.set_tags({"reason": entry.reason})
            elif (path := self.answers.path(name)).exists():
                child.log_table(path)
                child.log_artifact(path, "predictions")
            child.end("FAILED" if entry.reason else "FINISHED")

    def description(
        self,
        tracker: Tracker,
        results: Results,
        names: Iterable[str],
        conclusion: Conclusion,
    ) -> str:
        """Return what MLflow's page says of the evaluation, or of some of its systems.

        Args:
            tracker: that of the evaluation, which has the report.
        """
        found = self.evaluation.data.evaluation_set(self.evaluation.split)
        scored = {name: scores.scores for name in names if (scores := results.scores[name])}
        about = (
            f"{self.evaluation.data.corpus.name}, {found.languages}, "
            f"{counted(len(self.examples), 'example')}"
        )
        reasons = {
            name: results.entries[name].reason for name in names if results.entries[name].reason
        }
        return describe(
            ranking_table(scored, results.headline),
            conclusion.markdown(),
            {f"Scored on the {self.evaluation.split} split of": about, **reasons},
            command=command_line(),
            links=run_links(tracker, {"report": "report/index.html"}),
        )

    def show(self, results: Results) -> None:
        """The ladder in the terminal; names and outputs are text, never markup."""
        output = console()
        names = [metric.name for metric in self.metrics]
        conclusion = lead(results, self.metrics, self.baselines())
        show_conclusion(conclusion.sentences)
        show_table(score_table(results, names).table())
        for name, entry in results.entries.items():
            if entry.reason:
                output.print(Text(f"{name}: {entry.reason}", "yellow"))
        for words in results.refusals:
            output.print(Text(words, "yellow"))
        if assumed := self.evaluation.data.assumed_language:
            output.print(Text(assumed), soft_wrap=True)
        for pair in results.pairs:
            is_told = frozenset((pair.first, pair.second)) in conclusion.pairs
            if pair.metric == results.headline and not is_told:
                bounds = f" ({pair.low:.2f} to {pair.high:.2f}), p = {pair.p:.3g}"
                tested = ", no test is possible" if math.isnan(pair.p) else bounds
                words = f"{pair.first} − {pair.second}: {pair.difference:+.2f}{tested}"
                output.print(Text(words, "bold" if pair.p < 0.05 else "dim"))
        show_findings(results.findings)


def constants(facts: Mapping[str, Any]) -> dict[str, float]:
    """Return the size of a system and its costs, as parameters: they have no course over steps."""
    numbers = {name: value for name, value in facts.items() if isinstance(value, int | float)}
    return {
        name if name == "n_parameter" else f"cost.{name}": float(f"{value:.6g}")
        if isinstance(value, float)
        else value
        for name, value in numbers.items()
    }


def set_otherwise(system: object, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a system's spec with the settings alone that differ from the defaults of its class."""
    defaults = {name: each.default for name, each in signature(type(system)).parameters.items()}
    given = (spec.get("init_args") or {}).items()
    changed = {
        name: value for name, value in given if name not in defaults or value != defaults[name]
    }
    return {name: value for name, value in spec.items() if name != "init_args"} | (
        {"init_args": changed} if changed else {}
    )


def found_settings(results: Results, name: str) -> dict[str, Mapping[str, Any]]:
    """Settings of a system that change its answers and do not stand in the config, under `found`;
    nothing where there are none.
    """
    facts = results.entries[name].facts if name in results.entries else {}
    found = {key: facts[key] for key in FOUND if facts.get(key)}
    return {"found": found} if found else {}

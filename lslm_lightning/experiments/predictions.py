"""Collection of the predictions of several systems. Predictions are written to disk as they are
made, and interrupted collections resume.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lslm_lightning.contracts import CannotError, Example, Generator, Mode, Prediction, System
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.harness import (
    collect_predictions,
    merge_shards,
    read_all_predictions,
)
from lslm_lightning.evaluation.results import Entry, cut_facts
from lslm_lightning.experiments.endings import WorkError
from lslm_lightning.experiments.failures import failure
from lslm_lightning.experiments.prediction_files import PredictionFiles
from lslm_lightning.experiments.run_records import timing, training_flops
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.training.display import Display
from lslm_lightning.training.work import Work
from lslm_lightning.types import JsonObject


class PredictionCollector:
    """Collector of the predictions of several systems for one evaluation set; only missing
    predictions are made.

    Args:
        keys: for each system, by name, the stem of its file names, see `PredictionFiles`.
        mode: method that the systems are called by, "generate" or "log_prob".
        folder: folder of the prediction files.
        prompts: beginnings of texts, which systems continue in addition to answering the examples.
        fresh: make all predictions again; existing files are renamed to *.old.

    Attributes:
        broken: systems known to be unusable before `prepare`, by name, with the reason.
        unready: all unusable systems, by name, with the reason: `broken` and those that `prepare`
            found.
    """

    def __init__(
        self,
        systems: Mapping[str, System],
        keys: Mapping[str, str],
        examples: Sequence[Example],
        mode: Mode,
        folder: Path,
        prompts: Sequence[Example] = (),
        fresh: bool = False,
    ) -> None:
        self.systems = {name: as_system(system) for name, system in systems.items()}
        self.files = PredictionFiles(folder, keys)
        self.examples = examples
        self.mode: Mode = mode
        self.prompts = prompts
        self.fresh = fresh
        self.broken: dict[str, str] = {}
        self.unready: dict[str, str] = {}
        self.display = Display(output="stderr")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lock the folder inside the body of the `with` statement, so that no other process writes
        predictions there.

        Raises:
            WorkError: another process holds the lock.
        """
        with self.files.exclusive(self.fresh):
            yield

    def shardable(self) -> list[str]:
        """Return the names of the systems whose examples can be shared among several processes."""
        found = []
        for name, system in self.systems.items():
            try:
                if system.shardable:
                    found.append(name)
            except BaseException as error:
                self.broken[name] = failure(error)
        return found

    def prepare(self) -> None:
        """Merge files of earlier processes, set outdated predictions aside, and prepare every
        system that has examples left.

        If a system cannot be prepared, the reason is printed and recorded, and the other systems
        are still scored.

        Raises:
            WorkError: no system can be prepared.
        """
        self.unready = dict(self.broken)
        for name, system in self.systems.items():
            if name in self.unready:
                continue
            try:
                self.prepare_system(name, system)
            except BaseException as error:
                self.unready[name] = failure(error)
                if len(self.systems) == 1 and isinstance(error, Exception):
                    raise
        if self.unready and len(self.unready) == len(self.systems):
            raise WorkError("; ".join(f"{name}: {reason}" for name, reason in self.unready.items()))
        for name, reason in self.unready.items():
            print(f"{name} is left out: {reason}", file=sys.stderr, flush=True)

    def prepare_system(self, name: str, system: System) -> None:
        """Merge one system's files from earlier processes, and prepare the system if it has
        examples left.

        Its existing predictions are set aside if its fingerprint has changed.
        """
        merge_shards(self.files.path(name))
        then = self.files.record(name).get("fingerprint")
        now = system.fingerprint()
        if then and now and then != now:
            self.files.set_aside(name)
            print(
                f"{name} has changed since its predictions were made: they are kept as *.old, "
                "and made again",
                flush=True,
            )
            then = None
        if now and not then:  # before the first prediction, so that no file mixes two models
            self.files.write_record(name, self.files.record(name) | {"fingerprint": now})
        if self.is_open(name):
            system.prepare(self.examples)

    def is_open(self, name: str) -> bool:
        """Return whether some examples have no prediction from this system yet."""
        answered = {p.id for p in read_all_predictions(self.files.path(name))}
        return any(e.id not in answered for e in self.examples)

    def entries(self) -> list[Entry]:
        """Collect the missing predictions and return one evaluation entry per system.

        No model is loaded if nothing is missing.
        """
        return [self.entry(name, system) for name, system in self.systems.items()]

    def entry(self, name: str, system: System) -> Entry:
        """Return the evaluation entry of one system; if the system fails, the entry contains the
        reason.
        """
        if name in self.unready:
            return Entry(name, reason=self.unready[name], failed=True)
        try:
            path = self.files.path(name)
            predictions = self.collected(name, system, self.mode, self.examples, path)
            continuations = self.continued(name, system)
            record = self.described(name, system, predictions)
        except CannotError as error:
            return Entry(name, reason=failure(error))
        except BaseException as error:
            return Entry(name, reason=failure(error), failed=True)
        return Entry(
            name, predictions, continuations, signature=record["signature"], facts=record["facts"]
        )

    def collected(
        self,
        name: str,
        system: System,
        mode: Mode,
        examples: Sequence[Example],
        path: Path,
        title: str = "",
    ) -> list[Prediction]:
        """Make a system's missing predictions with a progress display, and return all its
        predictions.

        Args:
            mode: method that the system is called by, "generate" or "log_prob".
            path: file of the predictions.
            title: text shown after the system's name in the progress display.
        """
        work: Work | None = None

        def show(done: int, total: int) -> None:
            nonlocal work
            if work is None:  # nothing is shown of a system that has answered all
                number = f"{list(self.systems).index(name) + 1} of {len(self.systems)}"
                what = f"system {number}, {name}:{title}" if title else f"system {number}, {name}:"
                work = Work(what, total, "answers", start=done)
                self.display.show(work)
            work.update(done)
            self.display.tell(work)

        try:
            return collect_predictions(system, mode, examples, path, show)
        finally:
            if work is not None:
                self.display.end(work)

    def continued(self, name: str, system: System) -> list[Prediction]:
        """Return the system's continuations of the prompts; an empty list if the system generates
        no text.
        """
        if not self.prompts or not isinstance(system, Generator):
            return []
        path = self.files.continuations(name)
        return self.collected(name, system, "generate", self.prompts, path, " continuations")

    def described(
        self,
        name: str,
        system: System,
        predictions: Sequence[Prediction],
    ) -> JsonObject:
        """Return the record of a system, with its signature and facts filled in.

        If the facts cannot be determined, the scores are unaffected: the report omits the facts,
        and the next evaluation tries again.
        """
        record = self.files.record(name)
        if isinstance(record.get("facts"), dict) and isinstance(record.get("signature"), str):
            return record
        record |= {"signature": system.signature(self.mode), "facts": {}}
        try:
            found = facts(system, predictions)
            if self.mode == "generate":
                n_cut, phrase = system.cut_sources(self.examples)
                found |= cut_facts(n_cut, len(self.examples), phrase)
            record["facts"] = json.loads(json.dumps(found))
        except BaseException as error:
            print(f"{name}: no facts for the report: {failure(error)}", file=sys.stderr, flush=True)
        else:
            self.files.write_record(name, record)
        return record


def facts(system: System, predictions: Sequence[Prediction]) -> dict[str, object]:
    """Return the facts of a system for the report: its own information, speed, and training
    compute.
    """
    found: dict[str, object] = {**system.info(), **timing(predictions)}
    folder = system.run_directory
    if folder is None:
        return found
    size = found["n_parameter"]
    return found | training_flops(RunDirectory(folder), size if isinstance(size, int) else None)

"""What systems answer in an evaluation: on disk as it comes, shared among processes, asked for
once.
"""

import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lslm_lightning.contracts import CannotError, Example, Generator, Mode, Prediction, System
from lslm_lightning.evaluation.duck_typing import as_system
from lslm_lightning.evaluation.harness import absorb, ask, everything, n_answer
from lslm_lightning.evaluation.results import Entry
from lslm_lightning.exit_status import FAILED
from lslm_lightning.experiments.outcome import PARENT, WorkError, is_stop, one_line
from lslm_lightning.experiments.run_records import timing, training_flops
from lslm_lightning.files import atomic_write
from lslm_lightning.runs.directory import RunDirectory
from lslm_lightning.safety.redaction import redacted, redacted_settings
from lslm_lightning.training.cores import THREADS, available_cores
from lslm_lightning.training.display import Display
from lslm_lightning.training.work import Work

# shares of a process that was killed end within the latter
POLL_SECONDS = 1.0
LOCK_SECONDS = 3.0
LOCK = ".lock"
LONGEST_REASON = 500  # characters of an error's text in tables and reports
FORESEEN = (ValueError, RuntimeError, OSError)  # errors that explain themselves


class Answers:
    """The answers of all systems to one exam, in `folder`: `<key>.jsonl`, and `<key>.json` with
    what is on record of it.

    Args:
        keys: a file name for each system, which tells it from one of the same name that was set up
            otherwise.
        prompts: beginnings that systems continue beside the exam; in `<key>.continuations.jsonl`.
        fresh: set earlier answers aside.
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
        self.keys = keys
        self.examples = examples
        self.mode = mode
        self.folder = folder
        self.prompts = prompts
        self.fresh = fresh
        self.broken: dict[str, str] = {}  # why systems cannot be asked, known before `prepare`
        self.unready: dict[str, str] = {}  # these, and those that `prepare` found
        self.display = Display(output="stderr")
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process asks these systems inside.

        Raises:
            WorkError: one is at it.
        """
        lock = FileLock(self.folder / LOCK, timeout=LOCK_SECONDS)
        try:
            lock.acquire()
        except Timeout:
            words = "wait for its end, or stop it; what it has answered is not asked again"
            raise WorkError(f"another process evaluates in {self.folder.parent}: {words}") from None
        try:
            if self.fresh:
                for path in [
                    p for p in self.folder.iterdir() if p.suffix != ".old" and p.name != LOCK
                ]:
                    path.rename(path.with_name(f"{path.name}.{time.time_ns()}.old"))
            yield
        finally:
            lock.release()

    def path(self, name: str) -> Path:
        return self.folder / f"{self.keys[name]}.jsonl"

    def record_path(self, name: str) -> Path:
        return self.folder / f"{self.keys[name]}.json"

    def continuations(self, name: str) -> Path:
        return self.folder / f"{self.keys[name]}.continuations.jsonl"

    # Shares

    def answer_share(self, index: int, n: int) -> None:
        """Answer every n-th text of what is still open, into files of this share; what fails is
        left to the process that started it.
        """
        leave_with_parent()
        for name in self.sharing():
            share = self.folder / f"{self.keys[name]}.{index}-of-{n}.jsonl"
            try:
                ask(
                    self.systems[name],
                    self.mode,
                    self.examples,
                    share,
                    share=(index, n),
                    known=self.path(name),
                )
            except CannotError:
                continue
            except BaseException as error:
                print(f"{name}: {failure(error)}", file=sys.stderr, flush=True)

    def sharing(self) -> list[str]:
        """Names of the systems that several processes ask; one that cannot tell is broken."""
        found = []
        for name, system in self.systems.items():
            try:
                if system.shardable:
                    found.append(name)
            except BaseException as error:
                self.broken[name] = failure(error)
        return found

    def share_out(self, command: Sequence[str], n: int) -> None:
        """Start a process a share, wait for all, and join what they wrote.

        Endpoints are left to this process (one budget, one ledger), and so is what a process has
        not answered that ended early.
        """
        names = self.sharing()
        self.prepare()
        running = []
        devices = gpus()
        for index in range(n):
            environment = (
                threads(n)
                | dict(os.environ)
                | ({"CUDA_VISIBLE_DEVICES": devices[index % len(devices)]} if devices else {})
            )
            environment[PARENT] = str(os.getpid())
            # in a group of its own: of a Ctrl-C this process tells it
            words = [*command, f"--share={index}/{n}"]
            running.append(
                subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, process_group=0)
            )
        try:
            before = sum(n_answer(self.path(name)) for name in names)
            work = Work(f"{n} processes", len(names) * len(self.examples), "answers", start=before)
            with self.display.showing(work):
                while any(process.poll() is None for process in running):
                    work.update(sum(n_answer(self.path(name)) for name in names))
                    self.display.tell(work)
                    time.sleep(POLL_SECONDS)
        finally:
            for process in running:
                if process.poll() is None:
                    process.terminate()
                process.wait()
                process.stdin.close()
            for name in self.systems.keys() - self.unready.keys():
                try:
                    absorb(self.path(name))
                except ValueError as error:  # a damaged share, which is left as it is
                    self.broken[name] = failure(error)
        if failed := [i for i, process in enumerate(running) if process.returncode]:
            words = (
                f"shares {failed} of {n} ended early; this process asks for what is not answered"
            )
            print(words, file=sys.stderr, flush=True)

    # One process

    def prepare(self) -> None:
        """Before any long work: shares are taken in, answers of weights that have changed are set
        aside, systems are looked for.

        A system that cannot be asked is told at once and keeps its reason for `entry`; the others
        are scored.

        Raises:
            WorkError: no system can be asked.
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
        """Get the answers of one system that are on disk into order, and look for it where some are
        lacking.
        """
        absorb(self.path(name))
        then = self.record(name).get("fingerprint")
        now = system.fingerprint()
        if then and now and then != now:
            for path in self.files(name):
                path.rename(path.with_name(f"{path.name}.{time.time_ns()}.old"))
            print(
                (
                    f"{name} has changed since it was asked: its answers are kept as *.old, and it "
                    "is asked anew"
                ),
                flush=True,
            )
            then = None
        if now and not then:  # before the first answer, so that no two models answer one exam
            self.note(name, self.record(name) | {"fingerprint": now})
        if self.is_open(name):
            system.prepare(self.examples)

    def is_open(self, name: str) -> bool:
        """Whether there is something that the system has not answered yet."""
        answered = {p.id for p in everything(self.path(name))}
        return any(e.id not in answered for e in self.examples)

    def record(self, name: str) -> dict[str, Any]:
        """What was noted of a system: its fingerprint before it was asked, the rest when it had
        answered all.
        """
        try:
            found = json.loads(self.record_path(name).read_text("utf-8"))
        except (OSError, ValueError):  # none, or torn by a kill
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, name: str, record: dict[str, Any]) -> None:
        """Write what is on record, whole or not at all."""
        text = json.dumps(redacted_settings(record), ensure_ascii=False)
        atomic_write(self.record_path(name), text + "\n")

    def files(self, name: str) -> list[Path]:
        """All that is kept of a system's answers."""
        paths = (self.path(name), self.continuations(name))
        return [
            p
            for path in paths
            for p in (path, path.with_name(f"{path.name}.partial"))
            if p.exists()
        ] + [p for p in [self.record_path(name)] if p.exists()]

    def entries(self) -> list[Entry]:
        """What every system answered; systems are asked for what is missing, and no model is loaded
        where nothing is.
        """
        return [self.entry(name, system) for name, system in self.systems.items()]

    def entry(self, name: str, system: System) -> Entry:
        if name in self.unready:
            return Entry(name, reason=self.unready[name], failed=True)
        try:
            predictions = self.asked(name, system, "", self.examples, self.path(name))
            written = self.continued(name, system)
            noted = self.described(name, system, predictions)
        except CannotError as error:
            return Entry(name, reason=failure(error))
        except BaseException as error:
            return Entry(name, reason=failure(error), failed=True)
        return Entry(name, predictions, written, signature=noted["signature"], facts=noted["facts"])

    def asked(
        self,
        name: str,
        system: System,
        what: str,
        examples: Sequence[Example],
        path: Path,
    ) -> list[Prediction]:
        """Let a system answer what it has not answered yet, and show how far it is."""
        work: Work | None = None

        def show(done: int, total: int) -> None:
            nonlocal work
            if work is None:  # nothing is shown of a system that has answered all
                number = f"{list(self.systems).index(name) + 1} of {len(self.systems)}"
                work = Work(f"system {number}, {name}:{what}", total, "answers", start=done)
                self.display.show(work)
            work.update(done)
            self.display.tell(work)

        try:
            return ask(system, "generate" if what else self.mode, examples, path, show)
        finally:
            self.display.end(work)

    def described(
        self,
        name: str,
        system: System,
        predictions: Sequence[Prediction],
    ) -> dict[str, Any]:
        """Return the record of a system with its signature and its facts, which are asked for once.

        Facts that cannot be told take no score away: the report lacks them, and the next
        evaluation asks again.
        """
        noted = self.record(name)
        if isinstance(noted.get("facts"), dict) and isinstance(noted.get("signature"), str):
            return noted
        noted |= {"signature": system.signature(self.mode), "facts": {}}
        try:
            found = facts(system, predictions) | self.unread(system)
            noted["facts"] = json.loads(json.dumps(found))
        except BaseException as error:
            print(f"{name}: no facts for the report: {failure(error)}", file=sys.stderr, flush=True)
        else:
            self.note(name, noted)
        return noted

    def unread(self, system: System) -> dict[str, str]:
        """How many sources a system that writes answers did not read to their end, in words;
        nothing where it read all.
        """
        if self.mode != "generate":
            return {}
        n_cut, words = system.cut_sources(self.examples)
        return {"cut_sources": f"{n_cut:,} of {len(self.examples):,} {words}"} if n_cut else {}

    def continued(self, name: str, system: System) -> list[Prediction]:
        """How the system continues the prompts; nothing of one that writes no text."""
        if not self.prompts or not isinstance(system, Generator):
            return []
        return self.asked(name, system, " continuations", self.prompts, self.continuations(name))


def failure(error: BaseException) -> str:
    """Return what is told of an error that a system raised: one line of bounded length, no secrets.

    Where the text of an error means little without it, the line of code that raised it is named.

    Raises:
        BaseException: the error itself, where it asks this process to stop.
    """
    if is_stop(error):
        raise error
    reason = redacted(one_line(error))
    if len(reason) > LONGEST_REASON:
        reason = f"{reason[:LONGEST_REASON]}..."
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, FORESEEN) or not frames:
        return reason
    return f"{reason} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def facts(system: System, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What the system says of itself, how long it took, and what its training took."""
    found = {**system.info(), **timing(predictions)}
    folder = system.run_directory
    if folder is None:
        return found
    return found | training_flops(RunDirectory(folder), found["n_parameter"])


def leave_with_parent() -> None:
    """End this process when the one that started it has gone: standard input is a pipe from
    there.
    """

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock an exit would wait for
            pass
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()


def threads(n: int) -> dict[str, str]:
    """The cores that this process may use, shared by `n` processes: more threads than cores wait
    for each other.
    """
    import torch

    return {THREADS: str(max(1, min(torch.get_num_threads(), available_cores()) // n))}


def gpus() -> list[str]:
    """The GPUs that this process may use."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        [g for g in given.split(",") if g]
        if given
        else [str(i) for i in range(torch.cuda.device_count())]
    )

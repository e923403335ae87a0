"""Reports of the gallery, made by the commands that its page shows, in both languages.

A report is kept until the page, the configs, the corpora or the code of the reports change.
"""

import hashlib
import multiprocessing
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from docs.gallery import corpora
from docs.generate.sources import ROOT

if TYPE_CHECKING:
    from multiprocessing.context import ForkContext, SpawnContext

LANGUAGES = ("zh", "en")  # the last is that of the report in the run's folder
N_PROCESS = 2  # at the same time, of one thread each
MADE = ROOT / "docs" / "_gallery"  # a folder of pages for each language
FINGERPRINT = "fingerprint"
PAGE = "docs/en/gallery.md"
SOURCES = (  # what decides how the reports look
    PAGE,
    "docs/gallery/*",
    "lslm_lightning/localization/zh/reports/*",
    "lslm_lightning/reports/**/*",
    "tasks/*/report.py",
    "tests/support/*_corpus.py",
)
LINKED = ("configs", "docs/gallery")  # what commands read, from the root of the repository
SECTION = re.compile(r'^## .*?href="gallery/(\w+)\.html".*?^```sh\n(.*?)^```$', re.M | re.S)
PRELOADED = (
    *(f"experiments.{name}" for name in ("training", "run_report", "evaluation", "comparison")),
    *("experiments.comparing", "systems.checkpoint", "tracking.tracker"),
)


def make(folder: Path = MADE) -> None:
    """Make all reports, `<language>/<name>.html` in a folder, unless they are there and new.

    Raises:
        RuntimeError: a command failed.
    """
    fingerprint = current_fingerprint()
    if kept_fingerprint(folder) == fingerprint:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for language in LANGUAGES:
        (folder / language).mkdir(parents=True)
    os.environ["OMP_NUM_THREADS"] = "1"  # two processes share the cores
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # a server of the user's is not for these runs
    with TemporaryDirectory() as name:
        work = Path(name)
        for linked in LINKED:
            (work / linked).parent.mkdir(exist_ok=True)
            (work / linked).symlink_to(ROOT / linked)
        corpora.main(work / "data")
        for module in PRELOADED:  # once, for the processes that are forked
            import_module(f"lslm_lightning.{module}")
        for stage in stages(commands_of((ROOT / PAGE).read_text("utf-8"))):
            make_pages(stage, work, folder)
    (folder / FINGERPRINT).write_text(fingerprint, "utf-8")


def commands_of(page: str) -> dict[str, list[str]]:
    """Return the `lslm` commands of each section of the page, by the name of its report."""
    return {
        name: [line for line in script.splitlines() if line.startswith("lslm ")]
        for name, script in SECTION.findall(page)
    }


def stages(commands: Mapping[str, list[str]]) -> list[dict[str, list[str]]]:
    """Return the commands that need no finished run, then those that do."""
    later = {
        name: lines
        for name, lines in commands.items()
        if {"compare", "evaluate"} & {line.split()[1] for line in lines}
    }
    return [{name: commands[name] for name in commands if name not in later}, later]


def make_pages(stage: Mapping[str, Sequence[str]], work: Path, folder: Path) -> None:
    """Make the reports of a stage, two at a time, each in a process that ends with it, since
    commands change their process.

    Raises:
        RuntimeError: a command failed.
    """
    context = process_context()
    waiting = list(stage.items())
    running: dict[int, tuple[str, BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < N_PROCESS:
            name, lines = waiting.pop(0)
            process = context.Process(target=make_page, args=(name, lines, work, folder))
            process.start()
            running[process.sentinel] = name, process
        for sentinel in wait(running):
            assert isinstance(sentinel, int)
            name, ended = running.pop(sentinel)
            ended.join()
            if ended.exitcode:
                log = (work / f"{name}.log").read_text("utf-8")
                raise RuntimeError(f"gallery {name}: a command failed\n{log[-2000:]}")
            print(f"gallery {name}", flush=True)


def process_context() -> "ForkContext | SpawnContext":
    """Return the context that starts processes as copies of this one, or afresh where a system has
    no copies.
    """
    if "fork" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def make_page(name: str, lines: Sequence[str], work: Path, folder: Path) -> None:
    """Run the commands of a section and keep the report of the last, in each language."""
    from lslm_lightning.__main__ import main

    os.chdir(work)
    keep_reports(name, folder)
    with Path(f"{name}.log").open("w", encoding="utf-8") as log:
        for descriptor in (1, 2):  # also of the processes that a command starts
            os.dup2(log.fileno(), descriptor)
    for line in lines:
        if status := main(shlex.split(line)[1:]):
            sys.exit(status)


def keep_reports(name: str, folder: Path) -> None:
    """Let this process write each report in every language, and copy the page to the gallery."""
    from lslm_lightning.reports import Report, page

    original = page.write_report

    def write_report(report: Report, directory: str | os.PathLike[str]) -> Path:
        for language in LANGUAGES:
            os.environ["LSLM_LANG"] = language
            written = original(report, directory)
            shutil.copy(written, folder / language / f"{name}.html")
        return written

    for module in list(sys.modules.values()):
        if getattr(module, "write_report", None) is original:
            module.write_report = write_report  # type: ignore[attr-defined]


def current_fingerprint() -> str:
    """Return the digest of all that decides how the reports look."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def kept_fingerprint(folder: Path) -> str:
    """Return the digest that the reports of a folder were made with; "" if there are none."""
    path = folder / FINGERPRINT
    return path.read_text("utf-8") if path.is_file() else ""

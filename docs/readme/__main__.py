"""`python -m docs.readme`: make the screenshots, the transcript, the tables and the figure of both
READMEs, by running the experiment that they show.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from docs.browser import CHROMIUM, screenshot
from docs.generate.architecture import architecture_file
from docs.generate.sources import ROOT
from docs.readme.regions import (
    FINGERPRINTS,
    IMAGES,
    READMES,
    experiment,
    fingerprints,
    with_region,
)
from docs.readme.results import results
from lslm_lightning.files import atomic_write

CONFIG = "dates.yaml"
SHELL_WORDS = re.compile(r'"([^"]*)"|(\S+)')
QUOTE = re.compile('["“]')  # the conclusion begins with a sentence that quotes a baseline's name
WIDTH, HEIGHT = 1100, 850  # pixels of a screenshot


def main() -> int:
    """Make everything; return the exit status."""
    if CHROMIUM is None:
        print("make readme needs chromium on the PATH, for the screenshots", file=sys.stderr)
        return 1
    began = time.monotonic()
    config, commands = experiment(READMES["en"].read_text("utf-8"))
    atomic_write(IMAGES / "architecture.svg", architecture_file())
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / CONFIG).write_text(config, "utf-8")
        first, *others, comparison = map(words_of, commands)
        shown = {"en": lslm(folder, "en", *first)}
        for words in others:
            lslm(folder, "en", *words)
        run = next(folder.glob(f"runs/*/{first[-1]}-*"))
        take(run / "report" / "index.html", "report.en")
        for language in READMES:
            lslm(folder, language, *comparison, "--output", f"compare-{language}")
            take(folder / f"compare-{language}" / "report" / "index.html", f"compare.{language}")
        config, checkpoint = (
            str(run.relative_to(folder) / part) for part in ("config.yaml", "checkpoints/best.ckpt")
        )
        shown["zh"] = lslm(folder, "zh", "test", "--config", config, "--ckpt_path", checkpoint)
        pages = folder.glob("runs/*/*/report/index.html")
        take(max(pages, key=lambda page: page.stat().st_mtime), "report.zh")
    for language, path in READMES.items():
        text = path.read_text("utf-8")
        text = with_region(text, "transcript", f"```text\n{transcript(shown[language])}\n```")
        path.write_text(with_region(text, "results", results(language)), "utf-8")
    atomic_write(FINGERPRINTS, json.dumps(fingerprints(), indent=1) + "\n")
    print(f"both READMEs and docs/images are new ({time.monotonic() - began:.0f} seconds)")
    return 0


def words_of(line: str) -> list[str]:
    """Return the words of a shell line without its command; patterns in quotes stay as they are."""
    return [quoted or plain for quoted, plain in SHELL_WORDS.findall(line)][1:]


def lslm(folder: Path, language: str, *words: str) -> str:
    """Run a command in a folder and return what it prints.

    Raises:
        RuntimeError: the command failed.
    """
    print(f"lslm {' '.join(words)}", flush=True)
    environment = {"LSLM_LANG": language, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-m", "lslm_lightning", *words],
        cwd=folder,
        env=kept | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"lslm {words[0]} failed: {done.stdout[-1000:]}")
    return done.stdout


def take(page: Path, name: str) -> None:
    """Take the screenshot of a page into the folder of images."""
    screenshot(page, IMAGES / f"{name}.png", WIDTH, HEIGHT)


def transcript(printed: str) -> str:
    """Return the end of what a test printed: its conclusion, its scores, what belongs to them."""
    lines = [line.rstrip() for line in printed.splitlines()]
    table = next(i for i, line in enumerate(lines) if line.startswith("┏"))
    first = next(i for i in range(table) if QUOTE.search(lines[i]))
    last = next(i for i in range(table, len(lines)) if "index.html" in lines[i])
    return "\n".join(lines[first:last])


if __name__ == "__main__":
    sys.exit(main())

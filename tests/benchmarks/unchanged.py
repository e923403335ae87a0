"""`python -m tests.benchmarks.unchanged BEFORE AFTER`: do two trees train the same models?

BEFORE and AFTER are checkouts or commits. Each trains its own configs of the same name for a few
steps, in float32 on one thread, from the same texts: the built-in corpora of BEFORE are exported
once, since they depend on the code that makes them. Every loss and score must be equal to the last
digit, and every prediction byte for byte; times and rates are left out. A job that is finished is
not done again where the trees are the same.

Exit status: 0 all is equal, 1 something differs (the first difference is named), 2 wrong arguments.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks.trees import Tree, TreeError, aligned, end_on_termination, opened, shown

EQUAL = 0
DIFFERENT = 1
WRONG = 2
TIMES = re.compile(r"system/|.*(per_second|seconds|time)")  # metrics of the clock and the machine
SECONDS = re.compile(rb'"seconds": [-+.\deE]+')  # of a prediction
EXPORT = """
import json, sys
from importlib import import_module
from pathlib import Path

order = json.load(sys.stdin)
for name in ("lslm_lightning.corpora.lookup", "lslm_lightning.data.corpora"):
    try:
        open_corpus = import_module(name).open_corpus
        break
    except (ImportError, AttributeError):
        continue
else:
    sys.exit("no open_corpus: name the module that has it in tests/benchmarks/unchanged.py")
corpus = open_corpus(order["corpus"])
for split in ("train", "val", "test"):
    rows = list(corpus.load(split))[: order["rows"] if split != "train" else None]
    folder = Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    if order["parallel"]:
        for language in order["fields"]:
            text = "".join(f"{row[language]}\\n" for row in rows)
            (folder / f"{split}.{language}").write_text(text, "utf-8")
        continue
    with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            kept = {name: row[name] for name in order["fields"]}
            if "starts" in kept:
                kept["starts"] = [int(start) for start in kept["starts"]]
            file.write(json.dumps(kept, ensure_ascii=False) + "\\n")
"""


@dataclass(frozen=True)
class Job:
    """A config to train, and the corpus that both trees read in place of its own.

    Args:
        config: under configs/.
        corpus: a name that BEFORE knows; None to leave the corpus as the config has it.
        fields: of a row, those that are exported.
        is_parallel: whether they are languages.
        is_real: whether it needs LSLM_DATA.
        words: more settings, which both trees must know.
    """

    config: str
    corpus: str | None = None
    fields: tuple[str, ...] = ()
    is_parallel: bool = False
    is_real: bool = False
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its runs."""
        return self.config.removesuffix(".yaml").replace("/", "-")


ASKED = ("id", "context", "question", "answers", "starts")
JOBS = (
    Job("language_modeling/docstrings_demo.yaml", "docstrings", ("text",)),
    Job("translation/cldr_demo.yaml", "cldr", ("en", "zh"), is_parallel=True),
    Job("summarization/docstrings_demo.yaml", "docstrings", ("document", "summary")),
    Job("question_answering/squad_cpu.yaml", "squad", ASKED, is_real=True),
    Job("speech_recognition/fsdd_cpu.yaml", is_real=True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train what is missing, compare."""
    options = arguments(argv)
    end_on_termination()
    folder = Path(options.folder).resolve()
    jobs = [job for job in JOBS if not options.only or job.config in options.only]
    try:
        with opened(options.before, options.after) as trees:
            return compared(trees, jobs, folder, options)
    except TreeError as error:
        print(error, file=sys.stderr)
        return WRONG


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks.unchanged",
        description=summary.partition(": ")[2].capitalize() + "\n\n" + rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", metavar="BEFORE", help="a checkout or a commit")
    parser.add_argument("after", metavar="AFTER", help="another one")
    parser.add_argument("--max-steps", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument(
        "--rows", type=int, default=100, metavar="N", help="of val and test (default: 100)"
    )
    parser.add_argument("--folder", default="runs/unchanged", help="default: runs/unchanged")
    names = [job.config for job in JOBS]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="CONFIG", help=", ".join(names)
    )
    parser.add_argument(
        "--renamed",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="a config of BEFORE, and what AFTER calls it",
    )
    for name in ("before", "after"):
        parser.add_argument(
            f"--words-{name}",
            action="append",
            default=[],
            metavar="WORD",
            help=f"one more word for lslm run of {name.upper()}, such as --words-{name}=--data.a=1",
        )
    parser.add_argument("--again", action="store_true", help="forget the finished jobs")
    return parser.parse_args(argv)


def compared(
    trees: tuple[Tree, Tree], jobs: Sequence[Job], folder: Path, options: argparse.Namespace
) -> int:
    """Train and compare every job; print the table and return the exit status."""
    rows = [("config", "points", "scores", "predictions", "equal")]
    differences: list[str] = []
    for job in jobs:
        if job.is_real and not os.environ.get("LSLM_DATA"):
            print(f"{job.config} is passed over: it needs real corpora (LSLM_DATA)", flush=True)
            continue
        before, after = (trained(tree, trees[0], job, folder, options) for tree in trees)
        found = list(found_differences(before, after))
        differences += [f"{job.config}: {words}" for words in found]
        counts = (len(points(before)), len(scores(before)), n_prediction(before))
        rows.append((job.config, *map(str, counts), "NO" if found else "yes"))
    print(f"\n{shown({tree.name: tree.identity for tree in trees})}\n{aligned(rows)}")
    if differences:
        print(f"\nfirst of {len(differences)} differences: {differences[0]}")
        return DIFFERENT
    return EQUAL


# Training


def trained(tree: Tree, source: Tree, job: Job, folder: Path, options: argparse.Namespace) -> Path:
    """Return the run directory of a job, trained unless it was before.

    Raises:
        TreeError: the training failed.
    """
    own = folder / tree.short_identity
    words = settings(tree, job, folder, options)
    record = own / f"{job.name}.json"
    if job.corpus is not None:
        words = [*words, f"--data.corpus={exported(source, job, folder, options.rows)}"]
    if record.exists() and not options.again:
        kept = json.loads(record.read_text("utf-8"))
        is_same = kept["words"] == words and kept.get("versions") == versions()
        if is_same and Path(kept["run"]).is_dir():
            return Path(kept["run"])
    print(f"--- {tree.name}: {job.config}", flush=True)
    printed = tree.lslm(own, "run", *words)
    [run] = [line.removeprefix("run ") for line in printed.splitlines() if line.startswith("run ")]
    path = own / run.strip()
    write_whole(record, {"words": words, "versions": versions(), "run": str(path)})
    return path


def versions() -> dict[str, str]:
    """Return the versions of what both trees compute with."""
    names = ("torch", "lightning", "numpy", "tokenizers")
    return {"python": sys.version} | {name: metadata.version(name) for name in names}


def settings(tree: Tree, job: Job, folder: Path, options: argparse.Namespace) -> list[str]:
    """Return the words of `lslm run` but for the corpus.

    Raises:
        TreeError: the tree has no such config.
    """
    renamed = dict(pair.split("=", 1) for pair in options.renamed)
    name = renamed.get(job.config, job.config) if tree.name == "after" else job.config
    config = tree.root / "configs" / name
    if not config.is_file():
        raise TreeError(
            f"{tree.name}: {config} is missing; --renamed {job.config}=NEW says another"
        )
    kept = folder / "configs" / tree.short_identity / name  # equal for a worktree that is temporary
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(config.read_bytes())
    return [
        f"--config={kept}",
        f"--trainer.max_steps={options.max_steps}",
        f"--trainer.val_check_interval={max(1, options.max_steps // 2)}",
        "--trainer.log_every_n_steps=1",
        "--trainer.precision=32-true",
        "--trainer.accelerator=cpu",
        "--trainer.devices=1",
        "--trainer.enable_progress_bar=false",
        "--seed_everything=0",
        "--job.minutes=null",
        f"--job.name={job.name}",
        *job.words,
        *(options.words_before if tree.name == "before" else options.words_after),
    ]


def exported(tree: Tree, job: Job, folder: Path, n_row: int) -> Path:
    """Return a folder with the texts of a corpus as `tree` reads it; written once.

    Raises:
        TreeError: it cannot be read.
    """
    path = folder / "corpora" / tree.short_identity / f"{job.name}-{n_row}"
    done = path / "test.exported"
    if not done.exists():
        print(f"--- exporting {job.corpus} for {job.config}", flush=True)
        order = {
            "corpus": job.corpus,
            "fields": job.fields,
            "parallel": job.is_parallel,
            "rows": n_row,
            "folder": str(path / "corpus"),
        }
        tree.python(path, "-c", EXPORT, given=json.dumps(order))
        done.touch()
    return path / "corpus"


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content, indent=1), "utf-8")
    draft.replace(path)


# Comparing


def points(run: Path) -> dict[str, float]:
    """Return every logged value that no clock decides, by metric and step."""
    found: dict[str, float] = {}
    for line in (run / "metrics.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if not TIMES.match(row["name"]):
            found[f"{row['name']} at step {row['step']}"] = row["value"]
    return found


def scores(run: Path) -> dict[str, Any]:
    """Return value, interval and signature of every score, and the digest of the test set."""
    record = json.loads((run / "metrics.json").read_text("utf-8"))
    found = {"digest of the test set": record["data"]["digest"]}
    for row in record["scores"]:
        for name in ("value", "low", "high", "signature", "n_example"):
            found[f"{name} of test {row['metric']}"] = row.get(name)
    return found


def predictions(run: Path) -> dict[str, bytes]:
    """Return the lines of every file of predictions without their seconds, by file and number."""
    found: dict[str, bytes] = {}
    for path in sorted((run / "predictions").glob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            found[f"{path.name}, line {number}"] = SECONDS.sub(b'"seconds": 0', line)
    return found


def n_prediction(run: Path) -> int:
    return len(predictions(run))


def found_differences(before: Path, after: Path) -> Iterator[str]:
    """Yield what differs between two runs, in words."""
    readers: tuple[Callable[[Path], Mapping[str, Any]], ...] = (points, scores, predictions)
    for read in readers:
        first, second = read(before), read(after)
        if not first:
            yield f"{before} has no {read.__name__}"
        for name in first | second:
            old, new = (repr(kind.get(name, "nothing")) for kind in (first, second))
            if old != new:  # as written: nan equals nan, and 0.1 + 0.2 is not 0.3
                old, new = excerpts(old, new)
                yield f"{name}: {old} before, {new} after"


def excerpts(old: str, new: str, width: int = 120) -> tuple[str, str]:
    """Return parts of two texts, of at most `width` characters, in which they differ."""
    equal = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    start = max(0, equal - width // 2)
    return old[start:][:width], new[start:][:width]


if __name__ == "__main__":
    sys.exit(main())

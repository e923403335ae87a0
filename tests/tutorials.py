"""`python -m tests.tutorials [PAGE ...]`: do what a page tells its reader, in an empty folder.

Files that the page names above their blocks are saved, `sh` blocks run in one bash session, Python
blocks in an interpreter of their own each, all in order; the first failure ends it, with its line.
A comment in the line above a block marks what is special:

    <!-- needs: network -->   the block is skipped, and so is a file that it saves
    <!-- fails -->            the last command of the block must fail, and print the `text` block
                              that follows; `…` there stands for anything

Lines of other `text` blocks that were not printed are listed: digits may differ from machine to
machine, so they do not end it. `…` and `...` stand for anything, and any time, speed or id will do.
With `LSLM_LANG=zh` the commands speak Chinese, and what they print is not compared.

Exit status: 0 all blocks did what the page says, 1 one did not.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from tests.support.documents import PAGES, SITE

FENCE = re.compile(r"^```(sh|python|yaml)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.M | re.S)
SAVED = re.compile(r"`((?:\w+/)*\w+\.(?:yaml|py))`[^\n]*\n+$")  # as in tests.support.documents
MARK = re.compile(r"^<!-- (fails|needs: (.+)) -->\n$", re.M)
ELLIPSIS = re.compile(r"…|\.\.\.")
CHANGING = re.compile(
    r"[\d.:]+(?= ?(?:elapsed|left|ms|s\b|h\b|min\b))|[\d,]+(?= tokens/s)|(?<=-)[0-9a-f]{8}\b"
)
LIMIT_MINUTES = 30  # of one block
INTERFACE = os.environ.get("LSLM_LANG", "en")  # language of the outputs; pages show English ones
OF_THE_READER = ("HOME", "LANG", "LC_ALL", "OMP_NUM_THREADS", "TERM", "TZ", "USER")


@dataclass(frozen=True)
class Block:
    """Something to do: a script of bash or Python, or a file to save.

    Args:
        line: number of its first line in the page, from 1.
        kind: "sh", "python" or "yaml".
        file: name under which it is saved; such a block is not run.
        needs: what this machine may lack; a block with it is skipped.
        message: text that it must print, failing; None where it must succeed.
        shown: text that the page shows below it; empty where it shows none.
    """

    line: int
    kind: str
    code: str
    file: str | None = None
    needs: str | None = None
    message: str | None = None
    shown: str = ""


class TutorialError(RuntimeError):
    """A block did not do what the page says."""


def blocks_of(text: str) -> list[Block]:
    """Return what a page tells its reader to save and to run, in order."""
    found = []
    for match in FENCE.finditer(text):
        kind, code, shown = match.groups()
        before = text[: match.start()]
        mark = MARK.search(before[before.rfind("\n", 0, -1) + 1 :])
        above = before[: -len(mark[0])] if mark else before
        saved = SAVED.search(above) if kind != "sh" else None
        if saved is None and kind == "yaml":
            continue  # part of a file, to be read only
        fails = mark is not None and mark[1] == "fails"
        found.append(
            Block(
                line=before.count("\n") + 2,
                kind=kind,
                code=code,
                file=saved and saved[1],
                needs=mark and mark[2],
                message=(shown or "") if fails else None,
                shown=shown or "",
            )
        )
    return found


def environment(cache: Path) -> dict[str, str]:
    """Return the variables that a reader has: those of a plain shell with `lslm` on its path."""
    known = {name: os.environ[name] for name in OF_THE_READER if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    set_here = {"LSLM_CACHE": str(cache), "LSLM_LANG": INTERFACE, "PYTHONUNBUFFERED": "1"}
    return known | {"PATH": path} | set_here


class Shell:
    """A bash session that outlives its blocks, so that variables and jobs stay."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.state = state
        self.process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment(state / "cache"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self.end = f"--- end of block {os.urandom(8).hex()} status"
        # a job that is killed before its program runs is a copy of this shell, with the same trap
        told = f'printf "\\n{self.end} %s\\n" $status'
        self._send(f"trap 'status=$?; [ $BASHPID = $$ ] && {told}' EXIT\nset -o pipefail")
        self._send(f"[ -f '{state}/variables' ] && source '{state}/variables' 2> /dev/null")

    def _send(self, script: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(script + "\n")
        self.process.stdin.flush()

    def run(self, block: Block) -> tuple[int, str]:
        """Run a block, showing what it prints; return its exit status and its output."""
        file = self.state / "block"
        file.write_text(block.code, "utf-8")
        script = f"source '{file}' < /dev/null" if block.kind == "sh" else f"python - < '{file}'"
        run = f"set -e; {script}; status=$?; set +e"
        if block.message is not None:
            run = f"set +e; ( set -e; {script} ); status=$?"
        told = f"declare -p > '{self.state}/variables'; printf '\\n{self.end} %s\\n' $status"
        # at once: the first line may end the shell, which reads no more
        self._send(f"{run}\n{told}")
        return self._read()

    def _read(self) -> tuple[int, str]:
        printed: list[str] = []
        limit = Timer(60 * LIMIT_MINUTES, self.close)
        limit.start()
        try:
            for line in self.process.stdout or ():
                if line.startswith(self.end):
                    return int(line.split()[-1]), "".join(printed)
                printed.append(line)
                print(f"    {line}", end="", flush=True)
        finally:
            limit.cancel()
        return -1, "".join(printed)

    def close(self) -> None:
        """End the session with all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def session(folder: Path, state: Path) -> Iterator[Shell]:
    """Give a shell that ends with the block of `with`."""
    state.mkdir(parents=True, exist_ok=True)
    shell = Shell(folder, state)
    try:
        yield shell
    finally:
        shell.close()


def contains(printed: str, message: str) -> bool:
    """Whether the parts of `message` between `…` occur in this order, whatever the line breaks."""
    parts = [re.escape(" ".join(part.split())) for part in message.split("…")]
    return re.search(".*?".join(parts), " ".join(printed.split())) is not None


def not_printed(printed: str, shown: str) -> list[str]:
    """Return the lines of `shown` that `printed` lacks, or has only before the lines above them."""
    missing = []
    text, position = CHANGING.sub("…", printed), 0
    for line in CHANGING.sub("…", shown).splitlines():
        parts = [re.escape(part.strip()) for part in ELLIPSIS.split(line)]
        match = re.compile("[^\n]*".join(parts)).search(text, position)
        position = match.end() if match else position
        missing += [] if match else [line]
    return missing


def do(block: Block, shell: Shell, folder: Path) -> None:
    """Save or run a block.

    Raises:
        TutorialError: it ended otherwise than the page says.
    """
    if block.file:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code, "utf-8")
        return
    status, printed = shell.run(block)
    if block.message is None and status:
        raise TutorialError(f"line {block.line}: the block failed with status {status}")
    if block.message is not None and not status:
        raise TutorialError(f"line {block.line}: the block should fail, but did not")
    english = INTERFACE == "en"
    if block.message is not None and english and not contains(printed, block.message):
        raise TutorialError(f"line {block.line}: the block failed, but not with the message shown")
    if block.message is None and english:
        for line in not_printed(printed, block.shown):
            print(f"--- shown, but not printed: {line}", flush=True)


def follow(page: Path, folder: Path, state: Path) -> None:
    """Do all blocks of a page; what an earlier call did in `folder` is not done again.

    Raises:
        TutorialError: a block ended otherwise than the page says.
    """
    record = state / "done.json"
    with session(folder, state) as shell:
        done = json.loads(record.read_text("utf-8")) if record.exists() else []
        for i, block in enumerate(blocks_of(page.read_text("utf-8"))):
            if block.needs:
                print(f"--- {page.name}, line {block.line}: skipped, needs {block.needs}")
                continue
            text = f"{block.kind}\n{block.code}"
            if i < len(done) and done[i] == text:
                continue
            began = time.monotonic()
            print(f"--- {page.name}, line {block.line}: {block.file or block.kind}", flush=True)
            do(block, shell, folder)
            print(f"--- done in {time.monotonic() - began:.1f} s", flush=True)
            done = [*done[:i], *[""] * (i - len(done)), text]
            record.write_text(json.dumps(done), "utf-8")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, do the pages."""
    tutorials = [name for name in PAGES if name.startswith("tutorials/")]
    parser = argparse.ArgumentParser(
        "python -m tests.tutorials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as tutorials/translate")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--folder", type=Path, help="use and keep this folder, and continue there")
    options = parser.parse_args(argv)
    for name in options.pages or tutorials:
        page = SITE / options.language / f"{name.removesuffix('.md')}.md"
        with tempfile.TemporaryDirectory(prefix="tutorial-", ignore_cleanup_errors=True) as empty:
            home = (options.folder or Path(empty)).resolve()
            folder = home / page.stem
            folder.mkdir(parents=True, exist_ok=True)
            try:
                follow(page, folder, home / f".{page.stem}")
            except TutorialError as error:
                print(f"--- {page}: {error}", file=sys.stderr)
                return 1
            print(f"--- {page}: all blocks did what the page says", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Output that cannot be printed never ends the work."""

import os
import subprocess
import sys
import threading

import pytest

from lslm_lightning.experiments.endings import MAKE_ROOM, one_line
from tests.support.waiting import PATIENCE

# A stand-in for a command: it prints as they do, works on, and says by a file that it came to its
# end
WORK = """
import logging, os, pathlib, sys, warnings
from rich.console import Console
from rich.progress import track
from rich.table import Table
from lslm_lightning.commands.exit_status import exit_status_of
from lslm_lightning.experiments.endings import one_line
from lslm_lightning.safety.output import protect_output

def work():
    print("BLEU ↑, 困惑度 ↓ −1.5 ± 0.2 … \\N{GRINNING FACE} \\udcff", flush=True)
    for i in range(3000):
        print("step", i, "↓", flush=i % 2 == 0)
    table = Table("metric ↓", "值")
    table.add_row("bleu", "−1")
    Console().print(table)
    Console(stderr=True).print("↓ 红", style="red")
    for _ in track(range(2), "进度", console=Console(stderr=True)):
        print("error ↓", file=sys.stderr, flush=True)
    logging.getLogger("lslm_lightning").warning("↓ logged")
    warnings.warn("↓ warned")
    sys.stdout.flush()
    pathlib.Path("done").write_text(f"{sys.argv[1]} went through")
    return 0

protect_output(sys.argv[1])
sys.exit(exit_status_of(work))
"""


@pytest.fixture
def work(tmp_path):
    """Start the stand-in, as a command of this name, in the temporary folder."""

    def start(command="run", shell=None, **settings):
        (tmp_path / "work.py").write_text(WORK, "utf-8")
        words = [sys.executable, "work.py", command]
        if shell is not None:
            words = ["bash", "-c", f'"$@" {shell}', "bash", *words]
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL")
        }
        environment |= {"PYTHONPATH": os.getcwd()} | settings.pop("environment", {})
        return subprocess.Popen(words, cwd=tmp_path, env=environment, **settings)

    return start


def came_to_its_end(process, tmp_path):
    process.communicate(timeout=PATIENCE)
    return process.returncode == 0 and (tmp_path / "done").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "gbk"},
        {"PYTHONIOENCODING": "utf-8:strict"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=str,
)
def test_what_an_encoding_lacks_is_spelled_out(environment, work, tmp_path):
    process = work(environment=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    encoding = environment.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    text = out.decode(encoding)
    assert text.startswith("BLEU ")
    assert "\\udcff" in text
    assert text.count("step") == 3000
    assert encoding != "ascii" or "\\u2193" in text
    assert b"Traceback" not in err
    assert (tmp_path / "done").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    [
        "| head -1",
        "2>&1 | head -1",
        "2>&1 >&2 | head -c 1",
        "> /dev/full",
        "> /dev/full 2>&1",
        ">&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
    ],
)
def test_output_that_goes_nowhere_stops_no_work(shell, work, tmp_path):
    if "/dev/full" in shell and not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    process = work(
        shell=f"{shell}; exit ${{PIPESTATUS[0]}}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert came_to_its_end(process, tmp_path), shell


def test_a_file_that_is_opened_takes_no_place_of_a_closed_stream(tmp_path):
    """Its descriptor would be 1, and what libraries print would stand in it."""
    code = """
from lslm_lightning.safety.output import protect_output
protect_output("run")
with open("store", "w") as file:
    print("into the store", flush=True)
    assert file.fileno() > 2
"""
    command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert done.returncode == 0
    assert (tmp_path / "store").read_text() == ""


@pytest.mark.slow
def test_a_pipe_that_is_full_and_does_not_block_is_waited_for(work, tmp_path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = work(stdout=writing, stderr=subprocess.DEVNULL)
    pieces = []
    os.close(writing)

    def read():
        while piece := os.read(reading, 512):
            pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    assert came_to_its_end(process, tmp_path)
    reader.join()
    assert b"".join(pieces).count(b"step") == 3000
    os.close(reading)


def test_a_command_that_makes_nothing_but_output_ends_with_its_reader(work, tmp_path):
    process = work(
        "generate",
        shell="| head -1; exit ${PIPESTATUS[0]}",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert not (tmp_path / "done").exists()
    assert out.startswith(b"BLEU")


def test_streams_of_others_are_left_alone(capsys):
    from lslm_lightning.safety.output import protect_output

    before = sys.stdout, sys.stderr
    protect_output("run")
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("/tmp/draft", None, "runs/last.ckpt"), "/tmp/draft to runs/last.ckpt: disk full"),
        (("runs/last.ckpt",), "runs/last.ckpt: disk full"),
        ((), "disk full"),
    ],
)
def test_an_error_of_a_file_names_it_and_where_it_was_to_go(names, line):
    assert one_line(OSError(28, "disk full", *names)) == f"{line}; {MAKE_ROOM}"

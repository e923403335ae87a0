"""A config that comes through a pipe is one like any other, also for the processes that read it
again.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lslm_lightning.configuration.pipes import command_to_repeat, copy_pipes

CONFIG = "trainer: {max_steps: 3}\n"


@pytest.fixture
def fifo(tmp_path):
    """A named pipe through which a config comes once."""
    path = tmp_path / "small.yaml"
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_text(CONFIG), daemon=True).start()
    return path


@pytest.fixture
def descriptor():
    """The path of a pipe that this process has open, as of `<(...)`."""
    reading, writing = os.pipe()
    os.write(writing, CONFIG.encode())
    os.close(writing)
    yield f"/dev/fd/{reading}"
    os.close(reading)


@pytest.mark.parametrize(
    "form", ["--config {}", "--config={}", "-c {}", "--trainer {}", "--model={}"]
)
def test_what_comes_through_a_pipe_can_be_read_again(form, fifo, descriptor):
    for path, name in ((str(fifo), "small.yaml"), (descriptor, "config.yaml")):
        words = copy_pipes(["run", *form.format(path).split(), "--trainer.max_steps", "9"])
        assert words[0] == "run"
        assert words[-2:] == ["--trainer.max_steps", "9"]
        [copy] = [Path(word.rpartition("=")[2]) for word in words if word.endswith(".yaml")]
        assert [copy.read_text() for _ in range(2)] == [CONFIG, CONFIG]
        assert copy.name == name, "by which the run is called"
        if path == str(fifo):
            threading.Thread(target=lambda: fifo.write_text(CONFIG), daemon=True).start()


@pytest.mark.parametrize(
    "form", ["--model.backbone {}", "--data.tokenizer={}", "--trainer.callbacks {}"]
)
def test_a_part_that_comes_through_a_pipe_can_be_read_by_other_processes(form, descriptor):
    *_, last = copy_pipes(["run", *form.format(descriptor).split()])
    assert Path(last.rpartition("=")[2]).read_text() == CONFIG


def test_other_arguments_stay_as_they_are(tmp_path, descriptor):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    words = [
        "run",
        "--config",
        str(path),
        "--trainer={max_steps: 3}",
        "--config",
        os.devnull,
        "--data.corpus",
        descriptor,
        "\0",
        "--config",
    ]
    assert copy_pipes(words) == words
    assert copy_pipes(["generate", "run", "-"]) == ["generate", "run", "-"]


def test_a_pipe_without_end_is_no_config():
    if not os.path.exists("/dev/zero"):
        pytest.skip("needs /dev/zero")
    with pytest.raises(ValueError, match="--config /dev/zero: more than 10,000,000 bytes came"):
        copy_pipes(["run", "--config", "/dev/zero"])


@pytest.mark.parametrize("redirection", ["cat config.yaml |", "< config.yaml"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input(redirection, name, tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    code = (
        "import sys; from lslm_lightning.configuration.pipes import copy_pipes; "
        "print(open(copy_pipes(sys.argv[1:])[1]).read())"
    )
    shell = (
        f'cat config.yaml | "$@" --config {name}'
        if "|" in redirection
        else f'"$@" --config {name} < config.yaml'
    )
    command = ["bash", "-c", shell, "bash", sys.executable, "-c", code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == CONFIG.strip(), done.stderr


@pytest.mark.slow
def test_processes_that_are_started_read_the_copy(
    lslm, translation, project, only_run, monkeypatch
):
    """The command line of this process names the copy; seeds and ranks are started with it."""
    path = project / "piped.yaml"
    os.mkfifo(path)
    threading.Thread(target=lambda: path.write_text(translation.read_text()), daemon=True).start()
    monkeypatch.setattr(sys, "argv", ["lslm", "fit", "--config", str(path)])
    outcome = lslm("fit", "--config", path)
    assert outcome.status == 0, outcome.err
    assert only_run().name.startswith("piped-")
    assert Path(sys.argv[3]).read_text() == translation.read_text()
    assert (only_run() / "config.yaml").read_text().partition("\n")[
        0
    ] == f"# lslm fit --config {only_run()}/config.yaml"


@pytest.mark.parametrize(
    "form", ["--config {}", "--config={}", "-c {}", "--trainer {}", "--model.backbone={}"]
)
def test_a_command_to_repeat_names_no_copy(form, descriptor):
    words = [
        "run",
        "--config",
        "base.yaml",
        *form.format(descriptor).split(),
        "--trainer.callbacks+=EarlyStopping",
    ]
    copies = copy_pipes(words)
    assert command_to_repeat(copies, Path("runs/a/b/config.yaml")) == [
        "run",
        "--config",
        "runs/a/b/config.yaml",
    ]
    assert command_to_repeat(copies) == [word.replace(descriptor, "-") for word in words]


def test_a_command_without_pipes_is_repeated_as_it_was():
    words = ["run", "--config", "lslm-config-mine/a.yaml", "--trainer.max_steps=3"]
    assert command_to_repeat(words, Path("runs/a/b/config.yaml")) == words

"""Build the wheel, install it in a fresh environment, and use it in an empty folder.

The environment has the packages of constraints.txt and cannot see the checkout. TORCH_INDEX names
the index to take PyTorch from, where it is another one than that of the other packages.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.wheels import ROOT, copy_tree, files_of_wheel

CONSTRAINTS = ROOT / "constraints.txt"
MINUTES = "0.5"  # that the demo trains each model for
# what only a checkout has, or what the demo itself should find
HIDDEN = ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV", "LSLM_DATA", "LSLM_LANG")
PROGRAM = f"""
import math
from pathlib import Path

import lslm_lightning
from lslm_lightning import generate, load_run
from lslm_lightning.experiments.run import Run

assert not Path(lslm_lightning.__file__).is_relative_to({str(ROOT)!r}), lslm_lightning.__file__
texts = {{
    "language_modeling": "Return the",
    "translation": "Monday, 3 May",
    "summarization": "Return the sum of two numbers, and raise an error if one of them is text.",
}}
for task, text in texts.items():
    [path] = Path("runs", task).glob("*_demo-*")
    loaded = load_run(path)
    assert loaded.task.__module__.startswith("lslm_tasks." + task), loaded.task.__module__
    assert (path / "report/index.html").stat().st_size > 20_000
    run = Run(loaded.directory)
    assert run.predictions and run.scores
    assert all(math.isfinite(score.value) for score in run.scores.values()), run
    [answer] = generate(path, [text])
    print(f"{{run}}\\n  {{text}} -> {{answer.output!r}}")
    assert isinstance(answer.output, str)  # after so few steps it may be empty
    if task == "language_modeling":
        assert run.scores["bits_per_byte"].value < 6, "a model of all bytes alike has 8"
"""
MISSING = {  # extra -> program that needs it
    "hub": "from lslm_lightning.text.hugging_face import model_config; model_config('gpt2')",
    "audio": "from lslm_lightning.audio import read_audio; read_audio(b'RIFF', 'a.wav', 8000)",
    "chinese": "from lslm_lightning.metrics.rouge import JiebaTokenizer; JiebaTokenizer()",
}


def check_contents(wheel: Path) -> None:
    """Check that the wheel has every file of the packages and the configs, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    found = {name for name in names if ".dist-info/" not in name}
    assert found == {*files_of_wheel()}, sorted(found ^ {*files_of_wheel()})


class Environment:
    """Fresh virtual environment, whose commands run in an empty folder.

    Args:
        folder: folder of the environment.
        here: working directory of the commands.
    """

    def __init__(self, folder: Path, here: Path) -> None:
        self.folder = folder
        self.here = here
        inherited = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        caches = {name: str(folder / name) for name in ("LSLM_CACHE", "XDG_STATE_HOME")}
        self.variables = {**inherited, **caches}
        here.mkdir()
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def run(self, name: str, *arguments: str, status: int = 0) -> str:
        """Run a program of the environment, which must exit with `status`; return its output."""
        command = [str(self.folder / "bin" / name), *arguments]
        done = subprocess.run(
            command, cwd=self.here, env=self.variables, capture_output=True, text=True
        )
        output = done.stdout + done.stderr
        assert done.returncode == status, f"{name} {arguments}: {done.returncode}\n{output}"
        return output

    def install(self, *arguments: str) -> None:
        """Install packages with the versions of constraints.txt."""
        options = ("--quiet", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS))
        self.run("python", "-m", "pip", "install", *options, *arguments)


@contextmanager
def timed(text: str) -> Iterator[None]:
    """Print what the body does and how long it took."""
    began = time.monotonic()
    print(f"{text} ...", end="", flush=True)
    yield
    print(f" {time.monotonic() - began:.0f} s", flush=True)


def torch_arguments() -> Sequence[str]:
    """Return the arguments of `pip install` for PyTorch from another index; none without one."""
    index = os.environ.get("TORCH_INDEX")
    return ("--no-deps", "--index-url", index, "torch") if index else ()


def main(folder: Path) -> None:
    """Check the wheel; raise an error at the first fault."""
    with timed("building the wheel"):
        tree = copy_tree(folder / "tree")
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--wheel-dir", folder, tree], check=True)
        [wheel] = folder.glob("*.whl")
        check_contents(wheel)
    with timed("installing it in a fresh environment"):
        environment = Environment(folder / "environment", folder / "empty")
        if given := torch_arguments():
            environment.install(*given)
        environment.install(str(wheel))
        environment.run("python", "-m", "pip", "check")
    with timed("lslm --help, lslm data list, lslm run --print_config"):
        assert "lslm COMMAND" in environment.run("lslm", "--help")
        assert "docstrings" in environment.run("lslm", "data", "list")
        config = ("--config", "configs/translation/cldr_demo.yaml", "--print_config")
        assert "TranslationTask" in environment.run(
            "python", "-m", "lslm_lightning", "run", *config
        )
        assert environment.run("lslm", "--version") == f"{wheel.name.split('-')[1]}\n"
        assert not list(environment.here.iterdir())
    with timed("packages that the base installation leaves out"):
        for extra, program in MISSING.items():
            output = environment.run("python", "-c", program, status=1)
            assert f'pip install "lslm-lightning[{extra}]"' in output, output
    with timed(f"lslm demo --minutes {MINUTES}"):
        print(environment.run("lslm", "demo", "--minutes", MINUTES))
    with timed("load_run, generate"):
        print(environment.run("python", "-c", PROGRAM))


if __name__ == "__main__":
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lslm-wheel-") as name:
        main(Path(name))
    print(f"the wheel works; this took {(time.monotonic() - began) / 60:.1f} minutes")

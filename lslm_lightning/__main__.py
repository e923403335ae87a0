"""The `lslm` command: looks at the first word, then imports what that command needs and nothing
else.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import lslm_lightning
from lslm_lightning import __version__

COMMANDS = {
    "run": ("training", "fit, test the best checkpoint, report: one command, one MLflow run"),
    "fit": ("training", "train; keep the last and the best checkpoint"),
    "resume": ("resume", "go on where a run stopped: same directory, same MLflow run, same steps"),
    "plan": ("plan", "memory, speed, time and cost of a config, on paper, by device and strategy"),
    "verify-resume": (
        "verify_resume",
        "prove that a config, killed and resumed, trains the same weights",
    ),
    "validate": ("training", "loss and scores on the validation split"),
    "test": ("training", "answer the test split and score what was written"),
    "predict": ("training", "answer the test split without scoring"),
    "generate": (
        "generate",
        "use a trained model: continue, translate, summarize, answer, transcribe",
    ),
    "log-prob": ("log_prob", "log p of given answers after given sources, or of whole texts"),
    "evaluate": (
        "evaluate",
        "any number of systems through one exam: scores, paired tests, one report",
    ),
    "ladder": ("ladder", "train models that are to be compared, and put all of them on one page"),
    "compare": ("compare", "finished runs on one page: paired tests, config differences, curves"),
    "consolidate": (
        "consolidate",
        "the weights that several processes wrote, in one safetensors file",
    ),
    "sync": ("sync", "bring to MLflow what a run has on disk and MLflow has not"),
    "data": ("data", "corpora: list, fetch, check"),
    "ui": ("ui", "MLflow's web pages on this project's runs"),
    "demo": ("demo", "three tasks on built-in corpora, no download, minutes on a laptop"),
}

CONFIGURED = (
    "run",
    "fit",
    "validate",
    "test",
    "predict",
    "resume",
    "plan",
    "verify-resume",
    "evaluate",
    "ladder",
)

USAGE = """usage: lslm COMMAND [OPTIONS]      (lslm COMMAND --help says more)

{commands}

  lslm run --config configs/language_modeling/docstrings_demo.yaml
  lslm run --config FILE --trainer.max_steps 500 --model.label_smoothing 0.1      every key of a
                                                                                  config can be set
                                                                                  here
  lslm run --config FILE --print_config                                           the whole
                                                                                  configuration,
                                                                                  defaults included

Exit status: 0 done, 1 the work failed (the reason in one line; --debug shows where), 2 wrong
arguments, 130 interrupted. Version {version}."""

ENDLESS = ("generate", "ui")  # commands that end by Ctrl-C as they should
SAFE_PATH = "PYTHONSAFEPATH"  # tells Python not to put the working directory first in sys.path


def usage() -> str:
    """What `lslm --help` prints."""
    rows = "\n".join(f"  {name:<13} {words}" for name, (_, words) in COMMANDS.items())
    return USAGE.format(commands=rows, version=__version__)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    # Imported here: before `leave_working_directory` a file json.py of that directory would be.
    from lslm_lightning.safety.arguments import given_arguments
    from lslm_lightning.safety.output import protect_output
    from lslm_lightning.safety.terminal import guarded_output

    argv = given_arguments(sys.argv[1:] if argv is None else argv)
    protect_output(argv[0] if argv else "")
    with guarded_output(), plain_warnings():  # around streams that end no work
        return run(argv)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings about words of earlier releases as one line each, once in a command."""
    before = warnings.showwarning

    def show(message, category, *place, **options) -> None:  # type: ignore[no-untyped-def]
        if category is FutureWarning:
            print(f"lslm: {message}", file=sys.stderr)
        else:
            before(message, category, *place, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("default", FutureWarning)
        warnings.showwarning = show
        yield


def run(argv: list[str]) -> int:
    """Run the command that the arguments name and return its exit status."""
    if argv[:1] == ["help"] and argv[1:2] and argv[1] in COMMANDS:
        argv = [argv[1], "--help", *argv[2:]]
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(argv[0], COMMANDS, 1)
        print(
            (
                f"lslm: {argv[0]!r} is no command; "
                f"{f'did you mean {near[0]!r}? ' if near else ''}lslm --help lists them"
            ),
            file=sys.stderr,
        )
        return 2
    from lslm_lightning.commands.exit_status import outcome
    from lslm_lightning.configuration.pipes import copy_pipes
    from lslm_lightning.experiments.outcome import PARENT, command_line, way_on, working_on

    debug = "--debug" in argv
    given = [word for word in argv if word != "--debug"]

    def work() -> int:
        if given[0] in CONFIGURED and (words := help_on_class(given)):
            print(words)
            return 0
        words = copy_pipes(given)
        if words != given and sys.argv[1:] == argv:  # with which other processes are started
            sys.argv[1:] = words
        again = "" if is_silent else f"To start again: {command_line(words)}"
        with working_on(words), way_on(again):
            return import_module(f"lslm_lightning.commands.{COMMANDS[words[0]][0]}").main(words)

    # of a process that another one waits for, that one tells how to go on
    is_silent = given[0] in ENDLESS or bool(os.environ.get(PARENT))
    with children_without_working_directory():
        return outcome(work, debug)


def help_on_class(argv: list[str]) -> str:
    """Return the help of `lslm COMMAND --help CLASS`; "" where something else is wanted."""
    if not any(word.startswith(("-h", "--help")) for word in argv):
        return ""
    from lslm_lightning.configuration.help import ALL, class_help, topic_of

    topic = topic_of(argv)
    return class_help(topic) if topic not in (None, "", ALL) else ""


@contextmanager
def children_without_working_directory() -> Iterator[None]:
    """Let Python processes that are started inside import nothing from the working directory by
    accident.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE_PATH)
        os.environ.update({} if before is None else {SAFE_PATH: before})


def leave_working_directory() -> None:
    """Take from `sys.path` the working directory, which `python -m` puts first.

    A checkout that is not installed stays, as the last, and is told to children by PYTHONPATH.
    """
    here = os.getcwd()
    if sys.flags.safe_path or sys.path[:1] not in ([""], [here]):
        return
    del sys.path[0]
    found = (finder.find_spec(__package__, None) for finder in sys.meta_path)
    if next((spec.origin for spec in found if spec), None) != lslm_lightning.__file__:
        sys.path.append(here)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([before, here] if before else [here])


if __name__ == "__main__":
    leave_working_directory()
    sys.exit(main())

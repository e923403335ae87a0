"""The `lslm` command: runs one of its subcommands and imports only what that subcommand needs."""
# PYTHON_ARGCOMPLETE_OK

import os
import sys
from importlib import import_module

import lslm_lightning
from lslm_lightning import __version__
from lslm_lightning.exit_status import INTERRUPTED
from lslm_lightning.garbage import collect_rarely

COMMANDS = {
    "run": ("training", "fit, test the best checkpoint, report: one command, one MLflow run"),
    "fit": ("training", "train; keep the last and the best checkpoint"),
    "resume": ("resume", "resume a stopped run: same directory, same MLflow run, same steps"),
    "plan": ("plan", "estimate memory, throughput, time and cost without training"),
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
        "several systems on one evaluation set: scores, paired tests, one report",
    ),
    "audit": (
        "audit",
        "what to know before a model is used or published: memorization, contamination",
    ),
    "sweep": ("sweep", "train several models on the same data and compare them in one report"),
    "compare": ("compare", "compare finished runs: paired tests, config differences, curves"),
    "gate": ("gate", "let a run pass or fail against a baseline, for continuous integration"),
    "human": ("human", "let people rate outputs: blinded sheets, scores, agreement"),
    "consolidate": (
        "consolidate",
        "write the weights of several processes to one safetensors file",
    ),
    "serve": ("serve", "answer requests over HTTP, by OpenAI's and LibreTranslate's API"),
    "export": (
        "export",
        "write a model for transformers, CTranslate2, onnxruntime, llama.cpp or LiteRT",
    ),
    "import": ("import_model", "make a run of a model of transformers"),
    "sync": ("sync", "upload to MLflow what a run has on disk and MLflow lacks"),
    "data": ("data", "list, fetch and check corpora"),
    "ui": ("ui", "MLflow's web interface for this project's runs"),
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
    "sweep",
)
USAGE = """Train and evaluate models that read and write language: language models, translation,
summarization, question answering, speech recognition.

  lslm demo
  lslm run --config configs/language_modeling/docstrings_demo.yaml
  lslm run --config FILE --trainer.max_steps 500      any key of a config can be set like this
  lslm run --config FILE --print_config      the whole configuration, with defaults
  lslm run --help      help of a command

usage: lslm COMMAND [OPTIONS]

Commands:
{commands}

Options:
  --debug        show where an error occurred: the traceback
  --version      print the version, {version}
  -h, --help     show this help message and exit

Environment:
  LSLM_LANG      language of help, messages and reports: en or zh (default: that of the locale)
  LSLM_DATA      folder of corpora (default: ./data)
  LSLM_CACHE     folder of caches (default: ~/.cache/lslm-lightning)

Completion with TAB in bash or zsh: eval "$(register-python-argcomplete lslm)"

Exit status: 0 done, 1 the work failed (the reason in one line), 2 wrong arguments, 3 a run failed
its gate, 129 hung up (SIGHUP), 130 interrupted (SIGINT), 143 terminated (SIGTERM)."""

ENDLESS = ("generate", "serve", "ui")  # commands that end by Ctrl-C as they should


def general_text(argv: list[str]) -> str:
    """Return the text of `lslm --help`, of `lslm --version`, and of `lslm` without a command; ""
    for other arguments.
    """
    first, second, *_ = [*(argv or ["--help"]), ""]
    if first == "--version":
        return __version__
    if first not in ("-h", "--help", "help") or (first == "help" and second in COMMANDS):
        return ""
    from lslm_lightning.localization.filled_text import WIDEST, filled_text

    rows = "\n".join(f"  {name:<14} {summary}" for name, (_, summary) in COMMANDS.items())
    return filled_text(USAGE.format(commands=rows, version=__version__), WIDEST)


def main(argv: list[str] | None = None) -> int:
    """Run the `lslm` command and return its exit status.

    Args:
        argv: command-line arguments; None for those of this process.
    """
    if "_ARGCOMPLETE" in os.environ:  # a shell asks how to complete a command line
        from lslm_lightning.completion import complete

        complete(COMMANDS)
    try:
        # Imported here: before `leave_working_directory` a file json.py of that directory would be.
        from lslm_lightning.localization import interface_language
        from lslm_lightning.safety.output import protect_output

        is_own = argv is None  # the process
        if argv is None:
            argv = sys.argv[1:]
            collect_rarely()
        protect_output(argv[0] if argv else "")
        try:
            interface_language()
        except ValueError as error:
            print(f"lslm: {error}", file=sys.stderr)
            return 2
        if text := general_text(argv):
            print(text)
            return 0 if argv else 2
        from lslm_lightning.renamed import plain_warnings
        from lslm_lightning.safety.arguments import given_arguments
        from lslm_lightning.safety.terminal import guarded_output
        from lslm_lightning.torchmetrics_import import defer_torchmetrics

        if is_own:
            defer_torchmetrics()
        with guarded_output(), plain_warnings():  # around streams that end no work
            return run(given_arguments(argv))
    except KeyboardInterrupt:  # while the modules of the command are imported
        from lslm_lightning.localization import MESSAGES, translated

        print(f"lslm: {translated('interrupted', MESSAGES)}", file=sys.stderr)
        return INTERRUPTED


def run(argv: list[str]) -> int:
    """Run the subcommand named by the first argument and return its exit status."""
    from lslm_lightning.renamed import new_command

    argv = [*map(new_command, argv[:1]), *argv[1:]]
    if argv[:1] == ["help"] and argv[1:2] and argv[1] in COMMANDS:
        argv = [argv[1], "--help", *argv[2:]]
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
    from lslm_lightning.commands.exit_status import exit_status_of
    from lslm_lightning.configuration.example_configs import with_example_configs
    from lslm_lightning.configuration.pipes import copy_pipes
    from lslm_lightning.configuration.renamed_arguments import renamed_arguments
    from lslm_lightning.experiments.endings import suggest_command
    from lslm_lightning.experiments.invocation import (
        PARENT,
        children_without_working_directory,
        command_line,
        running_command,
    )

    debug = "--debug" in argv
    given = [argument for argument in argv if argument != "--debug"]

    def work() -> int:
        if given[0] in CONFIGURED and (text := help_on_settings(given)):
            print(text)
            return 0
        arguments = renamed_arguments(with_example_configs(copy_pipes(given)))
        if arguments != given and sys.argv[1:] == argv:  # with which other processes are started
            sys.argv[1:] = arguments
        again = "" if is_silent else f"To start again: {command_line(arguments)}"
        with running_command(arguments), suggest_command(again):
            module = import_module(f"lslm_lightning.commands.{COMMANDS[arguments[0]][0]}")
            status: int = module.main(arguments)
            return status

    # of a process that another one waits for, that one tells how to go on
    is_silent = given[0] in ENDLESS or bool(os.environ.get(PARENT))
    with children_without_working_directory():
        return exit_status_of(work, debug)


def help_on_settings(argv: list[str]) -> str:
    """Return the text of `--help CLASS`, `--help all` and `--KEY.help`; "" for other arguments."""
    from lslm_lightning.long_options import long_options

    if not any(each.name == "help" or each.name.endswith(".help") for each in long_options(argv)):
        return ""
    from lslm_lightning.configuration.help import requested_help

    return requested_help(argv)


def leave_working_directory() -> None:
    """Remove the working directory from `sys.path`, where `python -m` puts it first.

    If the working directory is a checkout that is not installed, it is moved to the end instead and
    passed to child processes in PYTHONPATH.
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

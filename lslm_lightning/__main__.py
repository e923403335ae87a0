"""The `lslm` command: looks at the first word, then imports what that command needs and nothing else."""

import os
import sys
from importlib import import_module

from lslm_lightning import __version__

COMMANDS = {
    "run": ("train", "fit, test the best checkpoint, report: one command, one MLflow run"),
    "fit": ("train", "train; keep the last and the best checkpoint"),
    "resume": ("resume", "go on where a run stopped: same directory, same MLflow run, same steps"),
    "plan": ("plan", "memory, speed, time and cost of a config, on paper, by device and strategy"),
    "verify-resume": ("verify_resume", "prove that a config, killed and resumed, trains the same weights"),
    "validate": ("train", "loss and scores on the validation split"),
    "test": ("train", "answer the test split and score what was written"),
    "predict": ("train", "answer the test split without scoring"),
    "generate": ("generate", "use a trained model: continue, translate, summarize, answer, transcribe"),
    "evaluate": ("evaluate", "any number of systems through one exam: scores, paired tests, one report"),
    "ladder": ("ladder", "train models that are to be compared, and put all of them on one page"),
    "compare": ("compare", "finished runs on one page: paired tests, config differences, curves"),
    "consolidate": ("consolidate", "the weights that several processes wrote, in one safetensors file"),
    "sync": ("sync", "bring to MLflow what a run has on disk and MLflow has not"),
    "data": ("data", "corpora: list, fetch, check"),
    "ui": ("ui", "MLflow's web pages on this project's runs"),
    "demo": ("demo", "three tasks on built-in corpora, no download, minutes on a laptop"),
}

USAGE = """usage: lslm COMMAND [OPTIONS]      (lslm COMMAND --help says more)

{commands}

  lslm run --config configs/language_modeling/docstrings_demo.yaml
  lslm run --config FILE --trainer.max_steps 500 --model.label_smoothing 0.1      every key of a config can be set here
  lslm run --config FILE --print_config                                           the whole configuration, defaults included

Exit status: 0 done, 1 the work failed (the reason in one line; --debug shows where), 2 wrong arguments, 130 interrupted.
Version {version}."""


def usage() -> str:
    """What `lslm --help` prints."""
    rows = "\n".join(f"  {name:<13} {words}" for name, (_, words) in COMMANDS.items())
    return USAGE.format(commands=rows, version=__version__)


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(argv[0], COMMANDS, 1)
        print(f"lslm: {argv[0]!r} is no command; {f'did you mean {near[0]!r}? ' if near else ''}lslm --help lists them", file=sys.stderr)
        return 2
    if "" not in sys.path and os.getcwd() not in sys.path:
        import_module("tasks")  # ours is the one that is trusted; a run directory from elsewhere may hold a folder of that name
        sys.path.append(os.getcwd())  # the user's own classes, named by class_path, lie in the working directory
    from lslm_lightning.commands.outcome import outcome

    debug = "--debug" in argv
    words = [word for word in argv if word != "--debug"]
    return outcome(lambda: import_module(f"lslm_lightning.commands.{COMMANDS[words[0]][0]}").main(words), debug)


if __name__ == "__main__":
    sys.exit(main())

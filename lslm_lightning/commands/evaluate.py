"""`lslm evaluate --config FILE`: evaluate several systems on one evaluation set, with one
report.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.safety.magnitudes import N_PROCESS

if TYPE_CHECKING:
    from lslm_lightning.experiments.evaluation_spec import EvaluationSpec

DESCRIPTION = """Evaluate any number of systems on one evaluation set: predictions, scores with
intervals, paired tests, one report.

  lslm evaluate --config configs/evaluate/translation_demo.yaml
  lslm evaluate --config mine.yaml --split val --devices 2

The config says:
  task      class of the task, for its metrics: tasks.translation.task.TranslationTask
  data      class_path and init_args of its data
  split     split of the corpus to evaluate on (default test)
  n_shot    few-shot examples in prompts (default 0)
  n_resample  resamples of intervals and paired tests (default 10000)
  metrics   in place of the task's: class_path and init_args, of lslm_lightning.metrics or
            torchmetrics.text; the task's main metric leads, or else the first
  systems   a name for each -> its class_path and init_args, of lslm_lightning.systems:
              checkpoint.Checkpoint       run: a run directory, a checkpoint in one, an MLflow run
                                          id, or a pattern for the newest of several; search
                                          replaces the run's own; fusion: a run of a language model
                                          for shallow fusion; trust: true for your own classes
              hugging_face.HuggingFaceSystem    path: a folder or a hub id
              endpoint.Endpoint           model, base_url, key_variable (name of the
                                          variable), prices, budget
              outputs.Outputs             path: what another tool wrote
              interpolation.Interpolation  runs: language models with one tokenizer, weighted on
                                           validation data
              arpa.Arpa                   path: an n-gram model of KenLM or SRILM
              baselines.NAME              without training: CopySource, FirstSentences,
                                          LongestSentence, ExtractiveOracle, UniformBytes, Xz

A run or a Hugging Face model that states another task or other languages than the data is refused;
allow_mismatch: true among its init_args scores it anyway. A language model may be scored on other
texts and languages.

Any key can be set here: --split val, --data.target_language de. An evaluation that was interrupted
continues when the same command is given again. Predictions on disk are kept, also when systems are
added, unless --fresh is given. Replies of a hosted model are recorded in LSLM_CACHE: to ask the
server anew, give --fresh and set LSLM_CACHE to an empty folder. If a system fails, the others are
still scored and reported, and the exit status is 1."""


def arguments() -> Parser:
    """Build the parser of the command's own options; all other arguments are settings of the
    config.
    """
    parser = Parser("lslm evaluate", description=DESCRIPTION, allow_abbrev=False)
    file = "YAML file; its keys are below"
    parser.add_argument("--config", required=True, metavar="FILE", help=file)
    parser.add_argument("--name", help="name of the evaluation (default: that of FILE)")
    parser.add_argument("--root", default="runs", metavar="FOLDER", help="folder of all runs")
    shared = "processes that share the examples, one a GPU"
    parser.add_argument("--devices", type=int, default=1, metavar="N", help=shared)
    fresh = (
        "make all predictions again; earlier ones are kept as *.old, and replies that are "
        "recorded are used (see below)"
    )
    parser.add_argument("--fresh", action="store_true", help=fresh)
    parser.add_argument(
        "--share", help=argparse.SUPPRESS
    )  # I/N: of a process that --devices started
    return parser


def main(argv: list[str]) -> int:
    """Evaluate the systems of a config and return the exit status."""
    own, settings = arguments().parse_known_args(argv[1:])
    if not 1 <= own.devices <= N_PROCESS:
        print(
            f"lslm: --devices {own.devices} must be at least 1 and at most {N_PROCESS:,}",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    from lslm_lightning.commands.training import tell_loading
    from lslm_lightning.configuration.given_settings import check_given
    from lslm_lightning.experiments.evaluation_spec import KEYS, read

    settings = ["--config", own.config, *settings]
    check_given(settings, KEYS).check_paths("evaluate")
    if not own.share:
        tell_loading()
    from lslm_lightning.experiments.evaluating import folder_of, run_evaluation
    from lslm_lightning.runs.directory import as_name, check_name
    from lslm_lightning.training.cores import available_cores
    from lslm_lightning.training.signals import Interrupted, stoppable

    check_name(own.name or as_name(Path(own.config).stem), "--name")
    spec = read(settings)
    folder = folder_of(spec, settings, Path(own.root), own.name)
    again = [argument for argument in argv if argument != "--fresh"]
    try:
        with suggest_command(f"To continue: {command_line(again)}"), stoppable():
            if own.share:
                answer(spec, folder, own.share)
            else:
                command = [sys.executable, "-m", "lslm_lightning", *again]
                run_evaluation(spec, folder, own.fresh, own.devices, command, available_cores())
    except Interrupted as error:
        if own.share:  # the process that started this one tells it
            return 128 + error.signum
        raise
    return DONE


def answer(spec: "EvaluationSpec", folder: Path, share: str) -> None:
    """Make predictions for one share of the examples, in a child process of `lslm evaluate
    --devices`.

    Args:
        folder: output folder of the evaluation.
        share: "I/N", share number I of N.
    """
    from lslm_lightning.experiments.evaluation import Evaluation
    from lslm_lightning.experiments.parallel_predictions import answer_share

    index, n = map(int, share.split("/"))
    answer_share(Evaluation(spec, folder).predictions, index, n)

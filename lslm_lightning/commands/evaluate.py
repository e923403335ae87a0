"""`lslm evaluate --config FILE`: several systems evaluated on one evaluation set, with one
report.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.outcome import command_line, way_on
from lslm_lightning.safety.magnitudes import N_PROCESS

if TYPE_CHECKING:
    from lslm_lightning.experiments.evaluation_spec import EvaluationSpec

DESCRIPTION = """Let any number of systems answer one exam; score, compare and report what they
wrote.

  lslm evaluate --config configs/evaluate/translation_demo.yaml
  lslm evaluate --config mine.yaml --split val --devices 2

The config says:
  task      class of the task, for its metrics: tasks.translation.task.TranslationTask
  data      class_path and init_args of its data: the exam
  split     of the corpus (default test)
  n_shot    worked examples in questions that are asked in words (default 0)
  n_resample  of intervals and paired tests (default 10000)
  metrics   in place of the task's: a list of class_path and init_args, of lslm_lightning.metrics
            or torchmetrics.text; the task's own headline leads
              where it is among them, else the first
  systems   a name for each -> its class_path and init_args, of lslm_lightning.systems:
              checkpoint.Checkpoint       run: a run directory, a checkpoint in one, an MLflow run
                                          id, or a pattern for the newest of several; search in
                                          place of its own; fusion: a run of a language model that
                                          the search asks
              hugging_face.HuggingFace    path: a folder or a hub id
              endpoint.Endpoint           model, base_url, prices, budget: a hosted model
              outputs.Outputs             path: what another tool wrote
              interpolation.Interpolation  runs: language models with one tokenizer, mixed; weights
                                           by EM on the validation split
              arpa.Arpa                   path: an n-gram model of KenLM or SRILM
              baselines.CopySource, FirstSentences, LongestSentence, ExtractiveOracle, UniformBytes,
              Xz

A run, or a model of Hugging Face, that was trained for another task or for other languages than the
data have is refused, as far as that is stated; allow_mismatch: true among its init_args scores it
all the same. A language model may read another text and language, and it is told.

Any key can be set here: --split val, --data.target_language de. An evaluation that was interrupted
goes on where it stopped when the same command is given again, and what is answered is never asked
again, also when systems are added: --fresh asks anew. A system that fails (a server that is down, a
budget that is spent, any error of its own) leaves the others their scores and their report; the
exit status is then 1."""


def arguments() -> Parser:
    """Build the parser of the command's own arguments; all others are keys of the config."""
    it = Parser("lslm evaluate", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument("--config", required=True, metavar="FILE", help="YAML")
    it.add_argument("--name", help="of the evaluation (default: that of FILE)")
    it.add_argument("--root", default="runs", help="folder of all runs (default runs)")
    shared = "processes that share the exam, a GPU each where there are GPUs (default 1)"
    it.add_argument("--devices", type=int, default=1, metavar="N", help=shared)
    it.add_argument(
        "--fresh",
        action="store_true",
        help="ask every system anew; earlier answers are kept beside",
    )
    it.add_argument("--share", help=argparse.SUPPRESS)  # I/N: of a process that --devices started
    return it


def main(argv: list[str]) -> int:
    """Evaluate the systems of a config and return the exit status."""
    own, words = arguments().parse_known_args(argv[1:])
    if not 1 <= own.devices <= N_PROCESS:
        words = f"--devices {own.devices} must be at least 1 and at most {N_PROCESS:,}"
        print(f"lslm: {words}", file=sys.stderr)
        return WRONG_ARGUMENTS
    from lslm_lightning.commands.training import tell_loading
    from lslm_lightning.configuration.given_settings import check_given
    from lslm_lightning.experiments.evaluation_spec import KEYS, read

    words = ["--config", own.config, *words]
    check_given(words, KEYS).check_paths()
    if not own.share:
        tell_loading()
    from lslm_lightning.experiments.evaluating import conclude, folder_of
    from lslm_lightning.runs.directory import as_name, check_name
    from lslm_lightning.training.signals import Interrupted, stoppable

    check_name(own.name or as_name(Path(own.config).stem), "--name")
    evaluation = read(words)
    folder = folder_of(evaluation, words, Path(own.root), own.name)
    again = [word for word in argv if word != "--fresh"]
    try:
        with way_on(f"To go on: {command_line(again)}"), stoppable():
            if own.share:
                answer_share(evaluation, folder, own.share)
            else:
                command = [sys.executable, "-m", "lslm_lightning", *again]
                conclude(evaluation, folder, own.fresh, own.devices, command)
    except Interrupted as error:
        if own.share:  # the process that started this one tells it
            return 128 + error.signum
        raise
    return DONE


def answer_share(evaluation: "EvaluationSpec", folder: Path, share: str) -> None:
    """Answer the share I/N of the examples, for the parent process of `--devices`."""
    from lslm_lightning.experiments.evaluation import Examination

    index, n = map(int, share.split("/"))
    Examination(evaluation, folder).answers.answer_share(index, n)

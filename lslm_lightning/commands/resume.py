"""`lslm resume RUN`: a stopped training resumed exactly where it stopped."""

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import command_line

DESCRIPTION = """Go on with a run that was stopped: by Ctrl-C, a signal, no memory, a full disk, a
machine that is gone.

It keeps its directory and its MLflow run; weights, optimizer, schedule, the order of the data and
all chance go on exactly, so that N steps straight equal k steps, a kill, and N - k steps. A damaged
state is passed over for the one before it.

  lslm resume runs/translation/multi30k-1a2b3c4d
  lslm resume RUN --trainer.devices 2        another number of processes
  lslm resume RUN --trainer.max_steps 20000  longer than it was to be
  lslm resume RUN --model.optimizer.lr 1e-4  with another learning rate from the next step on

What decides the batches (data, tokenizer, batch size) and the class of the optimizer must be as
they were. A run is a run directory or an MLflow run id. One that you started on this machine may
name any class. Of another's run, only classes that run no code and write nothing elsewhere are
built; --trust lets it name others."""


def arguments() -> Parser:
    """Build the parser of the command's own arguments; all others are settings to change."""
    it = Parser("lslm resume", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument("run", metavar="RUN", help="a run directory or an MLflow run id")
    it.add_argument(
        "--no-checkpoint",
        action="store_true",
        help="train anew from step 0; what there was goes to before-1/",
    )
    it.add_argument(
        "--trust",
        action="store_true",
        help="let the run name any class; needed for runs that you did not start on this machine",
    )
    return it


def main(argv: list[str]) -> int:
    """Resume a run and return the exit status."""
    own, words = arguments().parse_known_args(argv[1:])
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.experiments.resuming import resume_run

    again = [word for word in argv if word != "--no-checkpoint"]
    with suggest_command(f"To go on: {command_line(again)}"):
        return resume_run(named_run(own.run), words, own.no_checkpoint, own.trust)

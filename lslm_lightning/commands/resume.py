"""`lslm resume RUN`: resume a stopped training exactly where it stopped."""

from lslm_lightning.commands.arguments import RUN, Parser
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import command_line

DESCRIPTION = """Resume a run that was stopped: by Ctrl-C, a signal, lack of memory, a full disk, a
lost machine.

  lslm resume runs/translation/multi30k-1a2b3c4d
  lslm resume RUN --trainer.devices 2        another number of processes
  lslm resume RUN --trainer.max_steps 20000  longer than planned
  lslm resume RUN --model.optimizer.lr 1e-4  with another learning rate from the next step on

It keeps its directory and its MLflow run. Weights, optimizer, schedule, data order and random state
continue exactly, so that N uninterrupted steps equal k steps, a kill, and N - k steps. A damaged
checkpoint is skipped for the one before it. Settings that decide the batches (data, tokenizer,
batch size), the network and the class of the optimizer must be unchanged. A run that you started on
this machine may name any class. Of any other run, only classes that execute no code of their own
and write nothing elsewhere are built; --trust lets it name others."""


def arguments() -> Parser:
    """Build the parser of the command's own options; all other arguments are settings to change."""
    parser = Parser("lslm resume", description=DESCRIPTION, allow_abbrev=False)
    parser.add_argument("run", metavar="RUN", help=RUN)
    anew = "train again from step 0; earlier checkpoints and metrics go to before-1/"
    parser.add_argument("--no-checkpoint", action="store_true", help=anew)
    trust = "let the run name any class; needed for runs that you did not start on this machine"
    parser.add_argument("--trust", action="store_true", help=trust)
    return parser


def main(argv: list[str]) -> int:
    """Resume a run and return the exit status."""
    own, changes = arguments().parse_known_args(argv[1:])
    from lslm_lightning.commands.named_run import named_run
    from lslm_lightning.experiments.resuming import resume_run

    again = [argument for argument in argv if argument != "--no-checkpoint"]
    with suggest_command(f"To continue: {command_line(again)}"):
        return resume_run(named_run(own.run).directory, changes, own.no_checkpoint, own.trust)

"""`lslm verify-resume --config FILE`: check that a killed and resumed training gives the same
weights.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.commands.training import check_training
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.endings import WorkError
from lslm_lightning.experiments.resume_proof import Trial, accumulated, differences
from lslm_lightning.long_options import long_options
from lslm_lightning.types import Json

DESCRIPTION = """Train a few steps without interruption, and the same steps with kills (SIGKILL)
in between; the weights must be equal to the last bit.

  lslm verify-resume --config configs/translation/multi30k_en_de_cpu.yaml
  lslm verify-resume --config mine.yaml --steps 50 --kills 5 --trainer.devices 2

Any key of the config can be set here, except for those that this command sets itself: how long to
train (--steps), where, and when to save. Everything is kept in a temporary folder; your runs and
MLflow are not touched."""

STEPS = "--steps sets the length of each training: leave it out"
TRIAL = "each training is kept in a temporary folder: leave it out"
STATES = "this command sets when checkpoints are saved: leave it out"
DECIDED = {  # settings of a training that this command decides
    "trainer.max_steps": STEPS,
    "trainer.max_epochs": STEPS,
    "trainer.max_time": STEPS,
    "trainer.fast_dev_run": STEPS,
    "job.minutes": STEPS,
    "job.seeds": "one training is compared with its own repeat: leave it out",
    "seeds": "one training is compared with its own repeat: leave it out",
    "job.root": TRIAL,
    "job.name": TRIAL,
    "job.parent": TRIAL,
    "job.save_every_steps": STATES,
    "ckpt_path": "each training starts from step 0: leave it out",
}


def arguments() -> Parser:
    """Build the parser of the command's own options; all other arguments are settings of the
    config.
    """
    parser = Parser("lslm verify-resume", description=DESCRIPTION, allow_abbrev=False)
    of = parser.add_argument_group("Input")
    config = "YAML file of a training; several are merged"
    of.add_argument("--config", action="append", required=True, metavar="FILE", help=config)
    of = parser.add_argument_group("Trial")
    of.add_argument("--steps", type=int, default=20, metavar="N", help="optimizer steps")
    of.add_argument("--kills", type=int, default=2, metavar="N", help="how often it is killed")
    seed = "random seed of the moments at which it is killed"
    of.add_argument("--seed", type=int, default=0, metavar="N", help=seed)
    return parser


def main(argv: list[str]) -> int:
    """Train without interruption, train with kills, compare the final checkpoints, and return the
    exit status.
    """
    own, changes = arguments().parse_known_args(argv[1:])
    if own.steps < 2 or own.kills < 1:
        print(
            f"lslm: --steps {own.steps} must be at least 2 and --kills {own.kills} at least 1",
            file=sys.stderr,
        )
        return WRONG_ARGUMENTS
    for name, value in given_settings(changes):
        if why := DECIDED.get(name):
            steps = f" with --steps {own.steps}" if why == STEPS else ""
            print(f"lslm: --{name}={value}{steps}: {why}", file=sys.stderr)
            return WRONG_ARGUMENTS
    configs = [each for file in own.config for each in ("--config", file)]
    check_training(["fit", *configs, *changes])
    with tempfile.TemporaryDirectory(prefix="lslm-verify-") as folder:
        every = max(1, own.steps // (2 * own.kills + 1))
        limits = [
            f"--trainer.max_steps={own.steps}",
            "--trainer.max_epochs=-1",
            "--trainer.max_time=null",
            "--job.minutes=null",
            "--job.seeds=1",
            f"--trainer.val_check_interval={own.steps // 2 * accumulated(own.config, changes)}",
        ]
        training = [
            *configs,
            *limits,
            *changes,
            f"--job.root={folder}/runs",
            f"--job.save_every_steps={every}",
        ]
        trial = Trial(Path(folder), own.seed)
        print(f"{own.steps} steps without interruption", flush=True)
        trial.train(["fit", *training, "--job.name=straight"])
        same = trial.decided("straight")
        n_middle = trial.kill_and_resume(["fit", *training, *same, "--job.name=killed"], own.kills)
        different = differences(trial.state("straight"), trial.state("killed"))
    if different:
        raise WorkError(f"the killed run ended differently: {different}")
    if not n_middle:
        raise WorkError(
            "every kill came after the training had ended, which proves nothing: set --steps higher"
        )
    print(
        f"number of kills: {own.kills}; weights, optimizer and schedule are equal to the last bit"
    )
    return DONE


def given_settings(arguments: Sequence[str]) -> Iterator[tuple[str, Json]]:
    """Yield each setting of a command line and its value, including settings inside `--trainer
    {...}` or `--job FILE`.

    Args:
        arguments: command-line arguments.
    """
    import yaml

    from lslm_lightning.text.yaml_files import parse_yaml, read_yaml

    for option in long_options(arguments):
        name = option.name.removesuffix("+")
        value = option.value or ""
        yield name, value
        if name not in ("trainer", "job"):
            continue
        try:
            inside = read_yaml(Path(value)) if Path(value).is_file() else parse_yaml(value)
        except (OSError, ValueError, yaml.YAMLError):  # told by the training
            continue
        if isinstance(inside, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in inside.items())

"""`lslm sweep --config FILE`: train several models on the same data and compare them in a
report.
"""

import sys
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.endings import suggest_command
from lslm_lightning.experiments.invocation import command_line
from lslm_lightning.long_options import listed_names

DESCRIPTION = """Train several models on the same data, one after the other, and compare them in one
report: scores with intervals, paired tests, learning curves, costs.

  lslm sweep --config configs/language_modeling/sweep.yaml
  lslm sweep --config configs/language_modeling/ablation.yaml --trainer.max_steps 200

The config says:
  base        settings that all variants share, as in a config of lslm run: data, trainer, job, and
              perhaps a model
  variants    a name for each -> the settings that differ, as in a config or with dotted keys as in
              the shell
                (model.backbone.position: lslm_lightning.models.positions.ALiBi);
              or a system that needs no training: its class_path and init_args, as in lslm evaluate
  parameters  choose the d_model of each network so that it has about this many (default: sizes as
              they are written)

With job.minutes in the base all networks train for the same time. Any key can be set here for all
variants. Each variant is a run like those of lslm run, and a child of one MLflow run. A sweep that
was stopped continues when the same command is given again: finished variants are not trained again,
stopped ones are resumed, and new ones are trained. If a variant fails, the others are still
reported, and the exit status is 1."""


def arguments() -> Parser:
    """Build the parser of the command's own options; all other arguments are settings for all
    runs.
    """
    parser = Parser("lslm sweep", description=DESCRIPTION, allow_abbrev=False)
    of = parser.add_argument_group("Input")
    of.add_argument("--config", required=True, metavar="FILE", help="YAML file; its keys are below")
    only = "train these variants now (default: all); the report has them and the finished ones"
    of.add_argument("--only", metavar="NAME[,NAME]", help=only)
    of = parser.add_argument_group("Output")
    of.add_argument("--name", help="name of the sweep (default: that of FILE)")
    of.add_argument("--root", default="runs", metavar="FOLDER", help="folder of all runs")
    return parser


def main(argv: list[str]) -> int:
    """Train the unfinished variants, evaluate all finished ones, and return the exit status."""
    own, settings = arguments().parse_known_args(argv[1:])
    from lslm_lightning.experiments.variants import check_settings, read_sweep
    from lslm_lightning.runs.directory import as_name, check_name

    try:
        config = read_sweep(Path(own.config))
        name = own.name or as_name(Path(own.config).stem)
        check_name(name, "--name")
        only = listed_names(own.only) or [own.only] if own.only else list(config.variants)
        if unknown := [variant for variant in only if variant not in config.variants]:
            raise ValueError(
                f"--only {unknown[0]}: the variants of this sweep are {', '.join(config.variants)}"
            )
        check_settings(own.config, settings)
        from lslm_lightning.experiments.sweep import Sweep
        from lslm_lightning.training.signals import stoppable

        sweep = Sweep(config, name, Path(own.root), settings)
    except ValueError as error:
        print(f"lslm: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    command = command_line(argv)
    with suggest_command(f"To continue: {command}"), stoppable():
        sweep.run(only, command)
    return DONE

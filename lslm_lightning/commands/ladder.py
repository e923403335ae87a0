"""`lslm sweep --config FILE`: several models trained on the same data and compared in one
report.
"""

import sys
from pathlib import Path

from lslm_lightning.commands.arguments import Parser
from lslm_lightning.exit_status import DONE, WRONG_ARGUMENTS
from lslm_lightning.experiments.outcome import command_line, way_on

DESCRIPTION = """Train models that are to be compared, one after the other, and report them
together: scores with intervals, paired tests, learning curves, costs.

  lslm ladder --config configs/language_modeling/ladder.yaml
  lslm ladder --config configs/language_modeling/ablation.yaml --trainer.max_steps 200

The config says:
  base        what the runs share, as in a config of lslm run: data, trainer, job, and perhaps a
              model
  rungs       a name for each -> what it has besides: settings as in a config, or by keys as in the
              shell
                (model.backbone.position: lslm_lightning.models.positions.ALiBi);
              or a system that needs no training: its class_path and init_args, as in lslm evaluate
  parameters  choose the d_model of each network so that it has about so many (default: as they are
              written)

With job.minutes in the base all networks train for the same time. Any key can be set here for all
runs. Each rung is a run like those of lslm run, and a child of one MLflow run. A ladder that was
stopped goes on when the same command is given again: what is finished is not trained again, what
was under way is resumed, and rungs that are added are trained. A rung that fails leaves the others
their page; the exit status is then 1."""


def arguments() -> Parser:
    """Build the parser of the command's own arguments; all others are settings of all runs."""
    it = Parser("lslm ladder", description=DESCRIPTION, allow_abbrev=False)
    it.add_argument("--config", required=True, metavar="FILE", help="YAML")
    it.add_argument("--name", help="of the ladder (default: that of FILE)")
    it.add_argument("--root", default="runs", help="folder of all runs (default runs)")
    it.add_argument(
        "--only",
        metavar="NAME[,NAME]",
        help="train these now; the page has them and what is finished",
    )
    return it


def check_config(config: str, words: list[str]) -> None:
    """Refuse settings, classes and corpora that do not exist, before any training.

    Raises:
        SettingsError: one does not.
    """
    from lslm_lightning.configuration.errors import yaml_of
    from lslm_lightning.configuration.given_settings import Given, refuse
    from lslm_lightning.text.yaml_files import ConfigLoader

    try:
        content = yaml_of(Path(config), ConfigLoader)
        content = content if isinstance(content, dict) else {}
        variants = content.get("rungs") if isinstance(content.get("rungs"), dict) else {}
        for name, settings in {"": None, **variants}.items():
            given = Given()
            for each, where in ((content.get("base"), "base"), (settings, f"the rung {name}")):
                is_settings = isinstance(each, dict) and all(isinstance(key, str) for key in each)
                if is_settings and "class_path" not in each:
                    given.take("", each, f"{config}: {where}: ")
            given.take_words(words)
            given.check_paths()
    except ValueError as error:
        refuse(str(error))


def main(argv: list[str]) -> int:
    """Train the missing variants, evaluate all finished ones, and return the exit status."""
    own, words = arguments().parse_known_args(argv[1:])
    from lslm_lightning.experiments.variants import read_ladder
    from lslm_lightning.runs.directory import as_name, check_name

    try:
        ladder = read_ladder(Path(own.config))
        name = own.name or as_name(Path(own.config).stem)
        check_name(name, "--name")
        only = own.only.split(",") if own.only else list(ladder.runs)
        if unknown := [rung for rung in only if rung not in ladder.runs]:
            raise ValueError(
                f"--only {unknown[0]}: the runs of this ladder are {', '.join(ladder.runs)}"
            )
        check_config(own.config, words)
        from lslm_lightning.experiments.sweep import Climb
        from lslm_lightning.training.signals import stoppable

        climb = Climb(ladder, name, Path(own.root), words)
    except ValueError as error:
        print(f"lslm: {error}", file=sys.stderr)
        return WRONG_ARGUMENTS
    command = command_line(argv)
    with way_on(f"To go on: {command}"), stoppable():
        climb.conclude(only, command)
    return DONE

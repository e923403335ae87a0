"""Run directories of a sweep's variants: which exist, which are finished, which can be resumed."""

import os
from collections.abc import Mapping
from pathlib import Path

from lslm_lightning.run_files import CONFIG
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.config import read_config
from lslm_lightning.runs.trust import resolve
from lslm_lightning.training.precision import AUTO, HALF, SINGLE
from lslm_lightning.types import JsonObject

ID = "[0-9a-f]" * 8  # of a run directory, in a pattern


class VariantRuns:
    """Run directories of the variants of a sweep.

    Args:
        folder: folder with all runs of the task.
        sweep: name of the sweep.
        configs: whole configuration of each variant, by name.
        digests: digest of the settings and data of each variant, by name.
    """

    def __init__(
        self,
        folder: Path,
        sweep: str,
        configs: Mapping[str, JsonObject],
        digests: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.sweep = sweep
        self.configs = configs
        self.digests = digests

    def job_name(self, variant: str) -> str:
        """Return the `job.name` of a variant's runs: sweep, variant, digest of settings and
        data.
        """
        return f"{self.sweep}-{variant}-{self.digests[variant]}"

    def started(self, variant: str) -> list[Path]:
        """Return all run directories of a variant, newest last."""
        found = self.folder.glob(f"{self.job_name(variant)}-{ID}/{CONFIG}")
        return [path.parent for path in sorted(found, key=os.path.getmtime)]

    def directories(self, variant: str) -> list[Path]:
        """Return the run directories of a variant, newest last, without runs that were resumed with
        changed settings.
        """
        return [run for run in self.started(variant) if not self.changes(variant, run)]

    def changes(self, variant: str, run: Path) -> str:
        """Return a text that lists the training settings in which a run was changed when it was
        resumed; "" if there are none.

        Args:
            variant: name of the variant that the run belongs to.
            run: run directory.
        """
        own = read_config(RunDirectory(run).config)
        wanted = self.configs[variant]
        changed = []
        for name in ("max_steps", "max_epochs"):
            before, now = (config["trainer"].get(name) or -1 for config in (wanted, own))
            if now > before > 0:
                changed.append(f"trainer.{name} from {before} to {now}")
        for name in ("optimizer", "schedule", "label_smoothing"):
            before, now = (
                config["model"].get("init_args", {}).get(name) for config in (wanted, own)
            )
            if before is not None and now is not None and differ(before, now):
                changed.append(f"model.{name}")
        return ", ".join(changed)

    def finished(self, variant: str) -> Path | None:
        """Return the newest run directory of a variant that has been trained and tested; None if
        there is none.
        """
        for path in reversed(self.directories(variant)):
            run = RunDirectory(path)
            if run.beginning.get("status") == "FINISHED" and run.metrics.exists():
                return path
        return None

    def to_resume(self, variant: str) -> list[str]:
        """Return the command-line arguments that resume the stopped run of a variant; empty if no
        run has a checkpoint.
        """
        paths = [
            path
            for path in self.directories(variant)
            if any(RunDirectory(path).checkpoints.glob("last*.ckpt"))
        ]
        return ["resume", str(paths[-1])] if paths else []

    def decided_precision(self) -> str | None:
        """Return the precision that `auto` was resolved to in the first trained variant; None if
        there is none.
        """
        for variant, config in self.configs.items():
            is_auto = config["trainer"]["precision"] == AUTO
            if not is_auto or resolve(config["model"]["class_path"]).one_pass:
                continue
            for run in self.directories(variant):
                kept = read_config(RunDirectory(run).config)["trainer"].get("precision")
                if kept in (SINGLE, HALF):
                    return str(kept)
        return None


def differ(one: object, two: object) -> bool:
    """Return whether two nested settings have different values for a key that both contain."""
    if isinstance(one, dict) and isinstance(two, dict):
        return any(differ(one[name], two[name]) for name in one.keys() & two.keys())
    return one != two

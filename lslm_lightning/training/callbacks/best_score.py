"""Score of the best checkpoint so far, and the conditions under which it was measured."""

import math
from dataclasses import dataclass

from lslm_lightning.types import Settings, StateDict


@dataclass
class BestScore:
    """Score of the best checkpoint.

    Of two checkpoints with the same score, the one with the lower val/loss is better, since a
    metric is often 0 at the beginning of training.

    Args:
        score: value of the task's metric; None before the first validation.
        loss: val/loss of the best checkpoint; nan if unknown.
        step: number of optimizer steps of the best checkpoint.
        n_equal: number of validations, if all of them had the same score; else None.
        measured_on: conditions under which scores are measured, as `Validation.conditions` returns
            them; None if unknown.
    """

    score: float | None = None
    loss: float = math.nan
    step: int = 0
    n_equal: int | None = 0
    measured_on: dict[str, str] | None = None

    def is_worse_than(self, score: float, loss: float, higher_is_better: bool) -> bool:
        """Return whether a checkpoint with this score and val/loss is better than the best one."""
        if self.score is None:
            return True
        if score == self.score:
            return loss < self.loss
        return score > self.score if higher_is_better else score < self.score

    def count(self, score: float) -> None:
        """Count a validation in `n_equal`, which becomes None if `score` differs from the best
        score.
        """
        if self.n_equal is not None:
            self.n_equal = self.n_equal + 1 if self.score in (None, score) else None

    def forget(self) -> None:
        """Discard the score and its step, because later scores are not comparable with it."""
        self.score = None
        self.loss = math.nan
        self.n_equal = 0
        self.step = 0

    def restore(self, state: Settings) -> None:
        """Restore everything that `state` returned."""
        self.restore_score(state)
        self.step = state.get("best_step", 0)
        self.n_equal = state.get("n_alike")

    def restore_score(self, state: Settings) -> None:
        """Restore only the score, the loss and the conditions of the measurement, which a saved
        state and the record of a final choice have.
        """
        self.score = state["best_score"]
        loss = state.get("best_loss")
        self.loss = math.nan if loss is None else loss
        self.measured_on = state.get("measured")

    def changes(self, now: dict[str, str], same_validation: bool) -> list[str]:
        """Return descriptions of the validation settings that have changed since the score was
        measured; empty if later scores are comparable with it.

        Args:
            now: current conditions, as `Validation.conditions` returns them.
            same_validation: whether the config of the run that measured the score has the same
                validation settings as the current config; used only for a score saved by an earlier
                release, without its conditions.
        """
        before = self.measured_on
        if before is None:
            return [] if same_validation else ["its config.yaml has other ones, or is missing"]
        return [
            f"{name} ({before[name]} then, {value} now)"
            for name, value in now.items()
            if before.get(name, value) != value
        ]

    def state(self) -> StateDict:
        """Return the state to save in checkpoints."""
        return {
            "best_score": self.score,
            "measured": self.measured_on,
            "best_step": self.step,
            "best_loss": self.loss,
            "n_alike": self.n_equal,
        }

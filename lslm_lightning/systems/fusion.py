"""Shallow fusion with a trained language model."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lslm_lightning.decoding import Fusion
from lslm_lightning.decoding.fusion import check_fusion
from lslm_lightning.runs import Chosen, choose_run, find_run, load_run
from lslm_lightning.runs.loading import LoadedRun, config_to_build
from lslm_lightning.systems.weights import fingerprint_of
from lslm_lightning.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from lslm_lightning.systems.trained_task import LanguageModelTask


class ShallowFusion:
    """Language model, n-gram or neural, whose scores are added in the search of a run with the same
    tokenizer; see `decoding.Fusion`.

    Args:
        run: run of the language model, as in `Checkpoint`.
        weight: factor of the language model's log probability; 0 disables it.
        length_bonus: score added for each token, since a language model prefers short texts.
        trust: allow the run's config to name classes outside of this project.
    """

    def __init__(
        self, run: str, weight: float = 0.3, length_bonus: float = 0.0, trust: bool = False
    ) -> None:
        check_fusion(weight)
        self.given = run
        self.weight = weight
        self.length_bonus = length_bonus
        self.trust = trust

    @cached_property
    def chosen(self) -> Chosen | None:
        """Run selected by the pattern; None if `run` is not a pattern.

        Raises:
            ValueError: no run matches the pattern.
        """
        return choose_run(self.given)

    @property
    def run(self) -> str:
        """Reference to the run, with a pattern replaced by the path of the selected run.

        Raises:
            ValueError: no run matches the pattern.
        """
        return self.given if self.chosen is None else str(self.chosen.path)

    def prepare(self, asking: str) -> None:
        """Check that the language model can be read and has the same tokenizer as another run.

        Args:
            asking: reference to the run whose search uses the language model.

        Raises:
            ValueError: there is no such run, a number in its config is impossible, or its tokenizer
                differs.
        """
        config_to_build(find_run(self.run).config)
        own, others = (
            hashlib.sha256(find_run(run).tokenizer.read_bytes()).hexdigest()
            for run in (self.run, asking)
        )
        if own != others:
            raise self._unknown_tokenizer_error(Path(asking).name)

    def fingerprint(self) -> str | None:
        """Return a digest of the weights of the language model; None if they no longer exist."""
        return fingerprint_of(self.run)

    @cached_property
    def loaded(self) -> LoadedRun:
        return load_run(self.run, trust=self.trust)

    def over(self, tokenizer: Tokenizer, device: str) -> Fusion:
        """Return the language model on `device`, in the form that a search over the ids of
        `tokenizer` uses.

        Raises:
            ValueError: the run has another tokenizer, or is not a language model.
        """
        task = self.loaded.task
        if not hasattr(task, "step"):
            raise ValueError(
                f"fusion with {self.given}: {type(task).__name__} is no language model, which "
                "scores token by token"
            )
        if self.loaded.tokenizer.digest != tokenizer.digest:
            raise self._unknown_tokenizer_error(repr(tokenizer))
        task.to(device)
        model = cast("LanguageModelTask", task)
        end = tokenizer.eos_id
        if end is None:
            raise ValueError(f"fusion with {self.given}: its tokenizer has no end of text")
        return Fusion(model.step, end, end, self.weight, self.length_bonus)

    def __str__(self) -> str:
        return f"{self.weight:g} x {Path(self.run).name}" + (
            f", {self.length_bonus:+g} a token" if self.length_bonus else ""
        )

    def _unknown_tokenizer_error(self, other: str) -> ValueError:
        return ValueError(
            f"fusion with {self.given}: its tokenizer must be that of {other}, since the search "
            "adds scores of tokens; train it with data.tokenizer "
            "lslm_lightning.text.recipes.TokenizerFile and the path of the other run's "
            "tokenizer.json"
        )

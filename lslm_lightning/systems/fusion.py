"""Shallow fusion with a trained language model."""

from functools import cached_property
from typing import TYPE_CHECKING, cast

from lslm_lightning.decoding import Fusion
from lslm_lightning.decoding.fusion import check_fusion
from lslm_lightning.runs import FoundRun, find_run, load_run
from lslm_lightning.runs.loading import LoadedRun
from lslm_lightning.systems.weights import digest_of_file, fingerprint_of
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
    def run(self) -> FoundRun:
        """Run of the language model.

        Raises:
            ValueError: there is no such run.
        """
        return find_run(self.given)

    def prepare(self, asking: FoundRun) -> None:
        """Check that the language model can be read and has the same tokenizer as another run.

        Args:
            asking: run whose search uses the language model.

        Raises:
            ValueError: there is no such run, a number in its config is impossible, or its tokenizer
                differs.
        """
        _ = self.run.config
        own, others = (digest_of_file(run.directory.tokenizer) for run in (self.run, asking))
        if own != others:
            raise self._unknown_tokenizer_error(asking.path.name)

    def fingerprint(self) -> str | None:
        """Return a digest of the weights of the language model; None if they no longer exist."""
        return fingerprint_of(lambda: self.run)

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
        return f"{self.weight:g} x {self.run.path.name}" + (
            f", {self.length_bonus:+g} a token" if self.length_bonus else ""
        )

    def _unknown_tokenizer_error(self, other: str) -> ValueError:
        return ValueError(
            f"fusion with {self.given}: its tokenizer must be that of {other}, since the search "
            "adds scores of tokens; train it with data.tokenizer "
            "lslm_lightning.text.recipes.TokenizerFile and the path of the other run's "
            "tokenizer.json"
        )

"""Settings of an audit."""

from dataclasses import dataclass
from typing import get_args

from lslm_lightning.types import IntendedUse

N_SAMPLE = 256
USES: tuple[IntendedUse, ...] = get_args(IntendedUse)


@dataclass(frozen=True)
class AuditSettings:
    """Settings of an audit.

    Args:
        n_sample: number of texts that a language model writes, and of training texts that it is
            asked to complete.
        seed: seed of all draws.
        names: names of people, which are personal data.
        lexicon: words whose share in the outputs is measured, such as those of a list of abuse.
        classifier: folder of a text classifier, and the labels of it whose share in the outputs is
            measured; empty for none.
        pairs: YAML file of sentences for the measurement of bias; "" for the packaged one.
        against: run whose robustness is compared with that of the audited run; "" for none.
        intended_use: intended uses of the model, which the licence of its data may not allow:
            "research", "commercial" and "publication" of the weights; empty for those that the run
            states in `job.intended_use`.
    """

    n_sample: int = N_SAMPLE
    seed: int = 0
    names: tuple[str, ...] = ()
    lexicon: tuple[str, ...] = ()
    classifier: tuple[str, ...] = ()
    pairs: str = ""
    against: str = ""
    intended_use: tuple[IntendedUse, ...] = ()

    def __post_init__(self) -> None:
        if self.n_sample < 1:
            raise ValueError(f"n_sample={self.n_sample} must be at least 1; {N_SAMPLE} is usual")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be at least 0")
        for use in self.intended_use:
            if use not in USES:
                raise ValueError(f"intended_use={use!r} must be one of {', '.join(USES)}")


USUAL = AuditSettings()

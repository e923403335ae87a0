"""Settings of an audit."""

from dataclasses import dataclass

N_SAMPLE = 256


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
    """

    n_sample: int = N_SAMPLE
    seed: int = 0
    names: tuple[str, ...] = ()
    lexicon: tuple[str, ...] = ()
    classifier: tuple[str, ...] = ()
    pairs: str = ""
    against: str = ""

    def __post_init__(self) -> None:
        if self.n_sample < 1:
            raise ValueError(f"n_sample={self.n_sample} must be at least 1; {N_SAMPLE} is usual")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be at least 0")


USUAL = AuditSettings()

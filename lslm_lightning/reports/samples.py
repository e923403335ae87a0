"""Sample outputs next to their references, with differences marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lslm_lightning.reports.differences import DifferencePiece, compare
from lslm_lightning.reports.formatting import counted, number

LONG_SOURCE = 400  # characters


@dataclass(frozen=True, slots=True)
class Sample:
    """One example: its source, the output of each system, and the references.

    `outputs` and `scores` are by system name; an output that was not given is None. `language`, a
    BCP 47 code, is that of outputs and references.
    """

    id: str
    outputs: Mapping[str, str | None]
    source: str = ""
    references: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    language: str = "en"
    source_language: str = "en"

    def source_parts(self) -> tuple[str, str]:
        """Return the beginning of the source, and the rest of a long one, which the page folds
        away.
        """
        if len(self.source) <= LONG_SOURCE:
            return self.source, ""
        cut = max(
            self.source.rfind(" ", 0, LONG_SOURCE),
            self.source.rfind("\n", 0, LONG_SOURCE),
            LONG_SOURCE // 2,
        )
        return self.source[:cut], self.source[cut:]

    def compared(
        self,
    ) -> tuple[dict[str, list[DifferencePiece] | None], list[list[DifferencePiece]]]:
        """Return outputs and references as pieces that differ or not. References are marked only
        where there is one output.
        """
        outputs = {
            name: None if text is None else compare(text, self.references)
            for name, text in self.outputs.items()
        }
        single = next(iter(outputs.values())) if len(outputs) == 1 else None
        references = (
            single[1] if single else [[DifferencePiece(text, False)] for text in self.references]
        )
        return {name: result and result[0] for name, result in outputs.items()}, references


@dataclass(frozen=True, slots=True)
class Samples:
    """Examples side by side, with differences marked; the page shows some of them, evenly spaced,
    and says how many of how many.

    `metric` names the metric of `Sample.scores`; `source_name` is the heading of the source
    ("source", "prompt", "document"). `n_example` is the size of the test set, if fewer are given;
    all but the first `n_open` are folded away.
    """

    samples: Sequence[Sample]
    metric: str = "score"
    source_name: str = "source"
    n_example: int | None = None
    n_open: int = 8

    @property
    def total(self) -> int:
        """Number of examples of the test set."""
        return len(self.samples) if self.n_example is None else self.n_example

    @property
    def shown(self) -> str:
        """Sentence that says how many of how many examples are shown."""
        n = len(self.samples)
        return (
            counted(n, "example") + "."
            if n == self.total
            else f"{n:,} of {counted(self.total, 'example')}, evenly spaced."
        )

    def score(self, sample: Sample, name: str) -> str:
        """Return the score of the output of system `name`, such as "chrF 53.21"; "" where there is
        none.
        """
        return f"{self.metric} {number(sample.scores[name])}" if name in sample.scores else ""

    def limited(self, n_sample: int, n_character: int) -> "Samples":
        """Return at most `n_sample` samples, evenly spaced from the first, each text cut after
        `n_character` characters with the rest counted.
        """
        n = min(n_sample, len(self.samples))

        def cut(text: str) -> str:
            rest = len(text) - n_character
            return f"{text[:n_character]} […{rest:,} more characters]" if rest > 0 else text

        chosen = [self.samples[i * len(self.samples) // n] for i in range(n)]
        short = [
            replace(
                sample,
                source=cut(sample.source),
                outputs={
                    name: None if text is None else cut(text)
                    for name, text in sample.outputs.items()
                },
                references=[cut(text) for text in sample.references],
            )
            for sample in chosen
        ]
        return replace(self, samples=short, n_example=self.total)

"""Sample outputs next to their references, with differences marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lslm_lightning.reports.differences import DifferencePiece, compare
from lslm_lightning.reports.formatting import counted, number
from lslm_lightning.reports.words import words

LONG_SOURCE = 400  # characters


@dataclass(frozen=True, slots=True)
class Sample:
    """Example of a test set: its source, the output of each system, and the references.

    `outputs` and `scores` are by system; a missing output is None. `language` is the BCP 47 code of
    outputs and references.
    """

    id: str
    outputs: Mapping[str, str | None]
    source: str = ""
    references: Sequence[str] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    language: str = "en"
    source_language: str = "en"

    def source_parts(self) -> tuple[str, str]:
        """Return the source in two parts: the beginning, and the rest, which the page folds away.
        The rest is "" for a short source.
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
        """Return the outputs by system and the references, each as pieces that are equal or differ.

        References are marked only if there is a single output.
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
    """Examples with their outputs and references, and differences marked. The page shows a
    selection, evenly spaced, and states its size.

    Attributes:
        metric: name of the metric of `Sample.scores`.
        source_name: heading of the source, such as "source", "prompt" or "document".
        n_example: size of the test set, if `samples` are only a part of it.
        n_open: number of samples shown; the page folds the others away.
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
        """Sentence that states the number of examples shown and in total."""
        n = len(self.samples)
        return (
            counted(n, "example") + "."
            if n == self.total
            else f"{n:,} of {counted(self.total, 'example')}, evenly spaced."
        )

    def score(self, sample: Sample, name: str) -> str:
        """Return the score of the output of system `name`, such as "chrF 53.21"; "" if there is
        none.
        """
        if name not in sample.scores:
            return ""
        return f"{words(self.metric)} {number(sample.scores[name])}"

    def limited(self, n_sample: int, n_character: int) -> "Samples":
        """Return at most `n_sample` samples, evenly spaced from the first. Each text is cut after
        `n_character` characters, followed by the number of characters left out.
        """
        n = min(n_sample, len(self.samples))

        def cut(text: str) -> str:
            rest = len(text) - n_character
            more = words(f"…{rest:,} more characters")
            return f"{text[:n_character]} [{more}]" if rest > 0 else text

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

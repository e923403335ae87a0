"""Searchable and sortable table of the outputs of all systems."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from lslm_lightning.reports.samples import Sample, Samples
from lslm_lightning.reports.words import named, words
from lslm_lightning.safety.display import safe_values

_IN_SCRIPT = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)

SCRIPT_WORDS = (  # literals of templates/explorer.js that readers see
    '` … ${(text.length - cut).toLocaleString("en")} more characters`',
    '"(empty)"',
    "`reference ${i + 1}`",
    '"reference"',
    '`${shown} (evenly spaced, of ${data.total.toLocaleString("en")})`',
    '`${(start + 1).toLocaleString("en")} to ${(start + here.length).toLocaleString("en")} of '
    '${found.length.toLocaleString("en")} found, ${all} in all.`',
    "`Nothing found among ${all} examples.`",
)


def in_script(text: str) -> Markup:
    """Return JSON in which no text can close the script element that holds it."""
    return Markup(text.translate(_IN_SCRIPT))


@dataclass(frozen=True, slots=True)
class Explorer:
    """Examples of a test set with the outputs of all systems. A script in the page searches and
    sorts them and marks differences.

    Without the script, as in print or in Markdown, the block is shown as `Samples`. `Sample.scores`
    are the sort keys.
    """

    samples: Sequence[Sample]
    metric: str
    higher_is_better: bool = True
    source_name: str = "source"
    page: int = 20
    n_example: int | None = None  # of the test set, when fewer are given

    def limited(self, n_sample: int, n_character: int) -> "Explorer":
        """Return an explorer with at most 50 * `n_sample` examples, evenly spaced, and texts of at
        most `n_character` characters.
        """
        n = min(len(self.samples), n_sample * 50)
        total = len(self.samples) if self.n_example is None else self.n_example
        return replace(self, samples=self.plain().limited(n, n_character).samples, n_example=total)

    def plain(self) -> Samples:
        """Return a `Samples` block with the same examples."""
        return Samples(self.samples, self.metric, self.source_name, self.n_example)

    def first(self) -> Samples:
        """Return the samples that the page shows if its script does not run."""
        return self.plain().limited(self.page, 3000)

    @property
    def systems(self) -> list[str]:
        """Names of all systems, in order of appearance."""
        return list(dict.fromkeys(name for sample in self.samples for name in sample.outputs))

    def data(self) -> Markup:
        """Return the examples as JSON in which no text can close the script element that holds the
        JSON.
        """
        systems = self.systems
        rows = [
            {
                "id": sample.id,
                "source": sample.source,
                "references": list(sample.references),
                "outputs": [sample.outputs.get(name) for name in systems],
                "scores": [rounded(sample.scores.get(name)) for name in systems],
                "language": sample.language,
                "sourceLanguage": sample.source_language,
            }
            for sample in self.samples
        ]
        about: Mapping[str, object] = {
            "systems": [*map(named, systems)],
            "metric": words(self.metric),
            "higherIsBetter": self.higher_is_better,
            "sourceName": words(self.source_name),
            "page": self.page,
            "total": len(self.samples) if self.n_example is None else self.n_example,
            "examples": rows,
        }
        return in_script(json.dumps(safe_values(about), ensure_ascii=False, allow_nan=False))


def localized_script(script: str) -> str:
    """Return the script of the explorer with its words in the language of the interface."""
    for literal in SCRIPT_WORDS:
        quote = literal[0]
        script = script.replace(literal, f"{quote}{words(literal[1:-1])}{quote}")
    return script


def rounded(score: float | None) -> float | None:
    """Return a score rounded to two decimals, for JSON; None if it is missing or not finite."""
    return None if score is None or not math.isfinite(score) else round(score, 2)

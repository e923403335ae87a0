"""What a report shows of summaries besides scores: how much is copied, and how much is left out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.reports.blocks import Section, Table
from lslm_lightning.text.chinese import segment
from tasks.summarization.data import SummarizationData

if TYPE_CHECKING:
    from tasks.summarization.task import SummarizationTask


def sections(task: "SummarizationTask", data: SummarizationData, predictions: Sequence[Prediction]) -> list[Section]:
    """Abstractiveness of outputs beside that of references."""
    outputs = {p.id: p.output or "" for p in predictions}
    examples = data.examples("test")
    rows = [
        ["outputs", *abstractiveness(examples, [outputs[e.id] for e in examples])],
        ["references", *abstractiveness(examples, [e.references[0] for e in examples])],
    ]
    columns = ["", *(f"novel {n}-grams, %" for n in (1, 2, 3)), "words", "compression"]
    notes = ["Novel: not in the document. Compression: words of the document for one of the summary. Chinese counts by characters."]
    return [Section("Abstractiveness", [Table(columns, rows, notes=notes)])]


def abstractiveness(examples: Sequence[Example], summaries: Sequence[str]) -> list[float]:
    """Share of novel 1-, 2- and 3-grams in percent, mean words, and document words for one summary word; over the whole corpus."""
    novel, total, n_word, n_source = [0, 0, 0], [0, 0, 0], 0, 0
    for example, summary in zip(examples, summaries, strict=True):
        source, words = segment(example.source.lower()), segment(summary.lower())
        n_word, n_source = n_word + len(words), n_source + len(source)
        for n in (1, 2, 3):
            known = set(zip(*(source[i:] for i in range(n))))
            grams = list(zip(*(words[i:] for i in range(n))))
            novel[n - 1] += sum(gram not in known for gram in grams)
            total[n - 1] += len(grams)
    shares = [100 * a / b if b else float("nan") for a, b in zip(novel, total, strict=True)]
    return [*shares, n_word / max(1, len(summaries)), n_source / max(1, n_word)]

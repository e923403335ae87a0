"""Report sections of summaries: how much is copied from the document, and from which position."""

from collections.abc import Mapping, Sequence

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.localization import Term
from lslm_lightning.reports.blocks import Cell, Columns, Heading, Section, Table
from lslm_lightning.reports.figures import Histogram
from lslm_lightning.text.chinese import segment
from lslm_lightning.training.data import TaskData


def sections(data: TaskData, predictions: Sequence[Prediction]) -> list[Section]:
    """Return a section on how abstractive outputs and references are, in a list, for a run's
    report.
    """
    outputs = {p.id: p.output or "" for p in predictions}
    examples = data.examples("test")
    rows: list[list[Cell]] = [
        [Term("outputs"), *abstractiveness(examples, [outputs[e.id] for e in examples])],
        [Term("references"), *abstractiveness(examples, [e.references[0] for e in examples])],
    ]
    columns = ["", *(f"novel {n}-grams, %" for n in (1, 2, 3)), "words", "compression"]
    notes = [
        (
            "Novel: not in the document. Compression: words of the document per word of the "
            "summary. Chinese is counted in characters."
        )
    ]
    return [Section("Abstractiveness", [Table(columns, rows, notes=notes)])]


def abstractiveness(examples: Sequence[Example], summaries: Sequence[str]) -> list[float]:
    """Return five numbers on the whole corpus: the percentages of novel 1-, 2- and 3-grams, the
    mean length in words, and the number of document words per summary word.
    """
    novel = [0, 0, 0]
    total = [0, 0, 0]
    n_word = 0
    n_source = 0
    for example, summary in zip(examples, summaries, strict=True):
        source = segment(example.source.lower())
        words = segment(summary.lower())
        n_word = n_word + len(words)
        n_source = n_source + len(source)
        for n in (1, 2, 3):
            known = set(zip(*(source[i:] for i in range(n))))
            grams = list(zip(*(words[i:] for i in range(n))))
            novel[n - 1] += sum(gram not in known for gram in grams)
            total[n - 1] += len(grams)
    shares = [100 * a / b if b else float("nan") for a, b in zip(novel, total, strict=True)]
    return [*shares, n_word / max(1, len(summaries)), n_source / max(1, n_word)]


def compared(
    examples: Sequence[Example], outputs: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return the sections of an evaluation: how much each system copies, in runs of which length,
    and from which position in the document.
    """
    texts = {
        name: [p.output or "" for p in own]
        for name, own in outputs.items()
        if any(p.output for p in own)
    }
    if not texts:
        return []
    every = texts | {Term("reference"): [e.references[0] for e in examples]}
    rows: list[list[Cell]] = [
        [name, *abstractiveness(examples, own), *fragments(examples, own)]
        for name, own in every.items()
    ]
    novel = [Heading(f"novel {n}-grams", "%") for n in (1, 2, 3)]
    copied = [
        Heading("in copied runs", "% of words"),
        Heading("mean length of a run", "words, weighted by length"),
    ]
    columns: list[Heading | str] = ["system", *novel, "words", "compression", *copied]
    notes = [
        "Novel: not in the document. Compression: words of the document per word of the summary. "
        "Run: the longest sequence of words that the document has too, from left to right (Grusky "
        "et al. 2018). Chinese is counted in characters."
    ]
    positions = {name: origins(examples, own) for name, own in every.items()}
    picture = Histogram(
        {name: own for name, own in positions.items() if own},
        "% of the document",
        "Position of copied runs of at least three words",
    )
    return [
        Section("Abstractiveness", [Table(columns, rows, notes=notes)]),
        Section("Position of copied content", [Columns([picture])]),
    ]


def runs_of(source: Sequence[str], summary: Sequence[str]) -> list[tuple[int, int]]:
    """Return (index in the source, length) of each run of words that a summary copies from the
    source. Runs are found greedily from left to right. Source: Grusky et al. 2018, figure 3.
    """
    positions: dict[str, list[int]] = {}
    for i, word in enumerate(source):
        positions.setdefault(word, []).append(i)
    found = []
    at = 0
    while at < len(summary):
        best = (0, 0)
        for start in positions.get(summary[at], ()):
            n = 0
            while (
                at + n < len(summary)
                and start + n < len(source)
                and summary[at + n] == source[start + n]
            ):
                n += 1
            best = max(best, (n, -start))
        if best[0]:
            found.append((-best[1], best[0]))
        at += max(1, best[0])
    return found


def fragments(examples: Sequence[Example], summaries: Sequence[str]) -> list[float]:
    """Return coverage and density over the whole corpus.

    Coverage is the percentage of summary words in copied runs. Density is the mean, over all
    summary words, of the length of the run that a word is in.
    """
    covered = squares = n_word = 0
    for example, summary in zip(examples, summaries, strict=True):
        words = segment(summary.lower())
        lengths = [n for _, n in runs_of(segment(example.source.lower()), words)]
        covered = covered + sum(lengths)
        squares = squares + sum(n * n for n in lengths)
        n_word = n_word + len(words)
    return [100 * covered / max(1, n_word), squares / max(1, n_word)]


def origins(examples: Sequence[Example], summaries: Sequence[str]) -> list[float]:
    """Return the position, in percent of its document, of each copied run of at least three
    words.
    """
    found = []
    for example, summary in zip(examples, summaries, strict=True):
        source = segment(example.source.lower())
        found += [
            100 * start / len(source)
            for start, n in runs_of(source, segment(summary.lower()))
            if n >= 3
        ]
    return found

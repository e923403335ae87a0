"""Report sections of translations: attention maps, coverage of the source, alignments and n-gram
precisions.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.localization import Term, Verbatim
from lslm_lightning.metrics.bleu import Bleu
from lslm_lightning.reports.blocks import Cell, Columns, Heading, Section, Table, Text
from lslm_lightning.reports.figures import Heatmap
from lslm_lightning.text.chinese import segment
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.data import TaskData
from tasks.translation.alignment import Alignment, learn

if TYPE_CHECKING:
    from tasks.translation.task import TranslationTask

N_MAP = 4
LONGEST = 24
N_ALIGNED = 5000  # examples at most whose words are aligned


def sections(
    task: "TranslationTask", data: TaskData, predictions: Sequence[Prediction]
) -> list[Section]:
    """Return a section with attention maps of a few short sentences, in a list, for a run's
    report.
    """
    outputs = {p.id: p.output or "" for p in predictions}
    short = [
        e
        for e in data.examples("test")
        if 3 <= len(task.tokenizer.encode(e.source)) <= LONGEST and outputs[e.id]
    ]
    chosen = [short[i * len(short) // N_MAP] for i in range(min(N_MAP, len(short)))]
    maps = [found for e in chosen if (found := attention_map(task, e, outputs[e.id])) is not None]
    if not maps:
        return []
    legend = (
        "Attention of each token of the output to each token of the source: mean over the heads "
        "of the last decoder layer."
    )
    return [Section("Attention", [Text(legend), *maps])]


def attention_map(task: "TranslationTask", example: Example, output: str) -> Heatmap | None:
    """Return the cross-attention of the last decoder layer, averaged over heads, when the decoder
    reads `output`. None if the backbone has no cross-attention.
    """
    tokenizer = task.tokenizer
    source, target = (
        [*tokenizer.encode(text), tokenizer.eos_id] for text in (example.source, output)
    )
    weights = task.cross_attention(source, target)
    if weights is None:
        return None
    columns, rows = (pieces(tokenizer, ids) for ids in (source, target))
    return Heatmap(
        weights.numpy(),
        [*rows[:-1], "</s>"],
        [*columns[:-1], "</s>"],
        caption=Verbatim(output),
        row_language=example.language,
        column_language=example.source_language,
    )


def pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """Return the text of each token; "·" for a token that is only part of a character."""
    return [tokenizer.decode([i]).strip().replace("\ufffd", "·") or "·" for i in ids]


def compared(
    examples: Sequence[Example], outputs: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return the sections of an evaluation: n-gram precisions and lengths, coverage of the source,
    and alignment maps of one sentence. Words are aligned in `N_ALIGNED` evenly spaced examples at
    most.
    """
    texts = {
        name: [p.output or "" for p in predictions]
        for name, predictions in outputs.items()
        if any(p.output for p in predictions)
    }
    if not texts:
        return []
    few = evenly_spaced(len(examples), N_ALIGNED)
    chosen = [examples[i] for i in few]
    words, reference = (
        [segment(text.lower()) for text in own]
        for own in ((e.source for e in chosen), (e.references[0] for e in chosen))
    )
    some = {name: [own[i] for i in few] for name, own in texts.items()}
    written = {name: [segment(text.lower()) for text in own] for name, own in some.items()}
    every = [words for own in (reference, *written.values()) for words in own]
    alignment = learn(list(zip(words * (1 + len(texts)), every, strict=True)))
    return [
        ngrams(examples, texts),
        coverage(words, written, reference, alignment, len(examples)),
        *maps(chosen, words, some, alignment),
    ]


def evenly_spaced(n: int, n_chosen: int) -> list[int]:
    """Return at most `n_chosen` evenly spaced indices of `n` items, in order."""
    if n <= n_chosen:
        return list(range(n))
    return [i * n // n_chosen for i in range(n_chosen)]


def ngrams(examples: Sequence[Example], texts: Mapping[str, Sequence[str]]) -> Section:
    """Return a section with the n-gram precisions and length ratios that make up BLEU.

    Args:
        texts: outputs of each system.
    """
    metric = Bleu(examples[0].language)
    rows: list[list[Cell]] = []
    for name, own in texts.items():
        total = reduce(
            np.add,
            (
                metric.statistics(e, Prediction(e.id, text))
                for e, text in zip(examples, own, strict=True)
            ),
        )
        length = total[0]
        wanted = total[1]
        right = total[2:6]
        written = total[6:10]
        rows.append(
            [
                name,
                float(length / wanted) if wanted else None,
                *(100 * right / np.maximum(written, 1)).tolist(),
            ]
        )
    columns: list[Heading | str] = [
        "system",
        Heading("length", "of the reference"),
        *(Heading(f"{n}-grams", "% right") for n in range(1, 5)),
    ]
    return Section(
        "Precisions and lengths", [Table(columns, rows, notes=["By the tokens of BLEU."])]
    )


def coverage(
    words: Sequence[Sequence[str]],
    written: Mapping[str, Sequence[Sequence[str]]],
    reference: Sequence[Sequence[str]],
    alignment: Alignment,
    n_example: int,
) -> Section:
    """Return a section with the share of source words that are aligned to a word of the output, by
    system.

    Args:
        words: source words of each example.
        written: words of each output, by system.
        reference: words of each first reference.
        n_example: number of examples of the evaluation set, which may be more.
    """

    def covered(own: Sequence[Sequence[str]]) -> float:
        found = total = 0
        for source, target in zip(words, own, strict=True):
            indices = [i for i, word in enumerate(source) if word[0].isalnum()]
            matrix = alignment.matrix(source, target)
            reached = (
                set(matrix.argmax(1)[matrix.max(1, initial=0.0) > 0].tolist())
                if matrix.size
                else set()
            )
            found = found + len(reached & set(indices))
            total = total + len(indices)
        return 100 * found / max(1, total)

    rows: list[list[Cell]] = [
        [name, covered(own)] for name, own in (*written.items(), (Term("reference"), reference))
    ]
    note = (
        "Share of the source's words that are aligned to some word of the output, by IBM model 1 "
        "trained on the sentences of this evaluation set."
    )
    notes = [note]
    if len(words) < n_example:
        notes.append(f"{len(words):,} of {n_example:,} examples, evenly spaced.")
    return Section(
        "Coverage of the source",
        [Table(["system", Heading("covered", "% of source words")], rows, notes=notes)],
    )


def maps(
    examples: Sequence[Example],
    words: Sequence[Sequence[str]],
    texts: Mapping[str, Sequence[str]],
    alignment: Alignment,
) -> list[Section]:
    """Return a section with alignment maps of one sentence by system, in a list; an empty list if
    no sentence is short enough.

    Args:
        words: source words of each example.
        texts: outputs of each system.
    """
    short = [
        i
        for i, source in enumerate(words)
        if 4 <= len(source) <= 14 and all(own[i].strip() for own in texts.values())
    ]
    if not short:
        return []
    i = short[len(short) // 2]
    example = examples[i]
    pictures = []
    for name, own in texts.items():
        target = segment(own[i])
        matrix = alignment.matrix(words[i], [word.lower() for word in target])
        caption = f"{name}: {own[i]}"
        pictures.append(
            Heatmap(
                matrix,
                target,
                segment(example.source),
                caption=Verbatim(caption),
                row_language=example.language,
                column_language=example.source_language,
            )
        )
    return [
        Section(
            "Alignment",
            [
                Text(f"One sentence, {example.id}: the source words that each word is aligned to."),
                Columns(pictures),
            ],
        )
    ]

"""Report sections of language models: bits per byte along the text, the hardest passages token by
token, and sample texts.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.localization import Term, Verbatim, verbatim
from lslm_lightning.reports.blocks import Cell, Folded, Heading, Section, Table, Text
from lslm_lightning.reports.figures import Curves, Series
from lslm_lightning.reports.shading import Shades
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.window_data import WindowData
from tasks.language_modeling.copies import longest_copy, searchable

if TYPE_CHECKING:
    from tasks.language_modeling.task import LanguageModelingTask

N_POINT = 200
N_HARD = 6
LONGEST_SHADED = 600
END = "¶"  # shown for the end of a text


def sections(
    task: "LanguageModelingTask", data: TaskData, predictions: Sequence[Prediction]
) -> list[Section]:
    """Return the sections of a run's report: bits per byte along the test text, and texts generated
    without a prompt.
    """
    written = [("", text) for text in task.answering.samples()]
    return [
        *scored(data.examples("test"), {Term("bits per byte"): predictions}),
        writing({"": written}, data),
    ]


def compared(
    data: TaskData, split: str, outputs: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return the sections of an evaluation: bits per byte of each system along the text, and the
    texts with which each system continues the prompts.
    """
    found = scored(data.examples(split), outputs)
    prompts = {e.id: e.source for e in data.prompts(split)}
    written = {
        name: [(prompts[p.id], p.output) for p in own if p.id in prompts and p.output is not None]
        for name, own in outputs.items()
    }
    written = {name: texts for name, texts in written.items() if texts}
    return [*found, writing(written, data)] if written else found


def scored(
    examples: Sequence[Example], outputs: Mapping[str, Sequence[Prediction]]
) -> list[Section]:
    """Return sections with bits per byte along the text, bits per byte by position in the window,
    and the hardest passages of the best system.
    """
    given = {name: {p.id: p for p in own if p.nats is not None} for name, own in outputs.items()}
    every = {
        name: [by_id[e.id] for e in examples]
        for name, by_id in given.items()
        if all(e.id in by_id for e in examples)
    }
    # systems that do not score unknown words look better than they are
    answers = {name: own for name, own in every.items() if all(map(is_priced, own))} or every
    if not answers:
        return []
    n_byte = np.array([max(1, len(e.references[0].encode())) for e in examples])
    bits = {
        name: np.array([(p.nats or 0.0) + (p.spelling or 0.0) for p in own]) / math.log(2)
        for name, own in answers.items()
    }
    cuts = np.arange(0, len(examples), math.ceil(len(examples) / N_POINT))
    share = (100 * cuts / len(examples)).tolist()
    series = [
        Series(name, share, (np.add.reduceat(own, cuts) / np.add.reduceat(n_byte, cuts)).tolist())
        for name, own in bits.items()
    ]
    found = [Section("Along the text", [Curves(series, "% of the test text", "bits per byte")])]
    if table := by_position(examples, every):
        found.append(Section("By position in the window", [table]))
    best = min(bits, key=lambda name: bits[name].sum())
    order = np.argsort(-bits[best] / n_byte)[:N_HARD]
    return [
        *found,
        hardest(
            best,
            [
                (examples[i], answers[best][i], {name: bits[name][i] / n_byte[i] for name in bits})
                for i in order
            ],
        ),
    ]


def is_priced(answer: Prediction) -> bool:
    """Return whether the nats of an answer cover the whole text, including the spelling of unknown
    words.
    """
    return answer.spelling is not None or not answer.unknown


def by_position(
    examples: Sequence[Example], answers: Mapping[str, Sequence[Prediction]]
) -> Table | None:
    """Return a table of bits per byte by the number of preceding tokens, in groups of doubling
    size.

    The table has the systems that give scores of single tokens; None if no system does.
    """
    totals: dict[str, dict[int, np.ndarray]] = {}
    counts: dict[str, dict[int, int]] = {}
    for name, predictions in answers.items():
        if not all(p.tokens for p in predictions):
            continue
        sums = totals.setdefault(name, {})
        for example, prediction in zip(examples, predictions, strict=True):
            starts, nats, contexts = (
                np.array(part) for part in zip(*prediction.tokens, strict=True)
            )
            sizes = np.diff(
                np.append(
                    byte_offsets(example.references[0])[starts], len(example.references[0].encode())
                )
            )
            group = np.floor(np.log2(np.maximum(contexts, 1))).astype(int)
            for g in np.unique(group):
                inside = group == g
                sums.setdefault(g, np.zeros(2))[:] += (
                    nats[inside].sum() / math.log(2),
                    sizes[inside].sum(),
                )
                own = counts.setdefault(name, {})
                own[g] = own.get(g, 0) + int(inside.sum())
    if not totals:
        return None
    rows: list[list[Cell]] = [
        [
            Term(f"{2**g:,} to {2 ** (g + 1) - 1:,}" if g else "1"),
            *(
                cell
                for name, own in totals.items()
                for cell in (
                    counts[name].get(g, 0),
                    own[g][0] / own[g][1] if g in own and own[g][1] else None,
                )
            ),
        ]
        for g in sorted({g for own in totals.values() for g in own})
    ]
    columns: list[Heading | str] = ["tokens before"]
    for name in totals:
        is_alone = name == "bits per byte"
        columns.append("tokens" if is_alone else f"tokens of {name}")
        columns.append(Heading(verbatim(name), "" if is_alone else "bits/byte", False))
    note = (
        "Number of preceding tokens, in the window or the whole text, that a token was predicted "
        "from; windows overlap by context less stride."
    )
    return Table(columns, rows, notes=[note])


def byte_offsets(text: str) -> np.ndarray:
    """Return the byte offset (n_character + 1,) of each character in UTF-8, followed by the number
    of bytes.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return np.concatenate(
        [[0], np.cumsum(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000))]
    )


def hardest(
    best: str, chosen: Sequence[tuple[Example, Prediction, Mapping[str, float]]]
) -> Section:
    """Return a section of passages in which each token is shaded by its bits under one system.

    Args:
        best: name of the system.
        chosen: passages as (example, answer of the system, bits per byte of the passage by system).
    """
    blocks: list[object] = []
    for example, prediction, values in chosen:
        scores = ", ".join(
            f"{value:.2f}" if name == "bits per byte" else f"{name} {value:.2f}"
            for name, value in values.items()
        )
        caption = Term(f"{example.id}: {scores} bits per byte")
        text = example.references[0]
        blocks.append(
            Shades(pieces(text, prediction)[:LONGEST_SHADED], caption, "bits", example.language)
        )
    legend = "Tokens are shaded by their bits"
    return Section(
        "Hardest passages",
        [
            Text(
                f"{legend}."
                if best == "bits per byte"
                else f"{legend} under {best}, the best system."
            ),
            *blocks,
        ],
    )


def pieces(text: str, prediction: Prediction) -> list[tuple[str, float | None]]:
    """Split a text into (piece, bits), one for each token.

    Tokens that begin in the same character, such as bytes, are merged. Without scores of tokens
    there is one piece, and its bits are None.
    """
    if not prediction.tokens:
        return [(text, None)]
    bits: dict[int, float] = {}
    for token in prediction.tokens:
        bits[token.start] = bits.get(token.start, 0.0) + token.nats / math.log(2)
    starts = sorted(bits)
    found: list[tuple[str, float | None]] = [(text[: starts[0]], None)] if starts[0] else []
    found += [
        (text[start:end], bits[start])
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True)
    ]
    return [(piece or END, value) for piece, value in found]


def writing(written: Mapping[str, Sequence[tuple[str, str]]], data: TaskData) -> Section:
    """Return a section with the generated texts, and with the longest copy from the training text
    of each system.

    Args:
        written: (prompt, generated text) of each system; the name "" stands for the run itself.
        data: data module whose training text is searched for copies.
    """
    assert isinstance(data, WindowData)
    known = (
        None if data.available_training_texts is None else searchable(data.available_training_texts)
    )
    blocks: list[object] = []
    for name, texts in written.items():
        shown = [
            Text(Verbatim((f"{prompt} ▸ " if prompt else "") + text), data.language)
            for prompt, text in texts
        ]
        blocks += [Folded(Verbatim(name), shown)] if name else shown
    if known is not None:
        rows: list[list[Cell]] = []
        for name, texts in written.items():
            copy = max(
                (longest_copy(text, known.text) for _, text in islice(texts, 4)),
                key=len,
                default="",
            )
            rows.append([*([name] if name else []), len(copy), copy])
        columns: list[Heading | str] = [
            *(["system"] if any(written) else []),
            Heading("longest copy", "characters"),
            "text",
        ]
        note = (
            "The longest part of these texts that occurs verbatim in the training text" + known.note
        )
        blocks.append(Table(columns, rows, "Copied from the training text", [note]))
    return Section("Samples", blocks)

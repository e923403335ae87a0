"""Report sections of speech recognition: kinds of errors, errors by speaker, confused words, and
recordings with players.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import torch

from lslm_lightning.audio.encoding import encoded, encodings
from lslm_lightning.audio.front_end import FrontEnd
from lslm_lightning.contracts import Prediction, metric_label
from lslm_lightning.decoding.alignment import forced_alignment
from lslm_lightning.evaluation.buckets import quartiles
from lslm_lightning.localization import Term, Verbatim, verbatim
from lslm_lightning.metrics.error_rate import CharacterErrorRate, WordErrorRate, confusions
from lslm_lightning.reports.blocks import Cell, Folded, Heading, Section, Table, Text
from lslm_lightning.reports.recordings import Aligned, RecordingPair, Sound, Spectrogram, TimeMark
from tasks.speech_recognition.data import SpeechData, Utterance

if TYPE_CHECKING:
    from tasks.speech_recognition.task import SpeechRecognitionTask

N_RECORDING = 20
N_CONFUSED = 20
MAX_CHARACTERS = 4_200_000  # for pictures and sounds on a page of at most 5 MB
Outputs = Mapping[str, Sequence[str]]
"""Texts of each system, one for each example."""


def sections(
    task: "SpeechRecognitionTask", data: SpeechData, predictions: Sequence[Prediction]
) -> list[Section]:
    """Return the sections of a run's report."""
    by_id = {p.id: p.output or "" for p in predictions}
    examples = data.examples("test")
    outputs = [by_id[example.id] for example in examples]
    return [*compared(examples, {Term("output"): outputs}), recordings(task, examples, outputs)]


def compared(
    examples: Sequence[Utterance], outputs: Mapping[str, Sequence[Prediction] | Sequence[str]]
) -> list[Section]:
    """Return the sections of an evaluation: kinds of errors, errors by speaker and by length, and
    confused words.
    """
    texts: Outputs = {
        name: [p if isinstance(p, str) else p.output or "" for p in own]
        for name, own in outputs.items()
    }
    words = WordErrorRate(examples[0].language)
    characters = CharacterErrorRate()
    return [
        kinds(examples, texts, words, characters),
        breakdown(examples, texts, words),
        confused(examples, texts, words),
    ]


def kinds(
    examples: Sequence[Utterance], texts: Outputs, *metrics: WordErrorRate | CharacterErrorRate
) -> Section:
    """Return a section with the rates of substitutions, deletions and insertions.

    Args:
        metrics: metrics whose edits are counted.
    """
    rows: list[list[Cell]] = []
    for name, own in texts.items():
        for metric in metrics:
            total = reduce(
                np.add,
                (
                    metric.statistics(e, Prediction(e.id, text))
                    for e, text in zip(examples, own, strict=True)
                ),
            )
            *edits, length = metric.edits(total)
            rows.append(
                [
                    name,
                    metric_label(metric.name),
                    metric.score(total),
                    *(100 * n / max(1, length) for n in edits),
                    length,
                ]
            )
    columns: list[Heading | str] = [
        "system",
        "metric",
        Heading("errors", "%", False),
        *(Heading(kind, "%") for kind in ("substitutions", "deletions", "insertions")),
    ]
    notes = ["In percent of the words, or characters, of the references."]
    return Section("Errors", [Table([*columns, "in the references"], rows, notes=notes, places=2)])


def breakdown(examples: Sequence[Utterance], texts: Outputs, metric: WordErrorRate) -> Section:
    """Return a section with word error rates by speaker, and by length of the reference."""
    statistics = {
        name: np.stack(
            [
                metric.statistics(e, Prediction(e.id, text))
                for e, text in zip(examples, own, strict=True)
            ]
        )
        for name, own in texts.items()
    }
    n_word = np.array([len(metric.counted(e.references[0])) for e in examples])
    speakers = np.array([e.speaker for e in examples])
    groups = {
        "speaker": {str(name): speakers == name for name in np.unique(speakers)},
        "words": quartiles(n_word, "words"),
    }

    def table(by: str, masks: Mapping[str, np.ndarray]) -> Table:
        rows: list[list[Cell]] = [
            [
                name if by == "speaker" else Term(name),
                int(mask.sum()),
                *(metric.score(own[mask].sum(0)) for own in statistics.values()),
            ]
            for name, mask in masks.items()
        ]
        return Table(
            [by, "recordings", *(Heading(verbatim(name), "% WER", False) for name in statistics)],
            rows,
            places=1,
        )

    tables: list[object] = [table(by, masks) for by, masks in groups.items() if len(masks) > 1]
    return Section(
        "Errors by speaker and length",
        tables or [Text("All recordings have one speaker, and transcripts of one length.")],
    )


def confused(examples: Sequence[Utterance], texts: Outputs, metric: WordErrorRate) -> Section:
    """Return a section with the most frequently confused words of each system."""
    blocks: list[object] = []
    for name, own in texts.items():
        found = confusions(
            edit
            for e, text in zip(examples, own, strict=True)
            for edit in metric.alignment(e.references[0], text)
        )
        rows: list[list[Cell]] = [
            [edit.reference or "∗", edit.output or "∗", n] for edit, n in found[:N_CONFUSED]
        ]
        if rows:
            blocks.append(
                Table(
                    ["reference", "output", "times"],
                    rows,
                    verbatim(name) if len(texts) > 1 else "",
                    ["∗: no word."],
                )
            )
    return Section("Most confused words", blocks or [Text("Every word is right.")])


def recordings(
    task: "SpeechRecognitionTask", examples: Sequence[Utterance], outputs: Sequence[str]
) -> Section:
    """Return a section with some recordings: half of them with the most errors, the others spread
    over the split. It embeds the sound of as many as the page has room for.
    """
    metric = WordErrorRate(examples[0].language)
    aligned = [
        metric.alignment(e.references[0], text) for e, text in zip(examples, outputs, strict=True)
    ]
    n_error = [sum(edit.operation != "equal" for edit in edits) for edits in aligned]
    indices = chosen(n_error, N_RECORDING)
    pictures = {i: picture(task, examples[i], outputs[i]) for i in indices}
    room = MAX_CHARACTERS - sum(len(own.address) for own in pictures.values())
    sounds, n_sound = players(
        task.front_end, [examples[i] for i in sorted(indices, key=lambda i: -n_error[i])], room
    )
    blocks: list[object] = []
    for i in indices:
        alignment = (
            [Aligned([RecordingPair(*edit) for edit in aligned[i]], language=examples[i].language)]
            if aligned[i]
            else []
        )
        sound = [sounds[examples[i].id]] if examples[i].id in sounds else []
        blocks.append(
            Folded(
                Verbatim(f"{examples[i].id}: {outputs[i]}")
                if outputs[i]
                else f"{examples[i].id}: (empty)",
                [*alignment, *sound, pictures[i]],
            )
        )
    summary = (
        f"{len(indices):,} of {len(examples):,} recordings: half of them those with the most "
        "errors, the others spread evenly over the test set."
    )
    by_ctc = (
        " Below each spectrogram are the tokens at the frames that CTC aligns them to."
        if task.ctc_weight
        else ""
    )
    some = (
        f" The page has room for the sound of {len(sounds)} of them, those with the most errors "
        "first."
        if len(sounds) < n_sound
        else ""
    )
    return Section("Recordings", [Text(summary + by_ctc + some), *blocks])


def players(
    front_end: FrontEnd, examples: Sequence[Utterance], room: int
) -> tuple[dict[str, Sound], int]:
    """Return audio players by example id, and the number of recordings that have sound.

    The first recordings get a player, as many as fit into `room`. The sound is encoded without loss
    if all fit that way.

    Args:
        room: largest number of characters that the players may add to the page.
    """
    found = {example: front_end.waveform(example.read(), example.source) for example in examples}
    waveforms = {example: waveform for example, waveform in found.items() if waveform is not None}
    sounds: dict[str, Sound] = {}
    for encoding in encodings(next(iter(waveforms.values())).sample_rate_hz) if waveforms else []:
        sounds = {
            e.id: Sound(encoded(waveform, encoding), encoding.kind, e.source)
            for e, waveform in waveforms.items()
        }
        if sum(len(sound.address) for sound in sounds.values()) <= room:
            break
    ends = accumulate(len(sound.address) for sound in sounds.values())
    return {
        name: sound for (name, sound), end in zip(sounds.items(), ends, strict=True) if end <= room
    }, len(waveforms)


def chosen(n_error: Sequence[int], n: int) -> list[int]:
    """Return the indices of at most `n` recordings, in order: half of them with the most errors,
    the others evenly spaced.

    Args:
        n_error: number of errors in each recording.
    """
    worst = [i for i in sorted(range(len(n_error)), key=lambda i: (-n_error[i], i)) if n_error[i]][
        : n // 2
    ]
    rest = [i for i in range(len(n_error)) if i not in worst]
    more = min(len(rest), n - len(worst))
    return sorted([*worst, *(rest[i * len(rest) // more] for i in range(more))])


def picture(task: "SpeechRecognitionTask", example: Utterance, output: str) -> Spectrogram:
    """Return the spectrogram of a recording with the tokens of `output` marked below."""
    values = task.front_end.shown(example.read(), example.source).numpy()
    return Spectrogram(
        values, task.front_end.frames_per_second, token_marks(task, example, output, len(values))
    )


@torch.no_grad()
def token_marks(
    task: "SpeechRecognitionTask", example: Utterance, output: str, n_frame: int
) -> list[TimeMark]:
    """Return the tokens of `output` with the frames that CTC aligns them to. The list is empty
    without CTC, or if the output needs more frames than there are.

    Args:
        n_frame: number of frames of the recording.
    """
    if not task.ctc_weight:
        return []
    vectors = task.encode_examples([example])
    [ids] = task.tokenizer.encode_targets([output])
    try:
        spans = forced_alignment(task.log_probs(vectors)[0], ids, task.blank)
    except ValueError:  # the output of a decoder may be too long for CTC
        return []
    stride = task.subsampling.stride
    texts = [task.tokenizer.decode([i]).strip() or "␣" for i in ids]
    return [
        TimeMark(start * stride, min(end * stride, n_frame), text)
        for (start, end), text in zip(spans, texts, strict=True)
    ]

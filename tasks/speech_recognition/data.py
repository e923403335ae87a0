"""Recordings and their transcripts.

Axes: B recordings, T frames, F features, L tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.audio.front_end import FrontEnd
from lslm_lightning.contracts import Example
from lslm_lightning.corpora.rows import references_of
from lslm_lightning.decoding.alignment import frames_needed
from lslm_lightning.models.subsampling import Count
from lslm_lightning.text.recipes import BytePair, Recipe
from lslm_lightning.training.batches import Ragged, padded
from lslm_lightning.training.budget_data import BudgetData
from lslm_lightning.training.data import N_VALIDATION_EXAMPLE, rank_zero_print
from lslm_lightning.types import JsonObject

MODALITY = "sound"
# values of `on_unreadable` as checkpoints have them
BY_RELEASE_0_1 = {"error": "refuse", "skip": "leave out"}
N_NAMED = 5  # file names that a message lists at most
# estimate for files that were not read: 10 ms of 16-bit samples at 16,000 Hz
BYTES_PER_FRAME = 320


class VectorCount(Protocol):
    """Function from a number of frames to the number of encoder vectors. It takes one number, or a
    tensor of numbers.
    """

    def __call__(self, n: Count) -> Count: ...


def no_sound() -> bytes:
    """Raise an error: default of `Utterance.read` for an utterance without a recording.

    Raises:
        ValueError: always.
    """
    raise ValueError("this utterance has no recording; give `read`, which returns its bytes")


@dataclass(frozen=True, slots=True)
class Utterance(Example):
    """Recording with its transcripts: `source` is the file name, `read` returns the bytes of the
    file, and `references` are the transcripts.
    """

    modality: str = MODALITY
    speaker: str = ""
    read: Callable[[], bytes] = field(default=no_sound, repr=False, compare=False)

    def content(self) -> bytes:
        """Return the bytes of the audio file."""
        return self.read()

    def with_content(self, content: bytes) -> "Utterance":
        return replace(self, read=lambda: content)

    @property
    def length(self) -> int:
        """Number of bytes of the audio file.

        Raises:
            ValueError, OSError: the file cannot be read.
        """
        return len(self.read())


class SpeechBatch(NamedTuple):
    """Padded recordings and transcripts; padding is on the right."""

    features: Tensor  # (B, T, F) float32, 0 where padded
    lengths: Tensor  # (B,) int64, frames
    target: Tensor  # (B, L) int64 from <s> to </s>
    n_token: int  # tokens of the transcripts, the end of each included
    n_source_token: int  # frames


class Recordings:
    """Features and encoded transcripts of recordings; `recordings[indices]` is a padded batch."""

    def __init__(self, features: Sequence[Tensor], target: Ragged, pad_id: int) -> None:
        self.features = features
        self.target = target
        self.pad_id = pad_id

    def __len__(self) -> int:
        return len(self.features)

    @property
    def lengths(self) -> np.ndarray:
        """Lengths (n_recording, 1) in frames."""
        return np.array([len(row) for row in self.features], dtype=np.int64)[:, None]

    def __getitem__(self, indices: Sequence[int] | np.ndarray) -> SpeechBatch:
        chosen = [self.features[i] for i in indices]
        target = padded([self.target[i] for i in indices], self.pad_id)
        n_token = sum(len(self.target[i]) - 1 for i in indices)
        return SpeechBatch(*stacked(chosen), target, n_token, sum(map(len, chosen)))


def stacked(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return features (T, F) of recordings as one tensor (B, T, F), padded with 0, and their
    lengths (B,) in frames.
    """
    lengths = torch.tensor([len(row) for row in features], dtype=torch.int64)
    if not features:
        return torch.zeros(0, 0, 0), lengths
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), lengths


class SpeechData(BudgetData[Recordings]):
    """Speech recognition data. A row has `audio` (the name of a file beside the corpus), `text`,
    and optionally `speaker`.

    All transcripts of a recording are references. The first one is the training target.

    Features are computed once, when training begins, and kept in memory: 32 kB per second of sound
    with 80 mel bins. Training leaves out recordings with an empty transcript, and those whose
    transcript needs more vectors than the encoder returns, since their CTC loss is infinite.
    `counts` has the number of both. Evaluations leave out nothing.

    Args:
        max_frames: frames of one training batch on one device, padding included.
        eval_batch_tokens: frames of one batch of an evaluation, padding included.
        on_unreadable: what to do with training files that are empty, truncated or no audio: "error"
            raises an error that names the first, "skip" leaves them out and counts them. In an
            evaluation they are always an error.
        language: code of the spoken language, which determines how errors are counted; by default
            the language of the corpus, or the language identified from the transcripts.
    """

    fields = ("audio", "text")

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        eval_batch_tokens: int = 20_000,
        n_validation_example: int = N_VALIDATION_EXAMPLE,
        num_workers: int = 0,
        *,
        max_frames: int = 12_000,
        on_unreadable: str = "error",
        language: str | None = None,
    ) -> None:
        if max_frames < 1:
            raise ValueError(
                f"max_frames={max_frames} must be at least 1; 12000, two minutes, is usual"
            )
        super().__init__(
            corpus,
            tokenizer,
            columns,
            seed,
            eval_batch_tokens,
            n_validation_example,
            num_workers,
            max_tokens=max_frames,
        )
        if on_unreadable not in ("error", "skip"):
            raise ValueError(f"on_unreadable={on_unreadable!r} must be 'error' or 'skip'")
        self.on_unreadable = on_unreadable
        self.given_language = language
        self.front_end: FrontEnd | None = None
        self.n_vector: VectorCount | None = None
        self._n_frame: dict[str, int] = {}  # by recording of an evaluation
        self._featured: dict[str, list[Tensor | str]] = {}

    def bind_model(self, front_end: FrontEnd, n_vector: VectorCount | None) -> None:
        """Set the parts of the model that prepare recordings. Cached features are dropped if they
        change.

        Args:
            front_end: computes the features of recordings.
            n_vector: maps a number of frames to the number of encoder vectors; None if transcripts
                may be longer than the encoder output.
        """
        if (front_end, n_vector) != (self.front_end, self.n_vector):
            self.front_end = front_end
            self.n_vector = n_vector
            self._featured = {}
            vars(self).pop("_encoded", None)

    @cached_property
    def language(self) -> str:
        """Language code of the speech; see `language_of`."""
        return self.language_of(self.transcripts(self.language_split), self.given_language)

    def training_texts(self) -> Iterable[str]:
        return self.transcripts("train")

    @property
    def _front_end(self) -> FrontEnd:
        assert self.front_end is not None, "a task must be bound to the data first"
        return self.front_end

    def transcripts(self, split: str) -> Iterable[str]:
        """Return the first transcript of each recording of a split."""
        return (references_of(row["text"])[0] for row in self.rows(split))

    def text_key(self) -> str:
        return "text"

    def to_example(self, row: JsonObject) -> Utterance:
        read = partial(self.corpus.read, row["audio"])
        references = references_of(row["text"])
        return Utterance(
            row["id"],
            row["audio"],
            references,
            self.language,
            self.language,
            speaker=row.get("speaker", ""),
            read=read,
        )

    def examples(self, split: str) -> Sequence[Utterance]:
        return cast(Sequence[Utterance], super().examples(split))

    # Features

    def featured(self, split: str) -> list[Tensor | str]:
        """Return for each recording of a split its features (T, F), or the reason why it cannot be
        read. Files that were repaired are counted and printed.
        """
        found: list[Tensor | str] = []
        remarks: dict[str, list[str]] = {}
        for example in self.examples(split):
            try:
                reading = self._front_end.read(example.read(), example.source)
            except (ValueError, OSError) as error:
                found.append(str(error))
                continue
            found.append(reading.features)
            for remark in reading.remarks:
                remarks.setdefault(remark, []).append(example.source)
        for remark, names in remarks.items():
            self.counts[f"{split}_{remark.replace(' ', '_')}"] = len(names)
        if remarks:
            summary = ", ".join(
                f"{len(names):,} {remark} ({names[0]}{', ...' if len(names) > 1 else ''})"
                for remark, names in remarks.items()
            )
            rank_zero_print(f"{len(found):,} recordings of {split}: {summary}")
        return found

    def measure(self, split: str) -> int:
        """Compute and store the number of frames of each recording of an evaluation split; return
        the largest number.

        Raises:
            ValueError: recordings cannot be read; the message names the first.
        """
        examples = self.examples(split)
        found = self.featured(split)
        self._refuse(
            split, [row for row in found if isinstance(row, str)], ", or take it out of the corpus"
        )
        self._n_frame |= {
            example.source: len(row) for example, row in zip(examples, found, strict=True)
        }
        self._tell_unknown(
            split, self.tokenizer.encode_targets([e.references[0] for e in examples])
        )
        if split == "val":  # they are needed again, for its loss
            self._featured[split] = found
        return max(map(len, found))

    def _refuse(self, split: str, reasons: Sequence[str], way_out: str) -> None:
        """Raise a ValueError if `reasons` is not empty.

        Args:
            reasons: one line for each unreadable recording of the split.
            way_out: end of the message, which says what else can be done.
        """
        if reasons:
            n = len(reasons)
            total = len(self.examples(split))
            more = f" ({n} of {total} recordings of {split} cannot be read)" if n > 1 else ""
            where = f"corpus {self.corpus_name}"
            reason = f"{reasons[0].removeprefix(f'{where}: ')}{more}"
            raise ValueError(f"{where}: {reason}; repair the file{way_out}")

    def encode(self, split: str) -> Recordings:
        tokenizer = self.tokenizer
        examples = self.examples(split)
        features = self._featured.pop(split, None) or self.featured(split)
        unread = [row for row in features if isinstance(row, str)]
        if split != "train" or self.on_unreadable == "error":
            self._refuse(
                split,
                unread,
                ", or set data.on_unreadable=skip"
                if split == "train"
                else ", or take it out of the corpus",
            )
        ids = tokenizer.encode_targets([example.references[0] for example in examples])
        if split == "train":
            self._tell_unknown(split, ids)
        empty = [i for i, own in enumerate(ids) if not own and not isinstance(features[i], str)]
        short = [
            i
            for i, own in enumerate(ids)
            if own and not isinstance(features[i], str) and self._is_short(own, len(features[i]))
        ]
        self.counts |= {
            f"{split}_recordings": len(ids),
            f"{split}_unreadable_left_out": len(unread),
            f"{split}_empty_left_out": len(empty),
            f"{split}_too_short_left_out": len(short),
        }
        if unread:
            rank_zero_print(
                f"{len(unread):,} of {len(ids):,} recordings of {split} cannot be read and are "
                f"left out: {unread[0]}"
            )
        if empty:
            rank_zero_print(
                f"{len(empty):,} of {len(ids):,} recordings of {split} have an empty transcript "
                f"and are left out: {self._names(split, empty)}"
            )
        if short:
            rank_zero_print(
                f"{len(short):,} of {len(ids):,} recordings of {split} have transcripts longer "
                f"than the encoder output, and are left out: {self._names(split, short)}"
            )
        left_out = {*empty, *short}
        kept = [
            i for i, row in enumerate(features) if i not in left_out and not isinstance(row, str)
        ]
        if not kept:
            raise ValueError(
                f"corpus {self.corpus_name}: no recording of {split} can be trained on; look at "
                "its transcripts, and at the lengths of its recordings"
            )
        target = Ragged([tokenizer.bos_id, *ids[i], tokenizer.eos_id] for i in kept)
        readable = [row for row in map(features.__getitem__, kept) if isinstance(row, Tensor)]
        return Recordings(readable, target, tokenizer.pad_id)

    def _tell_unknown(self, split: str, ids: Sequence[Sequence[int]]) -> None:
        """Count and print the transcripts with characters or words that the tokenizer does not
        know. No model can write them.

        Args:
            ids: tokens of each transcript of the split.
        """
        unknown = [i for i, own in enumerate(ids) if self.tokenizer.unk_id in own]
        self.counts[f"{split}_with_unknown"] = len(unknown)
        if unknown:
            rank_zero_print(
                f"{len(unknown):,} of {len(ids):,} transcripts of {split} have "
                f"{self.tokenizer.kind} that the tokenizer does not know and encodes as <unk>: "
                f"{self._names(split, unknown)}"
            )

    def _names(self, split: str, indices: Sequence[int]) -> str:
        """Return the file names of the first few recordings of `indices`, for a message."""
        return ", ".join(self.examples(split)[i].source for i in indices[:N_NAMED]) + (
            ", ..." if len(indices) > N_NAMED else ""
        )

    def _is_short(self, ids: Sequence[int], n_frame: int) -> bool:
        """Return whether `n_frame` frames are too few for CTC to emit the tokens `ids`."""
        return self.n_vector is not None and bool(frames_needed(ids) > self.n_vector(n_frame))

    def batching(self) -> str:
        unreadable = BY_RELEASE_0_1[self.on_unreadable]
        return f"max_frames {self.max_tokens}, {self.front_end}, unreadable ones {unreadable}"

    def source_lengths(self, examples: Sequence[Example]) -> list[int]:
        """Return the number of frames of each recording. A number that is not known is estimated
        from the file size.
        """
        return [
            self._n_frame.get(example.source) or example.length // BYTES_PER_FRAME
            for example in cast(Sequence[Utterance], examples)
        ]

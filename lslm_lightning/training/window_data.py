"""Windows of running text for language modeling."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example
from lslm_lightning.corpora.locations import cache_directory
from lslm_lightning.corpora.rows import text_of
from lslm_lightning.data.canaries import Canaries
from lslm_lightning.data.packing import Chunks, Contiguous, Windows, in_order, pack, packed_name
from lslm_lightning.data.prepared import Prepared
from lslm_lightning.data.sharded_streams import ShardedStreams
from lslm_lightning.data.stream import Stream
from lslm_lightning.text.recipes import BytePair, Recipe, TokenizerFile
from lslm_lightning.training.batches import Batch, WindowBatch
from lslm_lightning.training.data import Sizes, TaskData
from lslm_lightning.training.distributed.fsdp import data_share
from lslm_lightning.training.loaders import BatchPlan, batch_loader, rank_share
from lslm_lightning.training.packed_text import (
    CircularTokens,
    PackedIds,
    PackedText,
    SequentialTokens,
    WholeTexts,
)
from lslm_lightning.training.stream_data import StreamBatch, StreamedWindows, StreamProgress
from lslm_lightning.types import JsonObject, StateDict

CONTEXT = 256  # default of `context`
PIECE = 4_000_000  # maximal number of tokens of whole texts in one batch


class WindowData(TaskData):
    """Texts packed into one memory-mapped row of ids, with `</s>` after each text, read in windows
    of `context` tokens.

    Validation reads its whole split once, in windows that do not overlap. If training is
    contiguous, validation reads `batch_size` rows, each from an empty state, so its loss depends
    slightly on `batch_size`.

    If the corpus is too large for memory or disk, the training texts may come from a `stream` or a
    `prepared` folder.

    Args:
        stream: training texts that are read while they are needed, instead of the corpus's training
            split. Their number is unknown: set trainer.max_steps.
        prepared: folder that `lslm data prepare` made of the training texts; the tokenizer in it is
            used.
        context: number of tokens that a window reads and predicts; the model's `context` applies,
            set it there.
        batch_size: number of windows in one batch on one device.
        contiguous: read `batch_size` rows of text in order instead of windows in random order, so
            that the state of a recurrent network is carried from batch to batch (truncated
            back-propagation through time over `context` steps); see `data.packing.Contiguous`.
        n_lane: number of lanes, the parts of a stream that are read in parallel; a multiple of the
            number of processes times num_workers. See `data.sharded_streams.ShardedStreams`.
        buffer: number of documents that each lane of a stream holds in memory and shuffles
            together.
        n_tokenizer_text: number of texts at the beginning of a stream on which the tokenizer is
            trained.
        language: language code of the texts, for word counts and fonts; by default the language of
            the corpus, or else the language identified from the texts.
        canaries: random texts to plant among the training texts, by which `lslm audit` measures
            what the model memorizes; null for none.
    """

    fields = ("text",)
    mode = "log_prob"

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: JsonObject | None = None,
        seed: int = 0,
        context: int | None = None,
        batch_size: int = 16,
        num_workers: int = 0,
        language: str | None = None,
        stream: Stream | None = None,
        prepared: str | None = None,
        n_lane: int = 16,
        buffer: int = 1000,
        n_tokenizer_text: int = 100_000,
        contiguous: bool = False,
        canaries: Canaries | None = None,
    ) -> None:
        if stream is not None and prepared is not None:
            raise ValueError(
                f"data.stream and data.prepared={prepared} both give the training texts; set only "
                "one of them"
            )
        if stream is not None and contiguous:
            raise ValueError(
                "data.contiguous=true reads texts in order, and data.stream shuffles them; set "
                "only one of them"
            )
        if canaries is not None and (stream is not None or prepared is not None):
            raise ValueError(
                "data.canaries are planted in the training split of the corpus, which is not read "
                "with data.stream or data.prepared; set only one of them"
            )
        self.canaries = canaries
        self.prepared = None if prepared is None else Prepared.open(prepared)
        if self.prepared is not None:
            tokenizer = TokenizerFile(str(self.prepared.tokenizer))
        super().__init__(
            corpus, tokenizer, columns, seed, n_validation_example=0, num_workers=num_workers
        )
        self.stream_of_texts = stream
        self.n_lane = n_lane
        self.buffer = buffer
        self.n_tokenizer_text = n_tokenizer_text
        self._progress = StreamProgress()
        # the training texts are not the corpus's training split
        self.has_own_training_texts = stream is not None or prepared is not None
        # a stream has no first batches to repeat, contiguous rows carry a state between batches
        self.can_overfit = stream is None and not contiguous
        if context is not None:
            self.stated["context"] = context
        else:
            context = CONTEXT
        if context < 1 or batch_size < 1:
            raise ValueError(
                f"data.context={context} and data.batch_size={batch_size} must both be at least "
                "1; 256 and 16 are usual"
            )
        self.context = context
        self.batch_size = batch_size
        self.contiguous = contiguous
        self.given_language = language
        self._n_byte: dict[str, int] = {}

    def texts(self, split: str) -> Iterable[str]:
        """Return the documents of a split, with the canaries among those of the training split."""
        rows = self.rows(split)
        texts = (text_of(row["text"], self.corpus.join) for row in rows)
        if self.canaries is None or split != "train":
            return texts
        return self.canaries.insert(texts, len(rows))

    def training_texts(self) -> Iterable[str]:
        if self.stream_of_texts is not None:
            return self.stream_of_texts.head(self.n_tokenizer_text)
        return self.texts("train")

    @cached_property
    def available_training_texts(self) -> list[str] | None:
        return None if self.has_own_training_texts else super().available_training_texts

    def digest(self, split: str) -> str:
        if split == "train" and self.canaries is not None:
            content = f"{super().digest(split)} {self.canaries.key()}"
            return hashlib.sha256(content.encode()).hexdigest()
        if split != "train" or not self.has_own_training_texts:
            return super().digest(split)
        source = self.stream_of_texts or self.prepared
        assert source is not None
        return source.digest

    def readable(self, split: str) -> bool:
        if split == "train" and self.stream_of_texts is not None:
            return bool(self.stream_of_texts.head(1))
        return (
            self.prepared is not None
            if split == "train" and self.has_own_training_texts
            else super().readable(split)
        )

    def check_length(self, max_steps: int) -> None:
        if self.stream_of_texts is not None and max_steps < 1:
            raise ValueError(
                f"trainer.max_steps={max_steps} must be at least 1 with data.stream: a stream has "
                "no known length, so neither epochs nor minutes determine the end of the schedule"
            )

    def text_key(self) -> str:
        return (
            "text" if self.stream_of_texts is None else f"text of the first {self.n_tokenizer_text}"
        )

    def to_example(self, row: JsonObject) -> Example:
        return Example(
            row["id"], "", (text_of(row["text"], self.corpus.join),), self.language, self.language
        )

    @cached_property
    def language(self) -> str:
        """Language code of the texts: stated by the config or the corpus, or identified from the
        texts.
        """
        return self.language_of(self.texts(self.language_split), self.given_language)

    def packed(self, split: str, kind: type[PackedIds] = PackedText) -> PackedIds:
        """Return the split as one memory-mapped row of ids, which is made once and cached.

        Args:
            kind: class of the result, which defines the batches that are cut from the row.

        Raises:
            ValueError: the prepared folder was made with another tokenizer.
        """
        if split == "train" and self.prepared is not None:
            if self.prepared.index["tokenizer"] != self.tokenizer.digest:
                raise ValueError(
                    f"{self.prepared.tokenizer} is not the tokenizer that made the ids in its "
                    "folder; restore that one, or run lslm data prepare again"
                )
            self.counts["train_tokens"] = len(self.prepared.ids) - 1
            return kind(self.prepared.ids, self.context, self.tokenizer.pad_id)
        path = (
            cache_directory()
            / "packed"
            / packed_name(f"{self.digest(split)}{self.own_code()}", self.tokenizer.digest)
        )
        ids = pack(self.texts(split), self.tokenizer, path)
        self.counts[f"{split}_tokens"] = len(ids) - 1
        return kind(ids, self.context, self.tokenizer.pad_id)

    def n_unknown(self, split: str) -> int:
        """Return the number of unknown tokens in the split, computed once and stored in
        `counts`.
        """
        name = f"{split}_unknown_tokens"
        unknown = self.tokenizer.unk_id
        if name not in self.counts:
            ids = np.asarray(self.packed(split).ids)
            self.counts[name] = 0 if unknown is None else int((ids == unknown).sum())
        return int(self.counts[name])

    def n_byte(self, split: str) -> int:
        """Return the number of UTF-8 bytes of the split's texts."""
        if split not in self._n_byte:
            self._n_byte[split] = sum(len(text.encode()) for text in self.texts(split))
        return self._n_byte[split]

    def batching(self) -> str:
        windows = f"context {self.context}, batch_size {self.batch_size}"
        if self.contiguous:
            return f"{windows}, contiguous"
        if self.stream_of_texts is None:
            return windows
        return (
            f"the stream {self.stream_of_texts.path}, n_lane {self.n_lane}, buffer "
            f"{self.buffer}, {windows}"
        )

    def sizes(self) -> Sizes:
        """Return the training batches from which costs are estimated; all batches have the same
        size.
        """
        ids = torch.zeros(self.batch_size, self.context + 1, dtype=torch.int64, device="meta")
        follows = self.contiguous or None
        is_stream = self.stream_of_texts is not None
        batch = WindowBatch(ids, self.batch_size * self.context, follows=follows)
        return Sizes(
            batch,
            batch,
            lambda: None if is_stream else len(window_plan(self, self.packed("train"))),
        )

    def train_dataloader(self) -> DataLoader:
        if self.stream_of_texts is not None:
            lanes = ShardedStreams(
                self.stream_of_texts,
                self.tokenizer,
                self.context,
                self.batch_size,
                self.seed,
                self.n_lane,
                self.buffer,
            )
            share = (*data_share(self.trainer), self.num_workers)
            windows = StreamedWindows(
                lanes, self.current_position, self._progress.positions, *share
            )
            return batch_loader(self.trainer, windows, None, self.num_workers)
        plan: BatchPlan
        if self.trainer.lightning_module.one_pass:
            text = self.packed("train", WholeTexts)
            plan = whole_texts_plan(self, text)
        else:
            text = self.packed("train", CircularTokens if self.contiguous else PackedText)
            plan = window_plan(self, text)
        return batch_loader(self.trainer, text, self.stream(plan), self.num_workers)

    def trained_on(self, batch: Batch) -> None:
        if isinstance(batch, StreamBatch):
            self._progress.record(batch)

    def state_dict(self) -> StateDict:
        """Return the position after the last batch that was trained on, for each sequence of the
        stream, merged over all ranks; empty without a stream. Collective.
        """
        if self.stream_of_texts is None:
            return {}
        return self._progress.gathered(self.trainer.world_size)

    def load_state_dict(self, state: StateDict) -> None:
        self._progress.load(state)

    def val_dataloader(self) -> DataLoader:
        one_pass = self.trainer.lightning_module.one_pass
        text = self.packed(
            "val", WholeTexts if one_pass else SequentialTokens if self.contiguous else PackedText
        )
        self.n_unknown("val")
        batches: Sequence
        if self.contiguous and not one_pass:
            share = data_share(self.trainer)
            batches = in_order(len(text.ids), self.context, self.batch_size, *share)
        elif one_pass:
            batches = rank_share(self.trainer, whole_texts_plan(self, text)(0))
        else:
            starts = np.arange(0, len(text.ids) - 1, self.context)
            n = self.batch_size
            batches = rank_share(
                self.trainer, [starts[i : i + n] for i in range(0, len(starts), n)]
            )
        return batch_loader(self.trainer, text, batches, self.num_workers)


def window_plan(data: WindowData, text: PackedIds) -> Windows | Contiguous:
    """Return the assignment of windows of the text to training batches, in random order or
    contiguous.
    """
    if data.contiguous:
        # without a Trainer, as for estimates, one process reads all
        n_share = 1 if data.trainer is None else data_share(data.trainer)[1]
        return Contiguous(len(text.ids), data.context, data.batch_size, data.seed, n_share)
    return Windows(len(text.ids), data.context, data.batch_size, data.seed)


def whole_texts_plan(data: WindowData, text: PackedIds) -> Chunks:
    """Return the assignment of whole texts to batches, for models that read each text once."""
    ids = text.ids
    return Chunks(ids, data.tokenizer.eos_id, PIECE)  # type: ignore[arg-type]  # or several files

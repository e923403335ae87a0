"""Windows of running text, for language modeling."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lslm_lightning.contracts import Example
from lslm_lightning.data.lanes import Lanes, StreamCursor
from lslm_lightning.data.locations import cache_directory
from lslm_lightning.data.packing import Chunks, Contiguous, Windows, in_order, pack, packed_name
from lslm_lightning.data.prepared import Prepared
from lslm_lightning.data.rows import text_of
from lslm_lightning.data.stream import Stream
from lslm_lightning.text.recipes import BytePair, Existing, Recipe
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.data import Sizes, TaskData
from lslm_lightning.training.packed_text import PackedText, Ring, TextInOrder, WholeTexts
from lslm_lightning.training.sharding import data_share
from lslm_lightning.training.stream_data import StreamBatch, StreamedWindows

PIECE = 4_000_000  # tokens of whole texts at once


class WindowData(TaskData):
    """Texts packed into one memory-mapped row of ids, `</s>` after each; windows of `context`
    tokens train on it.

    Validation reads its whole split once, in windows that do not overlap; where training is
    contiguous, in `batch_size` rows, each from a state of its own, so that its loss depends a
    little on `batch_size`.

    Of a corpus that is too large for memory, or for one disk, the training split may be a `stream`,
    or have been `prepared`.

    Args:
        stream: texts to train on, read while they are needed, in place of the corpus's own. Their
            number is not known: set trainer.max_steps.
        prepared: a folder that `lslm data prepare` made of the texts to train on; its tokenizer is
            the run's.
        context: tokens a window reads and predicts.
        batch_size: windows in one batch on one device.
        contiguous: read `batch_size` rows of text in order instead of windows at random, so that
            the state of a recurrent network is carried from batch to batch (truncated
            back-propagation through time over `context` steps); see `data.packing.Contiguous`.
        n_lane: of a stream; see `data.lanes.Lanes`. A multiple of the number of processes times
            num_workers.
        buffer: documents of a stream that are shuffled together, and held in memory by each lane.
        n_tokenizer_text: how many of the first texts of a stream train the tokenizer.
        language: code of the texts' language, for word counts and fonts; by default what the corpus
            says, or what its script tells.
    """

    fields = ("text",)
    mode = "log_prob"

    def __init__(
        self,
        corpus: str,
        tokenizer: Recipe = BytePair(),  # noqa: B008 (frozen)
        columns: dict[str, Any] | None = None,
        seed: int = 0,
        context: int = 256,
        batch_size: int = 16,
        num_workers: int = 0,
        language: str | None = None,
        stream: Stream | None = None,
        prepared: str | None = None,
        n_lane: int = 16,
        buffer: int = 1000,
        n_tokenizer_text: int = 100_000,
        contiguous: bool = False,
    ) -> None:
        if stream is not None and prepared is not None:
            raise ValueError(
                f"data.stream and data.prepared={prepared} are both texts to train on; leave one "
                "out"
            )
        if stream is not None and contiguous:
            raise ValueError(
                "data.contiguous=true cannot read in order what data.stream gives shuffled; "
                "leave one out"
            )
        self.prepared = None if prepared is None else Prepared.open(prepared)
        if self.prepared is not None:
            tokenizer = Existing(str(self.prepared.tokenizer))
        super().__init__(
            corpus, tokenizer, columns, seed, n_validation_example=0, num_workers=num_workers
        )
        self.stream_of_texts = stream
        self.n_lane = n_lane
        self.buffer = buffer
        self.n_tokenizer_text = n_tokenizer_text
        self._places: dict[int, StreamCursor] = {}  # of the stream, how far it was trained on
        if context < 1 or batch_size < 1:
            raise ValueError(
                f"context={context} and batch_size={batch_size} must both be at least 1"
            )
        self.context = context
        self.batch_size = batch_size
        self.contiguous = contiguous
        self.given_language = language
        self._n_byte: dict[str, int] = {}

    def texts(self, split: str) -> Iterable[str]:
        """The documents of a split."""
        for row in self.rows(split):
            yield text_of(row["text"], self.corpus.join)

    def training_texts(self) -> Iterable[str]:
        if self.stream_of_texts is not None:
            return self.stream_of_texts.head(self.n_tokenizer_text)
        return self.texts("train")

    @property
    def has_own_training_texts(self) -> bool:
        """Whether the corpus's training split is not what is trained on."""
        return self.stream_of_texts is not None or self.prepared is not None

    @cached_property
    def texts_at_hand(self) -> list[str] | None:
        return None if self.has_own_training_texts else super().texts_at_hand

    def digest(self, split: str) -> str:
        if split != "train" or not self.has_own_training_texts:
            return super().digest(split)
        return self.prepared.digest if self.prepared is not None else self.stream_of_texts.digest

    def readable(self, split: str) -> bool:
        if split == "train" and self.stream_of_texts is not None:
            return bool(self.stream_of_texts.head(1))
        return (
            self.prepared is not None
            if split == "train" and self.has_own_training_texts
            else super().readable(split)
        )

    @property
    def can_overfit(self) -> bool:
        """A stream has no first batches, and rows that are read in order carry a state from batch
        to batch.
        """
        return self.stream_of_texts is None and not self.contiguous

    def check_length(self, max_steps: int) -> None:
        if self.stream_of_texts is not None and max_steps < 1:
            raise ValueError(
                "a stream has no known length, so that neither epochs nor minutes say when it "
                "ends: set trainer.max_steps"
            )

    def text_key(self) -> str:
        return (
            "text" if self.stream_of_texts is None else f"text of the first {self.n_tokenizer_text}"
        )

    def to_example(self, row: Mapping[str, Any]) -> Example:
        return Example(
            row["id"], "", (text_of(row["text"], self.corpus.join),), self.language, self.language
        )

    @cached_property
    def language(self) -> str:
        """Of the texts; see `language_of`."""
        return self.language_of(self.texts(self.telling_split), self.given_language)

    def packed(self, split: str, kind: type[PackedText] = PackedText) -> PackedText:
        """The split as one row of ids, made once and then memory-mapped; `kind` says what batches
        are made of it.
        """
        if split == "train" and self.prepared is not None:
            if self.prepared.index["tokenizer"] != self.tokenizer.digest:
                raise ValueError(
                    f"{self.prepared.tokenizer} is not the tokenizer that made the ids beside "
                    "it; put that one back"
                )
            self.counts["train_tokens"] = len(self.prepared.ids) - 1
            return kind(self.prepared.ids, self.context, self.tokenizer.pad_id)
        path = (
            cache_directory()
            / "packed"
            / packed_name(f"{self.corpus.digest(split)}{self.own_code()}", self.tokenizer.digest)
        )
        ids = pack(self.texts(split), self.tokenizer, path)
        self.counts[f"{split}_tokens"] = len(ids) - 1
        return kind(ids, self.context, self.tokenizer.pad_id)

    def n_unknown(self, split: str) -> int:
        """Count the unknown tokens of the split, once; the number is kept in `counts` too."""
        name = f"{split}_unknown_tokens"
        unknown = self.tokenizer.unk_id
        if name not in self.counts:
            ids = self.packed(split).ids
            self.counts[name] = 0 if unknown is None else int((ids == unknown).sum())
        return int(self.counts[name])

    def n_byte(self, split: str) -> int:
        """UTF-8 bytes of the split's texts."""
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
        """All batches are alike."""
        ids = torch.zeros(self.batch_size, self.context + 1, dtype=torch.int64, device="meta")
        follows = self.contiguous or None
        is_stream = self.stream_of_texts is not None
        batch = WindowBatch(ids, self.batch_size * self.context, follows=follows)
        return Sizes(
            batch, batch, lambda: None if is_stream else len(self.windows(self.packed("train")))
        )

    @property
    def share(self) -> tuple[int, int]:
        """(rank, number) as in `data_share`; that of a process alone where nothing is trained."""
        return (0, 1) if self.trainer is None else data_share(self.trainer)

    def windows(self, text: PackedText) -> Windows | Contiguous:
        """Which windows form which batch."""
        if self.contiguous:
            return Contiguous(
                len(text.ids), self.context, self.batch_size, self.seed, self.share[1]
            )
        return Windows(len(text.ids), self.context, self.batch_size, self.seed)

    def train_dataloader(self) -> DataLoader:
        if self.stream_of_texts is not None:
            lanes = Lanes(
                self.stream_of_texts,
                self.tokenizer,
                self.context,
                self.batch_size,
                self.seed,
                self.n_lane,
                self.buffer,
            )
            total = self.trainer.fit_loop.epoch_loop.batch_progress.total
            share = (*data_share(self.trainer), self.num_workers)
            return self.loader(
                StreamedWindows(
                    lanes, lambda: self.position(total.processed), self._places, *share
                ),
                None,
            )
        if self.trainer.lightning_module.one_pass:
            text = self.packed("train", WholeTexts)
            self.train_stream = self.stream(Chunks(text.ids, self.tokenizer.eos_id, PIECE))
            return self.loader(text, self.train_stream)
        text = self.packed("train", Ring if self.contiguous else PackedText)
        self.train_stream = self.stream(self.windows(text))
        return self.loader(text, self.train_stream)

    def trained_on(self, batch: WindowBatch | StreamBatch) -> None:
        if isinstance(batch, StreamBatch):
            self._places[batch.lane] = batch.place

    def state_dict(self) -> dict[str, Any]:
        """How far all ranks have read the stream; collective."""
        if self.stream_of_texts is None:
            return {}
        shares: list[dict[int, StreamCursor]] = [self._places]
        if self.trainer.world_size > 1:
            shares = [{}] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self._places)
        places: dict[int, StreamCursor] = {}
        # a rank that went on knows of the others' lanes only how far they were then
        for share in shares:
            for lane, place in share.items():
                places[lane] = max(place, places.get(lane, place))
        return {"places": {lane: tuple(place) for lane, place in places.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._places |= {lane: StreamCursor(*place) for lane, place in state["places"].items()}

    def val_dataloader(self) -> DataLoader:
        one_pass = self.trainer.lightning_module.one_pass
        text = self.packed(
            "val", WholeTexts if one_pass else TextInOrder if self.contiguous else PackedText
        )
        self.n_unknown("val")
        if one_pass:
            return self.loader(
                text, self.share_of(Chunks(text.ids, self.tokenizer.eos_id, PIECE)(0))
            )
        if self.contiguous:
            return self.loader(
                text, in_order(len(text.ids), self.context, self.batch_size, *self.share)
            )
        starts = np.arange(0, len(text.ids) - 1, self.context)
        batches = [starts[i : i + self.batch_size] for i in range(0, len(starts), self.batch_size)]
        return self.loader(text, self.share_of(batches))

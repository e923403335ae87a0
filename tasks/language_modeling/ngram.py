"""N-gram language model as a task, trained by the same commands as the neural models."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lslm_lightning.contracts import Mode
from lslm_lightning.decoding import Search
from lslm_lightning.decoding.search import Nested
from lslm_lightning.ngram.counting import NgramCounter
from lslm_lightning.ngram.model import NgramModel
from lslm_lightning.ngram.training import estimated
from lslm_lightning.runs import RunDirectory
from lslm_lightning.runs.states import NGRAM, draft_of_checkpoint, put, remove
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.tracking.uploads import checksum
from lslm_lightning.training.batches import WindowBatch
from lslm_lightning.training.checks import MIN_LENGTH, check_kind
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.language_model import CONTINUATION_LENGTH, SAMPLING, LanguageModel
from lslm_lightning.training.model_info import ModelInfo
from lslm_lightning.training.window_data import WindowData
from lslm_lightning.types import StateDict
from tasks.language_modeling.task import LanguageModelAnswering, LanguageModeling

MAX_ORDER = 32
COUNTS = "counts"  # folder in the run directory, during training only


class NgramAnswering(LanguageModelAnswering):
    """Answers of an n-gram model, which reads whole texts instead of windows."""

    task: "NgramTask"

    def signature(self, mode: Mode) -> str:
        if mode == "generate":
            return ""
        return f"{self.task.signature_of_spelling}|tokens:{self.task.tokenizer.digest[:8]}"


class NgramRequirements(DataRequirements):
    """Requirements of an n-gram model on its data: whole texts, which can be read several times."""

    task: "NgramTask"

    def check(self, data: TaskData) -> None:
        if check_kind(self.task, data, WindowData).stream_of_texts is not None:
            raise ValueError(
                "NgramTask does not support data.stream: make a folder of it by lslm data prepare, "
                "and set data.prepared to that folder"
            )


class NgramInfo(ModelInfo):
    """Order, size and tables of an n-gram model."""

    task: "NgramTask"

    @property
    def name(self) -> str:
        return f"{self.task.order}-gram"

    @property
    def n_parameter(self) -> int:
        """Number of n-grams that have a probability; 0 before the model is estimated."""
        model = self.task.model
        return 0 if model is None else sum(len(table.keys) for table in model.tables)

    @property
    def n_byte(self) -> int:
        model = self.task.model
        return (
            0 if model is None else sum(values.nbytes for table in model.tables for values in table)
        )

    def files(self, folder: Path) -> list[Path]:
        return [folder / NGRAM]

    def load_files(self, checkpoint: StateDict, folder: Path) -> None:
        if self.task.model is not None and self.task.table_checksums == checkpoint["tables"]:
            return
        self.task.table_checksums = checkpoint["tables"]
        for name, expected in self.task.table_checksums.items():
            path = folder / NGRAM / name
            if not path.is_file() or checksum(path) != expected:
                raise ValueError(
                    f"{path} is {'damaged' if path.exists() else 'missing'}, and the checkpoints "
                    f"in {folder} need it: restore it from a copy, or train again"
                )
        tables = folder / NGRAM
        self.task.model = NgramModel.load(tables) if self.task.table_checksums else None


class NgramTask(LanguageModeling, LanguageModel):
    """Interpolated modified Kneser-Ney language model over the tokens of any tokenizer. Each text
    is one sentence.

    Training reads the training split once, on one process; it ignores trainer.max_steps,
    trainer.max_epochs and job.minutes. The tables are files beside the checkpoints, which hold
    their checksums.

    Args:
        order: number of tokens in the longest n-grams, at least 1.
        min_count: smallest count of the n-grams that are kept, one number for each order from 1 on.
            The last number also applies to all higher orders. The first must be 1: all single
            tokens are kept.
        closed_vocabulary: give `<unk>` probability 0; a text with an unknown token is an error
            then.
        search: search that continues texts.
        max_length: largest number of new tokens in a continuation.
        min_length: smallest number of new tokens in a continuation.
    """

    one_pass = True
    answering_class = NgramAnswering
    requirements_class = NgramRequirements
    model_info_class = NgramInfo

    def __init__(
        self,
        tokenizer: Tokenizer,
        order: int = 5,
        min_count: Sequence[int] = (),
        closed_vocabulary: bool = False,
        search: Search = SAMPLING,
        max_length: int = CONTINUATION_LENGTH,
        min_length: int = MIN_LENGTH,
    ) -> None:
        super().__init__(
            None, tokenizer, search=search, max_length=max_length, min_length=min_length
        )
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(
                f"order={order} must be at least 1 and at most {MAX_ORDER}; 5 suits words and "
                "subwords, more suits characters"
            )
        if list(min_count) != sorted(min_count) or [*min_count][:1] not in ([], [1]):
            rule = "begin with 1, since all single tokens are kept, and must not decrease"
            raise ValueError(f"min_count={list(min_count)} must {rule}; try [1, 1, 2]")
        self.order = order
        self.min_count = list(min_count)
        self.closed_vocabulary = closed_vocabulary
        self.model: NgramModel | None = None
        self._counter: NgramCounter | None = None
        self._n_run = 0  # sorted runs of counts in the checkpoint that is resumed
        self.table_checksums: dict[str, int] = {}  # by file of the tables

    @property
    def bos(self) -> int:
        """Id of the symbol before each text. It differs from the ids of all tokens."""
        return self.tokenizer.vocab_size

    # Training: each step counts a part of the corpus, the last one estimates the model

    def configure_optimizers(self) -> None:
        """Return None: there is no optimizer."""

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Do nothing: there are no gradients."""

    def on_train_start(self) -> None:
        folder = Path(self.trainer.default_root_dir) / COUNTS
        folder.mkdir(exist_ok=True)
        self._counter = NgramCounter(self.order, self.bos + 1, self.bos, folder)
        self._counter.keep(self._n_run)

    @property
    def counter(self) -> NgramCounter:
        """Counts of the n-grams read so far; available only in training."""
        assert self._counter is not None
        return self._counter

    def training_step(self, batch: WindowBatch, batch_idx: int) -> None:  # type: ignore[override]
        ids = batch.ids[0].cpu().numpy()
        if (
            self.closed_vocabulary
            and self.tokenizer.unk_id is not None
            and (ids == self.tokenizer.unk_id).any()
        ):
            raise ValueError(
                f"closed_vocabulary=True allows no unknown {self.tokenizer.kind}, and the training "
                "text has some that are not in the tokenizer's vocabulary: set it to False, or "
                "let the tokenizer keep all (min_count: 1, no vocab_size)"
            )
        self.counter.add(self.sentences(ids))
        if self.trainer.is_last_batch:
            self._estimate()

    def _estimate(self) -> None:
        """Estimate the model from the counts, write its tables to disk and map them into memory."""
        began = time.monotonic()
        unknown = self.tokenizer.unk_id
        impossible = {self.tokenizer.pad_id, self.tokenizer.bos_id} - {self.tokenizer.eos_id}
        impossible |= {unknown} if self.closed_vocabulary and unknown is not None else set()
        model = estimated(self.counter, self.bos + 1, self.min_count, sorted(impossible))
        folder = RunDirectory(Path(self.trainer.default_root_dir)).checkpoints / NGRAM
        draft = draft_of_checkpoint(folder)
        remove(draft)
        model.save(draft)
        put(draft, folder)
        self.table_checksums = {path.name: checksum(path) for path in sorted(folder.iterdir())}
        self.model = NgramModel.load(folder)
        sizes = " + ".join(f"{len(table.keys):,}" for table in self.model.tables)
        info = self.model_info
        print(
            f"{info.name}: {sizes} n-grams, {info.n_byte / 1e6:,.0f} MB, in "
            f"{time.monotonic() - began:.1f} s",
            flush=True,
        )

    def on_fit_end(self) -> None:
        remove(Path(self.trainer.default_root_dir) / COUNTS)

    def on_save_checkpoint(self, checkpoint: StateDict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["n_run"] = len(self.counter.runs)
        checkpoint["tables"] = self.table_checksums

    def on_load_checkpoint(self, checkpoint: StateDict) -> None:
        super().on_load_checkpoint(checkpoint)
        self._n_run = 0 if checkpoint["tables"] else checkpoint["n_run"]

    # Probabilities

    @property
    def _finished(self) -> NgramModel:
        """The estimated model.

        Raises:
            ValueError: the run was stopped before the model was estimated.
        """
        if self.model is None:
            raise ValueError(
                "this run was stopped before its n-grams were counted, and has no model yet: "
                "continue it with lslm resume"
            )
        return self.model

    def sentences(self, ids: np.ndarray) -> np.ndarray:
        """Return a row of texts with `bos` before and `</s>` after each text.

        Args:
            ids: texts separated by `</s>`.
        """
        return np.insert(
            ids[1:].astype(np.int64), np.flatnonzero(ids[:-1] == self.tokenizer.eos_id), self.bos
        )

    def token_nats(
        self, rows: Sequence[Sequence[int]], n_given: Sequence[int] | None = None
    ) -> list[np.ndarray]:
        unknown = self.tokenizer.unk_id
        if self.closed_vocabulary and unknown is not None and any(unknown in row for row in rows):
            raise ValueError(
                f"closed_vocabulary=True gives unknown {self.tokenizer.kind} no probability, and "
                "the text has some that the training text lacks: set it to False, or choose a "
                "tokenizer without unknown tokens (BytePair, Bytes)"
            )
        found = [self.sentences(np.asarray(row)) for row in rows]
        row = np.concatenate([*found, np.zeros(0, np.int64)])
        nats = -self._finished.log_probs(row)
        ends = np.cumsum([len(part) for part in found])[:-1]
        return [
            own[part != self.bos] for own, part in zip(np.split(nats, ends), found, strict=True)
        ]

    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        return np.minimum(np.arange(1, len(ids)), max(1, self.order - 1))

    def loss(self, batch: WindowBatch, label_smoothing: float = 0.0) -> Tensor:
        row = batch.ids[0].cpu().numpy()
        [nats] = self.token_nats([row])  # type: ignore[list-item]  # an array of ids does as well
        return torch.tensor(nats.sum())

    def step(self, ids: Tensor, state: Tensor | None, shared: Nested) -> tuple[Tensor, Tensor]:
        """Return the log-probabilities (N, V) of the next token, and the new state: the last
        `order` - 1 tokens.

        Args:
            ids: (N, T), the tokens since the previous call.
            state: state after the previous call; None at the first.
            shared: not used.
        """
        history = ids.masked_fill(ids == self.tokenizer.eos_id, self.bos)
        history = history if state is None else torch.cat([state, history], 1)
        rows = [self._finished.log_distribution(row)[: self.bos] for row in history.cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).float().to(ids.device), history[
            :, max(0, history.size(1) - self.order + 1) :
        ]

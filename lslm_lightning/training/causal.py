"""Tasks that continue a text: the probability of each token given those before it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from lslm_lightning.decoding.search import reorder
from lslm_lightning.models.backbone import Backbone, State
from lslm_lightning.models.heads import Head, TiedProjection, upcast_to_float32
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import WindowBatch, padded
from lslm_lightning.training.checks import check_kind
from lslm_lightning.training.language_model import LanguageModel
from lslm_lightning.training.window_data import WindowData


class CausalTask(LanguageModel):
    """A decoder-only neural language model.

    A text is scored exactly, end of text included, every token once. A recurrent network reads it
    from its beginning to its end, and each token is predicted from all before it. Others, or all
    where `stride` is given, read windows of `context` tokens that advance by `stride`; only the
    last `stride` tokens of a window (all of the first window) count, so that each is predicted from
    at least `context - stride` others.

    Of data that are read in order (`data.contiguous`) each batch begins with the state in which the
    one before has left the network. Gradients end where the batch begins. Source: Mikolov et al.
    2010, "Recurrent neural network based language model"; Williams and Peng 1990, truncated
    back-propagation through time.

    Args:
        head: from decoder outputs to words; called with (vocab_size, d_model).
        context: tokens a window reads; as in the data that trained the model.
        stride: tokens a window advances in scoring; `context` for windows that do not overlap. By
            default half of `context`, and no windows for a network whose state keeps its size.
        scale_embedding: multiply token vectors by sqrt(d_model). By default for recurrent networks
            only: with tied weights a Transformer, which normalizes what it reads, learns faster
            without, and an LSTM slower.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Callable[[int, int], Head] = TiedProjection,
        context: int = 256,
        stride: int | None = None,
        scale_embedding: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, tokenizer, **kwargs)
        if backbone.n_encoder_layer:
            raise ValueError(
                f"n_encoder_layer={backbone.n_encoder_layer} must be 0: a language model has "
                "only a decoder"
            )
        if stride is None and not backbone.has_bounded_state:
            stride = max(1, context // 2)
        if stride is not None and not 1 <= stride <= context:
            raise ValueError(f"stride={stride} must be between 1 and context={context}")
        self.context = context
        self.stride = stride
        if scale_embedding is None:
            scale_embedding = backbone.has_bounded_state
        self.embedding, self.head = backbone.embedding_and_head(
            tokenizer.vocab_size, head, scale_embedding
        )
        # after the last batch that was read in order, in training (True) and in validation
        self._carried: dict[bool, State] = {}

    def check(self, data: WindowData) -> None:
        check_kind(self, data, WindowData)
        if data.context != self.context:
            raise ValueError(
                f"model.context={self.context} and data.context={data.context} must be equal"
            )
        if self.backbone.max_positions is not None and self.backbone.max_positions < self.context:
            raise ValueError(
                f"model.context={self.context} is more than max_length="
                f"{self.backbone.max_positions} of the backbone's positions"
            )
        if data.contiguous and not self.backbone.has_bounded_state:
            raise ValueError(
                f"data.contiguous=true carries the state of {type(self.backbone).__name__} from "
                "batch to batch, and it would grow with all"
                " that was read; set it to false, or choose a recurrent backbone"
            )

    def logits(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, V)."""
        y, _ = self.backbone.decode(self.embedding(ids))
        return self.head(y, self.embedding.weight)

    def loss(self, batch: WindowBatch, label_smoothing: float = 0.0) -> Tensor:
        before = self._carried.get(self.training) if batch.follows else None
        y, after = self.backbone.decode(self.embedding(batch.ids[:, :-1]), state=before)
        if batch.follows is not None:
            self._carried[self.training] = tree_map(Tensor.detach, after)
        return self.head.nats(
            y, self.embedding.weight, batch.ids[:, 1:], self.tokenizer.pad_id, label_smoothing
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if True in self._carried:
            own = tree_map(Tensor.cpu, self._carried[True])
            checkpoint["carried"] = [own] * self.trainer.world_size
            if self.trainer.world_size > 1:
                torch.distributed.all_gather_object(checkpoint["carried"], own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.trainer.state.fn == "fit" and "carried" in checkpoint:
            device = self.trainer.strategy.root_device
            self._carried[True] = tree_map(
                lambda part: part.to(device), checkpoint["carried"][self.trainer.global_rank]
            )

    # Scoring

    def windows(self, ids: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(start, first, end) of each window over a row of ids: it reads ids[start : end - 1] and
        counts targets first..end - 1.
        """
        first = 1
        while first < len(ids):
            step = len(ids) if self.stride is None else self.context if first == 1 else self.stride
            end = min(len(ids), first + step)
            yield 0 if self.stride is None else max(0, end - 1 - self.context), first, end
            first = end

    @torch.no_grad()
    def token_nats(
        self,
        rows: Sequence[Sequence[int]],
        n_given: Sequence[int] | None = None,
        batch_size: int = 16,
    ) -> list[np.ndarray]:
        """Minus log probability of each id but the first of each row, float64; 0 for what is given,
        whose scores are not computed.

        What is longer than `context` is read in pieces of that length, each with the state after
        the one before, in bounded memory.
        """
        nats = [np.zeros(len(row) - 1) for row in rows]
        begins = [1] * len(rows) if n_given is None else n_given
        jobs = sorted(
            (
                (i, start, max(first, begin), end)
                for i, (row, begin) in enumerate(zip(rows, begins, strict=True))
                for start, first, end in self.windows(row)
                if end > begin
            ),
            key=lambda job: job[1] - job[3],
        )
        n_id = sum(end - 1 - start for _, start, _, end in jobs)
        n_read = 0
        for at in range(0, len(jobs), batch_size):
            chunk = jobs[at : at + batch_size]
            ids = padded(
                [rows[i][start:end] for i, start, _, end in chunk], self.tokenizer.pad_id
            ).to(self.device)
            place = torch.arange(1, ids.size(1))
            counts = torch.stack(
                [(place >= first - start) & (place < end - start) for _, start, first, end in chunk]
            ).to(self.device)
            losses = torch.zeros(counts.shape, dtype=torch.float64)
            state = None
            for begin in range(0, counts.size(1), self.context):
                # those that go on; the longest come first
                n_row = sum(end - 1 - start > begin for _, start, _, end in chunk)
                piece = slice(begin, begin + self.context)
                state = None if state is None else reorder(state, torch.arange(n_row))
                y, state = self.backbone.decode(
                    self.embedding(ids[:n_row, :-1][:, piece]), state=state
                )
                now = counts[:n_row, piece]
                # of those that count, which saves half of them
                logits = upcast_to_float32(self.head(y[now][None], self.embedding.weight)[0])
                found = F.cross_entropy(logits, ids[:n_row, 1:][:, piece][now], reduction="none")
                losses[:n_row, piece][now.cpu()] = found.cpu().double()
                n_read += sum(
                    min(self.context, end - 1 - start - begin) for _, start, _, end in chunk[:n_row]
                )
                if self.on_scored is not None:
                    self.on_scored(n_read / n_id)
            for row, (i, start, first, end) in zip(losses.numpy(), chunk, strict=True):
                nats[i][first - 1 : end - 1] = row[first - 1 - start : end - 1 - start]
        return nats

    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        return np.concatenate(
            [np.arange(first, end) - start for start, first, end in self.windows(ids)]
        )

    # Generation

    @property
    def reach(self) -> int | None:
        return None if self.backbone.has_bounded_state else self.context

    def step(self, ids: Tensor, state: Any, shared: Any) -> tuple[Tensor, Any]:
        y, state = self.backbone.decode(self.embedding(ids), state=state)
        return self.head(y[:, -1:], self.embedding.weight)[:, -1], state

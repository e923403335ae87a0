"""Decoder-only language models, which predict each token of a text from the tokens before it."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import Metric
from lslm_lightning.decoding import Search
from lslm_lightning.decoding.search import Nested, reorder
from lslm_lightning.models.backbone import Backbone, State
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.models.heads import Head, TiedHead, upcast_to_float32
from lslm_lightning.optim import Schedule
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import WindowBatch, padded
from lslm_lightning.training.checks import MIN_LENGTH, check_kind
from lslm_lightning.training.compilation import Compile, checked_compile
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.language_model import CONTINUATION_LENGTH, SAMPLING, LanguageModel
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.shared_settings import share_settings
from lslm_lightning.training.task import LABEL_SMOOTHING
from lslm_lightning.training.window_data import CONTEXT, WindowData
from lslm_lightning.types import StateDict


class TokenRange(NamedTuple):
    """Range of tokens of a row that a model reads at once, and the part of the range that it
    scores.
    """

    start: int  # position of the first token that is read
    first: int  # position of the first token that is scored
    end: int  # one more than the position of the last token that is scored


class CausalRequirements(DataRequirements):
    """Requirements of a `CausalTask`: the data use its `context`, which fits into the positions of
    the backbone.
    """

    task: "CausalTask"

    def bind(self, data: TaskData) -> None:
        if isinstance(data, WindowData):
            share_settings(data, {"context": self.task.context})

    def check(self, data: TaskData) -> None:
        task = self.task
        data = check_kind(task, data, WindowData)
        longest = task.backbone.max_positions
        if longest is not None and longest < task.context:
            raise ValueError(
                f"model.context={task.context} is more than max_length={longest} of the "
                "backbone's positions; lower it, or raise max_length"
            )
        if data.contiguous and not task.backbone.has_bounded_state:
            raise ValueError(
                f"data.contiguous=true carries the state of {type(task.backbone).__name__} from "
                "batch to batch, and it would grow with all tokens read; set it to false, or "
                "choose a recurrent backbone"
            )


class CausalTask(LanguageModel):
    """A decoder-only neural language model.

    Scoring counts each token of a text, including the end of text, exactly once. A recurrent
    network reads the text from start to end and predicts each token from all tokens before it.
    Other networks read windows of `context` tokens that advance by `stride` tokens, and so do
    recurrent networks if `stride` is given. Only the last `stride` tokens of a window count (all
    tokens of the first window), so that each is predicted from at least `context - stride` tokens.

    If the data are read in order (`data.contiguous`), each batch starts from the state of the
    network after the previous batch, and gradients stop at the start of the batch. Source: Mikolov
    et al. 2010, "Recurrent neural network based language model"; Williams and Peng 1990, truncated
    back-propagation through time.

    Arguments that are not listed are those of `LanguageModel`.

    Args:
        backbone: decoder without an encoder.
        head: output layer over the vocabulary; called with (vocab_size, d_model).
        context: number of tokens in a window, in scoring and in training; the data module uses the
            value of the model.
        stride: number of tokens by which windows advance in scoring; `context` for windows that do
            not overlap. Default: half of `context`, or no windows for a recurrent network.
        scale_embedding: multiply token vectors by sqrt(d_model). Default: only for recurrent
            networks. With tied weights, a Transformer, which normalizes its inputs, learns faster
            without this factor, and an LSTM slower.
        compile: compile training steps by `torch.compile`: true, false, or auto to do so where
            measured steps save at least twice the time of compiling within the run.
    """

    backbone: Backbone
    embedding: TokenEmbedding
    changeable = ("context", "stride", "compile")
    requirements_class = CausalRequirements

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Callable[[int, int], Head] = TiedHead,
        context: int = CONTEXT,
        stride: int | None = None,
        scale_embedding: bool | None = None,
        prompt: Prompt = NO_PROMPT,
        search: Search = SAMPLING,
        max_length: int = CONTINUATION_LENGTH,
        min_length: int = MIN_LENGTH,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
        compile: Compile = False,
    ) -> None:
        super().__init__(
            backbone,
            tokenizer,
            prompt=prompt,
            search=search,
            max_length=max_length,
            min_length=min_length,
            optimizer=optimizer,
            schedule=schedule,
            label_smoothing=label_smoothing,
            extra_metrics=extra_metrics,
            adapter=adapter,
        )
        self.compile_mode = checked_compile(compile, backbone)
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
        embedding, head_module = backbone.embedding_and_head(
            tokenizer.vocab_size, head, scale_embedding
        )
        self.embedding = embedding  # type: ignore[assignment]
        self.head = head_module  # after the embedding: optimizers number parameters in this order
        # state after the last batch that was read in order, in training (True) and in validation
        self._carried: dict[bool, State] = {}

    def logits(self, ids: Tensor) -> Tensor:
        """Return the logits (B, T, V) of the token after each of `ids` (B, T) int64."""
        y, _ = self.backbone.decode(self.embedding(ids))
        return self.head(y, self.embedding.weight)

    def loss(self, batch: WindowBatch, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
        before = self._carried.get(self.training) if batch.follows else None
        y, after = self.backbone.decode(self.embedding(batch.ids[:, :-1]), state=before)
        if batch.follows is not None:
            self._carried[self.training] = tree_map(Tensor.detach, after)
        return self.head.nats(
            y, self.embedding.weight, batch.ids[:, 1:], self.tokenizer.pad_id, label_smoothing
        )

    def on_save_checkpoint(self, checkpoint: StateDict) -> None:
        super().on_save_checkpoint(checkpoint)
        if True in self._carried:
            state = tree_map(Tensor.cpu, self._carried[True])
            checkpoint["carried"] = [state] * self.trainer.world_size
            if self.trainer.world_size > 1:
                torch.distributed.all_gather_object(checkpoint["carried"], state)

    def on_load_checkpoint(self, checkpoint: StateDict) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.trainer.state.fn == "fit" and "carried" in checkpoint:
            device = self.trainer.strategy.root_device
            self._carried[True] = tree_map(
                lambda part: part.to(device), checkpoint["carried"][self.trainer.global_rank]
            )

    # Scoring

    def windows(self, ids: Sequence[int]) -> Iterator[TokenRange]:
        """Yield the windows over a row of ids. A window reads ids[start : end - 1] and scores the
        tokens at positions `first` to `end - 1`. All windows together score every token except the
        first exactly once.
        """
        first = 1
        while first < len(ids):
            step = len(ids) if self.stride is None else self.context if first == 1 else self.stride
            end = min(len(ids), first + step)
            yield TokenRange(
                0 if self.stride is None else max(0, end - 1 - self.context), first, end
            )
            first = end

    @torch.no_grad()
    def token_nats(
        self,
        rows: Sequence[Sequence[int]],
        n_given: Sequence[int] | None = None,
        batch_size: int = 16,
    ) -> list[np.ndarray]:
        """Return, for each row, the negative log probability in nats of each id except the first,
        float64. The first `n_given` ids of a row are not scored, and their values are 0.

        A window longer than `context` is read in pieces of `context` ids. Each piece starts from
        the state after the previous one, so that memory is bounded.

        Args:
            rows: ids of each text, `</s>` first.
            n_given: number of ids at the start of each row that are not scored; 1 by default.
            batch_size: number of windows that are read at a time.
        """
        nats = [np.zeros(len(row) - 1) for row in rows]
        n_skipped = [1] * len(rows) if n_given is None else n_given
        jobs = sorted(
            (
                (i, TokenRange(start, max(first, n_skip), end))
                for i, (row, n_skip) in enumerate(zip(rows, n_skipped, strict=True))
                for start, first, end in self.windows(row)
                if end > n_skip
            ),
            key=lambda job: job[1].start - job[1].end,
        )
        n_id = sum(window.end - 1 - window.start for _, window in jobs)
        n_read = 0
        for at in range(0, len(jobs), batch_size):
            chunk = jobs[at : at + batch_size]
            losses = self._window_nats(
                [rows[i][window.start : window.end] for i, window in chunk],
                [window for _, window in chunk],
                n_read,
                n_id,
            )
            n_read += sum(window.end - 1 - window.start for _, window in chunk)
            for row, (i, (start, first, end)) in zip(losses.numpy(), chunk, strict=True):
                nats[i][first - 1 : end - 1] = row[first - 1 - start : end - 1 - start]
        return nats

    def _window_nats(
        self,
        rows: Sequence[Sequence[int]],
        windows: Sequence[TokenRange],
        n_before: int,
        n_id: int,
    ) -> Tensor:
        """Return the negative log probabilities of the scored tokens of windows, float64 (B, T) on
        the CPU; 0 for tokens that are not scored.

        Args:
            rows: ids of each window, the longest first.
            windows: range of each window, with the tokens to score.
            n_before: number of tokens read in earlier calls, for `on_scored`.
            n_id: number of tokens to read in all calls, for `on_scored`.
        """
        ids = padded(rows, self.tokenizer.pad_id).to(self.device)
        position = torch.arange(1, ids.size(1))
        is_scored = torch.stack(
            [
                (position >= first - start) & (position < end - start)
                for start, first, end in windows
            ]
        ).to(self.device)
        losses = torch.zeros(is_scored.shape, dtype=torch.float64)
        if self.engine is not None:
            computed = self.engine.nats(rows)
            for row, values, (start, first, end) in zip(losses, computed, windows, strict=True):
                row[first - 1 - start : end - 1 - start] = torch.from_numpy(
                    values[first - 1 - start :]
                )
            return losses
        state = None
        n_read = n_before
        for offset in range(0, is_scored.size(1), self.context):
            lengths = [end - 1 - start - offset for start, _, end in windows]
            n_row = sum(length > 0 for length in lengths)  # windows that are not read to their end
            piece = slice(offset, offset + self.context)
            state = None if state is None else reorder(state, torch.arange(n_row))
            y, state = self.backbone.decode(self.embedding(ids[:n_row, :-1][:, piece]), state=state)
            scored = is_scored[:n_row, piece]
            # logits of scored tokens only, which saves half of them
            logits = upcast_to_float32(self.head(y[scored][None], self.embedding.weight)[0])
            found = F.cross_entropy(logits, ids[:n_row, 1:][:, piece][scored], reduction="none")
            losses[:n_row, piece][scored.cpu()] = found.cpu().double()
            n_read += sum(min(self.context, length) for length in lengths[:n_row])
            if self.on_scored is not None:
                self.on_scored(n_read / n_id)
        return losses

    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        return np.concatenate(
            [np.arange(first, end) - start for start, first, end in self.windows(ids)]
        )

    # Generation

    @property
    def max_context(self) -> int | None:
        return None if self.backbone.has_bounded_state else self.context

    def step(self, ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        y, state = self.backbone.decode(self.embedding(ids), state=state)
        return self.head(y[:, -1:], self.embedding.weight)[:, -1], state

    def first_step(
        self, rows: Sequence[Sequence[int]], state: Nested = None
    ) -> tuple[Tensor, Nested, Nested]:
        """Return (logits (B, V) of the token after each row, state, no encoder state) for the ids
        of prompts.

        Args:
            state: state after the tokens before the rows; None at the beginning of a text.
        """
        ids = padded(rows, self.tokenizer.pad_id).to(self.device)
        length = torch.tensor([len(row) for row in rows], device=self.device)
        pad = torch.arange(ids.size(1), device=self.device) >= length[:, None]
        y, state = self.backbone.decode(
            self.embedding(ids), pad=pad if pad.any() else None, state=state
        )
        last = (length - 1)[:, None, None].expand(-1, 1, y.size(-1))
        return self.head(y.gather(1, last), self.embedding.weight)[:, -1], state, ()

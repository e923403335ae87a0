"""Tasks that continue a text: the probability of each token given those before it."""

import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from lslm_lightning.contracts import Example, Prediction
from lslm_lightning.decoding import Decoded, Sampling, Search
from lslm_lightning.decoding.search import reorder
from lslm_lightning.models.backbone import Backbone, State
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.models.heads import Head, TiedProjection, single
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import WindowBatch, padded
from lslm_lightning.training.checks import check_kind, check_lengths
from lslm_lightning.training.scoring import TextScorer
from lslm_lightning.training.task import Task
from lslm_lightning.training.window_data import WindowData


class CausalTask(TextScorer, Task):
    """A decoder-only language model.

    A text is scored exactly, end of text included, every token once. A recurrent network reads it from its beginning to its end, and each
    token is predicted from all before it. Others, or all where `stride` is given, read windows of `context` tokens that advance by
    `stride`; only the last `stride` tokens of a window (all of the first window) count, so that each is predicted from at least
    `context - stride` others.

    Of data that are read in order (`data.contiguous`) each batch begins with the state in which the one before has left the network.
    Gradients end where the batch begins. Source: Mikolov et al. 2010, "Recurrent neural network based language model"; Williams and Peng
    1990, truncated back-propagation through time.

    Args:
        head: from decoder outputs to words; called with (vocab_size, d_model).
        search: how texts are continued.
        context: tokens a window reads; as in the data that trained the model.
        stride: tokens a window advances in scoring; `context` for windows that do not overlap. By default half of `context`, and no windows
            for a network whose state keeps its size.
        max_length: new tokens in a continuation.
        min_length: a continuation does not end before so many.
        scale_embedding: multiply token vectors by sqrt(d_model). By default for recurrent networks only: with tied weights a Transformer,
            which normalizes what it reads, learns faster without, and an LSTM slower.
    """

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Callable[[int, int], Head] = TiedProjection,
        search: Search = Sampling(temperature=0.8, top_p=0.95),  # noqa: B008 (frozen)
        context: int = 256,
        stride: int | None = None,
        max_length: int = 200,
        min_length: int = 0,
        scale_embedding: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, tokenizer, **kwargs)
        if backbone.n_encoder_layer:
            raise ValueError(f"n_encoder_layer={backbone.n_encoder_layer} must be 0: a language model has only a decoder")
        if stride is None and not backbone.has_bounded_state:
            stride = max(1, context // 2)
        if stride is not None and not 1 <= stride <= context:
            raise ValueError(f"stride={stride} must be between 1 and context={context}")
        check_lengths(min_length, max_length)
        self.search, self.context, self.stride, self.max_length, self.min_length = search, context, stride, max_length, min_length
        if scale_embedding is None:
            scale_embedding = backbone.has_bounded_state
        self.embedding = TokenEmbedding(tokenizer.vocab_size, backbone.d_model, math.sqrt(backbone.d_model) if scale_embedding else None)
        self.head = head(tokenizer.vocab_size, backbone.d_model)
        self._carried: dict[bool, State] = {}  # after the last batch that was read in order, in training (True) and in validation

    def check(self, data: WindowData) -> None:
        check_kind(self, data, WindowData)
        if data.context != self.context:
            raise ValueError(f"model.context={self.context} and data.context={data.context} must be equal")
        if self.longest_input is not None and self.longest_input < self.context:
            raise ValueError(f"model.context={self.context} is more than max_length={self.longest_input} of the backbone's positions")
        if data.contiguous and not self.backbone.has_bounded_state:
            raise ValueError(
                f"data.contiguous=true carries the state of {type(self.backbone).__name__} from batch to batch, and it would grow with all"
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
        return self.head.nats(y, self.embedding.weight, batch.ids[:, 1:], self.tokenizer.pad_id, label_smoothing)

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
            self._carried[True] = tree_map(lambda part: part.to(device), checkpoint["carried"][self.trainer.global_rank])

    # Scoring

    def windows(self, ids: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """(start, first, end) of each window over a row of ids: it reads ids[start : end - 1] and counts targets first..end - 1."""
        first = 1
        while first < len(ids):
            step = len(ids) if self.stride is None else self.context if first == 1 else self.stride
            end = min(len(ids), first + step)
            yield 0 if self.stride is None else max(0, end - 1 - self.context), first, end
            first = end

    @torch.no_grad()
    def token_nats(self, rows: Sequence[Sequence[int]], batch_size: int = 16) -> list[np.ndarray]:
        """Minus log probability of each id but the first of each row, float64.

        What is longer than `context` is read in pieces of that length, each with the state after the one before, in bounded memory.
        """
        nats = [np.zeros(len(row) - 1) for row in rows]
        jobs = sorted(((i, *w) for i, row in enumerate(rows) for w in self.windows(row)), key=lambda job: job[1] - job[3])
        for at in range(0, len(jobs), batch_size):
            chunk = jobs[at : at + batch_size]
            ids = padded([rows[i][start:end] for i, start, _, end in chunk], self.tokenizer.pad_id).to(self.device)
            place = torch.arange(1, ids.size(1))
            counts = torch.stack([(place >= first - start) & (place < end - start) for _, start, first, end in chunk]).to(self.device)
            losses, state = torch.zeros(counts.shape, dtype=torch.float64), None
            for begin in range(0, counts.size(1), self.context):
                n_row = sum(end - 1 - start > begin for _, start, _, end in chunk)  # those that go on; the longest come first
                piece, state = slice(begin, begin + self.context), None if state is None else reorder(state, torch.arange(n_row))
                y, state = self.backbone.decode(self.embedding(ids[:n_row, :-1][:, piece]), state=state)
                now = counts[:n_row, piece]
                logits = single(self.head(y[now][None], self.embedding.weight)[0])  # of those that count, which saves half of them
                found = F.cross_entropy(logits, ids[:n_row, 1:][:, piece][now], reduction="none")
                losses[:n_row, piece][now.cpu()] = found.cpu().double()
            for row, (i, start, first, end) in zip(losses.numpy(), chunk, strict=True):
                nats[i][first - 1 : end - 1] = row[first - 1 - start : end - 1 - start]
        return nats

    def contexts(self, ids: Sequence[int]) -> np.ndarray:
        return np.concatenate([np.arange(first, end) - start for start, first, end in self.windows(ids)])

    # Generation

    @torch.no_grad()
    def continue_rows(
        self, prompts: Sequence[Sequence[int]], max_length: int, min_length: int = 0, generator: torch.Generator | None = None
    ) -> Decoded:
        """What `search` writes after prompts (ids that begin with `</s>`) of any lengths, in one go."""

        def step(ids: Tensor, state: Any, shared: Any) -> tuple[Tensor, Any]:
            y, state = self.backbone.decode(self.embedding(ids), state=state)
            return self.head(y[:, -1:], self.embedding.weight)[:, -1], state

        start = padded(prompts, self.tokenizer.pad_id).to(self.device)
        length = torch.tensor([len(p) for p in prompts], device=self.device)
        limits = (max_length, min(max(0, min_length), max_length))
        keywords = {"start_length": length, "agree": self.agree, "generator": generator}
        return self.search(step, start, (), self.tokenizer.eos_id, *limits, **keywords)

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """A continuation of each example's source."""
        began = perf_counter()
        prompts = [[self.tokenizer.eos_id, *ids] for ids in self.tokenizer.encode_batch([e.source for e in examples])]
        answers = self.continue_far(prompts, self.max_length)
        seconds = (perf_counter() - began) / max(1, len(examples))
        for example, ids in zip(examples, answers, strict=True):
            yield Prediction(example.id, self.tokenizer.decode(ids), n_token=len(ids), seconds=seconds)

    def continue_far(self, prompts: Sequence[Sequence[int]], max_length: int) -> list[list[int]]:
        """Continuations that may leave the context behind: from where it is full, the model goes on with the later half of it.

        A network whose state keeps its size has no such limit.
        """
        limit = math.inf if self.backbone.has_bounded_state else self.context
        seed = getattr(self.search, "seed", None)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        rows, going = [list(prompt) for prompt in prompts], list(range(len(prompts)))
        while going:
            windows = [rows[i] if len(rows[i]) <= limit else rows[i][-max(1, self.context // 2) :] for i in going]
            written = len(rows[going[0]]) - len(prompts[going[0]])  # as much by each that goes on
            room = min(limit + 1 - max(map(len, windows)), max_length - written)
            decoded = self.continue_rows(windows, max_length=room, min_length=self.min_length - written, generator=generator)
            for i, ids, n in zip(going, decoded.ids.tolist(), decoded.n_token.tolist(), strict=True):
                rows[i] += ids[:n]
            going = [i for i in going if rows[i][-1] != self.tokenizer.eos_id] if written + room < max_length else []
        return [row[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]

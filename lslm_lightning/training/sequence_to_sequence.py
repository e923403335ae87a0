"""Tasks that read one text and write another: translation, summarization, generative answers."""

import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Mode,
    Prediction,
    pair_answers,
)
from lslm_lightning.decoding import Beam, Decoded, Greedy, Search
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.heads import Head, Source, TiedProjection, upcast_to_float32
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.batches import PairBatch, padded
from lslm_lightning.training.checks import LONGEST, check_kind, check_lengths, longest_answer
from lslm_lightning.training.n_best import n_best_prediction
from lslm_lightning.training.pair_data import PairData
from lslm_lightning.training.task import Task

SCORED_TOKENS = 2048  # of given answers, scored at a time


class SequenceToSequenceTask(Task):
    """An encoder-decoder with one vocabulary, embedding and tokenizer for both sides.

    Args:
        head: from decoder outputs to words; called with (vocab_size, d_model).
        search: how answers are found in a test, and by default everywhere.
        validation_search: a cheaper search for the exam within validation.
        max_length: no answer is longer than this many tokens; None for half as many more than the
            longest training target has.
        min_length: no answer ends before so many.
        max_source_length: tokens of a source the model reads, the rest is cut; none for all of it.
        scale_embedding: multiply token vectors by sqrt(d_model): a word then weighs as much as what
            the layers add to it.
    """

    finds_n_best = True

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Callable[[int, int], Head] = TiedProjection,
        search: Search = Beam(beam_size=5),  # noqa: B008 (frozen)
        validation_search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
        min_length: int = 0,
        max_source_length: int | None = None,
        scale_embedding: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(backbone, tokenizer, **kwargs)
        if not backbone.n_encoder_layer or not backbone.n_decoder_layer:
            raise ValueError(
                f"n_encoder_layer={backbone.n_encoder_layer} and "
                f"n_decoder_layer={backbone.n_decoder_layer} must both be at least 1:"
                " this task reads one text and writes another"
            )
        self.search = search
        self.validation_search = validation_search
        check_lengths(min_length, max_length)
        self.max_length = LONGEST if max_length is None else max_length
        self.has_open_length = max_length is None
        self.min_length = min_length
        self.max_source_length = max_source_length
        self.embedding, self.head = backbone.embedding_and_head(
            tokenizer.vocab_size, head, scale_embedding
        )

    def bound_answers(self, data: PairData) -> None:
        if self.has_open_length and isinstance(data, PairData):
            longest = int(data.training_rows.target.lengths.max(initial=0)) - 1  # less <s>
            self.bound_answers_as({"max_length": longest_answer(longest, self.min_length)})

    def check(self, data: PairData) -> None:
        check_kind(self, data, PairData)
        if self.monitor != "val/loss" and not data.n_validation_example:
            raise ValueError(
                f"data.n_validation_example=0 leaves {self.monitor}, which chooses the best "
                "checkpoint, without a value; set 200"
            )
        if data.truncate and self.max_source_length != data.max_source_length:
            raise ValueError(
                f"model.max_source_length={self.max_source_length} and "
                f"data.max_source_length={data.max_source_length} must be equal"
                " where data.truncate=true"
            )
        splits = [
            split
            for split in ("val", "test")
            if split in data.corpus.splits and self.backbone.max_positions
        ]
        lengths = [len(ids) for split in splits for ids in self.read(data.examples(split))]
        longest = max(
            [*lengths, self.max_length + 1, data.max_source_length, data.max_target_length + 1]
        )
        if self.backbone.max_positions and longest > self.backbone.max_positions:
            raise ValueError(
                f"max_length={self.backbone.max_positions} of the backbone's positions is below "
                f"the {longest} tokens of the longest text;"
                " raise it, or lower model.max_source_length, model.max_length and those of data"
            )

    def read(self, examples: Sequence[Example]) -> list[list[int]]:
        """Ids of each source with `</s>` at the end, cut to `max_source_length`."""
        longest = None if self.max_source_length is None else self.max_source_length - 1
        return [
            [*ids[:longest], self.tokenizer.eos_id]
            for ids in self.tokenizer.encode_batch([e.source for e in examples])
        ]

    def loss(self, batch: PairBatch, label_smoothing: float = 0.0) -> Tensor:
        memory = self.backbone.encode(self.embedding(batch.source), batch.source_pad)
        y, _ = self.backbone.decode(
            self.embedding(batch.target[:, :-1]), memory=memory, memory_pad=batch.source_pad
        )
        source = Source(memory, batch.source, batch.source_pad)
        return self.head.nats(
            y,
            self.embedding.weight,
            batch.target[:, 1:],
            self.tokenizer.pad_id,
            label_smoothing,
            source,
        )

    @torch.no_grad()
    def decode(
        self, source: Tensor, search: Search, max_length: int | None = None, n_best: int = 1
    ) -> Decoded:
        """The search's answers to padded sources (B, S) int64, of at most `max_length` tokens; see
        `Decoded`.
        """
        pad = source == self.tokenizer.pad_id
        memory = self.backbone.encode(self.embedding(source), pad)

        def step(ids: Tensor, state: Any, shared: Any) -> tuple[Tensor, Any]:
            remembered, source = shared
            y, state = self.backbone.decode(
                self.embedding(ids), memory=remembered, memory_pad=source.pad, state=state
            )
            return self.head(y[:, -1:], self.embedding.weight, source)[:, -1], state

        start = torch.full((len(source), 1), self.tokenizer.bos_id, device=source.device)
        shared = (self.backbone.precompute_cross_attention(memory), Source(memory, source, pad))
        longest = max_length or self.max_length
        return search(
            step,
            start,
            shared,
            self.tokenizer.eos_id,
            longest,
            min(self.min_length, longest),
            all_ranks_done=self.agree,
            **({"n_best": n_best} if n_best > 1 else {}),
        )

    # Probabilities

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Nats of each answer after its source, which is read as far as `generate` reads it; see
        `contracts.Scorer`.

        Raises:
            CannotError: there are no `answers`.
            ValueError: a source or an answer is longer than the backbone has positions.
        """
        if answers is None:
            raise CannotError(
                f"{type(self).__name__} reads a source and gives no probability of a text alone"
            )
        began = perf_counter()
        pairs = pair_answers(examples, answers)
        sources = dict(zip(map(id, examples), self.read(examples), strict=True))
        rows = [sources[id(example)] for example, _ in pairs]
        targets = [
            [self.tokenizer.bos_id, *ids, self.tokenizer.eos_id]
            for ids in self.tokenizer.encode_targets([answer for _, answer in pairs])
        ]
        for (example, _), row, target in zip(pairs, rows, targets, strict=True):
            self.check_positions(example, len(row), len(target) - 1)
        nats = self.target_nats(rows, targets)
        seconds = (perf_counter() - began) / max(1, len(pairs))
        for (example, answer), target, values in zip(pairs, targets, nats, strict=True):
            yield Prediction(
                example.id,
                answer,
                nats=math.fsum(values),
                n_token=len(values),
                seconds=seconds,
                unknown=target.count(self.tokenizer.unk_id),
            )

    def check_positions(self, example: Example, n_source: int, n_answer: int) -> None:
        """Refuse what is longer than the positions of the backbone.

        Raises:
            ValueError: a number of tokens, the end included, is too large.
        """
        longest = self.backbone.max_positions
        for name, n_token in (("source", n_source), ("answer", n_answer)):
            if longest is not None and n_token > longest:
                raise ValueError(
                    f"example {example.id!r}: its {name} has {n_token:,} tokens, the end included, "
                    f"and the model has positions for max_length={longest:,}; shorten it, or "
                    "train with more positions"
                )

    @torch.no_grad()
    def target_nats(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
        batch_size: int = 32,
    ) -> list[np.ndarray]:
        """Minus log probability of each id but the first of each target, float64.

        Args:
            sources: ids of what is read, one row a target. Equal rows of a batch are read once.
            targets: ids from `<s>` to `</s>`.
            batch_size: targets at a time, those of like length together; fewer where they have
                more than `SCORED_TOKENS` tokens, each of which has a score for every word.
        """
        pad = self.tokenizer.pad_id
        nats = [np.zeros(0)] * len(targets)
        order = sorted(range(len(targets)), key=lambda i: (-len(targets[i]), -len(sources[i])))
        while order:
            n = max(1, min(batch_size, SCORED_TOKENS // len(targets[order[0]])))
            chunk, order = order[:n], order[n:]
            number = {
                row: n for n, row in enumerate(dict.fromkeys(tuple(sources[i]) for i in chunk))
            }
            source = padded([*number], pad).to(self.device)
            owner = torch.tensor([number[tuple(sources[i])] for i in chunk], device=self.device)
            target = padded([targets[i] for i in chunk], pad).to(self.device)
            memory = self.backbone.encode(self.embedding(source), source == pad)[owner]
            source = source[owner]
            y, _ = self.backbone.decode(
                self.embedding(target[:, :-1]), memory=memory, memory_pad=source == pad
            )
            logits = self.head(y, self.embedding.weight, Source(memory, source, source == pad))
            found = F.cross_entropy(
                upcast_to_float32(logits).flatten(0, 1),
                target[:, 1:].flatten(),
                ignore_index=pad,
                reduction="none",
            )
            rows = found.view(len(chunk), -1).double().cpu().numpy()
            for i, row in zip(chunk, rows, strict=True):
                nats[i] = row[: len(targets[i]) - 1]
        return nats

    def signature_of_answers(self, mode: Mode) -> str:
        return "" if self.max_source_length is None else f"|source:{self.max_source_length}"

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        uncut = self.tokenizer.encode_batch([e.source for e in examples])
        n_cut = sum(len(ids) + 1 > (self.max_source_length or math.inf) for ids in uncut)
        return n_cut, f"sources were read up to max_source_length={self.max_source_length} tokens"

    def rehearse(self, examples: Sequence[Example]) -> None:
        rows = self.read(examples)
        longest = (
            max(
                len(ids)
                for ids in self.tokenizer.encode_targets([e.references[0] for e in examples])
            )
            + 1
        )
        self.decode(
            padded(rows, self.tokenizer.pad_id).to(self.device),
            self.validation_search,
            min(longest, self.max_length),
        )

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """An answer to each example, in order; with `n_best` above 1 several, as `alternatives`.

        Raises:
            ValueError: the search finds no more than one, or fewer than `n_best`.
        """
        yield from self.answer(examples) if n_best == 1 else self._n_best(examples, n_best)

    def _n_best(self, examples: Sequence[Example], n_best: int) -> Iterator[Prediction]:
        self.search.check_n_best(n_best)
        began = perf_counter()
        source = padded(self.read(examples), self.tokenizer.pad_id).to(self.device)
        lists = self.decode(source, self.search, n_best=n_best).n_best_lists(n_best)
        seconds = (perf_counter() - began) / len(examples)
        for example, found in zip(examples, lists, strict=True):
            yield n_best_prediction(example, found, self.tokenizer, seconds)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        began = perf_counter()
        validating = self._trainer is not None and self.trainer.validating
        rows = self.read(examples)
        decoded = self.decode(
            padded(rows, self.tokenizer.pad_id).to(self.device),
            self.validation_search if validating else self.search,
        )
        seconds = (perf_counter() - began) / len(examples)
        rows = [
            ids[:n] for ids, n in zip(decoded.ids.tolist(), decoded.n_token.tolist(), strict=True)
        ]
        return [
            Prediction(
                example.id,
                self.tokenizer.decode(ids),
                n_token=len(ids),
                seconds=seconds,
                finish_reason="length" if cut else "stop",
            )
            for example, ids, cut in zip(
                examples, rows, decoded.is_cut(self.tokenizer.eos_id).tolist(), strict=True
            )
        ]

"""Tasks that read one text and write another: translation, summarization, generative answers."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter

import numpy as np
import torch
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import (
    Answers,
    CannotError,
    Example,
    Metric,
    Mode,
    Prediction,
    pair_answers,
)
from lslm_lightning.decoding import Beam, Decoded, Greedy, Search
from lslm_lightning.decoding.search import Nested
from lslm_lightning.models.attention import record_attention
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.embedding import TokenEmbedding
from lslm_lightning.models.heads import Head, Source, TiedHead, upcast_to_float32
from lslm_lightning.optim import Schedule
from lslm_lightning.text.prompts import NO_PROMPT, Prompt
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.batches import PairBatch, padded, unpadded
from lslm_lightning.training.checks import (
    LONGEST,
    MIN_LENGTH,
    check_has_no_template,
    check_lengths,
)
from lslm_lightning.training.n_best import n_best_prediction
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.pair_requirements import SequenceToSequenceRequirements
from lslm_lightning.training.task import LABEL_SMOOTHING, SEARCH_SETTINGS, Task

SCORED_TOKENS = 2048  # most tokens of given answers that are scored at a time


class SequenceToSequenceAnswering(Answering):
    """Answers of a `SequenceToSequenceTask`, whose sources may be cut."""

    task: "SequenceToSequenceTask"

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        longest = self.task.max_source_length
        uncut = self.task.prompt.ids(self.task.tokenizer, [e.source for e in examples])
        n_cut = sum(len(ids) + 1 > (longest or math.inf) for ids in uncut)
        return n_cut, f"sources were read up to max_source_length={longest} tokens"

    def signature(self, mode: Mode) -> str:
        longest = self.task.max_source_length
        return "" if longest is None else f"|source:{longest}"

    def benchmark_step(self, examples: Sequence[Example]) -> None:
        task = self.task
        targets = task.tokenizer.encode_targets([e.references[0] for e in examples])
        longest = max(map(len, targets)) + 1
        task.decode(
            task.padded_sources(examples), task.validation_search, min(longest, task.max_length)
        )


class SequenceToSequenceTask(Task):
    """An encoder-decoder with one vocabulary, embedding and tokenizer for both sides.

    Arguments that are not listed are those of `Task`.

    Args:
        backbone: encoder and decoder.
        head: output layer over the vocabulary; called with (vocab_size, d_model).
        search: search that generates answers everywhere except in validation.
        validation_search: search that generates answers in validation, usually a faster one.
        max_length: most tokens of an answer; None for one and a half times the longest training
            target.
        min_length: fewest tokens of an answer.
        max_source_length: number of tokens of a source that the model reads; the rest is cut. None
            for all.
        scale_embedding: multiply token vectors by sqrt(d_model), to match the scale of the outputs
            of layers.
        prompt: text around each source, in training too; without chat template.
    """

    backbone: Backbone
    embedding: TokenEmbedding
    search: Search
    validation_search: Search
    max_length: int
    min_length: int
    finds_n_best = True
    changeable = (*SEARCH_SETTINGS, "prompt", "max_source_length")
    answering_class = SequenceToSequenceAnswering
    requirements_class = SequenceToSequenceRequirements

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        head: Callable[[int, int], Head] = TiedHead,
        search: Search = Beam(beam_size=5),  # noqa: B008 (frozen)
        validation_search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
        min_length: int = MIN_LENGTH,
        max_source_length: int | None = None,
        scale_embedding: bool = True,
        prompt: Prompt = NO_PROMPT,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__(
            backbone, tokenizer, optimizer, schedule, label_smoothing, extra_metrics, adapter
        )
        if not backbone.n_encoder_layer or not backbone.n_decoder_layer:
            raise ValueError(
                f"n_encoder_layer={backbone.n_encoder_layer} and "
                f"n_decoder_layer={backbone.n_decoder_layer} must both be at least 1:"
                " this task reads one text and writes another"
            )
        check_has_no_template(prompt)
        self.prompt = prompt
        self.search = search
        self.validation_search = validation_search
        check_lengths(min_length, max_length)
        self.max_length = LONGEST if max_length is None else max_length
        self.has_open_length = max_length is None
        self.min_length = min_length
        self.max_source_length = max_source_length
        embedding, head_module = backbone.embedding_and_head(
            tokenizer.vocab_size, head, scale_embedding
        )
        self.embedding = embedding  # type: ignore[assignment]
        self.head = head_module  # after the embedding: optimizers number parameters in this order

    def read(self, examples: Sequence[Example]) -> list[list[int]]:
        """Return the ids of each source, with the prompt around it and `</s>` at the end, cut to
        `max_source_length`.
        """
        longest = None if self.max_source_length is None else self.max_source_length - 1
        return [
            [*ids[:longest], self.tokenizer.eos_id]
            for ids in self.prompt.ids(self.tokenizer, [e.source for e in examples])
        ]

    def padded_sources(self, examples: Sequence[Example]) -> Tensor:
        """Return the ids of the sources, cut as `read` does: (B, S) int64 on the task's device."""
        return padded(self.read(examples), self.tokenizer.pad_id).to(self.device)

    def loss(self, batch: PairBatch, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
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
        """Return the answers that a search finds for padded sources (B, S) int64.

        Args:
            max_length: most tokens of an answer; None for the task's `max_length`.
            n_best: number of answers to each source.
        """
        longest = max_length or self.max_length
        shortest = min(self.min_length, longest)
        if self.engine is not None:
            rows = unpadded(source, self.tokenizer.pad_id)
            return self.engine.find_answers(rows, search, longest, shortest, n_best)
        start = torch.full((len(source), 1), self.tokenizer.bos_id, device=source.device)
        find = search if n_best == 1 else partial(search, n_best=n_best)
        return find(
            self.step,
            start,
            self.encoder_state(source),
            self.tokenizer.eos_id,
            longest,
            shortest,
            all_ranks_done=self.answering.all_ranks_done,
        )

    def encoder_state(self, source: Tensor) -> Nested:
        """Return what `step` needs of padded sources (B, S) int64, as a nested tuple."""
        pad = source == self.tokenizer.pad_id
        memory = self.backbone.encode(self.embedding(source), pad)
        return self.backbone.precompute_cross_attention(memory), Source(memory, source, pad)

    def step(self, ids: Tensor, state: Nested, shared: Nested) -> tuple[Tensor, Nested]:
        """Return (logits (N, V) of the token after the last id of each row, new state). Searches
        call this function repeatedly.

        Args:
            ids: next tokens of each row, (N, t) int64.
            state: state after the tokens before `ids`; None at the first call.
            shared: encoder state of B sources; rows i k to i k + k - 1 belong to source i.
        """
        keys_and_values, source = shared
        y, state = self.backbone.decode(
            self.embedding(ids), memory=keys_and_values, memory_pad=source.pad, state=state
        )
        return self.head(y[:, -1:], self.embedding.weight, source)[:, -1], state

    def first_step(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Nested, Nested]:
        """Return (logits (B, V) of the first token of answers, state, encoder state) for the ids of
        sources, as `read` gives them.
        """
        source = padded(rows, self.tokenizer.pad_id).to(self.device)
        shared = self.encoder_state(source)
        start = torch.full((len(rows), 1), self.tokenizer.bos_id, device=self.device)
        return *self.step(start, None, shared), shared

    @torch.no_grad()
    def cross_attention(self, source: Sequence[int], answer: Sequence[int]) -> Tensor | None:
        """Return the attention (T, S) from each of T tokens of an answer to each of S tokens of its
        source: mean over the heads of the last decoder layer. None if there is none.

        Args:
            source: ids of the source, as `read` gives them.
            answer: ids of the answer.
        """
        ids = torch.tensor([source], device=self.device)
        before = torch.tensor([[self.tokenizer.bos_id, *answer][: len(answer)]], device=self.device)
        with record_attention() as record:
            self.backbone.decode(
                self.embedding(before), memory=self.backbone.encode(self.embedding(ids))
            )
        return record.cross[-1][0].float().mean(0).cpu() if record.cross else None

    # Probabilities

    def log_prob(
        self, examples: Sequence[Example], answers: Answers | None = None
    ) -> Iterator[Prediction]:
        """Yield a prediction with the negative log probability, in nats, of each answer given its
        source. Sources are cut as in `generate`; see `contracts.Scorer`.

        Raises:
            CannotError: no `answers` are given.
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
        unknown = self.tokenizer.unk_id
        for (example, answer), target, values in zip(pairs, targets, nats, strict=True):
            yield Prediction(
                example.id,
                answer,
                nats=math.fsum(values),
                n_token=len(values),
                seconds=seconds,
                unknown=0 if unknown is None else target.count(unknown),
            )

    def check_positions(self, example: Example, n_source: int, n_answer: int) -> None:
        """Raise an error if a source or an answer has more tokens than the backbone has positions.

        Args:
            n_source: number of tokens of the source, including the end.
            n_answer: number of tokens of the answer, including the end.

        Raises:
            ValueError: a number of tokens is too large.
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
        """Return, for each target, the negative log probability of each id except the first,
        float64.

        Args:
            sources: ids of the source of each target. Equal sources of a batch are encoded once.
            targets: ids from `<s>` to `</s>`.
            batch_size: number of targets, grouped by length, to score at a time. It is lowered so
                that they have at most `SCORED_TOKENS` tokens, since each token needs a score for
                the whole vocabulary.
        """
        if self.engine is not None:
            return self.engine.nats(sources, targets)
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

    def generate(self, examples: Sequence[Example], n_best: int = 1) -> Iterator[Prediction]:
        """Yield an answer to each example, in order. If `n_best` is above 1, the best one is the
        output, and `alternatives` holds all of them.

        Raises:
            ValueError: the search cannot find `n_best` answers.
        """
        yield from self.answer(examples) if n_best == 1 else self._n_best(examples, n_best)

    def _n_best(self, examples: Sequence[Example], n_best: int) -> Iterator[Prediction]:
        self.search.check_n_best(n_best)
        began = perf_counter()
        source = self.padded_sources(examples)
        lists = self.decode(source, self.search, n_best=n_best).n_best_lists(n_best)
        seconds = (perf_counter() - began) / len(examples)
        for example, found in zip(examples, lists, strict=True):
            yield n_best_prediction(example, found, self.tokenizer, seconds)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        began = perf_counter()
        validating = self._trainer is not None and self.trainer.validating
        decoded = self.decode(
            self.padded_sources(examples),
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

"""Extractive summarization: the summary consists of sentences of the document.

Axes: B documents, S tokens, N sentences, D d_model.
"""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import torch
import torch.nn.functional as F
import torchmetrics
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lslm_lightning.adapters.low_rank import Adapter
from lslm_lightning.contracts import Example, Metric, Mode, Prediction
from lslm_lightning.metrics.extraction import words_of
from lslm_lightning.models.backbone import Backbone
from lslm_lightning.models.heads import TiedHead
from lslm_lightning.models.linear import PaddedLinear
from lslm_lightning.models.positions import Sinusoidal
from lslm_lightning.models.transformer import Transformer
from lslm_lightning.optim import Schedule
from lslm_lightning.text.sentences import join_sentences, split_sentences
from lslm_lightning.text.tokenizer import Tokenizer
from lslm_lightning.training.answering import Answering
from lslm_lightning.training.batches import on_device
from lslm_lightning.training.checks import (
    check_encodes_only,
    check_has_validation_score,
    check_kind,
)
from lslm_lightning.training.data import TaskData
from lslm_lightning.training.data_requirements import DataRequirements
from lslm_lightning.training.optimizer_settings import ADAMW, COSINE
from lslm_lightning.training.shared_settings import share_settings
from lslm_lightning.training.task import LABEL_SMOOTHING
from tasks.summarization.data import MAX_SOURCE_LENGTH
from tasks.summarization.extractive.data import (
    DocumentReading,
    ExtractiveData,
    SentenceBatch,
    batch_of,
    read,
)
from tasks.summarization.task import Summarizer


class ExtractiveAnswering(Answering):
    """Answers of an `ExtractiveTask`, which reads at most `max_source_length` tokens of a
    source.
    """

    task: "ExtractiveTask"

    def signature(self, mode: Mode) -> str:
        return f"|source:{self.task.max_source_length}"

    def cut_sources(self, examples: Sequence[Example]) -> tuple[int, str]:
        longest = self.task.max_source_length
        documents = [sentences_of(example) for example in examples]
        readings = read(documents, self.task.tokenizer, longest)
        n_cut = sum(
            len(reading.lengths) < len(sentences)
            for reading, sentences in zip(readings, documents, strict=True)
        )
        return n_cut, (
            f"sources have sentences after max_source_length={longest} tokens, which could not be "
            "chosen"
        )


class ExtractiveRequirements(DataRequirements):
    """Requirements of an `ExtractiveTask` on its data: sources within the positions of both
    encoders.
    """

    task: "ExtractiveTask"

    def bind(self, data: TaskData) -> None:
        if isinstance(data, ExtractiveData):
            share_settings(data, {"max_source_length": self.task.max_source_length})

    def check(self, data: TaskData) -> None:
        task = self.task
        data = check_kind(task, data, ExtractiveData)
        check_has_validation_score(task, data)
        longest = task.max_source_length
        for name, network in (
            ("backbone", task.backbone),
            ("sentence_backbone", task.sentence_backbone),
        ):
            if network.max_positions is not None and network.max_positions < longest:
                raise ValueError(
                    f"max_length={network.max_positions} of the positions of {name} must be at "
                    f"least max_source_length={longest}, the maximal number of tokens, and of "
                    "sentences, of a source; raise it, or lower max_source_length"
                )


class ExtractiveTask(Summarizer):
    """Extractive summarizer: an encoder over tokens, an encoder over sentences, and a score for
    each sentence.

    The vector of a sentence is the mean of the encoder outputs of its tokens, including the `<s>`
    before them. BertSum takes the output of `<s>` alone, which suits a pretrained BERT, but not an
    encoder without pretraining or a recurrent network. The position of a sentence is added as a
    sinusoidal encoding. Source: Liu and Lapata 2019, section 3; trigram blocking: Paulus et al.
    2018, section 2.5.

    Arguments that are not listed are those of `Task`.

    Args:
        backbone: encoder over tokens, without a decoder.
        sentence_backbone: called with d_model; returns the encoder over sentences, without a
            decoder.
        k: number of sentences in a summary.
        block_trigrams: skip a sentence that shares three consecutive words with a sentence already
            chosen. Words are compared as ROUGE does: in English by stem, in Chinese by character.
        max_source_length: number of tokens read of a source, including one for each sentence and
            one at the end. Later sentences cannot be chosen.
    """

    backbone: Backbone
    changeable = ("k", "block_trigrams", "max_source_length")
    answering_class = ExtractiveAnswering
    requirements_class = ExtractiveRequirements

    def __init__(
        self,
        backbone: Backbone,
        tokenizer: Tokenizer,
        sentence_backbone: Callable[[int], Backbone] = lambda d: Transformer(
            d, n_encoder_layer=2, n_decoder_layer=0
        ),
        k: int = 3,
        block_trigrams: bool = True,
        max_source_length: int = MAX_SOURCE_LENGTH,
        optimizer: OptimizerCallable = ADAMW,
        schedule: Schedule = COSINE,
        label_smoothing: float = LABEL_SMOOTHING,
        extra_metrics: list[Metric | torchmetrics.Metric] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__(
            backbone, tokenizer, optimizer, schedule, label_smoothing, extra_metrics, adapter
        )
        if k < 1:
            raise ValueError(
                f"k={k} of ExtractiveTask must be at least 1 sentence; the usual length of a "
                "summary is best"
            )
        if max_source_length < 3:
            raise ValueError(
                f"max_source_length={max_source_length} must be at least 3 tokens; 400 suits "
                "news and emails"
            )
        self.sentence_backbone = sentence_backbone(backbone.d_model)
        for name, network in (
            ("backbone", backbone),
            ("sentence_backbone", self.sentence_backbone),
        ):
            check_encodes_only(name, network, "chooses sentences")
        self.k = k
        self.block_trigrams = block_trigrams
        self.max_source_length = max_source_length
        self.place = Sinusoidal(backbone.d_model, 1, backbone.d_model)
        self.embedding, _ = backbone.embedding_and_head(
            tokenizer.vocab_size, TiedHead, scale_embedding=True
        )
        self.score = PaddedLinear(backbone.d_model, 1)

    def scores(self, batch: SentenceBatch) -> Tensor:
        """Return the log-odds (B, N) that a sentence belongs to the summary."""
        memory = self.backbone.encode(self.embedding(batch.source), batch.source_pad)  # (B, S, D)
        number = torch.arange(batch.sentence_pad.size(1), device=memory.device)
        belongs = (batch.sentence[:, None] == number[:, None]).to(memory.dtype)  # (B, N, S)
        vectors = belongs / belongs.sum(-1, keepdim=True).clamp(min=1) @ memory  # (B, N, D)
        return self.score(
            self.sentence_backbone.encode(self.place.embed(vectors, number), batch.sentence_pad)
        )[..., 0]

    def loss(self, batch: SentenceBatch, label_smoothing: float = LABEL_SMOOTHING) -> Tensor:
        scores = self.scores(batch)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        target = (1 - label_smoothing) * batch.chosen.to(scores.dtype) + label_smoothing / 2
        nats = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
        return nats.masked_fill(batch.sentence_pad, 0.0).sum()

    def generate(self, examples: Sequence[Example]) -> Iterator[Prediction]:
        """Yield the summary of each example, in order."""
        yield from self.answer(examples)

    def answer(self, examples: Sequence[Example]) -> list[Prediction]:
        began = perf_counter()
        documents = [sentences_of(example) for example in examples]
        readings = read(documents, self.tokenizer, self.max_source_length)
        chosen = []
        for example, sentences, scores in zip(
            examples, documents, self.scores_of(readings), strict=True
        ):
            words = words_of(example.source_language) if self.block_trigrams else None
            chosen.append(choose(sentences, scores, self.k, words))
        seconds = (perf_counter() - began) / len(examples)
        return [
            Prediction(
                example.id,
                join_sentences([sentences[i] for i in indices], example.source_language),
                n_token=sum(reading.lengths[i] for i in indices),
                seconds=seconds,
            )
            for example, sentences, reading, indices in zip(
                examples, documents, readings, chosen, strict=True
            )
        ]

    @torch.no_grad()
    def scores_of(self, readings: Sequence[DocumentReading]) -> list[list[float]]:
        """Return, for each document, the log-odds of the sentences that are read."""
        kept = [reading for reading in readings if reading.lengths]
        if not kept:
            return [[] for _ in readings]
        ids = [reading.ids for reading in kept]
        lengths = [reading.lengths for reading in kept]
        batch = batch_of(ids, lengths, [[0] * len(row) for row in lengths], self.tokenizer.pad_id)
        rows = iter(self.scores(on_device(batch, self.device)).tolist())
        return [
            next(rows)[: len(reading.lengths)] if reading.lengths else [] for reading in readings
        ]


def sentences_of(example: Example) -> list[str]:
    """Return the source of an example, split into sentences."""
    return split_sentences(example.source, example.source_language)


def choose(
    sentences: Sequence[str],
    scores: Sequence[float],
    k: int,
    words: Callable[[str], list[str]] | None = None,
) -> list[int]:
    """Return the indices of the `k` sentences with the highest scores, in text order. Of equal
    scores the first wins.

    Args:
        scores: scores of the first sentences; sentences without a score cannot be chosen.
        words: splits a sentence into words. A sentence that shares three consecutive words with a
            sentence already chosen is skipped. None to skip no sentence.
    """
    indices: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if len(indices) == k:
            break
        trigrams = trigrams_of(words(sentences[i])) if words else set()
        if not trigrams & seen:
            indices.append(i)
            seen |= trigrams
    return sorted(indices)


def trigrams_of(words: Sequence[str]) -> set[tuple[str, ...]]:
    """Return all sequences of three consecutive words."""
    return set(zip(words, words[1:], words[2:]))
